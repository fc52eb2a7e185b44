//! Flags that say where store paths come from that the machine lacks.

use std::{fs, sync::Arc};

use anyhow::{Context, Result};
use clap::Args;
use strata::{
    registry,
    source::Access,
    substituter::{Cache, Substituters},
};

/// Of a command that makes layers.
#[derive(Clone, Debug, Default, Args)]
pub struct SubstituterArguments {
    /// A binary cache for store paths that the machine lacks: https://HOST, http://HOST, file:///DIR or s3://BUCKET; may
    /// be given several times, and without one those of Nix's configuration are asked. Passwords come from $NETRC,
    /// ~/.netrc or /etc/nix/netrc.
    #[arg(long, value_name = "URL")]
    substituter: Vec<Cache>,
    /// A header for these caches, or a file of some, a line each. Others can read arguments: secrets belong into a file.
    #[arg(long, value_name = "NAME: VALUE|@FILE", requires = "substituter")]
    header: Vec<String>,
}

impl SubstituterArguments {
    /// How sources are reached: registries as said, and what the machine lacks from the caches.
    pub fn access(&self, registry: registry::Options) -> Result<Access> {
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
        let substituters = Substituters::new(self.substituter.clone(), headers, registry.clone());
        Ok(Access { registry, provider: Some(Arc::new(substituters)), ..Access::default() })
    }
}
