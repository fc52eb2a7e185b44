//! Whom we trust, and who we are, when a server is reached through TLS.
//!
//! A folder of certificates is containers' and docker's: `*.crt` are authorities, `*.cert` and `*.key` of one name are
//! our own certificate. Without one named, `certs.d/HOST` of the user's containers, of the machine's containers and of
//! docker is looked at, in this order (containers/image, docker/docker_client.go, dockerCertDir).

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use super::HttpError;

/// The TLS settings for `host`; `directory` is a folder of certificates, `insecure` trusts everybody.
pub(crate) fn config(host: &str, directory: Option<&Path>, insecure: bool) -> Result<TlsConfig, HttpError> {
    let user = std::env::var_os("HOME").map(|home| Path::new(&home).join(".config/containers/certs.d"));
    let machine = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from);
    let usual = user.into_iter().chain(machine).map(|base| base.join(host));
    let directory = match directory {
        Some(directory) => Some(directory.to_owned()),
        None => usual.into_iter().find(|directory| directory.is_dir()),
    };
    let mut authorities = Vec::new();
    let mut own = None;
    if let Some(directory) = &directory {
        let read = |path: &Path| fs::read(path).map_err(certificate_error(path));
        let mut files = fs::read_dir(directory)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>())
            .map_err(certificate_error(directory))?;
        files.sort_unstable();
        for path in files {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => authorities.extend(certificates(&read(&path)?)),
                Some("cert") => {
                    let key = path.with_extension("key");
                    let chain = certificates(&read(&path)?);
                    let malformed = |_| certificate_error(&key)(std::io::ErrorKind::InvalidData.into());
                    let key = PrivateKey::from_pem(&read(&key)?).map_err(malformed)?;
                    own = Some(ClientCert::new_with_certs(&chain, key));
                }
                _ => {}
            }
        }
    }
    if !authorities.is_empty() {
        authorities.extend(machine_certificates());
    }
    let roots = match authorities.is_empty() {
        true => root_certificates(),
        false => RootCerts::Specific(Arc::new(authorities)),
    };
    Ok(TlsConfig::builder().root_certs(roots).client_cert(own).disable_verification(insecure).build())
}

/// The TLS settings for everybody the machine trusts.
pub(crate) fn machine() -> TlsConfig {
    TlsConfig::builder().root_certs(root_certificates()).build()
}

/// The TLS settings of docker's command line: `ca.pem`, `cert.pem` and `key.pem` in a folder.
pub(crate) fn docker_config(folder: &Path, insecure: bool) -> Result<TlsConfig, HttpError> {
    let read = |name: &str| fs::read(folder.join(name)).map_err(certificate_error(&folder.join(name)));
    let roots = match folder.join("ca.pem").exists() {
        true => RootCerts::Specific(Arc::new(certificates(&read("ca.pem")?))),
        false => root_certificates(),
    };
    let mut own = None;
    if folder.join("cert.pem").exists() {
        let malformed = |_| certificate_error(&folder.join("key.pem"))(std::io::ErrorKind::InvalidData.into());
        let key = PrivateKey::from_pem(&read("key.pem")?).map_err(malformed)?;
        own = Some(ClientCert::new_with_certs(&certificates(&read("cert.pem")?), key));
    }
    Ok(TlsConfig::builder().root_certs(roots).client_cert(own).disable_verification(insecure).build())
}

fn certificate_error(path: &Path) -> impl FnOnce(std::io::Error) -> HttpError {
    let path = path.to_owned();
    move |source| HttpError::Certificates { path, source }
}

fn certificates(pem: &[u8]) -> Vec<Certificate<'static>> {
    let certificate = |item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    };
    parse_pem(pem).filter_map(certificate).collect()
}

fn root_certificates() -> RootCerts {
    match machine_certificates() {
        certificates if certificates.is_empty() => RootCerts::WebPki,
        certificates => RootCerts::Specific(Arc::new(certificates)),
    }
}

/// The machine's authorities: where Nix and OpenSSL users name them, else the distribution's.
fn machine_certificates() -> Vec<Certificate<'static>> {
    let named = ["NIX_SSL_CERT_FILE", "SSL_CERT_FILE"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    let usual =
        ["/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/certs/ca-bundle.crt", "/etc/pki/tls/certs/ca-bundle.crt"];
    let all = named.chain(usual.into_iter().map(PathBuf::from));
    all.filter_map(|path| fs::read(path).ok())
        .map(|pem| certificates(&pem))
        .find(|certificates| !certificates.is_empty())
        .unwrap_or_default()
}
