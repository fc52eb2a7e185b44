//! Artifacts that describe an image: signatures, SBOMs, provenance. Each is a manifest with a `subject`
//! ([specification](https://github.com/opencontainers/image-spec/blob/main/manifest.md#guidelines-for-artifact-usage))
//! and one layer.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Client, RegistryError, Result};
use crate::oci::{Descriptor, Digest, Manifest, descriptor::media_type, json};

/// The config of manifests without a config of their own.
const EMPTY: &[u8] = b"{}";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";

#[derive(Clone, Copy, Debug)]
pub struct Artifact<'a> {
    /// The kind of the artifact, by which clients find it.
    pub artifact_type: &'a str,
    /// The media type of the layer.
    pub media_type: &'a str,
    /// The annotations of the manifest, which are also those of its descriptor in the list of referrers.
    pub annotations: &'a BTreeMap<String, String>,
    /// The bytes of the layer.
    pub bytes: &'a [u8],
}

impl Client {
    /// Returns the descriptor of the manifest or index of `version` (a tag or a digest), or `None` if it does not
    /// exist.
    ///
    /// # Errors
    ///
    /// Those of [`manifest`](Self::manifest).
    pub fn descriptor(&self, version: &str) -> Result<Option<Descriptor>> {
        let found = self.manifest(version)?;
        let digest = |bytes: &[u8]| version.parse().unwrap_or_else(|_| Digest::sha256(bytes));
        Ok(found.map(|found| Descriptor::new(&found.media_type, digest(&found.bytes), found.bytes.len() as u64)))
    }

    /// Writes an artifact with the subject `subject`, and makes sure that it is in the list of referrers. Writing the
    /// same artifact again changes nothing.
    ///
    /// # Errors
    ///
    /// If the registry refuses, or does not list the artifact afterwards.
    pub fn attach(&self, subject: &Descriptor, artifact: &Artifact) -> Result<Digest> {
        let Artifact { artifact_type, media_type, annotations, bytes } = *artifact;
        for blob in [EMPTY, bytes] {
            let digest = Digest::sha256(blob);
            if !self.has_blob(&digest)? {
                self.upload_bytes(&digest, blob, None)?;
            }
        }
        let descriptor = |kind: &str, blob: &[u8]| Descriptor::new(kind, Digest::sha256(blob), blob.len() as u64);
        let subject = Descriptor::new(&subject.media_type, subject.digest, subject.size);
        let manifest = json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": media_type::MANIFEST,
            "artifactType": artifact_type,
            "config": descriptor(EMPTY_TYPE, EMPTY),
            "layers": [ descriptor(media_type, bytes) ],
            "subject": subject,
            "annotations": annotations,
        }));
        let digest = Digest::sha256(&manifest);
        self.put_manifest(&digest.to_string(), media_type::MANIFEST, &manifest)?;
        if self.list_referrers(&subject.digest)?.descriptors.iter().any(|referrer| referrer.digest == digest) {
            return Ok(digest);
        }
        Err(RegistryError::answer(
            "attaching",
            format!("the registry accepted {digest}, but does not list it for {}", subject.digest),
        ))
    }

    /// Returns the bytes of the layer of an artifact. Returns `None` if it does not exist any more, or does not have
    /// exactly one layer.
    ///
    /// # Errors
    ///
    /// If the request fails, or the registry sends something else.
    pub fn artifact(&self, referrer: &Descriptor) -> Result<Option<Vec<u8>>> {
        let Some(document) = self.manifest(&referrer.digest.to_string())? else { return Ok(None) };
        let Ok(manifest) = serde_json::from_slice::<Manifest>(&document.bytes) else { return Ok(None) };
        match manifest.layers.as_slice() {
            [layer] => self.small_blob(&layer.digest),
            _ => Ok(None),
        }
    }
}
