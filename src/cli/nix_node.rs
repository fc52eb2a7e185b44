//! `strata copy --nix-node`: images for nodes with a Nix store, and the check that a binary cache has their store paths.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use super::{flag_rules::Rule, flake::last_lines, substituters::SubstituterArguments};
use crate::{
    image::{ImageError, Recipe},
    terminal::note,
    transport::{
        Destination,
        binary_cache::{Cache, Missing},
        kind::Medium,
        registry,
    },
};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;

/// The number of missing store paths in a message.
const SHOWN: usize = 10;

/// Flags for nodes with a Nix store.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Nodes with a Nix store")]
pub struct NixNodeArguments {
    /// Push mount points instead of store paths, for nodes that run nix-snapshotter and substitute the store paths. The image
    /// must be built with nixNode = true, and a cache of --substituter must have all its store paths.
    #[arg(long, hide_short_help = true)]
    nix_node: bool,
    /// With --nix-node, copy the store paths to this cache first, as nix copy --to does.
    #[arg(long, value_name = "URL", hide_short_help = true, requires = "nix_node")]
    // Not parsed by clap, whose errors repeat the value: it may contain a password.
    push_closure: Option<String>,
}

impl NixNodeArguments {
    /// Whether images are made for nodes with a Nix store.
    pub fn is_given(&self) -> bool {
        self.nix_node
    }

    /// Returns the rules for the destination: nodes pull from registries, or import OCI archives and layouts.
    pub fn rules(&self, destination: &Destination) -> [Rule; 2] {
        let transport = destination.transport();
        let holds = matches!(transport.medium, Medium::Registry) || matches!(transport.name, "oci" | "oci-archive");
        self.rules_if(holds, "registries and OCI layouts (docker://, oci: and oci-archive:)")
    }

    /// Returns the rules for the source.
    pub fn source_rules(&self, may_be_recipe: bool) -> [Rule; 2] {
        self.rules_if(may_be_recipe, "recipes (image.json)")
    }

    fn rules_if(&self, has_effect: bool, purpose: &str) -> [Rule; 2] {
        [("--nix-node", self.nix_node), ("--push-closure", self.push_closure.is_some())]
            .map(|(flag, is_given)| Rule::new(flag, is_given, has_effect, purpose))
    }

    /// With `--push-closure`, copies the store paths to that cache. Then errors if a store path that nodes need is in no cache:
    /// nix-snapshotter reports that only when a container starts.
    pub fn provide(&self, recipes: &[&Recipe], caches: &SubstituterArguments, quiet: bool) -> Result<()> {
        let default = match &self.push_closure {
            Some(url) if !caches.is_given() => {
                let parsed: Result<Cache, _> = url.parse();
                Some(parsed.context("--push-closure; or name the cache for the check with --substituter")?)
            }
            _ => None,
        };
        let substituters = caches.substituters(default, registry::Options::default())?;
        for recipe in recipes {
            let node = recipe.nix_node.as_ref().ok_or(ImageError::NoNixNode)?;
            if let Some(url) = &self.push_closure {
                copy_closure(node.closure(), url, quiet)?;
            }
            let materials = recipe.materials();
            let missing = substituters.missing(&node.store_paths(), |path| materials.recorded(path));
            let missing = missing.context("searching binary caches for the store paths of the image")?;
            if !missing.is_empty() {
                bail!(
                    "{} that nodes need: {}; copy all with --push-closure URL, or name the cache of the nodes with --substituter",
                    counted(missing.len()),
                    listed(&missing)
                );
            }
        }
        Ok(())
    }
}

fn counted(count: usize) -> String {
    match count {
        1 => "no binary cache has a store path".to_owned(),
        count => format!("no binary cache has {count} store paths"),
    }
}

fn listed(missing: &[Missing]) -> String {
    let mut shown: Vec<String> = missing.iter().take(SHOWN).map(ToString::to_string).collect();
    if missing.len() > SHOWN {
        shown.push(format!("and {} more", missing.len() - SHOWN));
    }
    shown.join(", ")
}

/// Copies the store path and everything that it refers to.
fn copy_closure(closure: &Path, url: &str, quiet: bool) -> Result<()> {
    let mut nix = Command::new("nix");
    nix.args(["--extra-experimental-features", "nix-command", "copy", "--to", url]).arg(closure);
    // Its output has the URL, which may have a password.
    nix.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    if quiet {
        nix.arg("--quiet");
    }
    let mut child = nix.spawn().context("starting nix for --push-closure; install it, or add it to PATH")?;
    let print = |line: &str| {
        if !quiet {
            note!("{line}");
        }
    };
    let lines = child.stderr.take().map(|stderr| last_lines(stderr, print)).unwrap_or_default();
    let status = child.wait().context("waiting for nix copy")?;
    let cause = if quiet && !lines.is_empty() { format!(": {}", Vec::from(lines).join("\n")) } else { String::new() };
    ensure!(
        status.success(),
        "copying {} with nix copy for --push-closure: nix ended with {status}{cause}",
        closure.display()
    );
    Ok(())
}
