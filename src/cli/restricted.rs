//! Evaluations that read certain directories only.
//!
//! In restricted mode, expressions read only files below the search path, and open only URLs that begin with one of
//! `allowed-uris` (nix: `restrict-eval`; Hydra evaluates in this mode). `builtins.getFlake` and `builtins.fetchTree` of Nix
//! 2.8 are not restricted, but need an experimental feature. Pure mode is not added: with a hash, `builtins.path` of Nix 2.8
//! copies every directory into the store there.

use std::{ffi::OsString, path::Path, process::Command};

/// Experimental features that add nothing which reads files. The others are disabled.
const FEATURES: &str = "ca-derivations no-url-literals";

/// Restricts an evaluation to the files below `readable`. It opens URLs that begin with one of `urls`, or of `allowed-uris` in
/// the configuration of Nix, only.
pub fn restrict(command: &mut Command, readable: &[&Path], urls: &[&str]) {
    let urls = urls.join(" ");
    for (name, value) in [
        ("restrict-eval", "true"),
        ("pure-eval", "false"),
        // The user may have allowed further ones.
        ("extra-allowed-uris", &urls),
        ("experimental-features", FEATURES),
        ("nix-path", ""),
        ("allow-unsafe-native-code-during-evaluation", "false"),
    ] {
        command.args(["--option", name, value]);
    }
    // Its entries would be readable.
    command.env_remove("NIX_PATH");
    for (number, path) in readable.iter().enumerate() {
        let mut entry = OsString::from(format!("strata{number}="));
        entry.push(path);
        command.arg("-I").arg(entry);
    }
}
