//! Flags for binary caches, which have the store paths that this machine lacks.

use std::{fs, sync::Arc};

use super::flag_rules::{self, Rule};
use crate::image::Opened;
use crate::terminal::note;
use crate::transport::{
    ReadOptions,
    binary_cache::{Cache, Substituters},
    registry,
};
use anyhow::{Context, Result};
use clap::Args;

/// Flags of a command that makes layers.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Binary caches")]
pub struct SubstituterArguments {
    /// Binary cache for store paths that this machine lacks: https://HOST, http://HOST, file:///DIR or s3://BUCKET; may be
    /// repeated [default: the caches of Nix's configuration]. Passwords come from $NETRC, ~/.netrc or /etc/nix/netrc.
    #[arg(long, value_name = "URL", hide_short_help = true)]
    // Not parsed by clap, whose errors repeat the value: it may contain a password.
    substituter: Vec<String>,
    /// HTTP header for these caches, or @FILE with one per line. Other users can see arguments; put secrets into a file.
    #[arg(long, value_name = "NAME: VALUE|@FILE", hide_short_help = true, requires = "substituter")]
    header: Vec<String>,
}

impl SubstituterArguments {
    /// Whether caches are given.
    pub fn is_given(&self) -> bool {
        !self.substituter.is_empty()
    }

    /// Returns the flags, and whether each was given.
    fn flags(&self) -> [(&'static str, bool); 2] {
        [("--substituter", self.is_given()), ("--header", !self.header.is_empty())]
    }

    /// Returns the rules for these flags, if layers of an image may be made here.
    pub fn rules(&self, may_be_recipe: bool) -> [Rule; 2] {
        let purpose = "recipes (image.json)";
        self.flags().map(|(flag, is_given)| Rule::new(flag, is_given, may_be_recipe, purpose))
    }

    /// Refuses these flags if no layer of the images is made here.
    pub fn check_opened(&self, what: &str, opened: &[Opened]) -> Result<()> {
        flag_rules::check(what, self.rules(opened.iter().any(flag_rules::is_recipe)))
    }

    /// Returns options for sources: registries with these options, and caches for missing store paths.
    pub fn access(&self, registry: registry::Options) -> Result<ReadOptions> {
        self.access_with_origins(registry.clone(), registry)
    }

    /// The same as [`access`](Self::access), with other options for layers of a recipe that are in a registry.
    pub fn access_with_origins(&self, registry: registry::Options, origins: registry::Options) -> Result<ReadOptions> {
        let substituters = self.substituters(None, origins)?;
        Ok(ReadOptions { registry, provider: Some(Arc::new(substituters)), ..ReadOptions::default() })
    }

    /// Returns the caches: the given ones, else `default`, else those of Nix's configuration.
    pub fn substituters(&self, default: Option<Cache>, origins: registry::Options) -> Result<Substituters> {
        let caches = self.substituter.iter().map(|url| url.parse());
        let caches: Vec<Cache> = caches.collect::<std::result::Result<_, _>>().context("parsing --substituter")?;
        for cache in &caches {
            for setting in cache.unknown_settings() {
                note!("warning: {cache}: strata and Nix have no setting {setting} of binary caches; it is ignored");
            }
        }
        let mut headers = Vec::new();
        for argument in &self.header {
            let text = match argument.strip_prefix('@') {
                Some(path) => fs::read_to_string(path).with_context(|| format!("reading the headers in {path}"))?,
                None => argument.clone(),
            };
            for line in text.lines().filter(|line| !line.trim().is_empty()) {
                // The value may be a secret.
                let (name, value) = line.split_once(':').context("a header has no colon; write it like NAME: VALUE")?;
                headers.push((name.trim().to_owned(), value.trim().to_owned()));
            }
        }
        let caches = if caches.is_empty() { default.into_iter().collect() } else { caches };
        Ok(Substituters::new(caches, headers, origins))
    }
}
