//! The Nix store of this machine.

use std::{env, path::Path, sync::OnceLock};

use crate::closure::StoreDir;

/// Returns the store directory, whose files every user can read: `NIX_STORE_DIR` as in Nix, `NIX_STORE` in builds, or
/// `/nix/store`.
///
/// Directories of private stores and of other users can have names in the form of a store path too. They are not in this
/// store, so a recipe cannot read them.
pub fn local_store() -> &'static StoreDir {
    static STORE: OnceLock<StoreDir> = OnceLock::new();
    STORE.get_or_init(|| {
        let set = ["NIX_STORE_DIR", "NIX_STORE"].into_iter().filter_map(env::var_os);
        set.into_iter().find(|path| Path::new(path).is_absolute()).map(StoreDir::new).unwrap_or_default()
    })
}
