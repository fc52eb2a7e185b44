//! `strata copy IMAGE DEST`

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use super::{
    access::{CopyAccess, CopyRegistries},
    attach::Attachments,
    attached::{self, Signer},
    compression::CompressionArgument,
    fleet::{self, FleetArguments},
    parse::parse_platform,
    progress::Display,
    substituters::SubstituterArguments,
    trust::{self, SignedAs, Trust},
};
use crate::terminal::{self, line};
use crate::{
    attest::VerifyingKey,
    files,
    image::ManifestGraph,
    layer::compress::Compression,
    oci::{Digest, Platform, descriptor::media_type},
    transport::{
        self, Destination, Location, Referrers, WriteOptions, Written, destination, location,
        registry::{Client, Options, Purpose},
    },
};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::json;

/// `strata copy`
#[derive(Debug, Args)]
pub struct CopyArguments {
    #[arg(help = format!("The source: {}", location::read_syntaxes()))]
    #[arg(required_unless_present = "fleet")]
    pub image: Option<Location>,
    #[arg(help = format!("The destination: {}", destination::write_syntaxes()))]
    #[arg(required_unless_present = "fleet")]
    pub destination: Option<Destination>,
    /// Push under this tag too; may be repeated.
    #[arg(long, value_name = "TAG")]
    pub additional_tag: Vec<String>,
    /// Copy every platform of a multi-platform image, with its index.
    #[arg(long, conflicts_with = "platform")]
    pub all: bool,
    /// The platform to choose from a multi-platform image.
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = parse_platform)]
    pub platform: Option<Platform>,
    /// Compression of uncompressed layers in a push [default: gzip].
    #[arg(long, visible_alias = "dest-compress-format", value_enum)]
    pub compression: Option<CompressionArgument>,
    /// Push uncompressed layers as they are, which keeps every digest.
    #[arg(long, conflicts_with_all = ["compression", "compression_level"])]
    pub preserve_digests: bool,
    /// Compression level, 1 to 12 for gzip and 1 to 19 for zstd [default: 3].
    #[arg(long, visible_alias = "dest-compress-level", value_name = "LEVEL", value_parser = clap::value_parser!(i32).range(1..20))]
    pub compression_level: Option<i32>,
    /// Mount blobs from this repository of the same registry; may be repeated.
    #[arg(long, value_name = "REPOSITORY")]
    pub mount_from: Vec<String>,
    /// A tag of this repository, or REPOSITORY:TAG of this registry, that may have the same layers; unsigned ones are
    /// verified. May be repeated.
    #[arg(long, value_name = "[REPOSITORY:]TAG")]
    pub cache_from: Vec<String>,
    /// Record what layers compressed to under this tag, for later pushes with --cache-from; created if missing.
    #[arg(long, value_name = "[REPOSITORY:]TAG")]
    pub cache_to: Option<String>,
    /// Trust the layers that images signed with this public key list, without verification; may be repeated [default: the
    /// public half of --sign-key].
    #[arg(long, value_name = "FILE")]
    pub cache_key: Vec<PathBuf>,
    /// Trust the layers that the destination's tag and --cache-from list, signed or not. Only safe if every account that
    /// can push to the registry is trusted.
    #[arg(long, conflicts_with_all = ["sign_key", "sign_with", "sign_tag", "provenance"])]
    pub trust_tags: bool,
    /// Refuse to copy an image that is not signed with this public key, as `cosign verify --key FILE` does.
    #[arg(long, value_name = "FILE")]
    pub verify_key: Option<PathBuf>,
    /// Accept signatures under tags that name this repository instead of the source's, as a mirror needs; any accepts all.
    #[arg(long, value_name = "HOST/NAME|any", requires = "verify_key")]
    pub signed_as: Option<SignedAs>,
    /// Print no progress.
    #[arg(short, long)]
    pub quiet: bool,
    /// Report progress as JSON, one object per line.
    #[arg(long)]
    pub json: bool,
    /// Copy what refers to the image too: signatures, bills of materials, attestations.
    #[arg(long, conflicts_with = "fleet")]
    pub referrers: bool,
    // Each of these has a heading in help, so they come last.
    #[command(flatten)]
    pub fleet: FleetArguments,
    #[command(flatten)]
    pub attachments: Attachments,
    #[command(flatten)]
    pub access: CopyAccess,
    #[command(flatten)]
    pub substituters: SubstituterArguments,
    #[command(flatten)]
    pub skopeo: SkopeoArguments,
}

/// Flags that scripts written for skopeo use.
#[derive(Debug, Args)]
#[command(next_help_heading = "For scripts written for skopeo")]
pub struct SkopeoArguments {
    /// Write the digest to this file as well.
    #[arg(long, value_name = "FILE")]
    pub digestfile: Option<PathBuf>,
    /// The manifest's format; images built by strata are always oci, others keep theirs.
    #[arg(short, long, value_name = "FORMAT", value_parser = ["oci", "v2s2", "v2s1"])]
    pub format: Option<String>,
    /// The architecture to choose from a multi-platform image.
    #[arg(long, value_name = "ARCH", conflicts_with = "platform")]
    pub override_arch: Option<String>,
    /// The operating system to choose from a multi-platform image.
    #[arg(long, value_name = "OS", conflicts_with = "platform")]
    pub override_os: Option<String>,
    /// The architecture variant to choose from a multi-platform image.
    #[arg(long, value_name = "VARIANT", conflicts_with = "platform")]
    pub override_variant: Option<String>,
    /// Ignored, for skopeo's sake: strata has no signature policy.
    #[arg(long)]
    pub insecure_policy: bool,
    /// Ignored, for skopeo's sake.
    #[arg(long)]
    pub debug: bool,
}

pub fn run(arguments: &CopyArguments) -> Result<ExitCode> {
    let access = &arguments.access;
    let registries = registries(arguments)?;
    let from = arguments.substituters.access_with_origins(registries.source, registries.origins)?;
    let from = transport::ReadOptions { engine: access.source_engine(), ..from };
    let signer = arguments.attachments.signer()?.map(Arc::new);
    let display = Display::choose(arguments.quiet || arguments.fleet.fleet.is_some(), arguments.json);
    let options = WriteOptions {
        additional_tags: arguments.additional_tag.clone(),
        compression: match arguments.compression {
            _ if arguments.preserve_digests => Compression::None,
            Some(compression) => compression.into(),
            None => Compression::Gzip,
        },
        level: arguments.compression_level,
        mount_from: arguments.mount_from.clone(),
        cache_from: arguments.cache_from.clone(),
        cache_to: arguments.cache_to.clone(),
        trusted_keys: trusted_keys(arguments, signer.as_deref())?,
        trust_tags: arguments.trust_tags,
        sign: signer.clone().map(attached::sign_documents),
        registry: registries.destination,
        engine: access.destination_engine(),
        shared: arguments.fleet.shared(),
        progress: Arc::<Display>::clone(&display),
    };
    let (Some(image), Some(destination)) = (&arguments.image, &arguments.destination) else {
        return fleet::run(&arguments.fleet, &from, &options, arguments.quiet);
    };
    if arguments.all {
        destination.check_holds_index()?;
    }
    if let Some(flag) = of_pushes(arguments).filter(|_| !destination.is_registry()) {
        bail!("{destination}: {flag} is for destinations that are registries (docker://); omit it");
    }
    let attachments = arguments.attachments.prepare(&destination.to_string(), signer)?;
    let image = match &arguments.verify_key {
        Some(key) => &trusted(image, key, arguments.signed_as.as_ref(), &from.registry)?,
        None => image,
    };
    let opened = image.open(&from)?;
    let content = if arguments.all {
        opened.content()
    } else {
        opened.image(platform(arguments).as_ref()).map(ManifestGraph::from)
    };
    let content = content.with_context(|| format!("reading {image}"))?;
    check_format(&content, arguments)?;
    let referrers = arguments.referrers.then(|| anyhow::Ok((destination.referrers()?, opened.referrers(&content)?)));
    let referrers = referrers.transpose()?;
    let written = destination.write(&content, &options).map_err(anyhow::Error::from_boxed);
    if written.is_err() {
        display.abandon();
    }
    let mut written = written.with_context(|| format!("copying {image} to {destination}"))?;
    let summary = display.finish(written.act);
    if let Some((place, referrers)) = referrers {
        written.says.extend(add_referrers(&referrers, place, &content, written.digest, &options)?);
    }
    if let Some(attachments) = attachments {
        let says = attachments.attach(written.digest, &opened, platform(arguments).as_ref(), &options.registry);
        written.says.extend(says.with_context(|| format!("{destination} was pushed, but attaching documents failed"))?);
    }
    if let Some(path) = &arguments.skopeo.digestfile {
        files::save(path, written.digest.to_string().as_bytes())
            .with_context(|| format!("writing {}", path.display()))?;
    }
    report(&written, summary.as_deref(), destination, arguments)?;
    Ok(ExitCode::SUCCESS)
}

/// A flag that says how to push to a registry, if there is one.
fn of_pushes(arguments: &CopyArguments) -> Option<&'static str> {
    let compresses = arguments.compression.is_some_and(|format| !matches!(format, CompressionArgument::None));
    let flags = [
        ("--additional-tag", !arguments.additional_tag.is_empty()),
        ("--compression", compresses),
        ("--compression-level", arguments.compression_level.is_some()),
        ("--mount-from", !arguments.mount_from.is_empty()),
        ("--cache-from", !arguments.cache_from.is_empty()),
        ("--cache-to", arguments.cache_to.is_some()),
        ("--cache-key", !arguments.cache_key.is_empty()),
        ("--trust-tags", arguments.trust_tags),
    ];
    flags.into_iter().find_map(|(flag, is_given)| is_given.then_some(flag))
}

/// The keys whose signatures make listed layers trusted.
fn trusted_keys(arguments: &CopyArguments, signer: Option<&Signer>) -> Result<Vec<VerifyingKey>> {
    if arguments.cache_key.is_empty() {
        return Ok(signer.map(Signer::verifying_key).transpose()?.flatten().into_iter().collect());
    }
    Ok(arguments.cache_key.iter().map(|path| VerifyingKey::open(path)).collect::<Result<_, _>>()?)
}

/// Writes what refers to `content`, which is known as `digest` there.
fn add_referrers(
    referrers: &[ManifestGraph],
    place: &dyn Referrers,
    content: &ManifestGraph,
    digest: Digest,
    options: &WriteOptions,
) -> Result<Option<String>> {
    let Some(count) = Some(referrers.len()).filter(|count| *count > 0) else { return Ok(None) };
    ensure!(
        digest == content.digest(),
        "what refers to {} was not copied: compressing plain layers made it {digest}; --preserve-digests keeps it",
        content.digest()
    );
    for referrer in referrers {
        let added = place.add(referrer, options).map_err(anyhow::Error::from_boxed);
        added.with_context(|| format!("copying {}, which refers to {digest}", referrer.digest()))?;
    }
    Ok(Some(format!("{count} of what refers to it copied")))
}

/// The platform that is asked for, as strata or as skopeo says it.
fn platform(arguments: &CopyArguments) -> Option<Platform> {
    let SkopeoArguments { override_arch, override_os, override_variant, .. } = &arguments.skopeo;
    let said = override_arch.is_some() || override_os.is_some() || override_variant.is_some();
    let here = Platform::here();
    let overridden = said.then(|| Platform {
        architecture: override_arch.clone().unwrap_or(here.architecture),
        os: override_os.clone().unwrap_or(here.os),
        variant: override_variant.clone(),
        ..Platform::linux("", None)
    });
    arguments.platform.clone().or(overridden)
}

/// Whether the manifests are of the kind that is asked for; strata makes no other of them.
fn check_format(content: &ManifestGraph, arguments: &CopyArguments) -> Result<()> {
    let Some(format) = arguments.skopeo.format.as_deref() else { return Ok(()) };
    for image in content.images() {
        let own = if image.media_type == media_type::MANIFEST { "oci" } else { "v2s2" };
        if own != format {
            bail!("the image's manifest is {own} and is copied as it is; omit --format {format}");
        }
    }
    Ok(())
}

/// How the registries of source and destination are reached.
fn registries(arguments: &CopyArguments) -> Result<CopyRegistries> {
    let source = arguments.image.as_ref().and_then(Location::registry_host);
    let fleet = arguments.fleet.registry_host();
    let destination = arguments.destination.as_ref().and_then(Destination::registry_host).or(fleet.as_deref());
    arguments.access.registries(source, destination)
}

/// The image by its digest, if the key signed it.
fn trusted(image: &Location, key: &Path, signed_as: Option<&SignedAs>, options: &Options) -> Result<Location> {
    let reference = trust::reference(image)?;
    let client = Client::for_purpose(Purpose::ReadOriginal, &reference, options)?;
    let checked = Trust::open(key, None, signed_as.cloned())?.check(&reference, &client)?;
    let hint = match checked.skipped.len() {
        0 => String::new(),
        count => format!("; {count} invalid attachments were skipped, strata verify --verbose lists them"),
    };
    ensure!(checked.problems.is_empty(), "{image} is not copied: {}{hint}", checked.problems.join("; "));
    trust::pinned(&reference, checked.digest)
}

/// The digest, or under which name an engine runs it, on stdout; all else on stderr.
fn report(
    written: &Written,
    summary: Option<&str>,
    destination: &Destination,
    arguments: &CopyArguments,
) -> Result<()> {
    if arguments.json {
        let copied = || json!({ "event": "copied", "destination": destination.to_string(), "digest": written.digest });
        writeln!(terminal::stderr().exact(), "{}", written.event.clone().unwrap_or_else(copied))?;
    } else if !arguments.quiet {
        let mut lines = written.says.iter().map(String::as_str).chain(summary);
        lines.try_for_each(|line| writeln!(terminal::stderr(), "{line}"))?;
    }
    if !written.on_stdout {
        match &written.reference {
            Some(reference) => writeln!(terminal::stdout(), "{}", line(reference))?,
            None => writeln!(terminal::stdout(), "{}", written.digest)?,
        }
    }
    Ok(())
}
