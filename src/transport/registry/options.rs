//! Options for registries, and for one host.

use std::{path::PathBuf, time::Duration};

use super::{Credentials, credentials::canonical_host};

/// How registries are reached.
///
/// [Example](crate#transport).
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What the user gave for single hosts.
    pub hosts: Vec<HostOptions>,
    /// Whether stored credentials are ignored.
    pub anonymous: bool,
    /// The file to search first for stored credentials, before the usual places.
    pub auth_file: Option<PathBuf>,
    /// How often a request is tried that fails temporarily; `None` is five times.
    pub tries: Option<u32>,
    /// How long a registry may be silent in the middle of an answer; `None` is a minute.
    pub stall: Option<Duration>,
}

/// Credentials and trust that the user gave by hand for one registry.
///
/// They are bound to its host: mirrors, token realms, redirects, the `origin` of a recipe's layers and every other host
/// that data names never see them. Only [`Options::for_host`] reads them.
///
/// [Example](crate#transport).
#[derive(Clone, Debug)]
pub struct HostOptions {
    host: String,
    /// Credentials; `None` searches stored ones.
    pub credentials: Option<Credentials>,
    /// A directory of certificates, instead of the usual ones of the host.
    pub certificates: Option<PathBuf>,
    /// Whether any certificate is accepted, and plain HTTP where there is no TLS; `None` asks registries.conf.
    pub insecure: Option<bool>,
}

impl HostOptions {
    /// Nothing given for `host`, which is `HOST[:PORT]` of a reference.
    pub fn new(host: &str) -> Self {
        Self { host: canonical_host(host), credentials: None, certificates: None, insecure: None }
    }

    /// With these credentials, a directory of certificates, and whether any certificate is accepted.
    #[must_use]
    pub fn with(self, credentials: Option<Credentials>, certificates: Option<PathBuf>, insecure: Option<bool>) -> Self {
        Self { credentials, certificates, insecure, ..self }
    }

    /// The host, in one spelling of its names.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl Options {
    /// Adds what was given for one host. For the same host, the first one counts.
    #[must_use]
    pub fn with_host(mut self, host: HostOptions) -> Self {
        self.hosts.push(host);
        self
    }

    /// What was given for `host`; nothing if it was given for other hosts only.
    pub fn for_host(&self, host: &str) -> HostOptions {
        let host = canonical_host(host);
        self.hosts.iter().find(|given| given.host == host).cloned().unwrap_or_else(|| HostOptions::new(&host))
    }

    /// The same without credentials that were given by hand: for hosts that a recipe names.
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
        for own in ["reg.example:5000", "REG.example:5000"] {
            assert!(options.for_host(own).credentials.is_some(), "{own}");
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
