//! The table of transports: a line for each kind of medium.
//!
//! The line of a transport is a constant in its directory. What depends on the kind of a medium is read from here: how
//! sources and destinations are parsed, the lists in help texts and error messages, the flags that have an effect, and the
//! table in the README.

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
];

/// The transport that `text` begins with, and the text after its colon.
pub fn split(text: &str) -> Option<(&'static Transport, &str)> {
    let (name, rest) = text.split_once(':')?;
    Some((TRANSPORTS.iter().find(|transport| transport.name == name)?, rest))
}

/// The names of all transports that `is_listed` accepts, for messages: `docker-daemon:, containerd: and …`.
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

/// Every way to write a source, for help.
pub fn read_syntaxes() -> String {
    let all: Vec<&str> = TRANSPORTS.iter().map(|transport| transport.read.syntax).collect();
    format!("an image.json, an OCI layout, an archive, a flake reference, {}", all.join(", "))
}

/// Every way to write a destination, for help.
pub fn write_syntaxes() -> String {
    let all: Vec<&str> = TRANSPORTS.iter().map(|transport| transport.write.syntax).collect();
    format!("{}; FILE may be - for stdout", all.join(", "))
}
