//! [OCI layouts](https://github.com/opencontainers/image-spec/blob/main/image-layout.md): `oci-layout`, `index.json`,
//! `blobs/sha256/`.

use std::{
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use crate::{
    image::{BlobFile, FoundImages, OpenError, Store},
    oci::{Descriptor, Digest, Index},
    transport::blob_files::read::{Folder, names, parse},
};

#[derive(Debug)]
struct LayoutReader(Folder);

impl Store for LayoutReader {
    fn open(&self, digest: &Digest) -> io::Result<Option<Box<dyn Read + Send>>> {
        self.0.reader(&digest.blob_name())
    }

    fn has(&self, digest: &Digest) -> io::Result<bool> {
        self.0.find(&digest.blob_name()).map(|file| file.is_some())
    }

    fn file(&self, descriptor: &Descriptor) -> Option<BlobFile> {
        Some(self.0.blob_file(descriptor.digest.blob_name(), descriptor))
    }

    fn list(&self) -> io::Result<Vec<Digest>> {
        let mut digests = Vec::new();
        for algorithm in ["sha256", "sha512"] {
            let names = names(&self.0.path.join("blobs").join(algorithm))?;
            digests.extend(names.iter().filter_map(|name| format!("{algorithm}:{name}").parse::<Digest>().ok()));
        }
        Ok(digests)
    }
}

pub(crate) fn open(path: &Path) -> Result<FoundImages, OpenError> {
    let folder = Folder::open(path).map_err(OpenError::io("opening", path))?;
    let name = path.join("index.json");
    let bytes = folder.read("index.json").map_err(OpenError::io("reading", &name))?;
    let store: Arc<dyn Store> = Arc::new(LayoutReader(folder));
    let index: Index = parse(&name, &bytes)?;
    Ok(FoundImages::from_index(index, store))
}
