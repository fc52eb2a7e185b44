//! The extended key usages of a certificate.

use x509_cert::{
    TbsCertificate,
    der::{Error, asn1::ObjectIdentifier},
    ext::pkix::ExtendedKeyUsage,
};

/// Extended key usages that allow server certificates: `serverAuth`, `anyExtendedKeyUsage` ([RFC 5280,
/// 4.2.1.12](https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.12)).
const FOR_SERVERS: [ObjectIdentifier; 2] =
    [ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1"), ObjectIdentifier::new_unwrap("2.5.29.37.0")];

/// Whether a certificate may be used by a server, or sign the certificate of a server.
pub fn is_for_servers(certificate: &TbsCertificate) -> Result<bool, Error> {
    let usages = certificate.get_extension::<ExtendedKeyUsage>()?;
    Ok(usages.is_none_or(|(_, usages)| usages.0.iter().any(|usage| FOR_SERVERS.contains(usage))))
}
