//! Whom we trust, and who we are, when a server is reached through TLS.
//!
//! ```text
//! certificates of the folder, of the machine ──▶ Verifier ──┐
//! our own certificate and key ──────────────────────────────┴──▶ Tls ──▶ Connector, for ureq
//! ```
//!
//! A folder of certificates is containers' and docker's: `*.crt` are authorities, `*.cert` and `*.key` of one name are
//! our own certificate. Without one named, `certs.d/HOST` of the user's containers, of the machine's containers and of
//! docker is looked at, in this order (containers/image, docker/docker_client.go, dockerCertDir).

mod connector;
mod verifier;

use std::{
    fmt, fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio_rustls::rustls::{
    ALL_VERSIONS, ClientConfig, crypto,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use ureq::{Agent, config::Config, unversioned::resolver::DefaultResolver};

use super::HttpError;

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

/// Our own certificate, its chain and its key, and the file that the key is in.
struct Own {
    chain: Certificates,
    key: PrivateKeyDer<'static>,
    path: PathBuf,
}

impl Tls {
    /// For `host`; `directory` is a folder of certificates, `insecure` trusts everybody.
    pub(crate) fn of_host(host: &str, directory: Option<&Path>, insecure: bool) -> Result<Self> {
        let user = std::env::var_os("HOME").map(|home| Path::new(&home).join(".config/containers/certs.d"));
        let machine = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from);
        let usual = user.into_iter().chain(machine).map(|base| base.join(host));
        let directory = match directory {
            Some(directory) => Some(directory.to_owned()),
            None => usual.into_iter().find(|directory| directory.is_dir()),
        };
        let mut trusted = machine_certificates();
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
                    Some("crt") => trusted.extend(certificates(&read(&path)?)),
                    Some("cert") => own = Some(Own::read(&path, path.with_extension("key"))?),
                    _ => {}
                }
            }
        }
        Self::new(trusted, own, insecure)
    }

    /// For servers that the machine trusts.
    pub(crate) fn of_machine() -> Result<Self> {
        Self::new(machine_certificates(), None, false)
    }

    /// As docker's command line has it: `ca.pem`, `cert.pem` and `key.pem` in a folder.
    pub(crate) fn of_docker(folder: Option<&Path>, insecure: bool) -> Result<Self> {
        let Some(folder) = folder else { return Self::new(machine_certificates(), None, insecure) };
        let authority = folder.join("ca.pem");
        let trusted = match authority.exists() {
            true => Some(certificates(&read(&authority)?))
                .filter(|trusted| !trusted.is_empty())
                .ok_or_else(|| certificate_error(&authority)(ErrorKind::InvalidData.into()))?,
            false => machine_certificates(),
        };
        let certificate = folder.join("cert.pem");
        let own = match certificate.exists() {
            true => Some(Own::read(&certificate, folder.join("key.pem"))?),
            false => None,
        };
        Self::new(trusted, own, insecure)
    }

    fn new(trusted: Certificates, own: Option<Own>, insecure: bool) -> Result<Self> {
        let provider = Arc::new(crypto::ring::default_provider());
        let verifier = verifier::of(trusted, &provider, insecure);
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(ALL_VERSIONS)
            .expect("ring has ciphers for every version")
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some(Own { chain, key, path }) => builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| certificate_error(&path)(io::Error::new(ErrorKind::InvalidData, error)))?,
        };
        Ok(Self(Arc::new(config)))
    }

    /// An agent with these settings; `proxy` are those for an HTTPS proxy.
    pub(super) fn agent(&self, config: Config, proxy: Option<&Self>) -> Agent {
        let connector = connector::new(Arc::clone(&self.0), proxy.map(|proxy| Arc::clone(&proxy.0)));
        Agent::with_parts(config, connector, DefaultResolver::default())
    }
}

impl Own {
    fn read(certificate: &Path, key: PathBuf) -> Result<Self> {
        let chain = certificates(&read(certificate)?);
        let malformed = |error| certificate_error(&key)(io::Error::new(ErrorKind::InvalidData, error));
        Ok(Self { chain, key: PrivateKeyDer::from_pem_slice(&read(&key)?).map_err(malformed)?, path: key })
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(certificate_error(path))
}

fn certificate_error(path: &Path) -> impl FnOnce(io::Error) -> HttpError {
    let path = path.to_owned();
    move |source| HttpError::Certificates { path, source }
}

fn certificates(pem: &[u8]) -> Certificates {
    CertificateDer::pem_slice_iter(pem).filter_map(std::result::Result::ok).collect()
}

/// The machine's authorities: where Nix and OpenSSL users name them, else the distribution's.
fn machine_certificates() -> Certificates {
    let named = ["NIX_SSL_CERT_FILE", "SSL_CERT_FILE"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    let usual =
        ["/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/certs/ca-bundle.crt", "/etc/pki/tls/certs/ca-bundle.crt"];
    let all = named.chain(usual.into_iter().map(PathBuf::from));
    all.filter_map(|path| fs::read(path).ok())
        .map(|pem| certificates(&pem))
        .find(|certificates| !certificates.is_empty())
        .unwrap_or_default()
}
