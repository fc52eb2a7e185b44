//! Options for registries.

use std::{path::PathBuf, time::Duration};

use super::{Credentials, credentials::canonical_host};

/// Options for reaching registries.
///
/// [Example](crate#transport).
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The options that the user gave for single hosts.
    pub hosts: Vec<HostOptions>,
    /// Whether stored credentials are ignored.
    pub anonymous: bool,
    /// The file to search first for stored credentials, before the usual places.
    pub auth_file: Option<PathBuf>,
    /// The maximum number of attempts for a request that fails temporarily. `None` stands for five.
    pub tries: Option<u32>,
    /// The time that a registry may send nothing in the middle of a response. `None` stands for a minute.
    pub stall: Option<Duration>,
}

/// Credentials and TLS settings that the user gave for one registry.
///
/// They apply only to its host, and never to mirrors, token realms, redirects, the `origin` of a recipe's layers and
/// other hosts in untrusted data. Only [`Options::for_host`] reads them.
///
/// [Example](crate#transport).
#[derive(Clone, Debug)]
pub struct HostOptions {
    host: String,
    /// The credentials. `None` searches stored ones.
    pub credentials: Option<Credentials>,
    /// A certificate directory that replaces those of the host.
    pub certificates: Option<PathBuf>,
    /// Whether any certificate is accepted, and plain HTTP if the server has no TLS. `None` uses the setting of
    /// registries.conf.
    pub insecure: Option<bool>,
}

impl HostOptions {
    /// Returns empty options for `host`, which is the `HOST[:PORT]` of a reference.
    pub fn new(host: &str) -> Self {
        Self { host: canonical_host(host), credentials: None, certificates: None, insecure: None }
    }

    /// Sets credentials, a certificate directory, and whether any certificate is accepted.
    #[must_use]
    pub fn with(self, credentials: Option<Credentials>, certificates: Option<PathBuf>, insecure: Option<bool>) -> Self {
        Self { credentials, certificates, insecure, ..self }
    }

    /// Returns the canonical name of the host.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl Options {
    /// Adds the options for one host. If there are several for the same host, the first ones are used.
    #[must_use]
    pub fn with_host(mut self, host: HostOptions) -> Self {
        self.hosts.push(host);
        self
    }

    /// Returns the options for `host`, which are empty if only other hosts have options.
    pub fn for_host(&self, host: &str) -> HostOptions {
        let host = canonical_host(host);
        self.hosts.iter().find(|given| given.host == host).cloned().unwrap_or_else(|| HostOptions::new(&host))
    }

    /// Removes given credentials, for hosts that a recipe names.
    #[must_use]
    pub fn without_given_credentials(mut self) -> Self {
        self.hosts.iter_mut().for_each(|given| given.credentials = None);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_found_for_their_own_host_only() {
        let credentials = Some(Credentials::Token("secret".to_owned()));
        let options = Options::default().with_host(HostOptions { credentials, ..HostOptions::new("reg.example:5000") });
        for host in ["reg.example:5000", "REG.example:5000"] {
            assert!(options.for_host(host).credentials.is_some(), "{host}");
        }
        for other in ["reg.example", "reg.example:5001", "reg.example:50000", "evil.reg.example:5000", "reg.exampl"] {
            assert!(options.for_host(other).credentials.is_none(), "{other}");
        }
        assert!(options.without_given_credentials().for_host("reg.example:5000").credentials.is_none());
    }

    #[test]
    fn names_of_one_host_are_equal() {
        for (host, other) in [
            ("docker.io", "registry-1.docker.io"),
            ("index.docker.io", "docker.io"),
            ("reg.example", "Reg.Example:443"),
        ] {
            let given = HostOptions { insecure: Some(true), ..HostOptions::new(host) };
            assert_eq!(Options::default().with_host(given).for_host(other).insecure, Some(true), "{host} {other}");
        }
    }
}
