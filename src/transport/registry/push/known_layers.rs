//! The document of known layers that `--cache-to` writes to a registry: the compressed blobs of layers, for pushes of
//! other machines that read it with `--cache-from`.
//!
//! ```text
//! manifest  artifactType application/vnd.strata.layers.v1   layers: blobs, newest first
//! config    rootfs.diff_ids: the layers that they stand for
//! ```
//!
//! It has the form of an image, so that code for images reads it too ([`super::known`]), and the registry keeps the
//! blobs that it lists, as for BuildKit's cache manifests. A tag cannot be locked: if two pushes write at the same
//! time, the entries of one are lost until its next push.
//!
//! A push with a key signs the document. It keeps what the document listed before only if a trusted key had verified it,
//! because its own signature states that all layers are verified.

use std::collections::HashSet;

use serde_json::json;

use super::{PushError, PushOptions, Result, known};
use crate::{
    oci::{Descriptor, Digest, Manifest, descriptor::media_type, json},
    transport::registry::{Client, Mount, Purpose},
};

/// The artifact type of the document.
pub const ARTIFACT_TYPE: &str = "application/vnd.strata.layers.v1";
const CONFIG_TYPE: &str = "application/vnd.strata.layers.config.v1+json";
/// The maximum number of layers in a document. Registries accept manifests of 4 MiB, and this number of layers takes a
/// quarter of that.
const LAYERS: usize = 4000;

/// A layer and its compressed blob.
pub type KnownLayer = (Digest, Descriptor);

/// The change of a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DocumentChange {
    /// The number of new layers.
    pub added: usize,
    /// The number of layers that could not be added, because the registry does not mount their blobs there.
    pub unmounted: usize,
}

/// Adds these layers of `client`'s repository to the document at `to`, `[REPOSITORY:]TAG` of the same registry.
pub(super) fn add(client: &Client, to: &str, layers: &[KnownLayer], options: &PushOptions) -> Result<DocumentChange> {
    let elsewhere = known::reference(client, to);
    let open = |reference| Client::for_purpose(Purpose::Write, reference, &options.registry);
    let other = elsewhere.as_ref().map(open).transpose()?;
    let (target, tag) = match (&other, &elsewhere) {
        (Some(other), Some(reference)) => (other, reference.version()),
        _ => (client, to.to_owned()),
    };
    let before = match target.manifest(&tag)? {
        Some(document) => {
            let manifest: Option<Manifest> = serde_json::from_slice(&document.bytes).ok();
            if manifest.and_then(|manifest| manifest.artifact_type).as_deref() != Some(ARTIFACT_TYPE) {
                return Err(PushError::NotNoted(format!("{}/{}:{tag}", target.host(), target.repository())));
            }
            let listed = known::layers(target, &document)?;
            match &options.sign {
                Some(_) => {
                    let verified = options.verified_layers(target, &tag, &document);
                    listed.into_iter().filter(|(_, blob)| verified.contains(&blob.digest)).collect()
                }
                None => listed,
            }
        }
        None => Vec::new(),
    };
    let listed: HashSet<Digest> = before.iter().map(|(_, blob)| blob.digest).collect();
    let mut change = DocumentChange::default();
    let mut all: Vec<KnownLayer> = Vec::new();
    let mut seen = HashSet::new();
    for (diff_id, blob) in layers.iter().filter(|(_, blob)| !listed.contains(&blob.digest) && seen.insert(blob.digest))
    {
        if target.repository() == client.repository() || is_there(target, client, &blob.digest)? {
            all.push((*diff_id, plain(blob)));
        } else {
            change.unmounted += 1;
        }
    }
    change.added = all.len();
    if all.is_empty() {
        return Ok(change);
    }
    let new_count = all.len();
    all.extend(before);
    all.truncate(LAYERS);
    let written = match put(target, &tag, &all) {
        // The registry may have collected blobs of existing entries.
        Err(_) if new_count < all.len() => put(target, &tag, &all[..new_count])?,
        written => written?,
    };
    if let Some(sign) = &options.sign {
        let place = || format!("{}/{}:{tag}", target.host(), target.repository());
        sign(target, &written).map_err(|source| PushError::Sign { place: place(), source })?;
    }
    Ok(change)
}

fn is_there(target: &Client, from: &Client, digest: &Digest) -> Result<bool> {
    if target.has_blob(digest)? {
        return Ok(true);
    }
    match target.mount(digest, from.repository())? {
        Mount::Done => Ok(true),
        Mount::Session(session) => {
            target.cancel(&session);
            Ok(false)
        }
        Mount::Refused => Ok(false),
    }
}

/// Returns a descriptor that any image may contain.
fn plain(blob: &Descriptor) -> Descriptor {
    Descriptor { annotations: blob.annotations.clone(), ..Descriptor::new(&blob.media_type, blob.digest, blob.size) }
}

fn put(target: &Client, tag: &str, layers: &[KnownLayer]) -> Result<Descriptor> {
    let diff_ids: Vec<&Digest> = layers.iter().map(|(diff_id, _)| diff_id).collect();
    let config = json::to_vec(&json!({ "architecture": "unknown", "os": "unknown",
        "rootfs": { "type": "layers", "diff_ids": diff_ids } }));
    let digest = Digest::sha256(&config);
    if !target.has_blob(&digest)? {
        target.upload_bytes(&digest, &config, None)?;
    }
    let config = Descriptor::new(CONFIG_TYPE, digest, config.len() as u64);
    let blobs = layers.iter().map(|(_, blob)| blob.clone()).collect();
    let manifest = Manifest { artifact_type: Some(ARTIFACT_TYPE.to_owned()), ..Manifest::new(config, blobs) };
    let manifest = json::to_vec(&manifest);
    target.put_manifest(tag, media_type::MANIFEST, &manifest)?;
    Ok(Descriptor::new(media_type::MANIFEST, Digest::sha256(&manifest), manifest.len() as u64))
}
