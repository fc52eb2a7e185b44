//! Replaces variables in arguments and paths of tests, as Go's `os.Expand`: `$NAME` and `${NAME}`.

use std::collections::BTreeMap;

/// Replaces the variables of `text` by their values in `env`, or by an empty string.
///
/// (Go, src/os/env.go, `Expand` and `getShellName`: `$` followed by one of `*#$@!?-0…9` names a variable of that one
/// character, `${` without `}` disappears, and a `$` before anything else stays.)
pub fn expand(text: &str, env: &BTreeMap<String, String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$').filter(|at| at + 1 < rest.len()) {
        expanded.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (name, length) = name(after);
        match name {
            None if length > 0 => {}
            None => expanded.push('$'),
            Some(name) => expanded.push_str(env.get(name).map_or("", String::as_str)),
        }
        rest = &after[length..];
    }
    expanded.push_str(rest);
    expanded
}

/// Returns the name of the variable at the start of `text`, and the number of bytes that it takes there.
fn name(text: &str) -> (Option<&str>, usize) {
    let is_special = |byte: u8| b"*#$@!?-0123456789".contains(&byte);
    let bytes = text.as_bytes();
    match bytes[0] {
        b'{' => {
            if bytes.len() > 2 && is_special(bytes[1]) && bytes[2] == b'}' {
                return (Some(&text[1..2]), 3);
            }
            match text.find('}') {
                Some(1) => (None, 2),
                Some(end) => (Some(&text[1..end]), end + 1),
                None => (None, 1),
            }
        }
        byte if is_special(byte) => (Some(&text[..1]), 1),
        _ => {
            let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
            let length = bytes.iter().take_while(|byte| is_name(byte)).count();
            (Some(&text[..length]).filter(|name| !name.is_empty()), length)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_as_by_go() {
        let env = BTreeMap::from([("HOME".to_owned(), "/root".to_owned()), ("A_1".to_owned(), "b".to_owned())]);
        for (text, expanded) in [
            ("", ""),
            ("plain", "plain"),
            ("$HOME/x", "/root/x"),
            ("${HOME}x$A_1", "/rootxb"),
            ("$MISSING|${MISSING}|", "||"),
            ("a$", "a$"),
            ("a$ b$.", "a$ b$."),
            ("$$x", "x"),
            ("$1x${2}", "x"),
            ("${}x", "x"),
            ("${HOME", "HOME"),
            ("é$é${HOME}é", "é$é/rooté"),
            ("^x$", "^x$"),
        ] {
            assert_eq!(expand(text, &env), expanded, "{text}");
        }
    }
}
