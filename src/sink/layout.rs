//! [OCI layouts](https://github.com/opencontainers/image-spec/blob/main/image-layout.md), added to:
//! what a directory holds stays, and an image of the same name is replaced in its index.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    path::Path,
};

use super::archive;
use crate::{
    image::{Image, ImageError, save_json},
    oci::{Digest, Index, json},
};

const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Why a layout could not be written.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A blob could not be made, or a document not be written.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The file system refused.
    #[error("writing {path}")]
    Io {
        /// On which path.
        path: String,
        /// What the system answered.
        source: io::Error,
    },
    /// There is an index.json that is none.
    #[error("{path} is no image index; remove it, or name another directory")]
    Index {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Writes `image` to the layout in `directory`, which is created where there is
/// none, tagged with `tag`. Blobs that are there are not made again.
///
/// # Errors
///
/// [`LayoutError`]; the index is written last, so what it lists is whole.
pub fn write(image: &Image, directory: &Path, tag: Option<&str>) -> Result<Digest, LayoutError> {
    let fail = |path: &Path| {
        let path = path.display().to_string();
        move |source| LayoutError::Io { path, source }
    };
    let blobs = directory.join("blobs/sha256");
    fs::create_dir_all(&blobs).map_err(fail(&blobs))?;
    let blob = |digest: &Digest, produce: &dyn Fn(&mut dyn Write) -> Result<(), ImageError>| {
        let path = directory.join(digest.blob_name());
        if path.exists() {
            return Ok(());
        }
        let mut file = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
            .tempfile_in(&blobs)
            .map_err(fail(&path))?;
        produce(&mut file)?;
        file.persist(&path).map_err(|error| fail(&path)(error.error)).map(drop)
    };
    for (at, layer) in image.layers.iter().enumerate() {
        blob(&layer.digest, &|out| layer.write(at + 1, out))?;
    }
    let manifest = json::to_vec(&image.manifest());
    for document in [&image.config_blob(), &manifest] {
        let path = blobs.clone();
        blob(&Digest::of(document), &|out| {
            out.write_all(document).map_err(|source| ImageError::Io { act: "writing", path: path.clone(), source })
        })?;
    }
    let mut index = open_index(directory)?;
    let named = archive::descriptor(image, &manifest, tag.map(|tag| format!("{}:{tag}", name(image))).as_deref());
    index.manifests.retain(|other| match other.annotations.get(REF_NAME) {
        Some(other) => Some(other.as_str()) != tag,
        None => other.digest != named.digest,
    });
    let digest = named.digest;
    index.manifests.push(named);
    save_json(&BTreeMap::from([("imageLayoutVersion", "1.0.0")]), &directory.join("oci-layout"))?;
    save_json(&index, &directory.join("index.json"))?;
    Ok(digest)
}

fn name(image: &Image) -> &str {
    image.name.as_deref().unwrap_or("image")
}

fn open_index(directory: &Path) -> Result<Index, LayoutError> {
    let path = directory.join("index.json");
    let shown = path.display().to_string();
    match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|source| LayoutError::Index { path: shown, source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Index::new(Vec::new())),
        Err(source) => Err(LayoutError::Io { path: shown, source }),
    }
}
