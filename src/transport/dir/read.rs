//! skopeo's `dir:`: `version`, `manifest.json`, and blobs by their bare digest.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    image::{Found, Node, OpenError, Store, found::Top, store::read_document},
    oci::{Descriptor, Digest, Index, Manifest, descriptor::media_type},
    transport::blob_files::read::{io_error, names, open_file, parse, read_file},
};

/// The blobs of a `dir:`.
#[derive(Debug)]
struct Dir(PathBuf);

impl Dir {
    /// The manifests of an index have a suffix.
    fn path(&self, digest: &Digest) -> PathBuf {
        let plain = self.0.join(digest.hex());
        let manifest = self.0.join(format!("{}.manifest.json", digest.hex()));
        if !plain.exists() && manifest.exists() { manifest } else { plain }
    }
}

impl Store for Dir {
    fn open(&self, digest: &Digest) -> io::Result<Option<Box<dyn Read + Send>>> {
        open_file(&self.path(digest))
    }

    fn has(&self, digest: &Digest) -> io::Result<bool> {
        self.path(digest).try_exists()
    }

    fn file(&self, digest: &Digest) -> Option<PathBuf> {
        Some(self.path(digest))
    }

    fn manifest(&self, descriptor: &Descriptor) -> io::Result<Option<Vec<u8>>> {
        // The chosen one has no other name.
        let top = read_file(&self.0.join("manifest.json"))?;
        if descriptor.digest.is_of(&top) {
            return Ok(Some(top));
        }
        let Some(reader) = self.open(&descriptor.digest)? else { return Ok(None) };
        read_document(reader, descriptor.size).map(Some)
    }

    fn list(&self) -> io::Result<Vec<Digest>> {
        let names = names(&self.0)?;
        let digest = |name: &String| {
            let hex = name.strip_suffix(".manifest.json").unwrap_or(name);
            let algorithm = if hex.len() == 128 { "sha512" } else { "sha256" };
            format!("{algorithm}:{hex}").parse().ok()
        };
        Ok(names.iter().filter_map(digest).collect())
    }
}

/// Reads what skopeo wrote to `dir:path`.
pub(crate) fn open(path: &Path) -> Result<Found, OpenError> {
    let store: Arc<dyn Store> = Arc::new(Dir(path.to_owned()));
    let name = path.join("manifest.json");
    let bytes = read_file(&name).map_err(io_error("reading", &name))?;
    let kind = if serde_json::from_slice::<Index>(&bytes).is_ok() {
        parse::<Index>(&name, &bytes)?.media_type.unwrap_or_else(|| media_type::INDEX.to_owned())
    } else {
        parse::<Manifest>(&name, &bytes)?.media_type.unwrap_or_else(|| media_type::MANIFEST.to_owned())
    };
    let descriptor = Descriptor::new(&kind, Digest::of(&bytes), bytes.len() as u64);
    Ok(Found::new(vec![Top::Node(Box::new(Node { descriptor, store: Arc::clone(&store) }))], store))
}
