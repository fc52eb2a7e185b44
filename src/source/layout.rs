//! [OCI layouts](https://github.com/opencontainers/image-spec/blob/main/image-layout.md): a directory
//! with `oci-layout`, `index.json` and `blobs/sha256/`.

use std::{
    fs::{self, File},
    path::Path,
};

use super::{SourceError, contents::Contents};

/// Reads the layout in the directory `path`.
pub(super) fn scan(path: &Path, hash: bool) -> Result<Contents, SourceError> {
    let mut contents = Contents::default();
    contents.root = Some(path.to_owned());
    let mut add = |name: String| {
        let path = path.join(&name);
        File::open(&path)
            .and_then(|mut file| {
                let size = file.metadata()?.len();
                contents.add(name, size, &mut file, hash)
            })
            .map_err(io_error("reading", &path))
    };
    add("index.json".to_owned())?;
    let blobs = path.join("blobs/sha256");
    let mut names = fs::read_dir(&blobs)
        .and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<std::io::Result<Vec<_>>>()
        })
        .map_err(io_error("listing", &blobs))?;
    names.sort_unstable();
    for name in names {
        add(format!("blobs/sha256/{}", name.to_string_lossy()))?;
    }
    Ok(contents)
}

fn io_error(act: &str, path: &Path) -> impl FnOnce(std::io::Error) -> SourceError {
    let (act, path) = (act.to_owned(), path.to_owned());
    move |source| SourceError::Io { act, path, source }
}
