//! The flags of `strata copy --fleet`.

use std::{path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use crate::{
    image::ManifestGraph,
    oci::Reference,
    transport::{kind::Medium, registry::shared::SharedBlobs, table},
};
use clap::Args;

/// The default of `--shard-wait`, in seconds.
const SHARD_WAIT: u64 = 20;

/// The flags of a copy of many images.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Many images")]
pub struct FleetArguments {
    /// Copy the images listed in FILE, one per line: JSON from nix-eval-jobs, or IMAGE DESTINATION; - reads stdin.
    #[arg(hide_short_help = true, long, value_name = "FILE", conflicts_with_all = ["image", "destination"])]
    pub fleet: Option<PathBuf>,
    /// Destination of each image, such as docker://HOST/{name}:{tag}; {attr} is nix-eval-jobs' name for it.
    #[arg(hide_short_help = true, long, value_name = "TEMPLATE", requires = "fleet")]
    pub to: Option<String>,
    /// Copy one part of the fleet, such as 1/2 or 2/2; images are assigned to parts by digest.
    #[arg(hide_short_help = true, long, value_name = "PART/PARTS", requires = "fleet")]
    pub shard: Option<Shard>,
    /// Wait this long for layers that other parts upload, counted from the last one that appeared [default: 20].
    #[arg(hide_short_help = true, long, value_name = "SECONDS", requires = "shard")]
    shard_wait: Option<u64>,
    /// Append a JSON object to this file for each image.
    #[arg(hide_short_help = true, long, value_name = "FILE", requires = "fleet")]
    pub journal: Option<PathBuf>,
}

impl FleetArguments {
    /// Returns the flags that require `--fleet`, and whether each was given. clap does not check this if an image is
    /// given.
    pub fn dependent_flags(&self) -> [(&'static str, bool); 4] {
        let Self { fleet: _, to, shard, shard_wait, journal } = self;
        [
            ("--to", to.is_some()),
            ("--shard", shard.is_some()),
            ("--shard-wait", shard_wait.is_some()),
            ("--journal", journal.is_some()),
        ]
    }

    /// Returns the registry host before the first placeholder of `--to`. Given credentials apply only to this host.
    /// Destinations in the file may be in other registries, for which stored credentials are used.
    pub fn registry_host(&self) -> Option<String> {
        let (transport, rest) = table::split(self.to.as_deref()?)?;
        let is_registry = matches!(transport.medium, Medium::Registry);
        let fixed = rest.strip_prefix("//").filter(|_| is_registry)?.split('{').next()?;
        let (path, _) = fixed.rsplit_once('/')?;
        Some(format!("{path}/x").parse::<Reference>().ok()?.host)
    }

    /// Returns the state that the pushes of a fleet share.
    pub fn shared(&self) -> Option<Arc<SharedBlobs>> {
        let shard_wait = Duration::from_secs(self.shard.map_or(0, |_| self.shard_wait.unwrap_or(SHARD_WAIT)));
        self.fleet.as_ref().map(|_| Arc::new(SharedBlobs::new(shard_wait)))
    }
}

/// A part of a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    part: u64,
    parts: u64,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(part, parts)| Some((part.parse().ok()?, parts.parse().ok()?)));
        match numbers {
            Some((part, parts)) if (1..=parts).contains(&part) => Ok(Self { part, parts }),
            _ => Err("write it like 1/2".to_owned()),
        }
    }
}

impl Shard {
    pub fn has(self, content: &ManifestGraph) -> bool {
        let hex = content.digest().hex();
        let number = u64::from_str_radix(&hex[..15], 16).unwrap_or_default();
        number % self.parts == self.part - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_numbers_between_one_and_their_count() {
        assert_eq!("2/2".parse(), Ok(Shard { part: 2, parts: 2 }));
        for wrong in ["0/2", "3/2", "1", "1/0", "a/b"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
