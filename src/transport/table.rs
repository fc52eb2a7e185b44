//! The table of transports: a row for each kind of medium.
//!
//! The row of a transport is a constant in its directory. Everything that depends on the kind of a medium is read from
//! here: the parsers of sources and destinations, the lists in help texts and error messages, the flags that have an
//! effect, and the table in the README.

use super::kind::Transport;

/// Every transport.
pub const TRANSPORTS: &[Transport] = &[
    #[cfg(feature = "net")]
    super::registry::TRANSPORT,
    #[cfg(feature = "net")]
    super::docker::TRANSPORT,
    #[cfg(feature = "net")]
    super::containerd::TRANSPORT,
    #[cfg(feature = "net")]
    super::podman::TRANSPORT,
    super::layout::TRANSPORT,
    super::archive::OCI,
    super::archive::DOCKER,
    super::dir::TRANSPORT,
    super::erofs_cache::TRANSPORT,
];

/// Splits `text` into its transport and the text after the colon.
pub fn split(text: &str) -> Option<(&'static Transport, &str)> {
    let (name, rest) = text.split_once(':')?;
    Some((TRANSPORTS.iter().find(|transport| transport.name == name)?, rest))
}

/// Returns the names of all transports for which `is_listed` is true, for messages: `docker-daemon:, containerd: and
/// …`.
pub fn names(is_listed: impl Fn(&Transport) -> bool) -> String {
    let names: Vec<String> = TRANSPORTS
        .iter()
        .filter(|transport| is_listed(transport))
        .map(|transport| format!("{}:", transport.name))
        .collect();
    match names.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        Some((last, _)) => last.clone(),
        None => String::new(),
    }
}

/// Returns the syntax of all sources, for help.
pub fn read_syntaxes() -> String {
    let all: Vec<&str> = TRANSPORTS.iter().filter_map(|transport| Some(transport.read.as_ref()?.syntax)).collect();
    format!("an image.json, an OCI layout, an archive, a flake reference, {}", all.join(", "))
}

/// Returns the syntax of all destinations, for help.
pub fn write_syntaxes() -> String {
    let all: Vec<&str> = TRANSPORTS.iter().map(|transport| transport.write.syntax).collect();
    format!("{}; FILE may be - for stdout", all.join(", "))
}
