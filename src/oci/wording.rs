//! Rewrites type errors of deserializers in the terms of Nix and JSON, which users know.
//!
//! ```text
//! invalid type: map, expected a sequence        must be a list, not an attribute set
//! invalid type: string "1", expected u64        must be a number, not "1"
//! ```

/// Rewrites the message of a deserializer about a value of the wrong type, so that it can follow the name of the value. Other
/// messages are kept after "is wrong:".
#[must_use]
pub fn type_error(message: &str) -> String {
    let found = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    match found.and_then(|rest| rest.rsplit_once(", expected ")) {
        Some((found, expected)) => format!("must be {}, not {}", expected_type(expected), found_value(found)),
        None => format!("is wrong: {message}"),
    }
}

fn expected_type(text: &str) -> &str {
    let text = text.split(" at line ").next().unwrap_or(text);
    match text {
        "a sequence" => "a list",
        "a map" => "an attribute set",
        "u8" | "u16" | "u32" | "u64" | "usize" | "i32" | "i64" => "a number",
        "a boolean" | "bool" => "true or false",
        _ if text.starts_with("struct ") || text.starts_with("internally tagged enum") => "an attribute set",
        _ if text.starts_with("enum ") || text.starts_with("variant") || text.starts_with("path") => "a string",
        _ => text,
    }
}

fn found_value(text: &str) -> String {
    match text {
        "map" => "an attribute set".to_owned(),
        "sequence" => "a list".to_owned(),
        "null" | "unit value" | "Option value" => "null".to_owned(),
        _ => {
            let value =
                ["string ", "integer ", "floating point ", "boolean "].iter().find_map(|kind| text.strip_prefix(kind));
            value.map_or_else(|| text.to_owned(), |value| value.trim_matches('`').to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_named_in_the_terms_of_nix_and_json() {
        for (message, expected) in [
            ("invalid type: map, expected a sequence", "must be a list, not an attribute set"),
            ("invalid type: string \"1\", expected u64", "must be a number, not \"1\""),
            ("invalid type: sequence, expected struct EmptyObject", "must be an attribute set, not a list"),
            ("invalid value: integer `-1`, expected u64 at line 1 column 2", "must be a number, not -1"),
            ("invalid type: null, expected a string", "must be a string, not null"),
            ("missing field `path`", "is wrong: missing field `path`"),
        ] {
            assert_eq!(type_error(message), expected);
        }
    }
}
