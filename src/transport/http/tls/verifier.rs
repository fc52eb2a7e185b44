//! Whether a server's certificate is to be trusted.
//!
//! webpki wants an authority and a certificate of it. `openssl req -x509` makes one certificate that is both, and people
//! put it into their folder of certificates; webpki refuses it (`CaUsedAsEndEntity`), Go's clients take it. A server that
//! shows exactly a certificate that is trusted is trusted too, as in Go (go, src/crypto/x509/verify.go, Verify), which
//! looks at its dates, its names and what it may be used for all the same. A certificate that it signed is no such one.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use x509_cert::{
    Certificate,
    der::{Decode, asn1::ObjectIdentifier},
    ext::pkix::{BasicConstraints, ExtendedKeyUsage},
};

/// Extended key usages that allow a server: `serverAuth`, `anyExtendedKeyUsage`
/// ([RFC 5280, 4.2.1.12](https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.12)).
const FOR_SERVERS: [ObjectIdentifier; 2] =
    [ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1"), ObjectIdentifier::new_unwrap("2.5.29.37.0")];

/// A verifier that trusts these certificates; without any, those of Mozilla. One that is `insecure` trusts everybody.
pub fn of(
    trusted: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
    insecure: bool,
) -> Arc<dyn ServerCertVerifier> {
    let schemes = provider.signature_verification_algorithms.supported_schemes();
    if insecure {
        return Arc::new(AcceptAnyCertificate(schemes));
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted.iter().cloned());
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let webpki = webpki.build().expect("there are roots, and no lists of revoked certificates");
    Arc::new(Verifier { webpki, exact: trusted.into_iter().collect() })
}

#[derive(Debug)]
struct Verifier {
    webpki: Arc<WebPkiServerVerifier>,
    /// What is trusted, whoever signed it.
    exact: HashSet<CertificateDer<'static>>,
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
        match self.webpki.verify_server_cert(certificate, intermediates, name, ocsp_response, now) {
            Err(_) if self.exact.contains(certificate) => verify_exact(certificate, name, now),
            // What webpki says of an authority that is a server, whoever signed it, has no word for people.
            Err(Error::InvalidCertificate(CertificateError::Other(_))) if is_authority(certificate) => {
                Err(CertificateError::UnknownIssuer.into())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

fn is_authority(certificate: &CertificateDer<'_>) -> bool {
    let constraints = |parsed: Certificate| parsed.tbs_certificate().get_extension::<BasicConstraints>();
    Certificate::from_der(certificate).and_then(constraints).is_ok_and(|found| found.is_some_and(|(_, is)| is.ca))
}

/// What is left to ask of a certificate that is trusted itself.
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
    let usages = parsed.get_extension::<ExtendedKeyUsage>().map_err(|_| CertificateError::BadEncoding)?;
    if usages.is_some_and(|(_, usages)| !usages.0.iter().any(|usage| FOR_SERVERS.contains(usage))) {
        return Err(CertificateError::InvalidPurpose.into());
    }
    verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
    Ok(ServerCertVerified::assertion())
}

/// Verifies nothing: what the user asked for.
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
    use tokio_rustls::rustls::crypto::ring;

    use super::*;

    /// 2026-11-21
    const NOW: u64 = 1_795_219_200;

    /// What `openssl req -x509` writes for `registry.example`: an authority, signed by itself.
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
        let verifier = of(vec![trusted.clone()], &Arc::new(ring::default_provider()), false);
        let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW));
        match verifier.verify_server_cert(shown, &[], &host.to_owned().try_into().unwrap(), &[], now) {
            Ok(_) => Ok(()),
            Err(Error::InvalidCertificate(why)) => Err(why),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn an_authority_that_is_trusted_may_be_the_server_itself() {
        let own = signed(&params());
        verify(&own, &own, "registry.example").unwrap();
        let for_servers = |usages: &[ExtendedKeyUsagePurpose]| {
            let own = signed(&params_with(|params| params.extended_key_usages = usages.to_vec()));
            verify(&own, &own, "registry.example")
        };
        for_servers(&[ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth]).unwrap();
        for_servers(&[ExtendedKeyUsagePurpose::Any]).unwrap();
        assert_eq!(for_servers(&[ExtendedKeyUsagePurpose::CodeSigning]), Err(CertificateError::InvalidPurpose));
    }

    #[test]
    fn its_name_and_its_dates_count() {
        let own = signed(&params());
        let wrong = verify(&own, &own, "evil.example").unwrap_err();
        assert!(matches!(wrong, CertificateError::NotValidForNameContext { .. }), "{wrong:?}");
        let own = signed(&params_with(|params| params.not_after = date_time_ymd(2026, 11, 20)));
        assert_eq!(verify(&own, &own, "registry.example"), Err(CertificateError::Expired));
        let own = signed(&params_with(|params| params.not_before = date_time_ymd(2026, 11, 23)));
        assert_eq!(verify(&own, &own, "registry.example"), Err(CertificateError::NotValidYet));
    }

    #[test]
    fn another_certificate_of_the_same_name_is_not_trusted() {
        let (own, other) = (signed(&params()), signed(&params()));
        assert_eq!(verify(&own, &other, "registry.example"), Err(CertificateError::UnknownIssuer));
        // Not even one of the same key: it is other bytes.
        let key = KeyPair::generate().unwrap();
        let own = params().self_signed(&key).unwrap().der().clone();
        let renewed = params_with(|params| params.not_after = date_time_ymd(2030, 1, 1));
        verify(&own, renewed.self_signed(&key).unwrap().der(), "registry.example").unwrap_err();
    }

    #[test]
    fn what_it_signed_is_judged_as_ever() {
        let key = KeyPair::generate().unwrap();
        let own = params().self_signed(&key).unwrap().der().clone();
        let issuer = Issuer::new(params(), &key);
        let sign =
            |params: CertificateParams| params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap().der().clone();
        let leaf = sign(CertificateParams::new(["other.example".to_owned()]).unwrap());
        verify(&own, &leaf, "other.example").unwrap();
        verify(&own, &leaf, "registry.example").unwrap_err();
        // An authority below it is no server.
        verify(&own, &sign(params()), "registry.example").unwrap_err();
    }
}
