//! [OCI layouts](https://github.com/opencontainers/image-spec/blob/main/image-layout.md), added to:
//! what a directory holds stays, and what has the same name is replaced in its index.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::{
    archive,
    destination::{Holds, Scheme, Sink, WriteError, WriteOptions, Written, path_and_name},
};
use crate::{
    blobs::{ImageBlobs, LayerBlob},
    content::Content,
    image::{ImageError, save_json},
    oci::{Digest, Index, annotation},
};

/// `oci:DIR[:TAG]`
pub const SCHEME: Scheme = Scheme {
    name: "oci",
    syntax: "oci:DIR[:TAG]",
    about: "OCI layout, added to",
    holds: Holds::Index,
    parse: |rest| {
        let (directory, tag) = path_and_name(rest);
        Ok(std::sync::Arc::new(Layout { directory, tag }))
    },
};

/// A layout, and what the content is called in it.
#[derive(Debug)]
struct Layout {
    directory: PathBuf,
    tag: Option<String>,
}

impl Sink for Layout {
    fn write(&self, content: &Content, _: &WriteOptions) -> Result<Written, WriteError> {
        let own = content.reference().and_then(|reference| reference.rsplit_once(':'));
        let tag = self.tag.as_deref().or(own.map(|(_, tag)| tag));
        Ok(Written::new(write_content(content, &self.directory, tag)?))
    }
}

/// Why a layout, or another directory, could not be written.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A blob could not be made, or a document not be written.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The file system refused.
    #[error("writing {}", path.display())]
    Io {
        /// On which path.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// The index.json is not an image index.
    #[error("{} is not an image index; remove it, or name another directory", path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Writes `image` to the layout in `directory`, which is created where there is
/// none, tagged with `tag`. Blobs that are there are not made again; those that
/// are files elsewhere are linked where the file system can, else copied.
///
/// # Errors
///
/// [`LayoutError`]; the index is written last, so what it lists is whole.
pub fn write(image: &ImageBlobs, directory: &Path, tag: Option<&str>) -> Result<Digest, LayoutError> {
    write_content(&image.clone().into(), directory, tag)
}

/// As [`write`], of an index too.
///
/// # Errors
///
/// As [`write`].
pub fn write_content(content: &Content, directory: &Path, tag: Option<&str>) -> Result<Digest, LayoutError> {
    Blobs::create(&directory.join("blobs/sha256"))?.content(content)?;
    let mut index = open_index(directory)?;
    let name = content.reference().and_then(|reference| reference.rsplit_once(':'));
    let name = name.map_or("image", |(name, _)| name);
    let named = archive::named(content.descriptor(), tag.map(|tag| format!("{name}:{tag}")).as_deref());
    index.manifests.retain(|other| match other.annotations.get(annotation::REF_NAME) {
        // Several platforms may share a tag.
        Some(other_tag) => {
            Some(other_tag.as_str()) != tag || named.platform.is_some() && other.platform != named.platform
        }
        None => other.digest != named.digest,
    });
    let digest = named.digest;
    index.manifests.push(named);
    save_json(&BTreeMap::from([("imageLayoutVersion", "1.0.0")]), &directory.join("oci-layout"))?;
    save_json(&index, &directory.join("index.json"))?;
    Ok(digest)
}

/// A directory of blobs, each named by its digest's digits.
pub(super) struct Blobs<'a> {
    directory: &'a Path,
}

impl<'a> Blobs<'a> {
    pub(super) fn create(directory: &'a Path) -> Result<Self, LayoutError> {
        fs::create_dir_all(directory).map_err(|source| LayoutError::Io { path: directory.to_owned(), source })?;
        Ok(Self { directory })
    }

    /// Every blob and document.
    fn content(&self, content: &Content) -> Result<(), LayoutError> {
        match content {
            Content::Image(image) => {
                self.write_all(image)?;
                self.bytes(&image.manifest)
            }
            Content::Index(index) => {
                index.children.iter().try_for_each(|child| self.content(child))?;
                self.bytes(&index.bytes)
            }
        }
    }

    /// The layers and the config.
    pub(super) fn write_all(&self, image: &ImageBlobs) -> Result<(), LayoutError> {
        for layer in &image.layers {
            let linked = match &layer.file {
                Some(file) => self.link(layer, file)?,
                None => false,
            };
            if !linked {
                self.blob(&layer.descriptor.digest, &|out| layer.write(out))?;
            }
        }
        self.bytes(&image.config)
    }

    fn bytes(&self, bytes: &[u8]) -> Result<(), LayoutError> {
        let digest = Digest::of(bytes);
        self.blob(&digest, &|out| out.write_all(bytes).map_err(|source| ImageError::Blob { digest, source }))
    }

    /// Writes a blob whole or not at all, unless it is there.
    fn blob(
        &self,
        digest: &Digest,
        produce: &dyn Fn(&mut dyn Write) -> Result<(), ImageError>,
    ) -> Result<(), LayoutError> {
        let path = self.directory.join(digest.hex());
        let fail = |source| LayoutError::Io { path: path.clone(), source };
        if path.exists() {
            return Ok(());
        }
        let mut file = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
            .tempfile_in(self.directory)
            .map_err(fail)?;
        produce(&mut file)?;
        file.persist(&path).map_err(|error| fail(error.error)).map(drop)
    }

    /// Links a blob that is a file of the same file system already; whether that went. A file that nobody may write
    /// (a Nix store's) is copied instead: root, who may anyway, would change both.
    fn link(&self, layer: &LayerBlob, file: &Path) -> Result<bool, LayoutError> {
        let path = self.directory.join(layer.descriptor.digest.hex());
        let writable = fs::metadata(file).is_ok_and(|metadata| !metadata.permissions().readonly());
        if path.exists() || !writable {
            return Ok(false);
        }
        layer.write(&mut io::sink())?;
        Ok(fs::canonicalize(file).is_ok_and(|file| fs::hard_link(file, &path).is_ok()))
    }
}

fn open_index(directory: &Path) -> Result<Index, LayoutError> {
    let path = directory.join("index.json");
    match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|source| LayoutError::Index { path, source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Index::new(Vec::new())),
        Err(source) => Err(LayoutError::Io { path, source }),
    }
}
