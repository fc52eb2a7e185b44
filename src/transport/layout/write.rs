//! Writes to [OCI layouts](https://github.com/opencontainers/image-spec/blob/main/image-layout.md): other images of a
//! layout stay, and an image of the same name is replaced in the index.
//!
//! The index is written last, so a copy that fails or is killed leaves the existing images intact. Its complete blobs
//! stay without references, and the next copy finds them.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::de::Error as _;

use crate::{
    budget, files,
    image::{
        ManifestGraph,
        recipe::{save_json, write_whole},
    },
    oci::{Descriptor, Digest, Index, descriptor::annotation, json},
    transport::{
        Outcome, Referrers, WriteError, WriteOptions, WriteTransport,
        blob_files::{BlobFiles, LayoutError, write::io_error},
        write::path_and_name,
    },
};

pub(super) fn parse(rest: &str) -> Result<Arc<dyn WriteTransport>, String> {
    let (directory, tag) = path_and_name(rest)?;
    if let Some(tag) = tag.as_deref().filter(|tag| !is_ref_name(tag)) {
        return Err(format!("{tag:?} is not a name of an image: letters and digits, with -._:@+/ between"));
    }
    Ok(Arc::new(LayoutWriter { directory, tag }))
}

/// Whether the text is valid as `org.opencontainers.image.ref.name` (image-spec, annotations.md; containers/image,
/// oci/internal/oci_util.go).
fn is_ref_name(text: &str) -> bool {
    text.split('/').all(|component| {
        let mut words = component.split(|letter: char| !letter.is_ascii_alphanumeric());
        let separators = component.split(|letter: char| letter.is_ascii_alphanumeric()).filter(|text| !text.is_empty());
        let mut separators = separators.collect::<Vec<_>>().into_iter();
        let ends = [component.chars().next(), component.chars().last()];
        ends.iter().all(|end| end.is_some_and(|letter| letter.is_ascii_alphanumeric()))
            && words.any(|word| !word.is_empty())
            && separators.all(|text| ["-", ".", "_", ":", "@", "+", "--"].contains(&text))
    })
}

/// A layout, and the name of the content in it.
#[derive(Debug)]
struct LayoutWriter {
    directory: PathBuf,
    tag: Option<String>,
}

impl WriteTransport for LayoutWriter {
    fn write(&self, content: &ManifestGraph, _: &WriteOptions) -> Result<Outcome, WriteError> {
        let image_reference = content.reference().and_then(|reference| reference.rsplit_once(':'));
        let tag = self.tag.as_deref().or(image_reference.map(|(_, tag)| tag));
        Ok(Outcome::new(write_content(content, &self.directory, tag)?))
    }

    fn referrers(&self) -> Option<&dyn Referrers> {
        Some(self)
    }
}

impl Referrers for LayoutWriter {
    fn add(&self, referrer: &ManifestGraph, _: &WriteOptions) -> Result<(), WriteError> {
        write_content(referrer, &self.directory, None)?;
        Ok(())
    }
}

/// Writes `content` to the layout in `directory`, tagged with `tag`. A missing directory is created. Correct existing
/// blobs are not written again, and blobs that are files elsewhere share their blocks if the file system supports it.
///
/// # Errors
///
/// [`LayoutError`]. The index is written last, so all images that it lists are complete.
pub fn write_content(content: &ManifestGraph, directory: &Path, tag: Option<&str>) -> Result<Digest, LayoutError> {
    // A directory that is not a layout is refused before anything is written to it.
    open_index(directory)?;
    BlobFiles::new(directory, Digest::blob_name).content(content)?;
    let name = content.reference().and_then(|reference| reference.rsplit_once(':'));
    let name = name.map_or("image", |(name, _)| name);
    let named = crate::transport::archive::write::named(
        content.descriptor(),
        tag.map(|tag| format!("{name}:{tag}")).as_deref(),
    );
    let digest = named.digest;
    // Another process may add to the same index at the same time.
    let lock = files::lock_directory(directory).map_err(io_error(directory))?;
    files::sweep(directory);
    let mut index = open_index(directory)?;
    index.manifests.retain(|other| match other.annotations.get(annotation::REF_NAME) {
        Some(other_tag) => Some(other_tag.as_str()) != tag || are_platforms_of_one(other, &named),
        None => other.digest != digest,
    });
    index.manifests.push(named);
    save_json(&BTreeMap::from([("imageLayoutVersion", "1.0.0")]), &directory.join("oci-layout"))?;
    let (path, bytes) = (directory.join("index.json"), json::to_vec(&index));
    let limit = budget::DOCUMENT.bytes;
    if bytes.len() as u64 > limit {
        let full = format!("it would have more than {limit} bytes, which is the limit; choose another directory");
        return Err(io_error(&path)(io::Error::new(io::ErrorKind::FileTooLarge, full)));
    }
    write_whole(&bytes, &path)?;
    drop(lock);
    Ok(digest)
}

/// Whether both are images of different platforms, which may share a tag.
fn are_platforms_of_one(one: &Descriptor, other: &Descriptor) -> bool {
    one.platform.is_some() && other.platform.is_some() && one.platform != other.platform
}

fn open_index(directory: &Path) -> Result<Index, LayoutError> {
    let path = directory.join("index.json");
    match files::read_bounded(&path, &budget::DOCUMENT) {
        Ok(text) => json::from_slice(&text).map_err(|source| LayoutError::Index { path, source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Index::new(Vec::new())),
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::FileTooLarge) => {
            Err(LayoutError::Index { path, source: serde_json::Error::custom(error) })
        }
        Err(source) => Err(LayoutError::Io { path, source }),
    }
}
