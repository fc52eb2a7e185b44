//! Directories with images: an [OCI layout](https://github.com/opencontainers/image-spec/blob/main/image-layout.md)
//! (`oci-layout`, `index.json`, `blobs/sha256/`), or skopeo's `dir:` (`version`, `manifest.json`, blobs by their bare
//! digest).

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Found, SourceError,
    found::Top,
    graph::Node,
    store::{Store, read_document},
};
use crate::{
    files,
    oci::{Descriptor, Digest, Index, Manifest, media_type},
};

/// The blobs of an OCI layout.
#[derive(Debug)]
struct Layout(PathBuf);

/// The blobs of a `dir:`.
#[derive(Debug)]
struct Dir(PathBuf);

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

/// Reads the layout in the directory `path`.
pub(super) fn open(path: &Path) -> Result<Found, SourceError> {
    let store: Arc<dyn Store> = Arc::new(Layout(path.to_owned()));
    let name = path.join("index.json");
    let bytes = read_file(&name).map_err(io_error("reading", &name))?;
    let index: Index = parse(&name, &bytes)?;
    Ok(Found::of_index(index, store))
}

/// Reads what skopeo wrote to `dir:path`.
pub(super) fn open_dir(path: &Path) -> Result<Found, SourceError> {
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

fn parse<T: serde::de::DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, SourceError> {
    let fail = |error: serde_json::Error| SourceError::Document {
        document: path.display().to_string(),
        why: error.to_string(),
    };
    serde_json::from_slice(bytes).map_err(fail)
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let file = files::open_plain(path)?;
    let size = file.metadata()?.len();
    read_document(file, size)
}

fn open_file(path: &Path) -> io::Result<Option<Box<dyn Read + Send>>> {
    match files::open_plain(path) {
        Ok(file) => Ok(Some(Box::new(file))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The directory's names, in order; none where there is no directory.
fn names(path: &Path) -> io::Result<Vec<String>> {
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

fn io_error(act: &str, path: &Path) -> impl FnOnce(io::Error) -> SourceError {
    let (act, path) = (act.to_owned(), path.to_owned());
    move |source| SourceError::Io { act, path, source }
}
