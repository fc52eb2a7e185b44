//! The document of known layers that `--cache-to` keeps in a registry: what layers compressed to, for pushes of other
//! machines that name it with `--cache-from`.
//!
//! ```text
//! manifest  artifactType application/vnd.strata.layers.v1   layers: blobs, newest first
//! config    rootfs.diff_ids: the layers that they stand for
//! ```
//!
//! Its form is an image's, so that whoever reads what images say reads it too ([`super::known`]), and the
//! registry keeps the blobs that it lists, as it keeps those of BuildKit's cache manifests. A tag cannot be locked: of two
//! that write at once one is forgotten, until it pushes again.
//!
//! A push with a key signs the document. It keeps what the document listed before only if a trusted key had signed that,
//! because its own signature vouches for all of it.

use std::collections::HashSet;

use serde_json::json;

use super::{PushError, PushOptions, Result, known};
use crate::{
    oci::{Descriptor, Digest, Manifest, descriptor::media_type, json},
    transport::registry::{Client, Mount, Purpose},
};

/// What the document says that it is.
pub const ARTIFACT_TYPE: &str = "application/vnd.strata.layers.v1";
const CONFIG_TYPE: &str = "application/vnd.strata.layers.config.v1+json";
/// Layers of one document. Registries take manifests of 4 MiB, and these make a quarter of one.
const LAYERS: usize = 4000;

/// A layer and what it compressed to.
pub type Noted = (Digest, Descriptor);

/// What became of a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Layers that it did not have.
    pub added: usize,
    /// Layers that are not in it, because the registry does not mount their blobs there.
    pub left: usize,
}

/// Adds these layers of `client`'s repository to the document at `to`, `[REPOSITORY:]TAG` of the same registry.
pub(super) fn add(client: &Client, to: &str, layers: &[Noted], options: &PushOptions) -> Result<Change> {
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
            match &options.sign {
                Some(_) if !options.is_signed(target, &tag, &document) => Vec::new(),
                _ => known::layers(target, &document)?,
            }
        }
        None => Vec::new(),
    };
    let listed: HashSet<Digest> = before.iter().map(|(_, blob)| blob.digest).collect();
    let mut change = Change::default();
    let mut all: Vec<Noted> = Vec::new();
    let mut seen = HashSet::new();
    for (diff_id, blob) in layers.iter().filter(|(_, blob)| !listed.contains(&blob.digest) && seen.insert(blob.digest))
    {
        if target.repository() == client.repository() || is_there(target, client, &blob.digest)? {
            all.push((*diff_id, plain(blob)));
        } else {
            change.left += 1;
        }
    }
    change.added = all.len();
    if all.is_empty() {
        return Ok(change);
    }
    let own = all.len();
    all.extend(before);
    all.truncate(LAYERS);
    let written = match put(target, &tag, &all) {
        // A registry may have collected what was listed before.
        Err(_) if own < all.len() => put(target, &tag, &all[..own])?,
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

/// A blob as any image may list it.
fn plain(blob: &Descriptor) -> Descriptor {
    Descriptor { annotations: blob.annotations.clone(), ..Descriptor::new(&blob.media_type, blob.digest, blob.size) }
}

fn put(target: &Client, tag: &str, layers: &[Noted]) -> Result<Descriptor> {
    let diff_ids: Vec<&Digest> = layers.iter().map(|(diff_id, _)| diff_id).collect();
    let config = json::to_vec(&json!({ "architecture": "unknown", "os": "unknown",
        "rootfs": { "type": "layers", "diff_ids": diff_ids } }));
    let digest = Digest::of(&config);
    if !target.has_blob(&digest)? {
        target.upload_bytes(&digest, &config, None)?;
    }
    let config = Descriptor::new(CONFIG_TYPE, digest, config.len() as u64);
    let blobs = layers.iter().map(|(_, blob)| blob.clone()).collect();
    let manifest = Manifest { artifact_type: Some(ARTIFACT_TYPE.to_owned()), ..Manifest::new(config, blobs) };
    let manifest = json::to_vec(&manifest);
    target.put_manifest(tag, media_type::MANIFEST, &manifest)?;
    Ok(Descriptor::new(media_type::MANIFEST, Digest::of(&manifest), manifest.len() as u64))
}
