//! What refers to an image: signatures, lists of its parts, attestations
//! ([specification](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers)).
//!
//! ```text
//! manifest with "subject": D ── PUT ──▶ answer has OCI-Subject: the registry lists it
//!                                       else we do: the index under the tag sha256-<hex of D> gets its descriptor
//! ```

use serde::Deserialize;
use ureq::http::StatusCode;

use super::{
    Client, RegistryError, Result,
    client::{Document, read},
    session::Call,
    tagged::Tagged,
};
use crate::{
    http::{Body, join},
    oci::{Descriptor, Digest, Index, json, media_type},
};

const ACT: &str = "reading the referrers";
/// Pages of one list; each is as long as a registry likes.
const PAGES: usize = 1000;

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

impl Client {
    /// Descriptors of what refers to `digest`; of one kind (`artifactType`) where that is asked for.
    ///
    /// # Errors
    ///
    /// When the registry cannot be asked, refuses, or answers nonsense.
    pub fn referrers(&self, digest: &Digest, artifact_type: Option<&str>) -> Result<Vec<Descriptor>> {
        let all = match self.listed(digest)? {
            Some(all) => all,
            // A registry that keeps no list of its own.
            None => {
                let tag = fallback_tag(digest);
                let found = self.tagged(&listing(&tag, ACT))?;
                found.map(|(bytes, _)| index(&tag, &bytes)).transpose()?.map_or_else(Vec::new, |index| index.manifests)
            }
        };
        let meant =
            |descriptor: &Descriptor| artifact_type.is_none() || descriptor.artifact_type.as_deref() == artifact_type;
        Ok(all.into_iter().filter(meant).collect())
    }

    /// The registry's own list; `None` where it keeps none.
    fn listed(&self, digest: &Digest) -> Result<Option<Vec<Descriptor>>> {
        let mut url = self.url(&format!("referrers/{digest}"));
        let mut all = Vec::new();
        for page in 0..PAGES {
            let (index, next) = match self.page(&url)? {
                Some(found) => found,
                None if page == 0 => return Ok(None),
                None => break,
            };
            all.extend(index.manifests);
            match next {
                Some(next) => url = next,
                None => break,
            }
        }
        Ok(Some(all))
    }

    fn page(&self, url: &str) -> Result<Option<(Index, Option<String>)>> {
        let session = self.session();
        session.retried(|| {
            let accept = [("accept", media_type::INDEX)];
            let answer = session.send(&Call { headers: &accept, ..Call::new(ACT, "GET", url) }, &mut Body::Empty)?;
            match answer.status() {
                StatusCode::OK => {
                    let link = answer.headers("link").find_map(next_page).map(str::to_owned);
                    let next = link.and_then(|link| join(&answer.url, &link));
                    // A page of HTML is a front end that answers everything.
                    let Document { bytes, .. } = read(ACT, answer)?;
                    Ok(serde_json::from_slice(&bytes).ok().map(|index| (index, next)))
                }
                // 404 by the specification; what else says that there is no such address.
                status if matches!(status.as_u16(), 400 | 404 | 405 | 406 | 501) => Ok(None),
                _ => Err(session.refused(ACT, answer)),
            }
        })
    }

    /// Lists a manifest that was put and has a subject under the fallback tag of its subject.
    pub(super) fn list_referrer(&self, media_type: &str, manifest: &[u8]) -> Result<()> {
        let Ok(Referrer { subject: Some(subject), artifact_type, config, annotations }) =
            serde_json::from_slice(manifest)
        else {
            return Ok(());
        };
        // A registry that lists but does not say so.
        if self.listed(&subject.digest)?.is_some_and(|all| all.iter().any(|other| other.digest == Digest::of(manifest)))
        {
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
            let mut index = before.map_or_else(|| Ok(Index::new(Vec::new())), |bytes| index(&tag, bytes))?;
            if index.manifests.contains(&own) {
                return Ok(None);
            }
            index.manifests.retain(|other| other.digest != own.digest);
            index.manifests.push(own.clone());
            Ok(Some(json::to_vec(&index)))
        })
    }
}

fn listing<'a>(tag: &'a str, act: &'static str) -> Tagged<'a> {
    Tagged { tag, media_type: media_type::INDEX, act }
}

/// What is under the fallback tag.
fn index(tag: &str, bytes: &[u8]) -> Result<Index> {
    let fail = |error| RegistryError::answer(ACT, format!("the tag {tag} is not an index: {error}"));
    serde_json::from_slice(bytes).map_err(fail)
}

/// The [tag](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema) under which
/// clients list what refers to a digest.
fn fallback_tag(digest: &Digest) -> String {
    digest.to_string().replacen(':', "-", 1)
}

/// `</v2/…?last=x>; rel="next"` ([RFC 8288](https://www.rfc-editor.org/rfc/rfc8288))
fn next_page(link: &str) -> Option<&str> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.split(';').any(|parameter| {
        let parameter = parameter.trim().to_ascii_lowercase();
        parameter == "rel=next" || parameter == "rel=\"next\""
    });
    is_next.then_some(target)
}
