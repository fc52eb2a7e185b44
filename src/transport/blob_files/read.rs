//! Files of directories that hold images: opened only if they are files, and bounded.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use crate::{
    files,
    image::{OpenError, store::read_document},
};

pub(crate) fn parse<T: serde::de::DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, OpenError> {
    let fail =
        |error: serde_json::Error| OpenError::Document { document: path.display().to_string(), why: error.to_string() };
    serde_json::from_slice(bytes).map_err(fail)
}

pub(crate) fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let file = files::open_plain(path)?;
    let size = file.metadata()?.len();
    read_document(file, size)
}

pub(crate) fn open_file(path: &Path) -> io::Result<Option<Box<dyn Read + Send>>> {
    match files::open_plain(path) {
        Ok(file) => Ok(Some(Box::new(file))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The directory's names, in order; none where there is no directory.
pub(crate) fn names(path: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut names = entries.map(|entry| entry.map(name)).collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable();
    Ok(names)
}

pub(crate) fn io_error(act: &str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let (act, path) = (act.to_owned(), path.to_owned());
    move |source| OpenError::Io { act, path, source }
}
