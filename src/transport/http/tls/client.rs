//! The client certificate and its key.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    client::ResolvesClientCert,
    crypto::CryptoProvider,
    pki_types::{PrivateKeyDer, pem::PemObject},
    sign::{CertifiedKey, SingleCertAndKey},
};
use x509_cert::{
    Certificate,
    der::{Decode, Encode},
};

use super::{Certificates, Result, certificate_error, certificates, read};

/// A client certificate with its chain and its key, and the path of the key.
pub struct ClientCertificate {
    chain: Certificates,
    key: PrivateKeyDer<'static>,
    path: PathBuf,
}

impl ClientCertificate {
    pub fn read(certificate: &Path, key: PathBuf) -> Result<Self> {
        let (chain, _) = certificates(&read(certificate)?);
        if chain.is_empty() {
            return Err(invalid(certificate, "it contains no certificate in PEM form"));
        }
        let parsed = PrivateKeyDer::from_pem_slice(&read(&key)?);
        Ok(Self { chain, key: parsed.map_err(|error| invalid(&key, error))?, path: key })
    }

    /// Returns a resolver that presents the certificate to servers that ask for one.
    ///
    /// rustls refuses certificates of X.509 version 1, which `openssl x509 -req` writes and Go's clients send. The
    /// server checks the certificate of a client, so this function checks only that the key belongs to it.
    pub fn resolver(self, provider: &CryptoProvider) -> Result<Arc<dyn ResolvesClientCert>> {
        let Self { chain, key, path } = self;
        let unsupported =
            |_| invalid(&path, "the key is not supported; use RSA, ECDSA with P-256 or P-384, or Ed25519");
        let key = provider.key_provider.load_private_key(key).map_err(unsupported)?;
        let certificate = chain.first().and_then(|leaf| Certificate::from_der(leaf).ok());
        let info = certificate.and_then(|leaf| leaf.tbs_certificate().subject_public_key_info().to_der().ok());
        let fits = key.public_key().is_none_or(|public| Some(public.as_ref()) == info.as_deref());
        if !fits {
            return Err(invalid(&path, "the key does not belong to the certificate"));
        }
        Ok(Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key))))
    }
}

fn invalid(path: &Path, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> crate::transport::http::HttpError {
    certificate_error(path)(io::Error::new(io::ErrorKind::InvalidData, why))
}
