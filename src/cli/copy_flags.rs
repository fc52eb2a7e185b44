//! Checks which flags of `strata copy` apply to which source and destination. A flag without an effect is refused.

use super::{
    compression::CompressionArgument,
    copy_arguments::CopyArguments,
    flag_rules::{self, REGISTRIES, Rule, engine_of, engine_rules, is_recipe, may_ask_registry, may_be_recipe},
    side::SideFlag,
};
use crate::{
    image::{ManifestGraph, Opened},
    layer::compress::Compression,
    oci::{Descriptor, descriptor::media_type},
    transport::{Destination, Location, kind::Medium},
};
use anyhow::{Result, bail, ensure};

const PUSHES: &str = "destinations that are registries (docker://)";

/// Refuses flags that have no effect on a copy of `image` to `destination`.
pub fn check(arguments: &CopyArguments, image: &Location, destination: &Destination) -> Result<()> {
    if arguments.all {
        destination.check_holds_index()?;
    }
    let mut rules = pushes(arguments, destination);
    let is_cache = matches!(destination.transport().medium, Medium::Cache);
    rules.push(Rule::new("--prune", arguments.prune, is_cache, "caches of layers (erofs-cache:)"));
    let keeps = arguments.preserve_digests;
    rules.push(Rule::new("--preserve-digests", keeps, !is_cache, "destinations that store manifests"));
    rules.extend(engines(arguments, image, destination));
    rules.extend(registries(arguments, image, destination, may_ask_registry(image)));
    rules.extend(arguments.nix_node.rules(destination));
    rules.extend(arguments.substituters.rules(may_be_recipe(image)));
    rules.extend(arguments.nix_node.source_rules(may_be_recipe(image)));
    flag_rules::check(&format!("{image} to {destination}"), rules)
}

/// Refuses flags of fleets without a fleet, and flags for one registry if a fleet has several or its template has no
/// host.
pub fn check_fleet(arguments: &CopyArguments, host: Option<&str>) -> Result<()> {
    if arguments.fleet.fleet.is_none() {
        let given = arguments.fleet.dependent_flags().into_iter().find(|(_, is_given)| *is_given);
        return given.map_or(Ok(()), |(flag, _)| bail!("{flag} is for --fleet FILE; give that, or omit it"));
    }
    for SideFlag { flag, side, is_for_host } in arguments.access.given_flags() {
        if is_for_host && side == "src-" {
            bail!("{flag}: the images of a fleet may be in several registries; use `strata login` and registries.conf");
        }
        if is_for_host && host.is_none() {
            bail!("{flag}: it is for the registry of --to docker://HOST/…, which is not given; use `strata login`");
        }
    }
    arguments.attachments.check_rereadable()
}

/// Returns the rules of flags for pushes.
fn pushes(arguments: &CopyArguments, destination: &Destination) -> Vec<Rule> {
    let compresses = arguments.compression.is_some_and(|format| !matches!(format, CompressionArgument::None));
    let flags = [
        ("--additional-tag", !arguments.additional_tag.is_empty()),
        ("--compression", compresses),
        ("--compression-level", arguments.compression_level.is_some()),
        ("--lazy", arguments.lazy),
        ("--also", arguments.also.is_some()),
        ("--mount-from", !arguments.mount_from.is_empty()),
        ("--cache-from", !arguments.cache_from.is_empty()),
        ("--cache-to", arguments.cache_to.is_some()),
        ("--cache-key", !arguments.cache_key.is_empty()),
        ("--trust-tags", arguments.trust_tags),
    ];
    let flags = flags.into_iter().chain(arguments.attachments.flags());
    flags.map(|(flag, is_given)| Rule::new(flag, is_given, destination.is_registry(), PUSHES)).collect()
}

/// Returns the compression of a push.
///
/// # Errors
///
/// If `--lazy` contradicts `--compression`.
pub fn compression(arguments: &CopyArguments) -> Result<Compression> {
    Ok(match arguments.compression {
        None | Some(CompressionArgument::ZstdChunked) if arguments.lazy => Compression::Lazy,
        Some(format) if arguments.lazy => {
            bail!(
                "--lazy: its layers are zstd:chunked, and not {}; omit --compression",
                Compression::from(format).name()
            )
        }
        _ if arguments.preserve_digests => Compression::None,
        Some(compression) => compression.into(),
        None => Compression::Gzip,
    })
}

/// Errors if `--lazy` has no effect on an image.
pub fn check_lazy(image: &Location, content: &ManifestGraph) -> Result<()> {
    let images = content.images();
    let layers: Vec<&Descriptor> =
        images.iter().flat_map(|image| &image.layers).map(|layer| &layer.descriptor).collect();
    ensure!(!layers.is_empty(), "{image}: --lazy is for layers, and the image has none; omit it");
    ensure!(
        layers
            .iter()
            .any(|layer| media_type::is_compressed_by_push(&layer.media_type) || Compression::Lazy.fits(layer)),
        "{image}: --lazy is for uncompressed layers, and every layer is compressed already; push the recipe, or omit it"
    );
    Ok(())
}

/// Returns the rules of flags for engines.
fn engines(arguments: &CopyArguments, image: &Location, destination: &Destination) -> Vec<Rule> {
    let given = arguments.access.engine_flags();
    let (source, target): (Vec<_>, Vec<_>) =
        (engine_of(image).into_iter().collect(), destination.transport().engine().into_iter().collect());
    let mut rules = engine_rules(&given.both, &[source.as_slice(), &target].concat());
    rules.extend(engine_rules(&given.source, &source));
    rules.extend(engine_rules(&given.destination, &target));
    rules
}

/// Refuses flags for registries if no layer of the opened image is in a registry. Only a recipe may have such layers
/// without being in a registry itself.
pub fn check_opened(
    arguments: &CopyArguments,
    image: &Location,
    destination: &Destination,
    opened: &Opened,
) -> Result<()> {
    let may_ask = image.registry_host().is_some() || is_recipe(opened);
    flag_rules::check(&format!("{image} to {destination}"), registries(arguments, image, destination, may_ask))
}

/// Returns the rules of flags for registries, apart from credentials, which [`super::access`] checks.
fn registries(arguments: &CopyArguments, image: &Location, destination: &Destination, may_ask: bool) -> Vec<Rule> {
    let rule = |SideFlag { flag, side, is_for_host }: SideFlag| {
        let source = if is_for_host { image.registry_host().is_some() } else { may_ask };
        let has_effect = match side {
            "src-" => source,
            "dest-" => destination.is_registry(),
            _ => source || destination.is_registry(),
        };
        Rule::new(&flag, true, has_effect, REGISTRIES)
    };
    // check_fleet() checks the flags of a fleet for one host.
    let is_fleet = arguments.fleet.fleet.is_some();
    arguments.access.given_flags().into_iter().filter(|flag| !(is_fleet && flag.is_for_host)).map(rule).collect()
}
