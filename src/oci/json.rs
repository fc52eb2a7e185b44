//! The JSON serializer for all documents that are hashed.
//!
//! It writes the same bytes as Go's `encoding/json`, which registries and
//! nix2container use: compact JSON, with `<`, `>`, `&`, U+2028 and U+2029 escaped
//! inside strings.
//!
//! ```text
//! ["a<b", "\u{2028}"]   ▶   ["a\u003cb","\u2028"]
//! ```

use std::io;

use serde::{
    Serialize,
    de::{DeserializeOwned, Error as _},
};
use serde_json::ser::{Formatter, Serializer};

use super::wording;

struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (plain, special) = rest.split_at(at);
            let escaped = special.chars().next().expect("find returned its position");
            writer.write_all(plain.as_bytes())?;
            write!(writer, "\\u{:04x}", escaped as u32)?;
            rest = &special[escaped.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

/// Returns the canonical bytes of a document.
///
/// # Panics
///
/// If `document` has a map with keys that are not strings. No type of this crate has one.
pub fn to_vec<T: Serialize>(document: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    document
        .serialize(&mut Serializer::with_formatter(&mut bytes, GoFormatter))
        .expect("documents of this crate have string keys and write to memory");
    bytes
}

/// Reads a document of any tool.
///
/// # Errors
///
/// The message names the field, and what it must be.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    let fail = |error: serde_json::Error| serde_json::Error::custom(format!("it is not JSON: {error}"));
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        if inner.is_data() { serde_json::Error::custom(message(&path, &inner.to_string())) } else { fail(inner) }
    })?;
    deserializer.end().map_err(fail)?;
    Ok(parsed)
}

/// The problem of the value at `path`.
fn message(path: &str, text: &str) -> String {
    let text = text.rsplit_once(" at line ").map_or(text, |(text, _)| text);
    let place = if path == "." { "it" } else { path };
    let missing = text.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
    let message = match missing {
        Some(field) => format!("{place} has no {field}"),
        None if text.starts_with("invalid type: ") || text.starts_with("invalid value: ") => {
            format!("{place} {}", wording::type_error(text))
        }
        // The message names the field itself.
        None if path == "." || text.starts_with(&format!("{path}.")) => text.to_owned(),
        None => format!("{path}: {text}"),
    };
    message.replace("an attribute set", "an object")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{ImageConfig, Index, Manifest};

    #[test]
    fn mistakes_name_the_field() {
        fn error<T: DeserializeOwned + std::fmt::Debug>(text: &str) -> String {
            from_slice::<T>(text.as_bytes()).unwrap_err().to_string()
        }
        let index = |entry: &str| error::<Index>(&format!(r#"{{"schemaVersion":2,"manifests":[{entry}]}}"#));
        for (found, expected) in [
            (index(r#"{"mediaType":7}"#), "manifests[0].mediaType must be a string, not 7"),
            (index("{}"), "manifests[0] has no mediaType"),
            (index("1"), "manifests[0] must be an object, not 1"),
            (error::<Index>(r#"{"schemaVersion":2,"manifests":{}}"#), "manifests must be a list, not an object"),
            (error::<Index>(r#"{"schemaVersion":"2"}"#), "schemaVersion must be a number, not \"2\""),
            (error::<Manifest>("[]"), "it must be an object, not a list"),
            (error::<Manifest>("{"), "it is not JSON: EOF while parsing an object at line 1 column 1"),
            (error::<Manifest>("{}x"), "it has no schemaVersion"),
            (error::<ImageConfig>(r#"{"config":{"Env":{}}}"#), "config.Env must be a list, not an object"),
            (error::<ImageConfig>(r#"{"history":{}}"#), "history must be a list, not an object"),
        ] {
            assert_eq!(found, expected);
        }
        assert!(index(r#"{"mediaType":"x","digest":"y","size":1}"#).starts_with("manifests[0].digest: "));
    }

    #[test]
    fn html_characters_and_line_separators_are_escaped_as_in_go() {
        assert_eq!(to_vec(&["a<b>&", "\u{2028}\u{2029}"]), br#"["a\u003cb\u003e\u0026","\u2028\u2029"]"#);
    }
}
