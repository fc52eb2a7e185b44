//! Which flags of `strata copy` are for which source and destination. A flag that would have no effect is refused.

use super::{access::SideFlag, compression::CompressionArgument, copy_arguments::CopyArguments};
use crate::transport::{
    Destination, Location,
    kind::{Engine, Transport},
    table,
};
use anyhow::{Result, bail};

/// A flag, whether it was given, and whether it has an effect on this copy.
struct Rule {
    flag: String,
    is_given: bool,
    has_effect: bool,
    /// What the flag is for, as the message names it.
    purpose: String,
}

impl Rule {
    fn new(flag: &str, is_given: bool, has_effect: bool, purpose: &str) -> Self {
        Self { flag: flag.to_owned(), is_given, has_effect, purpose: purpose.to_owned() }
    }
}

const PUSHES: &str = "destinations that are registries (docker://)";

/// Refuses flags that have no effect on a copy of `image` to `destination`.
pub fn check(arguments: &CopyArguments, image: &Location, destination: &Destination) -> Result<()> {
    if arguments.all {
        destination.check_holds_index()?;
    }
    let mut rules = pushes(arguments, destination);
    rules.extend(engines(arguments, image, destination));
    rules.extend(registries(arguments, image, destination));
    match rules.into_iter().find(|rule| rule.is_given && !rule.has_effect) {
        Some(Rule { flag, purpose, .. }) => bail!("{image} to {destination}: {flag} is for {purpose}; omit it"),
        None => Ok(()),
    }
}

/// Refuses flags of fleets without a fleet, and flags for one registry where a fleet has several or its template names none.
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
    Ok(())
}

/// Flags for pushes.
fn pushes(arguments: &CopyArguments, destination: &Destination) -> Vec<Rule> {
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
    let flags = flags.into_iter().chain(arguments.attachments.flags());
    flags.map(|(flag, is_given)| Rule::new(flag, is_given, destination.is_registry(), PUSHES)).collect()
}

/// Flags for engines.
fn engines(arguments: &CopyArguments, image: &Location, destination: &Destination) -> Vec<Rule> {
    let given = arguments.access.engine_flags();
    let (source, target) = (image.transport().and_then(Transport::engine), destination.transport().engine());
    let either = |is_for: fn(&Engine) -> bool| source.is_some_and(is_for) || target.is_some_and(is_for);
    let (namespaces, address) = (|engine: &Engine| engine.has_namespaces, |engine: &Engine| engine.has_address);
    let engines = names_of_engines(|_| true);
    let (with_namespaces, with_address) = (names_of_engines(namespaces), names_of_engines(address));
    let rule = |flag: &str, is_given, has_effect, purpose: &str| Rule::new(flag, is_given, has_effect, purpose);
    let sources = |names: &str| format!("{names} as the source");
    let targets = |names: &str| format!("{names} as the destination");
    vec![
        rule("--via", given.via, either(|_| true), &engines),
        rule("--src-via", given.src_via, source.is_some(), &sources(&engines)),
        rule("--dest-via", given.dest_via, target.is_some(), &targets(&engines)),
        rule("--namespace", given.namespace, either(namespaces), &with_namespaces),
        rule("--src-namespace", given.src_namespace, source.is_some_and(namespaces), &sources(&with_namespaces)),
        rule("--dest-namespace", given.dest_namespace, target.is_some_and(namespaces), &targets(&with_namespaces)),
        rule("--src-daemon-host", given.src_daemon_host, source.is_some_and(address), &sources(&with_address)),
        rule("--dest-daemon-host", given.dest_daemon_host, target.is_some_and(address), &targets(&with_address)),
    ]
}

/// The transports of the engines that `is_for` accepts, for messages.
fn names_of_engines(is_for: fn(&Engine) -> bool) -> String {
    table::names(|transport| transport.engine().is_some_and(is_for))
}

/// Flags for registries, apart from credentials, which [`super::access`] checks.
fn registries(arguments: &CopyArguments, image: &Location, destination: &Destination) -> Vec<Rule> {
    // The layers of a recipe may be in registries. A path is a recipe or not by its content.
    let may_ask_registry = image.registry_host().is_some() || image.transport().is_none();
    let rule = |SideFlag { flag, side, is_for_host }: SideFlag| {
        let source = if is_for_host { image.registry_host().is_some() } else { may_ask_registry };
        let has_effect = match side {
            "src-" => source,
            "dest-" => destination.is_registry(),
            _ => source || destination.is_registry(),
        };
        Rule { flag, is_given: true, has_effect, purpose: "images in registries (docker://)".to_owned() }
    };
    // check_fleet() decides on those of a fleet that are for one host.
    let is_fleet = arguments.fleet.fleet.is_some();
    arguments.access.given_flags().into_iter().filter(|flag| !(is_fleet && flag.is_for_host)).map(rule).collect()
}
