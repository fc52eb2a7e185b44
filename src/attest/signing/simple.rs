//! Signatures under tags. cosign wrote them before bundles, and `sigstoreSigned` in podman's
//! [policy.json](https://github.com/containers/image/blob/main/docs/containers-policy.json.5.md) requires them.
//!
//! ```text
//! sha256-<hex>.sig ──▶ manifest with one layer per signature: the layer is the payload, and its annotation
//!                      dev.cosignproject.cosign/signature is the signature
//! ```

use data_encoding::BASE64;
use serde::Deserialize;
use serde_json::json;

use super::{Result, SigningError, VerifyingKey};
use crate::oci::{Descriptor, Digest, Manifest, descriptor::media_type, json};

/// The media type of payloads.
pub const MEDIA_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The annotation of a layer that contains the signature.
pub const ANNOTATION: &str = "dev.cosignproject.cosign/signature";
const TYPE: &str = "cosign container image signature";

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    identity: SignedIdentity,
    image: SignedImage,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct SignedIdentity {
    docker_reference: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct SignedImage {
    docker_manifest_digest: Digest,
}

/// Returns the tag of the signatures of the manifest or index with this digest.
pub fn tag(digest: &Digest) -> String {
    format!("{}.sig", digest.to_string().replace(':', "-"))
}

/// Returns the payload to sign: the digest of the image, and its repository.
pub fn payload(repository: &str, digest: &Digest) -> Vec<u8> {
    json::to_vec(&json!({
        "critical": {
            "identity": { "docker-reference": repository },
            "image": { "docker-manifest-digest": digest },
            "type": TYPE,
        },
        "optional": null,
    }))
}

/// Returns the descriptor of a signed payload.
pub fn layer(payload: &[u8], signature: &[u8]) -> Descriptor {
    let mut layer = Descriptor::new(MEDIA_TYPE, Digest::sha256(payload), payload.len() as u64);
    layer.annotations.insert(ANNOTATION.to_owned(), BASE64.encode(signature));
    layer
}

/// Adds a layer to the manifest under the tag, if it exists. Returns `None` if the manifest already has the layer.
///
/// # Errors
///
/// If the existing document is not a manifest.
pub fn with_layer(existing: Option<&[u8]>, layer: &Descriptor) -> serde_json::Result<Option<SignatureImage>> {
    let existing = existing.map(serde_json::from_slice::<Manifest>).transpose()?;
    let mut layers = existing.map_or_else(Vec::new, |manifest| manifest.layers);
    if layers.contains(layer) {
        return Ok(None);
    }
    layers.push(layer.clone());
    let diff_ids: Vec<&Digest> = layers.iter().map(|layer| &layer.digest).collect();
    let config = json::to_vec(&json!({ "architecture": "", "os": "", "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids } }));
    let descriptor = Descriptor::new(media_type::CONFIG, Digest::sha256(&config), config.len() as u64);
    Ok(Some(SignatureImage { manifest: json::to_vec(&Manifest::new(descriptor, layers)), config }))
}

/// The manifest and the config under the tag.
#[derive(Debug)]
pub struct SignatureImage {
    /// The manifest, with one layer per signature.
    pub manifest: Vec<u8>,
    /// The config, which has no settings and exists because every image has one.
    pub config: Vec<u8>,
}

/// Verifies a signature, and returns the repository that the payload names.
///
/// # Errors
///
/// If the key did not sign the payload, or the payload is not about `digest`.
pub fn verify(layer: &Descriptor, payload: &[u8], digest: &Digest, key: &VerifyingKey) -> Result<String> {
    let signature = layer.annotations.get(ANNOTATION).and_then(|text| BASE64.decode(text.as_bytes()).ok());
    if !signature.is_some_and(|signature| key.verifies(payload, &signature)) {
        return Err(SigningError::NoMatch);
    }
    let malformed = |why: String| SigningError::Malformed { what: "the payload", why };
    let Payload { critical: Critical { identity, image, kind } } =
        serde_json::from_slice(payload).map_err(|error| malformed(error.to_string()))?;
    if kind != TYPE {
        return Err(malformed(format!("its type is {kind:?}, not {TYPE:?}")));
    }
    if image.docker_manifest_digest != *digest {
        return Err(malformed(format!("it is about {}, not {digest}", image.docker_manifest_digest)));
    }
    Ok(identity.docker_reference)
}
