//! Trusted CAs and client certificates of TLS connections.
//!
//! ```text
//! certificates of the folder, of the machine ──▶ Verifier ──┐
//! our own certificate and key ──────────────────────────────┴──▶ Tls ──▶ Connector, for ureq
//! ```
//!
//! A folder of certificates is containers' and docker's: `*.crt` are authorities, `*.cert` and `*.key` of one name are
//! our own certificate. Without one named, `certs.d/HOST` of the user's containers, of the machine's containers and of
//! docker is looked at, in this order (containers/image, docker/docker_client.go, dockerCertDir).

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

/// How a client speaks TLS.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// For `host`; `directory` is a certificate directory, `insecure` accepts any certificate.
    pub(crate) fn of_host(host: &str, directory: Option<&Path>, insecure: bool) -> Result<Self> {
        let user = std::env::var_os("HOME").map(|home| Path::new(&home).join(".config/containers/certs.d"));
        let machine = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from);
        let usual = user.into_iter().chain(machine).map(|base| base.join(host));
        let directory = match directory {
            Some(directory) => Some(directory.to_owned()),
            None => usual.into_iter().find(|directory| directory.is_dir()),
        };
        let mut trusted = machine_certificates()?;
        let mut own = None;
        if let Some(directory) = &directory {
            let mut files = fs::read_dir(directory)
                .and_then(|entries| {
                    entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()
                })
                .map_err(certificate_error(directory))?;
            files.sort_unstable();
            for path in files {
                match path.extension().and_then(|extension| extension.to_str()) {
                    Some("crt") => trusted.extend(trusted_of_file(&path)),
                    Some("cert") => own = Some(ClientCertificate::read(&path, path.with_extension("key"))?),
                    _ => {}
                }
            }
        }
        Self::new(trusted, own, insecure)
    }

    /// For servers that the machine trusts.
    pub(crate) fn of_machine() -> Result<Self> {
        Self::new(machine_certificates()?, None, false)
    }

    /// For a server that the machine trusts, and that asks for the certificate of its client.
    pub(crate) fn with_client(certificate: &Path, key: &Path) -> Result<Self> {
        Self::new(machine_certificates()?, Some(ClientCertificate::read(certificate, key.to_owned())?), false)
    }

    /// From `ca.pem`, `cert.pem` and `key.pem` in a directory, as docker's command line reads them.
    pub(crate) fn of_docker(folder: Option<&Path>, insecure: bool) -> Result<Self> {
        let Some(folder) = folder else { return Self::new(machine_certificates()?, None, insecure) };
        let authority = folder.join("ca.pem");
        let trusted = match authority.exists() {
            true => Some(certificates(&read(&authority)?).0)
                .filter(|trusted| !trusted.is_empty())
                .ok_or_else(|| certificate_error(&authority)(ErrorKind::InvalidData.into()))?,
            false => machine_certificates()?,
        };
        let certificate = folder.join("cert.pem");
        let own = match certificate.exists() {
            true => Some(ClientCertificate::read(&certificate, folder.join("key.pem"))?),
            false => None,
        };
        Self::new(trusted, own, insecure)
    }

    fn new(trusted: Certificates, own: Option<ClientCertificate>, insecure: bool) -> Result<Self> {
        let provider = Arc::new(crypto::ring::default_provider());
        let verifier = verifier::of(trusted, &provider, insecure);
        let client = own.map(|own| own.resolver(&provider)).transpose()?;
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

    /// An agent with these settings; `proxy` are those for an HTTPS proxy.
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

/// The certificates of a PEM file, and whether other parts of it could not be read.
fn certificates(pem: &[u8]) -> (Certificates, bool) {
    let mut certificates = Certificates::new();
    let mut is_malformed = false;
    for section in CertificateDer::pem_slice_iter(pem) {
        match section {
            Ok(der) if Certificate::from_der(&der).is_ok() => certificates.push(der),
            // webpki may read what x509-cert refuses: some old CAs are malformed.
            Ok(der) if webpki::anchor_from_trusted_cert(&der).is_ok() => certificates.push(der),
            _ => is_malformed = true,
        }
    }
    (certificates, is_malformed)
}

/// The trusted certificates of a `*.crt` file in a certificate directory. What cannot be read is a warning: other files may
/// have what the server needs.
fn trusted_of_file(path: &Path) -> Certificates {
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

/// Each host is reached by several connections, so its directory is read several times.
fn warn_once(path: &Path, why: &str) {
    static WARNED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    if lock(&WARNED).insert(path.to_owned()) {
        crate::terminal::note!("strata: warning: reading the certificates in {}: {}", path.display(), clean(why));
    }
}

/// The CAs of a derivation, if it named some.
static SANDBOX_CERTIFICATES: OnceLock<PathBuf> = OnceLock::new();

/// Names the file of CAs that a derivation uses if its sandbox lacks the machine's. The first call counts.
pub fn set_sandbox_certificates(path: &Path) {
    SANDBOX_CERTIFICATES.get_or_init(|| path.to_owned());
}

/// The machine's CAs: the file that Nix or OpenSSL users name, else the distribution's.
///
/// In a derivation, the variable may name a file that the sandbox lacks; the derivation's own file is used then
/// ([`set_sandbox_certificates`]).
///
/// # Errors
///
/// Errors if the file that a variable names cannot be read or has no certificates: the user wants to trust these, not others.
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
