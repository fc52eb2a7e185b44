//! The sources of layers that are not on this machine: store paths in caches, and blobs in registries.

use std::{
    fmt, io,
    io::Read,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use crate::{
    closure::{Graph, StoreDir, StorePath, parse_nar_hash},
    image::local_store,
    oci::Digest,
};

/// Provides the store paths and blobs of a recipe that are not on this machine.
pub trait Provider: fmt::Debug + Send + Sync {
    /// Opens the NAR of a store path. If it does not match `recorded`, reading it fails at the end.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) if no cache has the store path.
    fn nar(&self, path: &StorePath, recorded: Option<RecordedNar>) -> io::Result<Box<dyn Read + Send>>;

    /// Opens a blob of a registry, whose `origin` is `host/repository`. The caller checks the digest.
    ///
    /// # Errors
    ///
    /// If the registry does not return the blob.
    fn blob(&self, origin: &str, digest: &Digest) -> io::Result<Box<dyn Read + Send>>;

    /// Returns the first cache that is searched for store paths, in the form of `nix copy --to`.
    fn cache(&self) -> Option<String>;
}

/// The digest and the size that Nix recorded for the NAR of a store path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedNar {
    /// The digest of the NAR.
    pub digest: Digest,
    /// The size of the NAR in bytes.
    pub size: u64,
}

/// The parts of a recipe that are needed to make its layers.
#[derive(Clone, Debug, Default)]
pub struct Materials {
    /// The closure with the recorded NAR hashes.
    pub closure: Option<Arc<Graph>>,
    /// The provider of store paths and blobs that are not on this machine.
    pub provider: Option<Arc<dyn Provider>>,
    /// The recipe whose closure has all store paths, for messages.
    pub recipe: Option<PathBuf>,
}

impl Materials {
    /// Returns the digest and the size that Nix recorded for `path`.
    pub(crate) fn recorded(&self, path: &StorePath) -> Option<RecordedNar> {
        let node = self.closure.as_ref()?.get(path)?;
        let digest = Digest::from_bytes(parse_nar_hash(node.nar_hash.as_deref()?)?);
        Some(RecordedNar { digest, size: node.nar_size })
    }

    /// Opens the NAR of a store path that is not on this machine.
    pub(super) fn nar(&self, path: &StorePath) -> io::Result<Box<dyn Read + Send>> {
        let found = match &self.provider {
            Some(provider) => provider.nar(path, self.recorded(path)),
            None => Err(io::Error::new(io::ErrorKind::NotFound, format!("{path} is not on this machine"))),
        };
        found.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => io::Error::new(io::ErrorKind::NotFound, format!("{error}{}", self.remedy(path))),
            _ => error,
        })
    }

    /// Returns the part of an error message that explains how to make a store path available.
    fn remedy(&self, path: &StorePath) -> String {
        let what = self.recipe.as_deref().unwrap_or(path.as_path());
        match self.provider.as_ref().and_then(|provider| provider.cache()) {
            Some(cache) => format!(
                "; where it is, `nix copy --to {cache} {}` puts all that the image needs into the cache",
                what.display()
            ),
            None => format!("; `nix-store --realise {}` builds or downloads it", what.display()),
        }
    }
}

/// Splits a path into its store path and the rest. Returns `None` if the path is not in the store of this machine, or has
/// `..` after the store path.
pub(super) fn in_store(file: &Path) -> Option<(StorePath, &Path)> {
    in_store_directory(local_store(), file)
}

/// The same as [`in_store`], for another store directory.
pub(super) fn in_store_directory<'a>(store: &StoreDir, file: &'a Path) -> Option<(StorePath, &'a Path)> {
    let whole = file.ancestors().find_map(|path| store.parse(path.to_str()?).ok())?;
    let inside = file.strip_prefix(whole.as_path()).ok()?;
    inside.components().all(|part| matches!(part, Component::Normal(_))).then_some((whole, inside))
}
