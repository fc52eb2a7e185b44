//! The identity of a store path: its name, version and output, and its package URL.

use std::fmt::Write;

/// A package's name and version, and for a store path the output of the package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackageIdentity {
    pub name: String,
    /// The version, if there is one.
    pub version: Option<String>,
    /// The output if it is not the main one: `dev`, `bin`, ….
    pub output: Option<String>,
}

impl PackageIdentity {
    /// Splits the name of a store path by [nixpkgs'
    /// conventions](https://nixos.org/manual/nixpkgs/stable/#sec-package-naming): the version begins after the first
    /// dash that a digit follows, or with `-unstable-`. If the last component of the version has no digit, it is the
    /// output. Scanners do the same (syft, `syft/pkg/cataloger/nix/parse_store_path.go`).
    pub fn from_name(name: &str) -> Self {
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

    /// Returns the version of the upstream project, with which vulnerability databases compare: nixpkgs adds
    /// `-unstable-DATE` to the last release before a commit, and some packages have a revision `-rN`. Without a release,
    /// `unstable-DATE` and `0-unstable-DATE`, it is the version itself.
    pub fn upstream_version(&self) -> Option<&str> {
        let version = self.version.as_deref()?;
        if let Some((release, date)) = version.rsplit_once("-unstable-") {
            let is_release = release != "0" && release.contains(|digit: char| digit.is_ascii_digit());
            return Some(if is_release && is_date(date) { release } else { version });
        }
        let is_revision = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match version.rsplit_once("-r") {
            Some((release, revision)) if !release.is_empty() && is_revision(revision) => Some(release),
            _ => Some(version),
        }
    }

    /// Returns the package URL of a store path in the form of syft (`syft/pkg/cataloger/nix/package.go`):
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

/// Whether it is a date, `2024-01-31`.
fn is_date(text: &str) -> bool {
    let is_separator = |at: usize| at == 4 || at == 7;
    text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match is_separator(at) {
            true => byte == b'-',
            false => byte.is_ascii_digit(),
        })
}

/// Encodes a component of a package URL.
pub(in crate::attest) fn encoded(text: &str) -> String {
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
            let PackageIdentity { name: found, version, output } = PackageIdentity::from_name(name);
            let found = (found.as_str(), version.as_deref().unwrap_or(""), output.as_deref().unwrap_or(""));
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn upstream_versions_lack_the_suffixes_of_nixpkgs() {
        for (name, expected) in [
            ("hello-2.12", "2.12"),
            ("hello-2.12-unstable-2024-01-02", "2.12"),
            ("hello-2.12-unstable-2024-01-02-dev", "2.12"),
            ("hello-2.12-unstable-soon1", "2.12-unstable-soon1"),
            ("hello-0-unstable-2024-01-02", "0-unstable-2024-01-02"),
            ("hello-unstable-2024-01-02", "unstable-2024-01-02"),
            ("musl-1.2.5-r1", "1.2.5"),
            ("tool-1.2-rc1", "1.2-rc1"),
            ("glibc-2.34-210", "2.34-210"),
            ("source", ""),
        ] {
            assert_eq!(PackageIdentity::from_name(name).upstream_version().unwrap_or(""), expected, "{name}");
        }
    }

    #[test]
    fn package_urls_are_encoded() {
        let identity = PackageIdentity::from_name("gtk+-3.24.1+git-dev");
        assert_eq!(identity.purl("abc"), "pkg:nix/gtk%2B@3.24.1%2Bgit?output=dev&outputhash=abc");
        assert_eq!(PackageIdentity::from_name("source").purl("abc"), "pkg:nix/source?outputhash=abc");
    }
}
