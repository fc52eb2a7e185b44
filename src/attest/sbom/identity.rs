//! What a store path is called: its name, version and output, and its package URL.

use std::fmt::Write;

/// A package's name and version; for a store path, which output of the package it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// The name.
    pub name: String,
    /// The version, where there is one.
    pub version: Option<String>,
    /// The output, where it is not the main one: `dev`, `bin`, ….
    pub output: Option<String>,
}

impl Identity {
    /// The fields of the name of a store path, by
    /// [nixpkgs' conventions](https://nixos.org/manual/nixpkgs/stable/#sec-package-naming): the version begins at the
    /// first dash that a digit follows, or at `-unstable-`; a last part of it without a digit is the output. Scanners
    /// read it so too (syft, `syft/pkg/cataloger/nix/parse_store_path.go`).
    pub fn of_name(name: &str) -> Self {
        let is_version = |at: usize| name[at + 1..].starts_with(|next: char| next.is_ascii_digit());
        let Some(dash) = name.match_indices('-').map(|(at, _)| at).find(|&at| is_version(at)) else {
            return Self { name: name.to_owned(), version: None, output: None };
        };
        let dash = name[..dash].strip_suffix("-unstable").map_or(dash, str::len);
        let (name, version) = (&name[..dash], &name[dash + 1..]);
        let (version, output) = match version.rsplit_once('-') {
            Some((version, last)) if !last.is_empty() && !last.contains(|digit: char| digit.is_ascii_digit()) => {
                (version, Some(last.to_owned()))
            }
            _ => (version, None),
        };
        Self { name: name.to_owned(), version: Some(version.to_owned()), output }
    }

    /// The package URL of a store path, as syft writes it (`syft/pkg/cataloger/nix/package.go`):
    /// `pkg:nix/NAME@VERSION?output=OUTPUT&outputhash=HASH`.
    pub fn purl(&self, hash_part: &str) -> String {
        let mut purl = format!("pkg:nix/{}", encoded(&self.name));
        if let Some(version) = &self.version {
            purl += &format!("@{}", encoded(version));
        }
        purl.push('?');
        if let Some(output) = &self.output {
            purl += &format!("output={}&", encoded(output));
        }
        purl + "outputhash=" + hash_part
    }
}

/// Percent-encoded as package URLs have it.
pub(super) fn encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' => encoded.push(byte.into()),
            other => write!(encoded, "%{other:02X}").expect("strings take everything"),
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_versions_and_outputs() {
        for (name, expected) in [
            ("hello-2.12", ("hello", "2.12", "")),
            ("openssl-3.0.20-dev", ("openssl", "3.0.20", "dev")),
            ("glibc-2.34-210-bin", ("glibc", "2.34-210", "bin")),
            ("perl5.34.1-TimeDate-2.33", ("perl5.34.1-TimeDate", "2.33", "")),
            (
                "busybox-static-x86_64-unknown-linux-musl-1.35.0",
                ("busybox-static-x86_64-unknown-linux-musl", "1.35.0", ""),
            ),
            ("bash-interactive-5.1-p16-man", ("bash-interactive", "5.1-p16", "man")),
            ("webdav-server-rs-unstable-2021-08-16", ("webdav-server-rs", "unstable-2021-08-16", "")),
            ("iana-0-unstable-2024-01-02", ("iana", "0-unstable-2024-01-02", "")),
            ("source", ("source", "", "")),
            ("run-script", ("run-script", "", "")),
        ] {
            let Identity { name: found, version, output } = Identity::of_name(name);
            let found = (found.as_str(), version.as_deref().unwrap_or(""), output.as_deref().unwrap_or(""));
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn package_urls_are_encoded() {
        let identity = Identity::of_name("gtk+-3.24.1+git-dev");
        assert_eq!(identity.purl("abc"), "pkg:nix/gtk%2B@3.24.1%2Bgit?output=dev&outputhash=abc");
        assert_eq!(Identity::of_name("source").purl("abc"), "pkg:nix/source?outputhash=abc");
    }
}
