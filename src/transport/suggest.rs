//! Suggestions for sources and destinations with an unknown transport, for error messages.

use std::path::Path;

use super::{
    kind::{Medium, Transport},
    table::TRANSPORTS,
};
use crate::oci::name::{self, TaggedName};

/// Returns the suggested source for `text` if there is no such file.
pub(super) fn source(text: &str) -> Option<String> {
    if let Some(path) = without_scheme(text, FILE_SCHEMES) {
        return Some(format!("for a file or a directory, write its path: {path}"));
    }
    if let Some(reference) = without_scheme(text, WEB_SCHEMES) {
        return Some(format!("for an image of a registry, write docker://{reference}"));
    }
    if let Some(hint) = alias(text) {
        return Some(hint);
    }
    let (path, name) = text.split_once(':')?;
    let is_kind: fn(&Transport) -> bool = match Path::new(path) {
        path if name.is_empty() || !path.exists() => return None,
        path if path.is_dir() => |transport| is_directory(transport) && transport.write.holds.index,
        _ => is_file,
    };
    Some(format!("for one image in {path}, write {}", forms(text, is_kind)))
}

/// Returns the suggested destination for `text`.
pub(super) fn suggest(text: &str) -> Option<String> {
    if let Some(path) = without_scheme(text, FILE_SCHEMES) {
        return suggest_path(path);
    }
    if let Some(reference) = without_scheme(text, WEB_SCHEMES) {
        return Some(format!("for a registry, write docker://{reference}"));
    }
    if let Some(hint) = alias(text) {
        return Some(hint);
    }
    if text.starts_with(['/', '.', '~']) || text.ends_with(".tar") || text.contains(".tar.") || text.contains(".tar:") {
        return suggest_path(text);
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

const FILE_SCHEMES: &[&str] = &["file://", "file:"];
const WEB_SCHEMES: &[&str] = &["https://", "http://"];

fn without_scheme<'a>(text: &'a str, schemes: &[&str]) -> Option<&'a str> {
    schemes.iter().find_map(|scheme| text.strip_prefix(scheme)).filter(|rest| !rest.is_empty())
}

/// Returns the transport for a name that other tools use for it.
fn alias(text: &str) -> Option<String> {
    let (name, rest) = text.split_once(':')?;
    let flags = |transport: &Transport| Some(transport.aliases.iter().find(|(alias, _)| *alias == name)?.1);
    let (transport, flags) = TRANSPORTS.iter().find_map(|transport| Some((transport, flags(transport)?)))?;
    Some(format!("for {name}, write {}:{rest}{flags}", transport.name))
}

fn suggest_path(text: &str) -> Option<String> {
    let (files, directories) = (forms(text, is_file), forms(text, is_directory));
    Some(format!("for a file, write {files}, for a directory {directories}"))
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
