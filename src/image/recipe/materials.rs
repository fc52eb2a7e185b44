//! What layers are made of besides what the machine has: store paths from elsewhere, and blobs that a registry has.

use std::{
    fmt, io,
    io::Read,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use crate::{
    closure::{Graph, StorePath, parse_nar_hash},
    oci::Digest,
};

/// Gives what a recipe names and the machine lacks.
pub trait Provider: fmt::Debug + Send + Sync {
    /// The NAR of a store path. It ends without an error only where it is what was recorded.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) when it is nowhere to be found.
    fn nar(&self, path: &StorePath, recorded: Option<Recorded>) -> io::Result<Box<dyn Read + Send>>;

    /// A blob of a registry, whose `origin` is `host/repository`. Nothing is checked here.
    ///
    /// # Errors
    ///
    /// When the registry does not give it.
    fn blob(&self, origin: &str, digest: &Digest) -> io::Result<Box<dyn Read + Send>>;

    /// The first place to look for a missing store path, as `nix copy --to` takes it.
    fn cache(&self) -> Option<String>;
}

/// What Nix recorded of a store path's NAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// What a layer may need besides its own description.
#[derive(Clone, Debug, Default)]
pub struct Materials {
    /// What Nix recorded of the store paths.
    pub closure: Option<Arc<Graph>>,
    /// Where what the machine lacks comes from.
    pub provider: Option<Arc<dyn Provider>>,
    /// The recipe that brings everything along, for messages.
    pub recipe: Option<PathBuf>,
}

impl Materials {
    /// What Nix recorded of `path`.
    pub(super) fn recorded(&self, path: &StorePath) -> Option<Recorded> {
        let node = self.closure.as_ref()?.get(path)?;
        let digest = Digest::from_bytes(parse_nar_hash(node.nar_hash.as_deref()?)?);
        Some(Recorded { digest, size: node.nar_size })
    }

    /// The NAR of a store path that the machine lacks.
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

    /// What brings a path to where it is looked for.
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

/// The store path that `file` is in, and where in it; none for a path that `..` leads out of it.
pub(super) fn in_store(file: &Path) -> Option<(StorePath, &Path)> {
    let whole = file.ancestors().find_map(|path| StorePath::parse(path.to_str()?).ok())?;
    let inside = file.strip_prefix(whole.as_path()).ok()?;
    inside.components().all(|part| matches!(part, Component::Normal(_))).then_some((whole, inside))
}
