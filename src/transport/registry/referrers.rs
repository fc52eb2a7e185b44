//! Referrers of an image: signatures, lists of its parts, attestations
//! ([specification](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers)).
//!
//! ```text
//! manifest with "subject": D ── PUT ──▶ answer has OCI-Subject: the registry lists it
//! otherwise the client does: it adds the descriptor to the index under the tag sha256-<hex of D>
//! ```

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Client, RegistryError, Result, pages::PagedList, tagged::Tagged};
use crate::{
    budget::{self, Budget},
    image::store::ListedReferrers,
    oci::{Descriptor, Digest, descriptor::media_type, json},
    transport::http::clean,
};

const ACT: &str = "reading the referrers";
const LIST: PagedList = PagedList {
    act: ACT,
    accept: media_type::INDEX,
    limits: &budget::REFERRERS,
    // The specification requires 404. The other statuses mean that there is no such endpoint.
    is_missing: |status| matches!(status.as_u16(), 400 | 404 | 405 | 406 | 501),
};

/// The fields of a manifest or an index for its descriptor in the list.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReferrerFields {
    subject: Option<Descriptor>,
    artifact_type: Option<String>,
    config: Option<ArtifactConfig>,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArtifactConfig {
    media_type: String,
}

/// An index whose entries are parsed separately, so that a malformed entry does not hide the others.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawIndex {
    schema_version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    manifests: Vec<Value>,
    #[serde(flatten)]
    other: serde_json::Map<String, Value>,
}

impl RawIndex {
    fn empty() -> Self {
        let media_type = Some(media_type::INDEX.to_owned());
        Self { schema_version: 2, media_type, manifests: Vec::new(), other: serde_json::Map::new() }
    }
}

/// Adds the entries of a page.
fn add(all: &mut ListedReferrers, entries: Vec<Value>, budget: &mut Budget) -> Result<()> {
    budget.take_parts(entries.len() as u64).map_err(|error| LIST.exceeded(error))?;
    for entry in entries {
        match serde_json::from_value(entry) {
            Ok(descriptor) => all.descriptors.push(descriptor),
            Err(error) => {
                let number = all.descriptors.len() + all.malformed.len() + 1;
                let why = clean(&error.to_string());
                all.malformed.push(format!("entry {number} of the list of referrers is not a descriptor: {why}"));
            }
        }
    }
    Ok(())
}

impl Client {
    /// Returns all referrers of `digest`. Malformed entries are reported, and do not hide the others.
    ///
    /// # Errors
    ///
    /// If the request fails or is refused, or the list exceeds its limits.
    pub fn list_referrers(&self, digest: &Digest) -> Result<ListedReferrers> {
        if let Some(listed) = self.listed(digest)? {
            return Ok(listed);
        }
        // The registry lacks the referrers API.
        let tag = fallback_tag(digest);
        let mut referrers = ListedReferrers::default();
        if let Some((bytes, _)) = self.tagged(&listing(&tag, ACT))? {
            add(&mut referrers, index(&tag, &bytes)?.manifests, &mut Budget::new(&budget::REFERRERS))?;
        }
        Ok(referrers)
    }

    /// Returns the list of the referrers API, or `None` if the registry lacks it.
    fn listed(&self, digest: &Digest) -> Result<Option<ListedReferrers>> {
        let mut all = ListedReferrers::default();
        let is_kept = self.read_pages(&LIST, self.url(&format!("referrers/{digest}")), |bytes, budget| {
            // An HTML page is that of a front end that answers every request.
            let Ok(RawIndex { manifests, .. }) = serde_json::from_slice(bytes) else { return Ok(false) };
            add(&mut all, manifests, budget)?;
            Ok(true)
        })?;
        Ok(is_kept.then_some(all))
    }

    /// Adds a manifest with a subject, which was written before, to the fallback tag of its subject.
    pub(super) fn list_referrer(&self, media_type: &str, manifest: &[u8]) -> Result<()> {
        let Ok(ReferrerFields { subject: Some(subject), artifact_type, config, annotations }) =
            serde_json::from_slice(manifest)
        else {
            return Ok(());
        };
        // Some registries have the list without announcing it.
        let listed = self.listed(&subject.digest)?.unwrap_or_default().descriptors;
        if listed.iter().any(|other| other.digest == Digest::sha256(manifest)) {
            return Ok(());
        }
        let descriptor = Descriptor {
            // As in the referrers API, the type is that of the config if the manifest has none.
            artifact_type: artifact_type.filter(|kind| !kind.is_empty()).or(config.map(|config| config.media_type)),
            annotations,
            ..Descriptor::new(media_type, Digest::sha256(manifest), manifest.len() as u64)
        };
        let tag = fallback_tag(&subject.digest);
        self.add_to_tagged(&listing(&tag, "listing a referrer"), &|before| {
            let mut index = before.map_or_else(|| Ok(RawIndex::empty()), |bytes| index(&tag, bytes))?;
            let parsed = |entry: &Value| serde_json::from_value::<Descriptor>(entry.clone()).ok();
            if index.manifests.iter().any(|entry| parsed(entry).is_some_and(|other| other == descriptor)) {
                return Ok(None);
            }
            index.manifests.retain(|entry| parsed(entry).is_none_or(|other| other.digest != descriptor.digest));
            index.manifests.push(json!(descriptor));
            Ok(Some(json::to_vec(&index)))
        })
    }
}

fn listing<'a>(tag: &'a str, act: &'static str) -> Tagged<'a> {
    Tagged { tag, media_type: media_type::INDEX, act }
}

/// Parses the document under the fallback tag.
fn index(tag: &str, bytes: &[u8]) -> Result<RawIndex> {
    let fail = |error| RegistryError::answer(ACT, format!("the tag {tag} is not an index: {error}"));
    serde_json::from_slice(bytes).map_err(fail)
}

/// Returns the [tag](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema) under
/// which clients list the referrers of a digest.
fn fallback_tag(digest: &Digest) -> String {
    digest.to_string().replacen(':', "-", 1)
}
