//! Kinds `pull` and `pull-blob`: images of registries, as fixed-output derivations.
//!
//! They need the feature `net`. Nix gives such derivations the machine's network and the environment variables that
//! they name: proxies, `REGISTRY_AUTH_FILE`.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::attributes::Attributes;
use crate::{
    image::PlatformChoice,
    oci::{Digest, Platform, Reference, Sha256Writer},
    transport::{
        dir, http,
        registry::{self, Client, HostOptions, Options},
    },
};

/// The path at which users of nix2container bind their credentials into the sandbox.
const BOUND: &str = "/etc/skopeo/auth.json";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Pull {
    reference: String,
    os: String,
    arch: String,
    variant: Option<String>,
    tls_verify: bool,
}

/// Writes the result of `skopeo copy docker://REF dir:OUT`, byte for byte.
pub fn pull(attributes: &Attributes) -> Result<()> {
    let request: Pull = attributes.request()?;
    use_certificates_of(attributes);
    let reference: Reference = request.reference.parse()?;
    let pulling = || format!("pulling {reference}");
    let found = registry::read::open(client(&reference, request.tls_verify).with_context(pulling)?, &reference)?;
    let platform = Platform { os: request.os, ..Platform::linux(&request.arch, request.variant.as_deref()) };
    let image = found.image(&PlatformChoice::Prefer(platform)).with_context(pulling)?;
    dir::write_into(&image, attributes.out()).with_context(pulling).map(drop)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PullBlob {
    reference: String,
    digest: Digest,
    tls_verify: bool,
}

/// Writes one blob as a file.
pub fn pull_blob(attributes: &Attributes) -> Result<()> {
    let request: PullBlob = attributes.request()?;
    use_certificates_of(attributes);
    let reference: Reference = request.reference.parse()?;
    let pulling = || format!("pulling {} of {reference}", request.digest);
    let client = std::sync::Arc::new(client(&reference, request.tls_verify).with_context(pulling)?);
    let file = File::create_new(attributes.out()).with_context(pulling)?;
    let mut out = Sha256Writer::new(io::BufWriter::new(file));
    io::copy(&mut client.blob(&request.digest), &mut out).with_context(pulling)?;
    let (mut file, found, _) = out.finish();
    file.flush().with_context(pulling)?;
    anyhow::ensure!(found == request.digest, "the registry sent {found} for {}", request.digest);
    Ok(())
}

/// Nix passes the machine's `NIX_SSL_CERT_FILE` on, although the sandbox may lack that file.
fn use_certificates_of(attributes: &Attributes) {
    if let Some(path) = attributes.certificate_file() {
        http::set_sandbox_certificates(path);
    }
}

fn client(reference: &Reference, tls_verify: bool) -> Result<Client> {
    let bound = Path::new(BOUND);
    let auth_file: Option<PathBuf> = bound.exists().then(|| bound.to_owned());
    let host = HostOptions::new(&reference.host).with(None, None, (!tls_verify).then_some(true));
    let options = Options { auth_file, ..Options::default() }.with_host(host);
    Ok(Client::new(reference, &options)?)
}
