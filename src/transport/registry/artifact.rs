//! Artifacts that say something about an image: signatures, bills of materials, provenance. Each is a manifest with a
//! `subject` ([specification](https://github.com/opencontainers/image-spec/blob/main/manifest.md#guidelines-for-artifact-usage))
//! and one layer.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Client, RegistryError, Result};
use crate::oci::{Descriptor, Digest, Manifest, descriptor::media_type, json};

/// The config of manifests that have none.
const EMPTY: &[u8] = b"{}";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";

/// An artifact about an image.
#[derive(Clone, Copy, Debug)]
pub struct Artifact<'a> {
    /// What kind of thing it is; by this it is found.
    pub artifact_type: &'a str,
    /// The media type of its bytes.
    pub media_type: &'a str,
    /// Of its manifest, and so of its descriptor in the list of referrers.
    pub annotations: &'a BTreeMap<String, String>,
    /// The thing itself.
    pub bytes: &'a [u8],
}

impl Client {
    /// The descriptor of the manifest or index of `version` (a tag or a digest), or `None` where there is none.
    ///
    /// # Errors
    ///
    /// Those of [`manifest`](Self::manifest).
    pub fn descriptor(&self, version: &str) -> Result<Option<Descriptor>> {
        let found = self.manifest(version)?;
        let digest = |bytes: &[u8]| version.parse().unwrap_or_else(|_| Digest::of(bytes));
        Ok(found.map(|found| Descriptor::new(&found.media_type, digest(&found.bytes), found.bytes.len() as u64)))
    }

    /// Puts an artifact that refers to `subject`, and makes sure that the registry lists it. The same artifact again
    /// changes nothing.
    ///
    /// # Errors
    ///
    /// When the registry refuses, or does not list it afterwards.
    pub fn attach(&self, subject: &Descriptor, artifact: &Artifact) -> Result<Digest> {
        let Artifact { artifact_type, media_type, annotations, bytes } = *artifact;
        for blob in [EMPTY, bytes] {
            let digest = Digest::of(blob);
            if !self.has_blob(&digest)? {
                self.upload_bytes(&digest, blob, None)?;
            }
        }
        let descriptor = |kind: &str, blob: &[u8]| Descriptor::new(kind, Digest::of(blob), blob.len() as u64);
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
        let digest = Digest::of(&manifest);
        self.put_manifest(&digest.to_string(), media_type::MANIFEST, &manifest)?;
        if self.list_referrers(&subject.digest)?.descriptors.iter().any(|referrer| referrer.digest == digest) {
            return Ok(digest);
        }
        Err(RegistryError::answer(
            "attaching",
            format!("the registry accepted {digest}, but does not list it for {}", subject.digest),
        ))
    }

    /// What an artifact holds: the bytes of its one layer. `None` where it is gone, or has not one layer.
    ///
    /// # Errors
    ///
    /// When the registry cannot be asked, or sends something else.
    pub fn artifact(&self, referrer: &Descriptor) -> Result<Option<Vec<u8>>> {
        let Some(document) = self.manifest(&referrer.digest.to_string())? else { return Ok(None) };
        let Ok(manifest) = serde_json::from_slice::<Manifest>(&document.bytes) else { return Ok(None) };
        match manifest.layers.as_slice() {
            [layer] => self.small_blob(&layer.digest),
            _ => Ok(None),
        }
    }
}
