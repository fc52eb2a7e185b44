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

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_characters_and_line_separators_are_escaped_as_in_go() {
        assert_eq!(to_vec(&["a<b>&", "\u{2028}\u{2029}"]), br#"["a\u003cb\u003e\u0026","\u2028\u2029"]"#);
    }
}
