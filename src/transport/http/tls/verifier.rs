//! Verifies the certificates of servers.
//!
//! webpki requires a CA and a certificate that the CA signed. `openssl req -x509` makes one certificate that is both,
//! which users add to their certificate directories. webpki refuses it (`CaUsedAsEndEntity`), but Go's clients accept
//! it. As in Go (go, src/crypto/x509/verify.go, Verify), a server whose certificate is identical to a trusted one is
//! trusted after checks of its dates, names and usages. This exception applies only to the issuer: every other error of
//! webpki stays an error. It does not apply to other certificates that such a certificate signed.

use std::{collections::HashSet, sync::Arc, time::Duration};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use x509_cert::{Certificate, der::Decode};

use super::{key_usage::is_for_servers, roots::TrustedRoots};

/// Returns a verifier that trusts these certificates, or those of Mozilla if there are none. With `insecure`, it
/// accepts every server.
pub fn new(
    trusted: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
    insecure: bool,
) -> Arc<dyn ServerCertVerifier> {
    let algorithms = provider.signature_verification_algorithms;
    if insecure {
        return Arc::new(AcceptAnyCertificate(algorithms.supported_schemes()));
    }
    let roots = if trusted.is_empty() { TrustedRoots::mozilla() } else { TrustedRoots::new(&trusted) };
    let store = RootCertStore { roots: roots.anchors() };
    // Without a root, only identical certificates are accepted.
    let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider)).build().ok();
    Arc::new(Verifier { webpki, roots, exact: trusted.into_iter().collect(), algorithms })
}

#[derive(Debug)]
struct Verifier {
    webpki: Option<Arc<WebPkiServerVerifier>>,
    roots: TrustedRoots,
    /// Certificates that are trusted without a CA.
    exact: HashSet<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = match &self.webpki {
            Some(webpki) => webpki.verify_server_cert(certificate, intermediates, name, ocsp_response, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        match verdict {
            Ok(_) => match self.verify_root(certificate, intermediates, now) {
                Err(_) if self.exact.contains(certificate) => verify_exact(certificate, name, now),
                verdict => verdict,
            },
            Err(error) if is_about_issuer(&error) && self.exact.contains(certificate) => {
                verify_exact(certificate, name, now)
            }
            // For a CA that is used as a server, webpki has no error that users understand.
            Err(error) if is_about_issuer(&error) => Err(CertificateError::UnknownIssuer.into()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl Verifier {
    /// Verifies again, with paths that end in a root that is valid itself.
    fn verify_root(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = webpki::EndEntityCert::try_from(certificate).map_err(|_| CertificateError::BadEncoding)?;
        let anchors = self.roots.anchors();
        let usage = webpki::KeyUsage::server_auth();
        let check = |path: &webpki::VerifiedPath<'_>| self.roots.check(path, now);
        let verified =
            parsed.verify_for_usage(self.algorithms.all, &anchors, intermediates, now, usage, None, Some(&check));
        match verified {
            Ok(_) => Ok(ServerCertVerified::assertion()),
            Err(webpki::Error::CertExpired { .. }) => Err(CertificateError::Expired.into()),
            Err(webpki::Error::CertNotValidYet { .. }) => Err(CertificateError::NotValidYet.into()),
            Err(webpki::Error::PathLenConstraintViolated) => {
                Err(Error::General("the CA of its certificate allows fewer intermediate certificates".to_owned()))
            }
            Err(_) => Err(CertificateError::UnknownIssuer.into()),
        }
    }
}

/// Whether only the issuer may be wrong: no trusted CA signed the certificate, or it is a CA itself.
fn is_about_issuer(error: &Error) -> bool {
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => true,
        Error::InvalidCertificate(CertificateError::Other(OtherError(other))) => {
            matches!(other.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
        }
        _ => false,
    }
}

/// Checks everything but the issuer of a trusted certificate.
fn verify_exact(
    certificate: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, Error> {
    let parsed = Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let parsed = parsed.tbs_certificate();
    let (now, validity) = (Duration::from_secs(now.as_secs()), parsed.validity());
    if now < validity.not_before.to_unix_duration() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > validity.not_after.to_unix_duration() {
        return Err(CertificateError::Expired.into());
    }
    if !is_for_servers(parsed).map_err(|_| CertificateError::BadEncoding)? {
        return Err(CertificateError::InvalidPurpose.into());
    }
    verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
    Ok(ServerCertVerified::assertion())
}

/// Accepts every certificate, on request of the user.
#[derive(Debug)]
struct AcceptAnyCertificate(Vec<SignatureScheme>);

impl ServerCertVerifier for AcceptAnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, date_time_ymd};
    use rustls::crypto::ring;

    use super::*;

    /// 2026-11-21
    const NOW: u64 = 1_795_219_200;

    /// The parameters of `openssl req -x509` for `registry.example`: a self-signed CA.
    fn params() -> CertificateParams {
        params_with(|_| {})
    }

    fn params_with(change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
        let mut params = CertificateParams::new(["registry.example".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        params
    }

    fn signed(params: &CertificateParams) -> CertificateDer<'static> {
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn verify(
        trusted: &CertificateDer<'static>,
        shown: &CertificateDer<'_>,
        host: &str,
    ) -> Result<(), CertificateError> {
        let verifier = new(vec![trusted.clone()], &Arc::new(ring::default_provider()), false);
        let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW));
        match verifier.verify_server_cert(shown, &[], &host.to_owned().try_into().unwrap(), &[], now) {
            Ok(_) => Ok(()),
            Err(Error::InvalidCertificate(why)) => Err(why),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_trusted_self_signed_certificate_is_accepted() {
        let certificate = signed(&params());
        verify(&certificate, &certificate, "registry.example").unwrap();
        let for_servers = |usages: &[ExtendedKeyUsagePurpose]| {
            let certificate = signed(&params_with(|params| params.extended_key_usages = usages.to_vec()));
            verify(&certificate, &certificate, "registry.example")
        };
        for_servers(&[ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth]).unwrap();
        for_servers(&[ExtendedKeyUsagePurpose::Any]).unwrap();
        assert_eq!(for_servers(&[ExtendedKeyUsagePurpose::CodeSigning]), Err(CertificateError::InvalidPurpose));
    }

    #[test]
    fn its_name_and_its_dates_count() {
        let certificate = signed(&params());
        let wrong = verify(&certificate, &certificate, "evil.example").unwrap_err();
        assert!(matches!(wrong, CertificateError::NotValidForNameContext { .. }), "{wrong:?}");
        let certificate = signed(&params_with(|params| params.not_after = date_time_ymd(2026, 11, 20)));
        let expired = verify(&certificate, &certificate, "registry.example").unwrap_err();
        assert!(matches!(expired, CertificateError::ExpiredContext { .. } | CertificateError::Expired), "{expired:?}");
        let certificate = signed(&params_with(|params| params.not_before = date_time_ymd(2026, 11, 23)));
        let early = verify(&certificate, &certificate, "registry.example").unwrap_err();
        assert!(
            matches!(early, CertificateError::NotValidYetContext { .. } | CertificateError::NotValidYet),
            "{early:?}"
        );
    }

    #[test]
    fn another_certificate_of_the_same_name_is_not_trusted() {
        let (certificate, other) = (signed(&params()), signed(&params()));
        assert_eq!(verify(&certificate, &other, "registry.example"), Err(CertificateError::UnknownIssuer));
        // Another certificate with the same key is different too.
        let key = KeyPair::generate().unwrap();
        let certificate = params().self_signed(&key).unwrap().der().clone();
        let renewed = params_with(|params| params.not_after = date_time_ymd(2030, 1, 1));
        verify(&certificate, renewed.self_signed(&key).unwrap().der(), "registry.example").unwrap_err();
    }

    #[test]
    fn certificates_of_a_trusted_ca_are_fully_checked() {
        let key = KeyPair::generate().unwrap();
        let certificate = params().self_signed(&key).unwrap().der().clone();
        let issuer = Issuer::new(params(), &key);
        let sign =
            |params: CertificateParams| params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap().der().clone();
        let leaf = sign(CertificateParams::new(["other.example".to_owned()]).unwrap());
        verify(&certificate, &leaf, "other.example").unwrap();
        verify(&certificate, &leaf, "registry.example").unwrap_err();
        // A certificate below it that is a CA is not a server certificate.
        verify(&certificate, &sign(params()), "registry.example").unwrap_err();
    }
}
