//! skopeo's `dir:`: `version`, `manifest.json`, and blobs by their bare digest.

use std::{
    fs,
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use crate::{
    image::{BlobFile, FoundImages, ManifestNode, OpenError, Store, store::read_document, top::Top},
    oci::{Descriptor, Digest, Index, Manifest, descriptor::media_type, document},
    transport::blob_files::read::{Folder, names, parse},
};

#[derive(Debug)]
struct DirReader(Folder);

impl DirReader {
    /// The manifests of an index have a suffix.
    fn name(&self, digest: &Digest) -> String {
        let blob = digest.hex();
        let manifest = format!("{blob}.manifest.json");
        let exists = |name: &str| fs::symlink_metadata(self.0.path.join(name)).is_ok();
        if !exists(&blob) && exists(&manifest) { manifest } else { blob }
    }
}

impl Store for DirReader {
    fn open(&self, digest: &Digest) -> io::Result<Option<Box<dyn Read + Send>>> {
        self.0.reader(&self.name(digest))
    }

    fn has(&self, digest: &Digest) -> io::Result<bool> {
        self.0.find(&self.name(digest)).map(|file| file.is_some())
    }

    fn file(&self, descriptor: &Descriptor) -> Option<BlobFile> {
        Some(self.0.blob_file(self.name(&descriptor.digest), descriptor))
    }

    fn manifest(&self, descriptor: &Descriptor) -> io::Result<Option<Vec<u8>>> {
        // The selected manifest has no other name.
        let top = self.0.read("manifest.json")?;
        if descriptor.digest.matches(&top) {
            return Ok(Some(top));
        }
        let Some(reader) = self.open(&descriptor.digest)? else { return Ok(None) };
        read_document(reader, descriptor.size).map(Some)
    }

    fn list(&self) -> io::Result<Vec<Digest>> {
        let names = names(&self.0.path)?;
        let digest = |name: &String| {
            let hex = name.strip_suffix(".manifest.json").unwrap_or(name);
            let algorithm = if hex.len() == 128 { "sha512" } else { "sha256" };
            format!("{algorithm}:{hex}").parse().ok()
        };
        Ok(names.iter().filter_map(digest).collect())
    }
}

/// Reads a directory that skopeo wrote to `dir:path`.
pub(crate) fn open(path: &Path) -> Result<FoundImages, OpenError> {
    let folder = Folder::open(path).map_err(OpenError::io("opening", path))?;
    let name = path.join("manifest.json");
    let bytes = folder.read("manifest.json").map_err(OpenError::io("reading", &name))?;
    let store: Arc<dyn Store> = Arc::new(DirReader(folder));
    if document::is_schema_1(&bytes) {
        let document = name.display().to_string();
        return Err(OpenError::Document { document, why: document::SCHEMA_1.to_owned() });
    }
    let kind = if document::is_index(&bytes) {
        parse::<Index>(&name, &bytes)?.media_type.unwrap_or_else(|| media_type::INDEX.to_owned())
    } else {
        parse::<Manifest>(&name, &bytes)?.media_type.unwrap_or_else(|| media_type::MANIFEST.to_owned())
    };
    let descriptor = Descriptor::new(&kind, Digest::sha256(&bytes), bytes.len() as u64);
    Ok(FoundImages::new(vec![Top::Node(Box::new(ManifestNode { descriptor, store: Arc::clone(&store) }))], store))
}
