//! The steps of a copy, for a single image and for each line of a fleet:
//!
//! ```text
//! check the flags ──▶ verify the signature ──▶ open ──▶ write ──▶ attach
//!  for these media      pins the digest        image,   to the    referrers, SBOM,
//!                                              index    medium    provenance, signatures
//! ```

use std::sync::Arc;

use super::{
    access::CopyRegistries,
    also,
    attached::{self, Signer},
    copy_arguments::{CopyArguments, SkopeoArguments},
    copy_flags, flag_rules,
    progress::Display,
    trust::{self, Trust},
};
use crate::terminal::note;
use crate::{
    attest::VerifyingKey,
    image::{FoundReferrers, ManifestGraph, Opened},
    layer::DetectedCompression,
    oci::{Digest, Platform, descriptor::media_type},
    transport::{self, Destination, Details, Location, Outcome, Referrers, WriteOptions},
};
use anyhow::{Context, Result, bail, ensure};

/// The state that the copies of one command share.
pub struct CopySession<'a> {
    arguments: &'a CopyArguments,
    from: transport::ReadOptions,
    options: WriteOptions,
    trust: Option<Trust>,
    platform: Option<Platform>,
    signer: Option<Arc<Signer>>,
}

/// A finished copy.
pub struct Copied {
    pub outcome: Outcome,
    /// The attachments, one per line.
    pub notes: Vec<String>,
}

/// An opened image, and the part of it that is copied.
struct OpenedSource {
    opened: Opened,
    content: ManifestGraph,
}

impl<'a> CopySession<'a> {
    /// Reads keys and credentials.
    pub fn new(arguments: &'a CopyArguments, display: &Arc<Display>) -> Result<Self> {
        let access = &arguments.access;
        let CopyRegistries { source, destination, origins } = registries(arguments)?;
        let from = arguments.substituters.access_with_origins(source, origins)?;
        let signer = arguments.attachments.signer()?.map(Arc::new);
        let trust = arguments.signature.trust()?;
        let compression = copy_flags::compression(arguments)?;
        also::check(arguments.also, compression, "--compression")?;
        let options = WriteOptions {
            additional_tags: arguments.additional_tag.clone(),
            compression,
            level: arguments.compression_level,
            mount_from: arguments.mount_from.clone(),
            cache_from: arguments.cache_from.clone(),
            cache_to: arguments.cache_to.clone(),
            trusted_keys: trusted_keys(arguments, signer.as_deref())?,
            trust_tags: arguments.trust_tags,
            prune: None,
            sign: signer.clone().map(attached::sign_documents),
            registry: destination,
            engine: access.destination_engine(),
            shared: arguments.fleet.shared(),
            progress: Arc::<Display>::clone(display),
        };
        Ok(Self {
            arguments,
            from: transport::ReadOptions { engine: access.source_engine(), ..from },
            options,
            trust,
            platform: platform(arguments),
            signer,
        })
    }

    /// Returns the state that pushes of a fleet share, and their compression.
    pub fn options(&self) -> &WriteOptions {
        &self.options
    }

    /// Returns the manifests of `image`, without those of `--also`, after verifying its signature.
    pub fn content(&self, image: &Location) -> Result<ManifestGraph> {
        Ok(self.open(&self.verify(image)?)?.content)
    }

    /// Refuses flags that have no effect on this copy.
    pub fn check(&self, image: &Location, destination: &Destination) -> Result<()> {
        copy_flags::check(self.arguments, image, destination)
    }

    /// Copies one image.
    pub fn copy(&self, image: &Location, destination: &Destination) -> Result<Copied> {
        self.check(image, destination)?;
        ensure!(!destination.replaces(image), "{destination}: it is the file that {image} reads; write another file");
        let attachments = self.arguments.attachments.prepare(destination, self.signer.clone())?;
        let mut source = self.open(&self.verify(image)?)?;
        copy_flags::check_opened(self.arguments, image, destination, &source.opened)?;
        let digest = source.content.digest();
        source.content = self.with_also(image, source.content)?;
        if self.arguments.preserve_digests {
            check_keeps_digest(&source.content, destination)?;
        }
        warn_of_layers(&source.content, destination);
        self.provide_closure(&source.opened)?;
        let referrers = self.referrers(&source, destination)?;
        let options = self.options_with_kept(&source.opened, image)?;
        let outcome = destination.write(&source.content, &options).map_err(anyhow::Error::from_boxed);
        let mut outcome = outcome.with_context(|| format!("copying {image} to {destination}"))?;
        if let Details::Pushed(push) = &mut outcome.details {
            // The digest of the image, and not that of the index of `--also`.
            push.digest_before = push.digest_before.map(|_| digest);
        }
        let mut notes = Vec::new();
        if let Some((place, referrers)) = referrers {
            notes.extend(add_referrers(&referrers, place, &source.content, outcome.digest, &self.options)?);
        }
        if let Some(attachments) = attachments {
            let platform = self.platform.as_ref();
            let lines = attachments.attach(&outcome, &source.opened, platform, &self.options.registry);
            notes.extend(lines.with_context(|| format!("{destination} was pushed, but attaching documents failed"))?);
        }
        Ok(Copied { outcome, notes })
    }

    /// The options of the copy, with the layers that `--prune` keeps.
    fn options_with_kept(&self, source: &Opened, image: &Location) -> Result<WriteOptions> {
        let mut options = self.options.clone();
        if self.arguments.prune {
            // The layers of all platforms are kept, because a cache may be filled for several.
            let layers = |opened: &Opened, image: &Location| {
                let content = opened.content().with_context(|| format!("reading {image}"))?;
                let layers = content.images().into_iter().flat_map(|image| &image.layers);
                anyhow::Ok(layers.map(|layer| layer.diff_id).collect::<Vec<_>>())
            };
            let mut kept = layers(source, image)?;
            for image in &self.arguments.keep {
                kept.extend(layers(&image.open(&self.from)?, image)?);
            }
            options.prune = Some(kept);
        }
        Ok(options)
    }

    /// Writes the blobs that [`SharedBlobs`](crate::transport::registry::shared::SharedBlobs) allows now, and attaches nothing.
    pub fn write_blobs(&self, image: &Location, destination: &Destination) -> Result<Outcome> {
        copy_flags::check(self.arguments, image, destination)?;
        let source = self.open(&self.verify(image)?)?;
        let content = self.with_also(image, source.content)?;
        destination.write(&content, &self.options).map_err(anyhow::Error::from_boxed)
    }

    /// Returns the image by its digest if the key signed it, or the image itself if no key is given.
    fn verify(&self, image: &Location) -> Result<Location> {
        trust::pin(self.trust.as_ref(), image, &self.from.registry)
    }

    /// Opens the image, or with `--all` the index with all its images.
    fn open(&self, image: &Location) -> Result<OpenedSource> {
        let opened = image.open(&self.from)?;
        self.arguments.substituters.check_opened(&image.to_string(), std::slice::from_ref(&opened))?;
        flag_rules::check(&image.to_string(), self.arguments.nix_node.source_rules(flag_rules::is_recipe(&opened)))?;
        let content = match self.arguments.all {
            all if self.arguments.nix_node.is_given() => opened.for_nix_node(self.platform.as_ref(), all),
            true => opened.content(),
            false => opened.image(self.platform.as_ref()).map(ManifestGraph::from),
        };
        let content = content.with_context(|| format!("reading {image}"))?;
        check_format(&content, self.arguments)?;
        if self.arguments.lazy {
            copy_flags::check_lazy(image, &content)?;
        }
        Ok(OpenedSource { opened, content })
    }

    /// Adds the manifests of `--also`, whose layers are compressed here.
    pub fn with_also(&self, image: &Location, content: ManifestGraph) -> Result<ManifestGraph> {
        let content = also::add(self.arguments.also, image, content)?;
        // Events on the standard error are not mixed with notes.
        if !self.arguments.quiet && !self.arguments.json {
            also::note_of_layers(self.arguments.also, self.options.compression);
        }
        Ok(content)
    }

    /// With `--nix-node`, makes sure that a binary cache has the store paths that nodes need, before the tag moves.
    fn provide_closure(&self, opened: &Opened) -> Result<()> {
        let arguments = self.arguments;
        if !arguments.nix_node.is_given() {
            return Ok(());
        }
        let recipes = opened.recipes(self.platform.as_ref(), arguments.all);
        // Events on the standard error are not mixed with the log of Nix.
        let quiet = arguments.quiet || arguments.json;
        arguments.nix_node.provide(&recipes, &arguments.substituters, quiet)
    }

    /// With `--referrers`, returns the referrers of the image and the side that writes them.
    fn referrers<'d>(
        &self,
        source: &OpenedSource,
        destination: &'d Destination,
    ) -> Result<Option<(&'d dyn Referrers, FoundReferrers)>> {
        let read = || anyhow::Ok((destination.referrers()?, source.opened.referrers(&source.content)?));
        self.arguments.referrers.then(read).transpose()
    }
}

/// Returns the options for the registries of source and destination.
fn registries(arguments: &CopyArguments) -> Result<CopyRegistries> {
    let source = arguments.image.as_ref().and_then(Location::registry_host);
    let fleet = arguments.fleet.registry_host();
    let destination = arguments.destination.as_ref().and_then(Destination::registry_host).or(fleet.as_deref());
    copy_flags::check_fleet(arguments, fleet.as_deref())?;
    arguments.access.registries(source, destination)
}

/// Returns the keys whose signatures make listed layers trusted.
fn trusted_keys(arguments: &CopyArguments, signer: Option<&Signer>) -> Result<Vec<VerifyingKey>> {
    if arguments.cache_key.is_empty() {
        return Ok(signer.map(Signer::verifying_key).transpose()?.flatten().into_iter().collect());
    }
    Ok(arguments.cache_key.iter().map(|path| VerifyingKey::open(path)).collect::<Result<_, _>>()?)
}

/// Writes the referrers of `content`, whose digest at the destination is `digest`.
fn add_referrers(
    FoundReferrers { graphs, skipped }: &FoundReferrers,
    place: &dyn Referrers,
    content: &ManifestGraph,
    digest: Digest,
    options: &WriteOptions,
) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    if let Some(first) = skipped.first() {
        notes.push(format!("{} malformed referrers are not copied, the first one is: {first}", skipped.len()));
    }
    if graphs.is_empty() {
        return Ok(notes);
    }
    ensure!(
        digest == content.digest(),
        "the referrers of {} were not copied: compressing uncompressed layers made it {digest}; --preserve-digests keeps it",
        content.digest()
    );
    for referrer in graphs {
        let added = place.add(referrer, options).map_err(anyhow::Error::from_boxed);
        added.with_context(|| format!("copying {}, which refers to {digest}", referrer.digest()))?;
    }
    notes.push(format!("{} referrers copied", graphs.len()));
    Ok(notes)
}

/// Returns the requested platform, from the flags of strata or of skopeo.
fn platform(arguments: &CopyArguments) -> Option<Platform> {
    let SkopeoArguments { override_arch, override_os, override_variant, .. } = &arguments.skopeo;
    let is_overridden = override_arch.is_some() || override_os.is_some() || override_variant.is_some();
    let here = Platform::here();
    let overridden = is_overridden.then(|| Platform {
        architecture: override_arch.clone().unwrap_or(here.architecture),
        os: override_os.clone().unwrap_or(here.os),
        variant: override_variant.clone(),
        ..Platform::linux("", None)
    });
    arguments.platform.clone().or(overridden)
}

/// Warns before a load of an image that docker may refuse.
fn warn_of_layers(content: &ManifestGraph, destination: &Destination) {
    let most = content.images().into_iter().map(|image| image.layers.len()).max().unwrap_or(0);
    if let Some(limit) = destination.transport().write.holds.layers.filter(|limit| most > *limit) {
        note!(
            "strata: warning: the image has {most} layers, and docker's own image store takes at most {limit}; build it \
             with a lower maxLayers"
        );
    }
}

/// Errors if the digest changes: an archive for docker has its zstd layers uncompressed.
fn check_keeps_digest(content: &ManifestGraph, destination: &Destination) -> Result<()> {
    let is_zstd = |kind: &str| DetectedCompression::from_media_type(kind) == DetectedCompression::Zstd;
    let layers = content.images();
    let mut layers = layers.iter().flat_map(|image| &image.layers);
    if !destination.transport().write.holds.zstd && layers.any(|layer| is_zstd(&layer.descriptor.media_type)) {
        bail!(
            "{destination} cannot keep the digest: zstd layers are decompressed for docker; omit --preserve-digests, or \
             copy to oci-archive:"
        );
    }
    Ok(())
}

/// Errors if the manifests have another format than the requested one. strata converts no formats.
fn check_format(content: &ManifestGraph, arguments: &CopyArguments) -> Result<()> {
    let Some(format) = arguments.skopeo.format.as_deref() else { return Ok(()) };
    for image in content.images() {
        let image_format = if image.media_type == media_type::MANIFEST { "oci" } else { "v2s2" };
        if image_format != format {
            bail!("the image's manifest is {image_format} and is copied as it is; omit --format {format}");
        }
    }
    Ok(())
}
