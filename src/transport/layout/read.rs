//! [OCI layouts](https://github.com/opencontainers/image-spec/blob/main/image-layout.md): `oci-layout`, `index.json`,
//! `blobs/sha256/`.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    image::{Found, OpenError, Store},
    oci::{Digest, Index},
    transport::blob_files::read::{io_error, names, open_file, parse, read_file},
};

/// The blobs of an OCI layout.
#[derive(Debug)]
struct Layout(PathBuf);

impl Store for Layout {
    fn open(&self, digest: &Digest) -> io::Result<Option<Box<dyn Read + Send>>> {
        open_file(&self.0.join(digest.blob_name()))
    }

    fn has(&self, digest: &Digest) -> io::Result<bool> {
        self.0.join(digest.blob_name()).try_exists()
    }

    fn file(&self, digest: &Digest) -> Option<PathBuf> {
        Some(self.0.join(digest.blob_name()))
    }

    fn list(&self) -> io::Result<Vec<Digest>> {
        let mut digests = Vec::new();
        for algorithm in ["sha256", "sha512"] {
            let names = names(&self.0.join("blobs").join(algorithm))?;
            digests.extend(names.iter().filter_map(|name| format!("{algorithm}:{name}").parse::<Digest>().ok()));
        }
        Ok(digests)
    }
}

/// Reads the layout in the directory `path`.
pub(crate) fn open(path: &Path) -> Result<Found, OpenError> {
    let store: Arc<dyn Store> = Arc::new(Layout(path.to_owned()));
    let name = path.join("index.json");
    let bytes = read_file(&name).map_err(io_error("reading", &name))?;
    let index: Index = parse(&name, &bytes)?;
    Ok(Found::of_index(index, store))
}
