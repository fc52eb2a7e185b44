//! The derivation of an attribute of a flake, for `strata rebuild`.
//!
//! A commit may come from the provenance of an image, and contributors may have written it: forges serve the commits of forks under
//! the name of the repository. A commit is therefore evaluated as `serve --flake` evaluates versions: without the credentials of this
//! user, and without files of this machine.

use anyhow::{Context, Result};

use super::{
    EVAL_MEMORY,
    isolation::Isolation,
    nix::{EVALUATION, NixCommands, json, list, text},
    processes::Processes,
    reference::FlakeReference,
};

/// A flake, of which one attribute is evaluated.
#[derive(Debug)]
pub struct Evaluated {
    reference: FlakeReference,
    /// Whether it is a checkout of the user, as it is.
    is_own: bool,
    /// Whether binary caches are used. Evaluations build what they import.
    substitutes: bool,
}

impl Evaluated {
    /// Parses a reference. With `has_commit`, it has a commit of a repository. Without `substitutes`, its evaluation uses no binary
    /// cache.
    ///
    /// # Errors
    ///
    /// If a directory does not exist.
    pub fn parse(flake: &str, has_commit: bool, substitutes: bool) -> Result<Self> {
        let reference = FlakeReference::parse(flake)?;
        let is_own = reference.is_local() && !has_commit;
        if is_own {
            reference.check_flake_file()?;
        }
        Ok(Self { reference, is_own, substitutes })
    }

    /// Whether the source is the user's own checkout, which is evaluated and built with the rights of the user.
    pub fn is_own(&self) -> bool {
        self.is_own
    }

    /// Evaluates the derivation of an attribute, which is looked up as `nix build FLAKE#ATTRIBUTE` does. `flake` is the reference.
    ///
    /// # Errors
    ///
    /// If the source cannot be fetched, an input is not public, or the evaluation fails.
    pub fn derivation(&self, flake: &str, attribute: &str) -> Result<String> {
        let (processes, isolation) = (Processes::new(EVALUATION, EVAL_MEMORY), Isolation::create()?);
        let nix = NixCommands { processes: &processes, isolation: &isolation, substitutes: self.substitutes };
        if self.is_own {
            let mut command = nix.nix_in(nix.limited("nix"), "eval");
            command
                .args(["--json", "--no-write-lock-file", "--no-update-lock-file"])
                .arg(format!("{flake}#{attribute}.drvPath"));
            return json(&nix.run(command, EVALUATION)?);
        }
        let own = self.reference.checkout_lock_file()?;
        let version = nix.version(flake, own.as_ref()).context("fetching the flake")?;
        json(&nix.eval_version(&version, &expression(attribute))?)
    }
}

/// Returns an expression for the derivation of an attribute of `flake`.
fn expression(attribute: &str) -> String {
    let names: Vec<String> = attribute.split('.').map(str::to_owned).collect();
    format!(
        "let names = {}; system = builtins.currentSystem; \
         find = builtins.foldl' (found: name: if builtins.isAttrs found then found.${{name}} or null else null); \
         places = [ (flake.packages.${{system}} or {{ }}) (flake.legacyPackages.${{system}} or {{ }}) flake ]; \
         found = builtins.filter (value: value != null) (map (place: find place names) places); in \
         if found == [ ] then throw {} else (builtins.head found).drvPath or (throw {})",
        list(&names),
        text(&format!("the flake has no attribute {attribute} for this system")),
        text(&format!("{attribute} is not a derivation")),
    )
}
