//! Directories with an image: an [OCI layout](https://github.com/opencontainers/image-spec/blob/main/image-layout.md)
//! (`oci-layout`, `index.json`, `blobs/sha256/`), or skopeo's `dir:` (`version`, `manifest.json`, blobs by their bare
//! digest).

use std::{
    fs::{self, File},
    path::Path,
};

use super::{
    SourceError,
    contents::{Contents, Place},
};

/// Reads the layout in the directory `path`.
pub(super) fn scan(path: &Path, hash: bool) -> Result<Contents, SourceError> {
    let mut contents = Contents::default();
    add(&mut contents, &path.join("index.json"), "index.json".to_owned(), hash)?;
    let blobs = path.join("blobs/sha256");
    for name in names(&blobs)? {
        add(&mut contents, &blobs.join(&name), format!("blobs/sha256/{name}"), hash)?;
    }
    Ok(contents)
}

/// Reads what skopeo wrote to `dir:path`.
pub(super) fn scan_dir(path: &Path, hash: bool) -> Result<Contents, SourceError> {
    let mut contents = Contents::default();
    for file in names(path)? {
        // The manifests of an index have a suffix.
        let digest = file.strip_suffix(".manifest.json").unwrap_or(&file);
        let is_blob = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_blob {
            add(&mut contents, &path.join(&file), format!("blobs/sha256/{digest}"), hash)?;
        } else if file == "manifest.json" {
            add(&mut contents, &path.join(&file), file.clone(), hash)?;
        }
    }
    Ok(contents)
}

fn add(contents: &mut Contents, path: &Path, name: String, hash: bool) -> Result<(), SourceError> {
    File::open(path)
        .and_then(|mut file| {
            let size = file.metadata()?.len();
            contents.add(name, size, Place::File(path.to_owned()), &mut file, hash)
        })
        .map_err(io_error("reading", path))
}

/// The directory's names, in order.
fn names(path: &Path) -> Result<Vec<String>, SourceError> {
    let mut names = fs::read_dir(path)
        .and_then(|entries| {
            let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
            entries.map(|entry| entry.map(name)).collect::<std::io::Result<Vec<_>>>()
        })
        .map_err(io_error("listing", path))?;
    names.sort_unstable();
    Ok(names)
}

fn io_error(act: &str, path: &Path) -> impl FnOnce(std::io::Error) -> SourceError {
    let (act, path) = (act.to_owned(), path.to_owned());
    move |source| SourceError::Io { act, path, source }
}
