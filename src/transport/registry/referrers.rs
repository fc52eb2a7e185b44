//! What refers to an image: signatures, lists of its parts, attestations
//! ([specification](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers)).
//!
//! ```text
//! manifest with "subject": D ── PUT ──▶ answer has OCI-Subject: the registry lists it
//!                                       else we do: the index under the tag sha256-<hex of D> gets its descriptor
//! ```

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Client, RegistryError, Result, pages::List, tagged::Tagged};
use crate::{
    budget::{self, Budget},
    image::store::ListedReferrers,
    oci::{Descriptor, Digest, descriptor::media_type, json},
    transport::http::clean,
};

const ACT: &str = "reading the referrers";
const LIST: List = List {
    act: ACT,
    accept: media_type::INDEX,
    limits: &budget::REFERRERS,
    // 404 by the specification; the others say that there is no such address.
    is_missing: |status| matches!(status.as_u16(), 400 | 404 | 405 | 406 | 501),
};

/// What a manifest or an index says of itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Referrer {
    subject: Option<Descriptor>,
    artifact_type: Option<String>,
    config: Option<Config>,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    media_type: String,
}

/// An index whose entries are parsed one by one: one malformed entry must not hide the others.
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
    /// All referrers of `digest`; malformed entries are reported, and do not hide the others.
    ///
    /// # Errors
    ///
    /// When the registry cannot be asked, refuses, or sends a list without end.
    pub fn list_referrers(&self, digest: &Digest) -> Result<ListedReferrers> {
        if let Some(listed) = self.listed(digest)? {
            return Ok(listed);
        }
        // A registry without the referrers API.
        let tag = fallback_tag(digest);
        let mut referrers = ListedReferrers::default();
        if let Some((bytes, _)) = self.tagged(&listing(&tag, ACT))? {
            add(&mut referrers, index(&tag, &bytes)?.manifests, &mut Budget::new(&budget::REFERRERS))?;
        }
        Ok(referrers)
    }

    /// The registry's own list; `None` where it keeps none.
    fn listed(&self, digest: &Digest) -> Result<Option<ListedReferrers>> {
        let mut all = ListedReferrers::default();
        let is_kept = self.read_pages(&LIST, self.url(&format!("referrers/{digest}")), |bytes, budget| {
            // A page of HTML is that of a front end, which answers every request.
            let Ok(RawIndex { manifests, .. }) = serde_json::from_slice(bytes) else { return Ok(false) };
            add(&mut all, manifests, budget)?;
            Ok(true)
        })?;
        Ok(is_kept.then_some(all))
    }

    /// Lists a manifest that was put and has a subject under the fallback tag of its subject.
    pub(super) fn list_referrer(&self, media_type: &str, manifest: &[u8]) -> Result<()> {
        let Ok(Referrer { subject: Some(subject), artifact_type, config, annotations }) =
            serde_json::from_slice(manifest)
        else {
            return Ok(());
        };
        // A registry that lists but does not say so.
        let listed = self.listed(&subject.digest)?.unwrap_or_default().descriptors;
        if listed.iter().any(|other| other.digest == Digest::of(manifest)) {
            return Ok(());
        }
        let own = Descriptor {
            // As the registry would say: the kind of the config where the manifest names none.
            artifact_type: artifact_type.filter(|kind| !kind.is_empty()).or(config.map(|config| config.media_type)),
            annotations,
            ..Descriptor::new(media_type, Digest::of(manifest), manifest.len() as u64)
        };
        let tag = fallback_tag(&subject.digest);
        self.add_to_tagged(&listing(&tag, "listing a referrer"), &|before| {
            let mut index = before.map_or_else(|| Ok(RawIndex::empty()), |bytes| index(&tag, bytes))?;
            let parsed = |entry: &Value| serde_json::from_value::<Descriptor>(entry.clone()).ok();
            if index.manifests.iter().any(|entry| parsed(entry).is_some_and(|other| other == own)) {
                return Ok(None);
            }
            index.manifests.retain(|entry| parsed(entry).is_none_or(|other| other.digest != own.digest));
            index.manifests.push(json!(own));
            Ok(Some(json::to_vec(&index)))
        })
    }
}

fn listing<'a>(tag: &'a str, act: &'static str) -> Tagged<'a> {
    Tagged { tag, media_type: media_type::INDEX, act }
}

/// What is under the fallback tag.
fn index(tag: &str, bytes: &[u8]) -> Result<RawIndex> {
    let fail = |error| RegistryError::answer(ACT, format!("the tag {tag} is not an index: {error}"));
    serde_json::from_slice(bytes).map_err(fail)
}

/// The [tag](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema) under which
/// clients list the referrers of a digest.
fn fallback_tag(digest: &Digest) -> String {
    digest.to_string().replacen(':', "-", 1)
}
