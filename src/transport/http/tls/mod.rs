//! Trusted CAs and client certificates of TLS connections.
//!
//! ```text
//! CA certificates of the directory, of the machine ──▶ Verifier ──┐
//! the client certificate and its key ──────────────────────────────┴──▶ Tls ──▶ Connector, for ureq
//! ```
//!
//! A certificate directory has the layout of containers-certs.d and docker: `*.crt` are CAs, and `*.cert` and `*.key`
//! of one name are the client certificate. If no directory is given, the first existing `certs.d/HOST` is used: that of
//! the user's containers, of the machine's containers, or of docker (containers/image, docker/docker_client.go,
//! dockerCertDir).

mod client;
mod connector;
mod key_usage;
mod roots;
mod verifier;

use std::{
    collections::BTreeSet,
    fmt, fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
};

use rustls::{
    ALL_VERSIONS, ClientConfig, crypto,
    pki_types::{CertificateDer, pem::PemObject},
};
use ureq::{Agent, config::Config, unversioned::resolver::DefaultResolver};
use x509_cert::{Certificate, der::Decode};

use super::{HttpError, clean};
use crate::threads::lock;
use client::ClientCertificate;

type Result<T> = std::result::Result<T, HttpError>;
type Certificates = Vec<CertificateDer<'static>>;

/// TLS settings.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Returns the settings for `host`. `directory` is a certificate directory, and `insecure` accepts any certificate.
    pub(crate) fn for_host(host: &str, directory: Option<&Path>, insecure: bool) -> Result<Self> {
        let user = std::env::var_os("HOME").map(|home| Path::new(&home).join(".config/containers/certs.d"));
        let machine = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from);
        let usual = user.into_iter().chain(machine).map(|base| base.join(host));
        let directory = match directory {
            Some(directory) => Some(directory.to_owned()),
            None => usual.into_iter().find(|directory| directory.is_dir()),
        };
        let mut trusted = machine_certificates()?;
        let mut client_certificate = None;
        if let Some(directory) = &directory {
            let mut files = fs::read_dir(directory)
                .and_then(|entries| {
                    entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()
                })
                .map_err(certificate_error(directory))?;
            files.sort_unstable();
            for path in files {
                match path.extension().and_then(|extension| extension.to_str()) {
                    Some("crt") => trusted.extend(trusted_certificates(&path)),
                    Some("cert") => {
                        client_certificate = Some(ClientCertificate::read(&path, path.with_extension("key"))?)
                    }
                    _ => {}
                }
            }
        }
        Self::new(trusted, client_certificate, insecure)
    }

    /// Returns the settings with the CAs of the machine.
    pub(crate) fn for_machine() -> Result<Self> {
        Self::new(machine_certificates()?, None, false)
    }

    /// Returns the settings with the CAs of the machine, and a client certificate.
    pub(crate) fn with_client(certificate: &Path, key: &Path) -> Result<Self> {
        Self::new(machine_certificates()?, Some(ClientCertificate::read(certificate, key.to_owned())?), false)
    }

    /// Reads `ca.pem`, `cert.pem` and `key.pem` in a directory, as docker's command line does.
    pub(crate) fn for_docker(folder: Option<&Path>, insecure: bool) -> Result<Self> {
        let Some(folder) = folder else { return Self::new(machine_certificates()?, None, insecure) };
        let authority = folder.join("ca.pem");
        let trusted = match authority.exists() {
            true => Some(certificates(&read(&authority)?).0)
                .filter(|trusted| !trusted.is_empty())
                .ok_or_else(|| certificate_error(&authority)(ErrorKind::InvalidData.into()))?,
            false => machine_certificates()?,
        };
        let certificate = folder.join("cert.pem");
        let client_certificate = match certificate.exists() {
            true => Some(ClientCertificate::read(&certificate, folder.join("key.pem"))?),
            false => None,
        };
        Self::new(trusted, client_certificate, insecure)
    }

    fn new(trusted: Certificates, client_certificate: Option<ClientCertificate>, insecure: bool) -> Result<Self> {
        let provider = Arc::new(crypto::ring::default_provider());
        let verifier = verifier::new(trusted, &provider, insecure);
        let client = client_certificate.map(|client_certificate| client_certificate.resolver(&provider)).transpose()?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(ALL_VERSIONS)
            .expect("ring has ciphers for every version")
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let config = match client {
            None => builder.with_no_client_auth(),
            Some(client) => builder.with_client_cert_resolver(client),
        };
        Ok(Self(Arc::new(config)))
    }

    /// Returns an agent with these settings. `proxy` are the settings for an HTTPS proxy.
    pub(super) fn agent(&self, config: Config, proxy: Option<&Self>) -> Agent {
        let connector = connector::new(Arc::clone(&self.0), proxy.map(|proxy| Arc::clone(&proxy.0)));
        Agent::with_parts(config, connector, DefaultResolver::default())
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(certificate_error(path))
}

fn certificate_error(path: &Path) -> impl FnOnce(io::Error) -> HttpError {
    let path = path.to_owned();
    move |source| HttpError::Certificates { path, source }
}

/// Returns the certificates of a PEM file, and whether other parts of it could not be read.
fn certificates(pem: &[u8]) -> (Certificates, bool) {
    let mut certificates = Certificates::new();
    let mut is_malformed = false;
    for section in CertificateDer::pem_slice_iter(pem) {
        match section {
            Ok(der) if Certificate::from_der(&der).is_ok() => certificates.push(der),
            // webpki may read certificates that x509-cert refuses: some old CAs are malformed.
            Ok(der) if webpki::anchor_from_trusted_cert(&der).is_ok() => certificates.push(der),
            _ => is_malformed = true,
        }
    }
    (certificates, is_malformed)
}

/// Returns the trusted certificates of a `*.crt` file in a certificate directory. An unreadable file causes a warning,
/// since other files may have the certificates that are needed.
fn trusted_certificates(path: &Path) -> Certificates {
    match fs::read(path) {
        Ok(pem) => {
            let (certificates, is_malformed) = certificates(&pem);
            if is_malformed || certificates.is_empty() {
                warn_once(path, "it contains certificates that are not valid PEM, or none");
            }
            certificates
        }
        Err(error) => {
            warn_once(path, &error.to_string());
            Certificates::new()
        }
    }
}

/// Prints a warning only once, since the directory is read for each connection to a host.
fn warn_once(path: &Path, why: &str) {
    static WARNED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    if lock(&WARNED).insert(path.to_owned()) {
        crate::terminal::note!("strata: warning: reading the certificates in {}: {}", path.display(), clean(why));
    }
}

/// The CA certificates of a derivation, if its attributes have some.
static SANDBOX_CERTIFICATES: OnceLock<PathBuf> = OnceLock::new();

/// Sets the CA file that a derivation uses if its sandbox lacks that of the machine. Only the first call has an effect.
pub fn set_sandbox_certificates(path: &Path) {
    SANDBOX_CERTIFICATES.get_or_init(|| path.to_owned());
}

/// Returns the CAs of the machine: the file in the variables of Nix or OpenSSL, else that of the distribution.
///
/// In a derivation, the variable may name a file that the sandbox lacks. The file of the derivation is used then
/// ([`set_sandbox_certificates`]).
///
/// # Errors
///
/// If the file of a variable cannot be read or has no certificates: the user trusts only these.
fn machine_certificates() -> Result<Certificates> {
    let named = ["NIX_SSL_CERT_FILE", "SSL_CERT_FILE"].into_iter().filter_map(std::env::var_os);
    let named = named.filter(|path| !path.is_empty()).map(PathBuf::from).next();
    let sandboxed = SANDBOX_CERTIFICATES.get().cloned();
    let named = if named.as_ref().is_some_and(|path| path.exists()) { named } else { sandboxed.or(named) };
    if let Some(path) = named {
        let (certificates, _) = certificates(&read(&path)?);
        if certificates.is_empty() {
            let why = "NIX_SSL_CERT_FILE or SSL_CERT_FILE names it, but it contains no certificates";
            return Err(certificate_error(&path)(io::Error::new(ErrorKind::InvalidData, why)));
        }
        return Ok(certificates);
    }
    let usual =
        ["/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/certs/ca-bundle.crt", "/etc/pki/tls/certs/ca-bundle.crt"];
    let found = usual.into_iter().filter_map(|path| fs::read(path).ok()).map(|pem| certificates(&pem).0);
    Ok(found.into_iter().find(|certificates| !certificates.is_empty()).unwrap_or_default())
}
