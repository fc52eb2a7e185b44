//! [OCI layouts](https://github.com/opencontainers/image-spec/blob/main/image-layout.md), added to:
//! what a directory holds stays, and what has the same name is replaced in its index.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashSet},
    fs::{self, File},
    io::{self, Seek, Write},
    path::{Path, PathBuf},
};

use super::{
    archive,
    destination::{Holds, Referrers, Scheme, Sink, WriteError, WriteOptions, Written, path_and_name},
};
use crate::{
    blobs::{BlobReader, ImageBlobs},
    content::Content,
    files::{self, NewFile},
    image::{ImageError, save_json},
    oci::{Descriptor, Digest, Index, annotation},
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

    fn referrers(&self) -> Option<&dyn Referrers> {
        Some(self)
    }
}

impl Referrers for Layout {
    fn add(&self, referrer: &Content, _: &WriteOptions) -> Result<(), WriteError> {
        write_content(referrer, &self.directory, None)?;
        Ok(())
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
    /// There is something else.
    #[error("{} is neither empty nor written by `dir:`; remove it, or choose another directory", .0.display())]
    NotOurs(PathBuf),
    /// The index.json is not an image index.
    #[error("{} is not an image index; remove it, or choose another directory", path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Writes `image` to the layout in `directory`, which is created where there is
/// none, tagged with `tag`. Blobs that are there and right are not made again; those
/// that are files elsewhere share their blocks where the file system can.
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
    let place = |digest: &Digest| directory.join(digest.blob_name());
    Blobs::new(&place).content(content)?;
    let name = content.reference().and_then(|reference| reference.rsplit_once(':'));
    let name = name.map_or("image", |(name, _)| name);
    let named = archive::named(content.descriptor(), tag.map(|tag| format!("{name}:{tag}")).as_deref());
    let digest = named.digest;
    // Others may add to the same index just now.
    let lock = files::lock_directory(directory).map_err(io_error(directory))?;
    let mut index = open_index(directory)?;
    index.manifests.retain(|other| match other.annotations.get(annotation::REF_NAME) {
        Some(other_tag) => Some(other_tag.as_str()) != tag || are_platforms_of_one(other, &named),
        None => other.digest != digest,
    });
    index.manifests.push(named);
    save_json(&BTreeMap::from([("imageLayoutVersion", "1.0.0")]), &directory.join("oci-layout"))?;
    save_json(&index, &directory.join("index.json"))?;
    drop(lock);
    Ok(digest)
}

/// Images for several platforms may share a tag.
fn are_platforms_of_one(one: &Descriptor, other: &Descriptor) -> bool {
    one.platform.is_some() && other.platform.is_some() && one.platform != other.platform
}

/// Blobs as files, each at its place.
pub(super) struct Blobs<'a> {
    place: &'a dyn Fn(&Digest) -> PathBuf,
    /// Directories that were made and swept.
    ready: RefCell<HashSet<PathBuf>>,
}

impl<'a> Blobs<'a> {
    pub(super) fn new(place: &'a dyn Fn(&Digest) -> PathBuf) -> Self {
        Self { place, ready: RefCell::default() }
    }

    /// Every blob and document.
    fn content(&self, content: &Content) -> Result<(), LayoutError> {
        match content {
            Content::Image(image) => {
                self.write_all(image)?;
                self.bytes(&content.digest(), &image.manifest)
            }
            Content::Index(index) => {
                index.children.iter().try_for_each(|child| self.content(child))?;
                self.bytes(&content.digest(), &index.bytes)
            }
        }
    }

    /// The layers and the config.
    pub(super) fn write_all(&self, image: &ImageBlobs) -> Result<(), LayoutError> {
        for layer in image.layers.iter().filter(|layer| !layer.elsewhere) {
            self.blob(&layer.descriptor, &|new| match &layer.file {
                Some(file) if clone_file(file, new, &layer.descriptor) => Ok(()),
                _ => layer.write(new),
            })?;
        }
        self.bytes(&image.config_descriptor().digest, &image.config)
    }

    fn bytes(&self, digest: &Digest, bytes: &[u8]) -> Result<(), LayoutError> {
        let descriptor = Descriptor::new("", *digest, bytes.len() as u64);
        self.blob(&descriptor, &|out| {
            out.write_all(bytes).map_err(|source| ImageError::Blob { digest: *digest, source })
        })
    }

    /// Writes a blob whole or not at all, unless it is there and right.
    fn blob(
        &self,
        descriptor: &Descriptor,
        produce: &dyn Fn(&mut NewFile) -> Result<(), ImageError>,
    ) -> Result<(), LayoutError> {
        let path = (self.place)(&descriptor.digest);
        let fail = || io_error(&path);
        let directory = files::directory(&path);
        if self.ready.borrow_mut().insert(directory.to_owned()) {
            fs::create_dir_all(directory).map_err(fail())?;
            files::sweep(directory);
        }
        if File::open(&path).is_ok_and(|there| is_right(there, descriptor)) {
            return Ok(());
        }
        let mut new = NewFile::create(&path).map_err(fail())?;
        produce(&mut new)?;
        new.finish().map_err(fail())
    }
}

/// Whether a file is the blob that the descriptor says.
fn is_right(file: File, descriptor: &Descriptor) -> bool {
    let mut reader = BlobReader::new(Box::new(file), descriptor);
    io::copy(&mut reader, &mut io::sink()).is_ok()
}

/// Other systems share no blocks this way.
#[cfg(not(target_os = "linux"))]
fn clone_file(_: &Path, _: &mut NewFile, _: &Descriptor) -> bool {
    false
}

/// Has the file system share the blocks of a file, where it can; whether what came of it is the blob.
#[cfg(target_os = "linux")]
fn clone_file(from: &Path, to: &mut NewFile, descriptor: &Descriptor) -> bool {
    let clone = || -> io::Result<bool> {
        rustix::fs::ioctl_ficlone(to.file(), File::open(from)?)?;
        let right = is_right(to.file().try_clone()?, descriptor);
        if !right {
            to.file().set_len(0)?;
        }
        to.file().rewind()?;
        Ok(right)
    };
    let mut clone = clone;
    clone().unwrap_or(false)
}

pub(super) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> LayoutError + use<> {
    let path = path.to_owned();
    move |source| LayoutError::Io { path, source }
}

fn open_index(directory: &Path) -> Result<Index, LayoutError> {
    let path = directory.join("index.json");
    match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|source| LayoutError::Index { path, source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Index::new(Vec::new())),
        Err(source) => Err(LayoutError::Io { path, source }),
    }
}
