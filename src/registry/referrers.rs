//! What refers to an image: signatures, lists of its parts, attestations
//! ([specification](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers)).
//!
//! ```text
//! manifest with "subject": D ── PUT ──▶ answer has OCI-Subject: the registry lists it
//!                                       else we do: the index under the tag sha256-<hex of D> gets its descriptor
//! ```
//!
//! Nobody can lock a tag. So a writer looks again after it wrote, until what it wrote stayed for a while: whoever
//! wrote over it in between had read the tag before, and writes no more.

use std::{
    hash::{BuildHasher, RandomState},
    thread,
    time::Duration,
};

use serde::Deserialize;
use ureq::http::StatusCode;

use super::{
    Client, RegistryError, Result,
    client::{Document, read},
    session::Call,
};
use crate::{
    http::{Body, join},
    oci::{Descriptor, Digest, Index, json, media_type},
};

const ACT: &str = "reading the referrers";
/// Pages of one list; each is as long as a registry likes.
const PAGES: usize = 1000;
/// How often a writer of a fallback tag tries.
const WRITES: u64 = 20;
/// How long a descriptor must stay in a fallback tag to stay for good: longer than a writer needs from read to write.
const SETTLED: Duration = Duration::from_millis(700);

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
            None => self.tagged(digest)?.map_or_else(Vec::new, |(index, _)| index.manifests),
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

    /// The index under the fallback tag, and its entity tag where there is one.
    fn tagged(&self, digest: &Digest) -> Result<Option<(Index, Option<String>)>> {
        let (session, url) = (self.session(), self.url(&format!("manifests/{}", fallback_tag(digest))));
        session.retried(|| {
            let accept = [("accept", media_type::INDEX)];
            let answer = session.send(&Call { headers: &accept, ..Call::new(ACT, "GET", &url) }, &mut Body::Empty)?;
            match answer.status() {
                StatusCode::OK => {
                    let tag = answer.header("etag").map(str::to_owned);
                    let index = serde_json::from_slice(&read(ACT, answer)?.bytes);
                    let tag_name = fallback_tag(digest);
                    let index = index.map_err(|error| {
                        RegistryError::answer(ACT, format!("the tag {tag_name} is not an index: {error}"))
                    })?;
                    Ok(Some((index, tag)))
                }
                StatusCode::NOT_FOUND => Ok(None),
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
        let mut settled = false;
        for write in 0..WRITES {
            let found = self.tagged(&subject.digest)?;
            if found.as_ref().is_some_and(|(index, _)| index.manifests.contains(&own)) {
                if settled {
                    return Ok(());
                }
                settled = true;
                thread::sleep(SETTLED);
                continue;
            }
            settled = false;
            if write > 0 {
                // Two that hinder each other part.
                thread::sleep(Duration::from_millis(RandomState::new().hash_one(write) % (50 * write).max(1)));
            }
            let (mut index, tag) = found.unwrap_or_else(|| (Index::new(Vec::new()), None));
            index.manifests.retain(|other| other.digest != own.digest);
            index.manifests.push(own.clone());
            let put = self.put_document(
                &fallback_tag(&subject.digest),
                media_type::INDEX,
                &json::to_vec(&index),
                tag.as_deref(),
            );
            match put {
                // Somebody else was faster.
                Err(error) if error.status() == Some(412) => {}
                put => {
                    put?;
                }
            }
        }
        let tag = fallback_tag(&subject.digest);
        Err(RegistryError::answer("listing a referrer", format!("others keep writing to the tag {tag}")))
    }
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
