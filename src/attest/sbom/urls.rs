//! Identifiers and addresses of `meta`, which are free text: what is not valid is omitted from an SBOM, because other
//! programs parse it, and people follow its links.

use std::fmt::Write;

/// Schemes of pages that people read.
const SCHEMES: [&str; 3] = ["https://", "http://", "ftp://"];

/// The URL of a page, in ASCII: `https://example.com/caf%C3%A9`.
pub fn page(text: &str) -> Option<String> {
    let scheme = SCHEMES.iter().find(|scheme| text.starts_with(**scheme))?;
    let host = text[scheme.len()..].split(['/', '?', '#']).next()?;
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    // Neither a host that looks like another one, nor credentials.
    let is_valid = !host.is_empty() && host.bytes().all(is_host) && text.chars().all(is_allowed) && has_escapes(text);
    is_valid.then(|| to_ascii(text))
}

/// Whether it is a [package URL](https://github.com/package-url/purl-spec): `pkg:type/name`.
pub fn is_purl(text: &str) -> bool {
    let rest = text.strip_prefix("pkg:").and_then(|rest| rest.split_once('/'));
    let is_type = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_alphabetic())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".+-".contains(&byte))
    };
    let is_valid = |text: &str| text.is_ascii() && text.chars().all(is_allowed) && has_escapes(text);
    rest.is_some_and(|(kind, name)| is_type(kind) && !name.is_empty() && is_valid(name))
}

/// Whether it is a CPE 2.3 formatted string: `cpe:2.3:` and eleven parts, with `\:` for a colon.
pub fn is_cpe(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("cpe:2.3:") else { return false };
    let (mut parts, mut is_escaped, mut length) = (1, false, 0);
    for byte in rest.bytes() {
        let is_separator = byte == b':' && !is_escaped;
        if !byte.is_ascii_graphic() || is_separator && length == 0 {
            return false;
        }
        parts += usize::from(is_separator);
        length = if is_separator { 0 } else { length + 1 };
        is_escaped = byte == b'\\' && !is_escaped;
    }
    parts == 11 && length > 0 && !is_escaped
}

/// Characters of URLs ([RFC 3986](https://www.rfc-editor.org/rfc/rfc3986#section-2)), and letters of other scripts.
fn is_allowed(letter: char) -> bool {
    match letter.is_ascii() {
        true => letter.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(letter),
        false => letter.is_alphanumeric(),
    }
}

/// Whether two hexadecimal digits follow each `%`.
fn has_escapes(text: &str) -> bool {
    let is_escape = |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    text.split('%').skip(1).all(is_escape)
}

fn to_ascii(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut ascii, byte| {
        match byte.is_ascii() {
            true => ascii.push(byte.into()),
            false => write!(ascii, "%{byte:02X}").expect("strings take everything"),
        }
        ascii
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_http_and_ftp_urls() {
        for text in [
            "https://www.gnu.org/software/hello/manual/",
            "http://example.com",
            "ftp://ftp.example.com/a?b=c&d=%20#e",
            "https://en.wikipedia.org/wiki/Foo_(bar)",
            "http://[::1]:8080/",
        ] {
            assert_eq!(page(text).as_deref(), Some(text));
        }
        assert_eq!(page("https://example.com/caf\u{e9}").unwrap(), "https://example.com/caf%C3%A9");
        for text in [
            "",
            "www.gnu.org",
            "https://",
            "https:///path",
            "javascript://example.com/%0aalert(1)",
            "file:///etc/passwd",
            "https://example.com/a b",
            "https://example.com/\u{1b}[2J",
            "https://example.com/\u{202e}gnp",
            "https://example.com/%",
            "https://example.com/%zz",
            "https://example.com/\"><script>",
            "https://gnu.org@example.com/",
            "https://ex\u{e4}mple.com/",
            "https://example.com\nhttps://other",
        ] {
            assert_eq!(page(text), None, "{text:?}");
        }
    }

    #[test]
    fn package_urls_and_cpes_are_checked() {
        assert!(is_purl("pkg:github/nixos/nix@2.18?arch=x") && is_purl("pkg:nix/g%2B%2B"));
        for text in ["", "pkg:", "pkg:nix", "pkg:nix/", "npm/x", "pkg:nix/a b", "pkg:/x", "pkg:n ix/x", "pkg:nix/%2"] {
            assert!(!is_purl(text), "{text}");
        }
        let cpe = r"cpe:2.3:a:gnu:hello\:x:2.12:*:*:*:*:*:*:*";
        assert!(is_cpe(cpe));
        for text in
            ["", "cpe:/a:gnu:hello", "cpe:2.3:a:gnu", &format!("{cpe}:*"), &format!("{cpe} "), &cpe.replace("gnu", "")]
        {
            assert!(!is_cpe(text), "{text}");
        }
    }
}
