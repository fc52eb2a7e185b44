//! Writes JSON in which Nix detects no references to store paths.
//!
//! The scanner of Nix ([`RefScanSink`](https://github.com/NixOS/nix/blob/master/src/libstore/path-references.cc))
//! searches for 32 consecutive characters of Nix base 32. A shorter run is not a reference,
//! so after every 16 characters of a long run, one character is written as an escape:
//!
//! ```text
//! /nix/store/0c6a1cv41yy9yz8svln6w09ks4wdjk4n-hello
//! /nix/store/0c6a1cv41yy9yz8s\u0076ln6w09ks4wdjk4n-hello
//! ```
//!
//! Such long runs occur only inside of strings, where JSON allows the escape, because
//! numbers have at most 20 digits.

/// The number of characters before an escape. With the four digits of the escape, a run has at most 20 characters.
const STRIDE: usize = 16;
/// The number of characters of the hash of a store path.
const HASH_LENGTH: usize = 32;

/// Returns an equivalent document without runs of `HASH_LENGTH` characters of Nix base 32.
pub fn without_hashes(json: &[u8]) -> Vec<u8> {
    let is_base32 = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'z') && !b"eotu".contains(&byte);
    let mut hidden = Vec::with_capacity(json.len() + json.len() / 8);
    let mut rest = json;
    while let Some(&first) = rest.first() {
        let run = rest.iter().position(|&byte| !is_base32(byte)).unwrap_or(rest.len());
        if run >= HASH_LENGTH {
            for (at, &byte) in rest[..run].iter().enumerate() {
                match at % (STRIDE + 1) {
                    STRIDE => hidden.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
                    _ => hidden.push(byte),
                }
            }
        } else if run > 0 {
            hidden.extend_from_slice(&rest[..run]);
        } else {
            hidden.push(first);
        }
        rest = &rest[run.max(1)..];
    }
    hidden
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::{closure::StorePath, oci::json};

    /// Returns whether Nix would detect a reference to any store path.
    fn has_hash(text: &[u8]) -> bool {
        text.windows(HASH_LENGTH).any(|window| {
            let text = format!("/nix/store/{}-x", String::from_utf8_lossy(window));
            StorePath::parse(&text).is_ok()
        })
    }

    proptest! {
        #[test]
        fn without_hashes_keeps_the_document_and_hides_all_hashes(
            parts in prop::collection::vec("[0-9a-z]{20,80}|[\"\\\\\n\t<é-]|/nix/store/[0-9a-df-np-sv-z]{32}-x", 0..12),
            number in any::<u64>(),
        ) {
            let document = serde_json::json!({ parts.concat(): [parts.concat(), number], "list": parts });
            let hidden = without_hashes(&json::to_vec(&document));
            prop_assert!(!has_hash(&hidden), "{}", String::from_utf8_lossy(&hidden));
            prop_assert_eq!(serde_json::from_slice::<Value>(&hidden).unwrap(), document);
        }
    }

    #[test]
    fn only_runs_as_long_as_a_hash_are_escaped() {
        let hidden = without_hashes(br#"{"path":"/nix/store/0c6a1cv41yy9yz8svln6w09ks4wdjk4n-hello"}"#);
        let expected = br#"{"path":"/nix/store/0c6a1cv41yy9yz8s\u0076ln6w09ks4wdjk4n-hello"}"#;
        assert_eq!(String::from_utf8_lossy(&hidden), String::from_utf8_lossy(expected));
    }
}
