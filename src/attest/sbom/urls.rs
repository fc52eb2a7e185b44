//! Identifiers and URLs in `meta`, which is free text. Invalid ones are omitted from an SBOM, because other programs
//! parse it, and readers follow its links.

use std::fmt::Write;

/// Schemes of web pages.
const SCHEMES: [&str; 3] = ["https://", "http://", "ftp://"];

/// Returns the URL of a page in ASCII: `https://example.com/caf%C3%A9`.
pub fn page(text: &str) -> Option<String> {
    let scheme = SCHEMES.iter().find(|scheme| text.starts_with(**scheme))?;
    let host = text[scheme.len()..].split(['/', '?', '#']).next()?;
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    // This excludes hosts that resemble other ones, and credentials.
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

/// Replaces the version of a CPE if it is `from`. In a CPE, backslashes are before punctuation.
pub fn replace_version(cpe: &str, from: &str, to: &str) -> String {
    // The version is the sixth part: cpe:2.3:PART:VENDOR:PRODUCT:VERSION.
    let mut ends = Vec::new();
    let mut is_escaped = false;
    for (at, byte) in cpe.bytes().enumerate() {
        if byte == b':' && !is_escaped {
            ends.push(at);
        }
        is_escaped = byte == b'\\' && !is_escaped;
    }
    let (Some(&start), Some(&end)) = (ends.get(4), ends.get(5)) else { return cpe.to_owned() };
    if cpe[start + 1..end].replace('\\', "") != from {
        return cpe.to_owned();
    }
    let mut escaped = String::with_capacity(to.len());
    for letter in to.chars() {
        if !letter.is_ascii_alphanumeric() && !"._-".contains(letter) {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    format!("{}:{escaped}{}", &cpe[..start], &cpe[end..])
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

    #[test]
    fn versions_of_cpes_are_replaced() {
        let cpe = |version: &str| format!(r"cpe:2.3:a:gnu:a\:b:{version}:*:*:*:*:*:*:*");
        let full = "1.2-unstable-2024-01-02";
        assert_eq!(replace_version(&cpe(full), full, "1.2"), cpe("1.2"));
        assert_eq!(replace_version(&cpe(r"1.2\-unstable\-2024\-01\-02"), full, "1.2+a"), cpe(r"1.2\+a"));
        for other in ["*", "1.2", "1.3-unstable-2024-01-02"] {
            assert_eq!(replace_version(&cpe(other), full, "1.2"), cpe(other));
        }
        assert_eq!(replace_version("cpe:2.3:a", "a", "b"), "cpe:2.3:a");
    }
}
