//! The TLS certificate of a server and its key.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio_rustls::TlsAcceptor;

/// A certificate and its matching key.
#[derive(Clone)]
pub struct ServerIdentity(TlsAcceptor);

impl fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

/// The reason that a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("reading {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A file has no certificate or no key.
    #[error("{} has no {what} in PEM form", path.display())]
    Lacks {
        /// The file.
        path: PathBuf,
        /// The missing part.
        what: &'static str,
    },
    /// The certificate and the key do not match.
    #[error("the certificate of {} and the key of {} cannot be used", certificate.display(), key.display())]
    Pair {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// The cause.
        source: rustls::Error,
    },
}

impl ServerIdentity {
    /// Reads the certificate chain from `certificate`, the certificate of the server first, and the key from `key`. Both may
    /// be the same file.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or lacks its part, or the key does not match the certificate.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, IdentityError> {
        let read = |path: &Path| fs::read(path).map_err(|source| IdentityError::Read { path: path.to_owned(), source });
        let lacks = |path: &Path, what| IdentityError::Lacks { path: path.to_owned(), what };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&read(certificate)?)
            .collect::<Result<_, _>>()
            .map_err(|_| lacks(certificate, "certificate"))?;
        if chain.is_empty() {
            return Err(lacks(certificate, "certificate"));
        }
        let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| lacks(key, "private key"))?;
        let pair = |source| IdentityError::Pair { certificate: certificate.to_owned(), key: key.to_owned(), source };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(pair)?
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(pair)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// Returns the acceptor of TLS connections.
    pub fn acceptor(&self) -> &TlsAcceptor {
        &self.0
    }
}
