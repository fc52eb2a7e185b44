//! Archives: a docker-archive or an OCI layout in a tar, plain or gzip.

use std::{
    fs::File,
    io::{BufReader, Read, Seek},
    path::Path,
};

use flate2::read::MultiGzDecoder;
use tar::EntryType;

use super::{
    SourceError,
    contents::{Contents, GZIP},
};

/// Reads the archive at `path` once, from front to back.
pub(super) fn scan(path: &Path, hash: bool) -> Result<Contents, SourceError> {
    let fail = |act: String, source| SourceError::Io { act, path: path.to_owned(), source };
    let open = || -> std::io::Result<Box<dyn Read>> {
        let mut file = File::open(path)?;
        let mut magic = [0; 2];
        file.read_exact(&mut magic)?;
        file.rewind()?;
        let file = BufReader::with_capacity(128 * 1024, file);
        Ok(if magic == GZIP { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
    };
    let mut archive = tar::Archive::new(open().map_err(|error| fail("opening".to_owned(), error))?);
    let mut contents = Contents::default();
    let mut last = "the start".to_owned();
    let entries = archive.entries().map_err(|error| fail("reading".to_owned(), error))?;
    for entry in entries {
        let mut entry = entry.map_err(|error| fail(format!("reading what follows {last} in"), error))?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let name = name.trim_start_matches("./").to_owned();
        if matches!(entry.header().entry_type(), EntryType::Regular | EntryType::Continuous) {
            let size = entry.size();
            contents
                .add(name.clone(), size, &mut entry, hash)
                .map_err(|error| fail(format!("reading {name} in"), error))?;
        }
        last = name;
    }
    Ok(contents)
}
