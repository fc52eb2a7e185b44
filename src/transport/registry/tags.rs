//! The tags of a repository
//! ([listing tags](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags)).

use serde::Deserialize;
use ureq::http::StatusCode;

use super::{Client, Document, Result, client::read, referrers::next_page, session::Call};
use crate::{
    budget::DOCUMENT,
    transport::http::{Body, join},
};

const ACT: &str = "listing the tags";
/// Pages that are asked for; each has what the registry gives at once.
const PAGES: usize = 1000;
/// Bytes of all tags in memory.
const KEPT_LIMIT: usize = DOCUMENT.bytes as usize * 4;

impl Client {
    /// The tags of the repository, in the registry's order; `None` where there is no such repository.
    ///
    /// # Errors
    ///
    /// When the registry cannot be asked, refuses, or answers with something else.
    pub fn tags(&self) -> Result<Option<Vec<String>>> {
        let mut url = self.url("tags/list");
        let (mut tags, mut kept) = (Vec::new(), 0);
        for page in 0..PAGES {
            let Some((listed, next)) = self.tag_page(&url)? else {
                return Ok((page > 0).then_some(tags));
            };
            kept += listed.iter().map(String::len).sum::<usize>();
            if kept > KEPT_LIMIT {
                return Err(super::RegistryError::answer(
                    ACT,
                    format!("more than {KEPT_LIMIT} bytes of tags, which is the limit"),
                ));
            }
            tags.extend(listed);
            match next {
                Some(next) => url = next,
                None => break,
            }
        }
        Ok(Some(tags))
    }

    fn tag_page(&self, url: &str) -> Result<Option<(Vec<String>, Option<String>)>> {
        #[derive(Deserialize)]
        struct List {
            #[serde(default)]
            tags: Option<Vec<String>>,
        }
        let session = self.session();
        session.retried(|| {
            let accept = [("accept", "application/json")];
            let answer = session.send(&Call { headers: &accept, ..Call::new(ACT, "GET", url) }, &mut Body::Empty)?;
            match answer.status() {
                StatusCode::OK => {
                    let link = answer.headers("link").find_map(next_page).map(str::to_owned);
                    let next = link.and_then(|link| join(&answer.url, &link));
                    let Document { bytes, .. } = read(ACT, answer)?;
                    let list: List = serde_json::from_slice(&bytes).map_err(|error| {
                        super::RegistryError::answer(ACT, format!("it is no list of tags: {error}"))
                    })?;
                    Ok(Some((list.tags.unwrap_or_default(), next)))
                }
                StatusCode::NOT_FOUND => Ok(None),
                _ => Err(session.refused(ACT, answer)),
            }
        })
    }
}
