//! Trusted certificates that may sign others, with the rules of Go's clients (go, src/crypto/x509/verify.go, isValid
//! and checkChainForKeyUsage; x509.go, CheckSignatureFrom). webpki accepts every certificate as a root, and checks
//! neither its dates nor its path length.

use std::time::Duration;

use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{Error, VerifiedPath, anchor_from_trusted_cert};
use x509_cert::{
    Certificate, TbsCertificate, Version,
    der::Decode,
    ext::pkix::{BasicConstraints, KeyUsage},
};

use super::key_usage::is_for_servers;

/// The roots of a verifier.
#[derive(Debug, Default)]
pub struct TrustedRoots(Vec<TrustedRoot>);

#[derive(Debug)]
struct TrustedRoot {
    anchor: TrustAnchor<'static>,
    /// `None` for the roots of Mozilla, which come without certificates and are not limited.
    limits: Option<ChainLimits>,
}

#[derive(Debug)]
struct ChainLimits {
    not_before: Duration,
    not_after: Duration,
    /// The maximum number of intermediate certificates.
    path_length: Option<usize>,
}

impl TrustedRoots {
    /// Returns the roots among the certificates. Their dates are checked when a server is verified.
    pub fn new(trusted: &[CertificateDer<'static>]) -> Self {
        Self(trusted.iter().filter_map(TrustedRoot::from_certificate).collect())
    }

    pub fn mozilla() -> Self {
        let anchors = webpki_roots::TLS_SERVER_ROOTS.iter();
        Self(anchors.map(|anchor| TrustedRoot { anchor: anchor.clone(), limits: None }).collect())
    }

    pub fn anchors(&self) -> Vec<TrustAnchor<'static>> {
        self.0.iter().map(|root| root.anchor.clone()).collect()
    }

    /// Whether the root of a path is valid now and allows as many intermediate certificates.
    pub fn check(&self, path: &VerifiedPath<'_>, now: UnixTime) -> Result<(), Error> {
        // webpki checks the dates and path lengths of intermediate certificates, but not their key usages.
        let may_sign = |der: &CertificateDer<'_>| {
            Certificate::from_der(der).is_ok_and(|parsed| path_length_of_ca(parsed.tbs_certificate()).is_some())
        };
        if !path.intermediate_certificates().all(|intermediate| may_sign(&intermediate.der())) {
            return Err(Error::UnknownIssuer);
        }
        let intermediates = path.intermediate_certificates().count();
        let mut verdict = Err(Error::UnknownIssuer);
        // A renewed root has the name and the key of its predecessor.
        for root in self.0.iter().filter(|root| root.anchor == *path.anchor()) {
            verdict = root.check(intermediates, now);
            if verdict.is_ok() {
                break;
            }
        }
        verdict
    }
}

impl TrustedRoot {
    fn from_certificate(der: &CertificateDer<'static>) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?;
        let certificate = certificate.tbs_certificate();
        let path_length = path_length_of_ca(certificate)?;
        let validity = certificate.validity();
        let limits = ChainLimits {
            not_before: validity.not_before.to_unix_duration(),
            not_after: validity.not_after.to_unix_duration(),
            path_length,
        };
        Some(Self { anchor: anchor_from_trusted_cert(der).ok()?.to_owned(), limits: Some(limits) })
    }

    fn check(&self, intermediates: usize, now: UnixTime) -> Result<(), Error> {
        let Some(ChainLimits { not_before, not_after, path_length }) = &self.limits else { return Ok(()) };
        let time = Duration::from_secs(now.as_secs());
        if time < *not_before {
            return Err(Error::CertNotValidYet { time: now, not_before: UnixTime::since_unix_epoch(*not_before) });
        }
        if time > *not_after {
            return Err(Error::CertExpired { time: now, not_after: UnixTime::since_unix_epoch(*not_after) });
        }
        match path_length {
            Some(most) if intermediates > *most => Err(Error::PathLenConstraintViolated),
            _ => Ok(()),
        }
    }
}

/// Returns `None` if a certificate may not sign those of servers, else the maximum path length, if it is limited.
#[expect(clippy::option_option, reason = "both are optional in X.509")]
fn path_length_of_ca(certificate: &TbsCertificate) -> Option<Option<usize>> {
    let constraints = certificate.get_extension::<BasicConstraints>().ok()?.map(|(_, constraints)| constraints);
    let path_length = match constraints {
        Some(constraints) if constraints.ca => constraints.path_len_constraint.map(usize::from),
        // Certificates before version 3 have no extensions.
        None if certificate.version() != Version::V3 => None,
        _ => return None,
    };
    let usage = certificate.get_extension::<KeyUsage>().ok()?;
    let may_sign = usage.is_none_or(|(_, usage)| usage.key_cert_sign());
    (may_sign && is_for_servers(certificate).ok()?).then_some(path_length)
}
