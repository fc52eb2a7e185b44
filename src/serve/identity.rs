//! The certificate that a server shows, and its key.

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

/// A certificate and its key, checked to belong together.
#[derive(Clone)]
pub struct Identity(TlsAcceptor);

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("reading {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// A file has no certificate or no key.
    #[error("{} has no {what} in PEM form", path.display())]
    Lacks {
        /// Which.
        path: PathBuf,
        /// What it lacks.
        what: &'static str,
    },
    /// They do not go together.
    #[error("the certificate of {} and the key of {} cannot be used", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

impl Identity {
    /// Reads the chain of certificates in `certificate`, the server's own first, and the key in `key`. Both may be one
    /// file.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or lacks its part, and when the key is not the certificate's.
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

    /// The server side of TLS.
    pub fn acceptor(&self) -> &TlsAcceptor {
        &self.0
    }
}
