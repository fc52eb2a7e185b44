//! `strata pull REF DIR` and `strata manifest REF`, for the derivations and lock files of pullImage.

use std::{io::Write, path::PathBuf, process::ExitCode};

use super::{
    access::Access,
    parse::{parse_platform, parse_reference},
    trust::{self, SignatureArguments},
};
use crate::terminal::{self, note};
use crate::{
    image::{FoundImages, Opened, PlatformChoice},
    oci::{Index, Platform, Reference, json},
    transport::{
        ReadOptions, dir,
        registry::{Client, Purpose},
    },
};
use anyhow::{Context, Result, bail};
use clap::Args;

/// An image in a registry, and how it is read.
#[derive(Debug, Args)]
struct RegistryImage {
    /// [docker://]HOST/NAME[:TAG|@DIGEST]
    #[arg(value_name = "REF", value_parser = parse_reference)]
    reference: Reference,
    #[command(flatten)]
    signature: SignatureArguments,
    #[command(flatten)]
    access: Access,
}

impl RegistryImage {
    fn options(&self) -> Result<ReadOptions> {
        Ok(ReadOptions { registry: self.access.options(&[&self.reference.host])?, ..ReadOptions::default() })
    }

    /// Opens the image after verifying its signature.
    fn open(&self, options: &ReadOptions) -> Result<FoundImages> {
        let location = trust::location(&self.reference)?;
        match self.signature.pin(&location, &options.registry)?.open(options)? {
            Opened::Found(found) => Ok(found),
            Opened::Recipe(_) | Opened::Index(_) => bail!("{location}: a registry has no recipes"),
        }
    }
}

/// `strata pull`
#[derive(Debug, Args)]
pub struct PullArguments {
    /// The directory; created if it does not exist.
    #[arg(value_name = "DIR", index = 2)]
    directory: PathBuf,
    /// The platform to choose from a multi-platform image.
    ///
    /// OS/ARCH[/VARIANT], such as linux/arm64 or linux/arm/v7.
    #[arg(long, value_name = "OS/ARCH", value_parser = parse_platform)]
    platform: Option<Platform>,
    #[command(flatten)]
    image: RegistryImage,
}

/// `strata manifest`
#[derive(Debug, Args)]
pub struct ManifestArguments {
    /// Print the index of a multi-platform image instead of one platform's manifest.
    #[arg(long, conflicts_with = "platform")]
    index: bool,
    /// The platform to choose from a multi-platform image.
    ///
    /// OS/ARCH[/VARIANT], such as linux/arm64 or linux/arm/v7.
    #[arg(long, value_name = "OS/ARCH", value_parser = parse_platform)]
    platform: Option<Platform>,
    /// Print the referrers of the image (signatures, SBOMs, …), as an index.
    #[arg(long, conflicts_with = "index")]
    referrers: bool,
    #[command(flatten)]
    image: RegistryImage,
}

fn wanted(platform: Option<&Platform>) -> PlatformChoice {
    platform.map_or_else(|| PlatformChoice::Prefer(Platform::here()), |platform| PlatformChoice::Only(platform.clone()))
}

/// Pulls into a directory, in the format of `skopeo copy docker://REF dir:DIR`.
pub fn pull(PullArguments { image, directory, platform }: &PullArguments) -> Result<ExitCode> {
    let pulling = || format!("pulling {}", image.reference);
    let found = image.open(&image.options()?).with_context(pulling)?;
    let pulled = found.image(&wanted(platform.as_ref())).with_context(pulling)?;
    let digest = dir::write(&pulled, directory).with_context(pulling)?;
    writeln!(terminal::stdout(), "{digest}")?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the raw manifest, the index, or the referrers as an index.
pub fn manifest(arguments: &ManifestArguments) -> Result<ExitCode> {
    let ManifestArguments { image, index, platform, referrers, .. } = arguments;
    let options = image.options()?;
    let found = image.open(&options)?;
    let is_root = *index || *referrers && platform.is_none();
    let node = if is_root { found.root()? } else { found.choose(&wanted(platform.as_ref()))?.0 };
    let mut bytes = node.document()?;
    if *referrers {
        let client = Client::for_purpose(Purpose::ReadOriginal, &image.reference, &options.registry)?;
        let listed = client.list_referrers(&node.descriptor.digest)?;
        listed.malformed.iter().for_each(|why| note!("{}: {why}", image.reference));
        bytes = json::to_vec(&Index::new(listed.descriptors));
    }
    let mut out = terminal::stdout();
    out.exact().write_all(&bytes)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
