//! `strata index docker://REF REF…`: joins single-platform images into one index.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use super::access::Access;
use crate::terminal;
use crate::{
    oci::{Descriptor, Digest, ImageConfig, Index, Manifest, Reference, descriptor::media_type, json},
    transport::registry::{Client, Mount, Purpose, RegistryDocument, Upload},
};
use anyhow::{Context, Result, bail};
use clap::Args;

/// The index and its images.
#[derive(Clone, Debug, Args)]
pub struct IndexArguments {
    /// The index to write, as docker://HOST/NAME:TAG.
    #[arg(value_name = "docker://REF", value_parser = super::parse::parse_reference)]
    destination: Reference,
    /// The images, HOST/NAME:TAG of the same registry; an index stands for the images it lists.
    #[arg(value_name = "REF", required = true, value_parser = super::parse::parse_reference)]
    images: Vec<Reference>,
    #[command(flatten)]
    access: Access,
}

pub fn run(arguments: &IndexArguments) -> Result<ExitCode> {
    let IndexArguments { destination, images, access } = arguments;
    if destination.digest.is_some() {
        bail!("a destination has a tag, not a digest: {destination}");
    }
    let hosts: Vec<&str> = [destination].into_iter().chain(images).map(|reference| reference.host.as_str()).collect();
    let options = access.options(&hosts)?;
    let target = Client::for_purpose(Purpose::Write, destination, &options)?;
    let mut listed: Vec<(&Reference, Descriptor)> = Vec::new();
    for reference in images {
        let reading = || format!("reading {reference}");
        let source = Client::new(reference, &options)?;
        let source = std::sync::Arc::new(source);
        let document = source.manifest(&reference.version()).with_context(reading)?;
        let document = document.with_context(|| format!("{reference} is not there"))?;
        for descriptor in descriptors(&source, &document).with_context(reading)? {
            if listed.iter().any(|(_, other)| other.digest == descriptor.digest) {
                continue;
            }
            check_platform(&listed, reference, &descriptor)?;
            copy_image(&source, &target, &descriptor)
                .with_context(|| format!("copying {reference} to {destination}"))?;
            listed.push((reference, descriptor));
        }
    }
    let index = json::to_vec(&Index::new(listed.into_iter().map(|(_, descriptor)| descriptor).collect()));
    target
        .put_manifest(&destination.version(), media_type::INDEX, &index)
        .with_context(|| format!("writing {destination}"))?;
    writeln!(terminal::stdout(), "{}", Digest::sha256(&index))?;
    Ok(ExitCode::SUCCESS)
}

/// Refuses a second image of one platform, since a pull would never choose one of them.
fn check_platform(listed: &[(&Reference, Descriptor)], reference: &Reference, descriptor: &Descriptor) -> Result<()> {
    // BuildKit's attestations have the platform unknown/unknown, one for each image.
    let Some(platform) = descriptor.platform.as_ref().filter(|platform| platform.os != "unknown") else {
        return Ok(());
    };
    match listed.iter().find(|(_, other)| other.platform.as_ref() == Some(platform)) {
        None => Ok(()),
        Some((other, _)) if *other == reference => bail!("{reference} lists two images for {platform}"),
        Some((other, _)) => bail!("{other} and {reference} are both for {platform}; name one image for each platform"),
    }
}

/// Returns the descriptors in an existing index, or that of a single image with its platform.
fn descriptors(source: &Client, document: &RegistryDocument) -> Result<Vec<Descriptor>> {
    if let Ok(index) = serde_json::from_slice::<Index>(&document.bytes) {
        return Ok(index.manifests);
    }
    let manifest: Manifest = serde_json::from_slice(&document.bytes).context("it is neither an image nor an index")?;
    let config = source.small_blob(&manifest.config.digest)?.context("its config is not there")?;
    let config: ImageConfig = serde_json::from_slice(&config).context("its config is not an image's")?;
    let descriptor =
        Descriptor::new(&document.media_type, Digest::sha256(&document.bytes), document.bytes.len() as u64);
    Ok(vec![Descriptor { platform: Some(config.platform()), ..descriptor }])
}

/// Copies an image of another repository with its blobs.
fn copy_image(source: &std::sync::Arc<Client>, target: &Client, descriptor: &Descriptor) -> Result<()> {
    if (source.host(), source.repository()) == (target.host(), target.repository()) {
        return Ok(());
    }
    let document = source.manifest(&descriptor.digest.to_string())?.context("it lists an image that is not there")?;
    let manifest: Manifest = serde_json::from_slice(&document.bytes).context("it lists an index; name its images")?;
    for blob in manifest.layers.iter().chain([&manifest.config]) {
        if target.has_blob(&blob.digest)? {
            continue;
        }
        let session = match (source.host() == target.host()).then(|| target.mount(&blob.digest, source.repository())) {
            Some(mounted) => match mounted? {
                Mount::Done => continue,
                Mount::Session(session) => Some(session),
                Mount::Refused => None,
            },
            None => None,
        };
        let (source, digest) = (std::sync::Arc::clone(source), blob.digest);
        let mut make = move || -> Box<dyn io::Read + Send> { Box::new(source.blob(&digest)) };
        target.upload(Upload { make: &mut make, size: Some(blob.size), digest: &|| Some(digest), session })?;
    }
    Ok(target.put_manifest(&descriptor.digest.to_string(), &document.media_type, &document.bytes)?)
}
