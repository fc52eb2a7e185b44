//! What a destination without a known transport may mean, for error messages.

use super::{
    kind::{Medium, Transport},
    table::TRANSPORTS,
};
use crate::oci::name::{self, TaggedName};

/// How to write the destination that `text` may mean.
pub(super) fn suggest(text: &str) -> Option<String> {
    if let Some((name, rest)) = text.split_once(':') {
        for transport in TRANSPORTS {
            if let Some((_, flags)) = transport.aliases.iter().find(|(alias, _)| *alias == name) {
                return Some(format!("for {name}, write {}:{rest}{flags}", transport.name));
            }
        }
    }
    if text.starts_with(['/', '.', '~']) || text.ends_with(".tar") || text.contains(".tar.") {
        let (files, directories) = (forms(text, is_file), forms(text, is_directory));
        return Some(format!("for a file, write {files}, for a directory {directories}"));
    }
    let name: TaggedName = text.parse().ok()?;
    let registry = TRANSPORTS.iter().find(|transport| matches!(transport.medium, Medium::Registry))?;
    if name::split_host(name.as_str()).is_some() {
        return Some(format!("for a registry, write {}://{text}", registry.name));
    }
    let engines = TRANSPORTS.iter().filter_map(|transport| Some((transport.engine()?.name, transport.name)));
    let engines: Vec<String> =
        engines.map(|(engine, transport)| format!("for {engine}, write {transport}:{text}")).collect();
    Some(format!("{}, for a registry {}://HOST/{text}", engines.join(", "), registry.name))
}

fn is_file(transport: &Transport) -> bool {
    matches!(transport.medium, Medium::File)
}

fn is_directory(transport: &Transport) -> bool {
    matches!(transport.medium, Medium::Directory)
}

fn forms(text: &str, is_form: impl Fn(&Transport) -> bool) -> String {
    let transports = TRANSPORTS.iter().filter(|transport| is_form(transport));
    transports.map(|transport| format!("{}:{text}", transport.name)).collect::<Vec<_>>().join(" or ")
}
