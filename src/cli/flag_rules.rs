//! Checks whether flags have an effect. A flag without an effect is refused.

use anyhow::{Result, bail};

use crate::{
    image::Opened,
    transport::{
        Location,
        kind::{EngineTransport, Transport},
        table,
    },
};

/// The purpose of flags for registries.
pub const REGISTRIES: &str = "images in registries (docker://)";

/// A flag, whether it was given, and whether it has an effect.
pub struct Rule {
    flag: String,
    is_given: bool,
    has_effect: bool,
    /// The purpose of the flag, for the message.
    purpose: String,
}

impl Rule {
    pub fn new(flag: &str, is_given: bool, has_effect: bool, purpose: &str) -> Self {
        Self { flag: flag.to_owned(), is_given, has_effect, purpose: purpose.to_owned() }
    }
}

/// Refuses the first given flag without an effect. `what` is the object of the command, for the message.
pub fn check(what: &str, rules: impl IntoIterator<Item = Rule>) -> Result<()> {
    match rules.into_iter().find(|rule| rule.is_given && !rule.has_effect) {
        Some(Rule { flag, purpose, .. }) if what.is_empty() => bail!("{flag} is for {purpose}; omit it"),
        Some(Rule { flag, purpose, .. }) => bail!("{what}: {flag} is for {purpose}; omit it"),
        None => Ok(()),
    }
}

/// A flag for engines, whether it was given, and whether it applies to an engine.
pub type EngineFlag = (&'static str, bool, fn(&EngineTransport) -> bool);

/// Returns the rules of flags for engines, when these engines are read or written.
pub fn engine_rules(flags: &[EngineFlag], engines: &[&EngineTransport]) -> Vec<Rule> {
    let rule = |(flag, is_given, is_for): &EngineFlag| {
        let has_effect = engines.iter().any(|engine| is_for(engine));
        let purpose = table::names(|transport| transport.engine().is_some_and(is_for));
        Rule::new(flag, *is_given, has_effect, &purpose)
    };
    flags.iter().map(rule).collect()
}

/// Returns the engine of a source.
pub fn engine_of(location: &Location) -> Option<&'static EngineTransport> {
    location.transport().and_then(Transport::engine)
}

/// Whether the source may be an image.json. Engines and registries contain none.
pub fn may_be_recipe(location: &Location) -> bool {
    location.registry_host().is_none() && engine_of(location).is_none()
}

/// Whether layers of an opened image may be made here, or come from a registry of its recipe.
pub fn is_recipe(opened: &Opened) -> bool {
    !matches!(opened, Opened::Found(_))
}

/// Whether layers may come from a registry. The contents of a path show whether it is a recipe, also after `oci:` and
/// `dir:`, and the layers of a recipe may be in a registry.
pub fn may_ask_registry(location: &Location) -> bool {
    location.registry_host().is_some() || may_be_recipe(location)
}
