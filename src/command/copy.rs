//! `strata copy IMAGE DEST`

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use strata::{
    content::Content,
    layer::compress::Compression,
    oci::{Digest, Platform, media_type},
    registry::Client,
    sink::{Destination, Referrers, WriteOptions, Written},
    source::{self, Location},
};

use super::{access::CopyAccess, fleet, progress::Display, trust};
use crate::cli::{CopyArguments, SkopeoArguments};

pub fn run(arguments: &CopyArguments) -> Result<ExitCode> {
    let access = &arguments.access;
    let from = arguments.substituters.access(access.source()?)?;
    let from = source::Access { engine: access.source_engine(), ..from };
    let display = Display::choose(arguments.quiet || arguments.fleet.fleet.is_some(), arguments.json);
    let options = WriteOptions {
        additional_tags: arguments.additional_tag.clone(),
        compression: if arguments.preserve_digests { Compression::None } else { arguments.compression.into() },
        level: arguments.compression_level,
        mount_from: arguments.mount_from.clone(),
        cache_from: arguments.cache_from.clone(),
        cache_to: arguments.cache_to.clone(),
        registry: access.destination()?,
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
    let attachments = arguments.attachments.prepare(&destination.to_string())?;
    let image = match &arguments.verify_key {
        Some(key) => &trusted(image, key, access)?,
        None => image,
    };
    let opened = image.open(&from)?;
    let content: Content =
        if arguments.all { opened.content()? } else { opened.image(platform(arguments).as_ref())?.into() };
    check_format(&content, arguments)?;
    let referrers = arguments.referrers.then(|| anyhow::Ok((destination.referrers()?, opened.referrers(&content)?)));
    let referrers = referrers.transpose()?;
    let written = destination.write(&content, &options).map_err(anyhow::Error::from_boxed);
    if written.is_err() {
        display.abandon();
    }
    let mut written = written.with_context(|| format!("copying to {destination}"))?;
    display.finish(written.act);
    if let Some((place, referrers)) = referrers {
        written.says.extend(add_referrers(&referrers, place, &content, written.digest, &options)?);
    }
    if let Some(attachments) = attachments {
        let says = attachments.attach(written.digest, &opened, platform(arguments).as_ref(), &options.registry);
        written.says.extend(says.with_context(|| format!("{destination} was pushed, but attaching documents failed"))?);
    }
    if let Some(path) = &arguments.skopeo.digestfile {
        fs::write(path, written.digest.to_string()).with_context(|| format!("writing {}", path.display()))?;
    }
    report(&written, destination, arguments)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes what refers to `content`, which is known as `digest` there.
fn add_referrers(
    referrers: &[Content],
    place: &dyn Referrers,
    content: &Content,
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
fn check_format(content: &Content, arguments: &CopyArguments) -> Result<()> {
    let Some(format) = arguments.skopeo.format.as_deref() else { return Ok(()) };
    for image in content.images() {
        let own = if image.media_type == media_type::MANIFEST { "oci" } else { "v2s2" };
        if own != format {
            bail!("the image's manifest is {own} and is copied as it is; omit --format {format}");
        }
    }
    Ok(())
}

/// The image by its digest, if the key signed it.
fn trusted(image: &Location, key: &Path, access: &CopyAccess) -> Result<Location> {
    let reference = trust::reference(image)?;
    let client = Client::new(&reference, &access.source()?)?;
    let checked = trust::check(&reference, &client, key, None)?;
    ensure!(checked.problems.is_empty(), "{image} is not copied: {}", checked.problems.join("; "));
    trust::pinned(&reference, checked.digest)
}

/// The digest, or under which name an engine runs it, on stdout; all else on stderr.
fn report(written: &Written, destination: &Destination, arguments: &CopyArguments) -> Result<()> {
    if arguments.json {
        let copied = || json!({ "event": "copied", "destination": destination.to_string(), "digest": written.digest });
        writeln!(io::stderr(), "{}", written.event.clone().unwrap_or_else(copied))?;
    } else if !arguments.quiet {
        written.says.iter().try_for_each(|line| writeln!(io::stderr(), "{line}"))?;
    }
    if !written.on_stdout {
        match &written.reference {
            Some(reference) => writeln!(io::stdout(), "{reference}")?,
            None => writeln!(io::stdout(), "{}", written.digest)?,
        }
    }
    Ok(())
}
