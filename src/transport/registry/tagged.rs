//! Documents under a tag that several writers add to: lists of referrers, and of signatures.
//!
//! ```text
//! read ──▶ is it in? ──no──▶ add, write over what was read (If-Match) ──▶ read again
//!             └────yes────▶ wait, read again: still in? done
//! ```
//!
//! Nobody can lock a tag. So a writer looks again after it wrote, until what it wrote stayed for a while: whoever wrote
//! over it in between had read the tag before, and writes no more.

use std::{
    hash::{BuildHasher, RandomState},
    thread,
    time::Duration,
};

use ureq::http::StatusCode;

use super::{Client, RegistryError, Result, client::read, session::Call};
use crate::transport::http::Body;

/// How often a writer tries.
const WRITES: u64 = 20;
/// How long an addition must stay to stay for good: longer than a writer needs from read to write.
const SETTLED: Duration = Duration::from_millis(700);

/// A document of one media type under a tag.
#[derive(Clone, Copy, Debug)]
pub struct Tagged<'a> {
    /// The tag.
    pub tag: &'a str,
    /// The document's media type.
    pub media_type: &'a str,
    /// What is done, for errors.
    pub act: &'static str,
}

impl Tagged<'_> {
    /// What is there is something else.
    pub fn refused(&self, why: &dyn std::fmt::Display) -> RegistryError {
        let tag = self.tag;
        RegistryError::answer(self.act, format!("the tag {tag} holds something else ({why}); delete it first"))
    }
}

/// The document with the addition, where it lacks it.
type Add<'a> = dyn Fn(Option<&[u8]>) -> Result<Option<Vec<u8>>> + 'a;

impl Client {
    /// Adds to the document under a tag until the addition stays. `add` is given the document, where there is one, and
    /// gives it with the addition; `None` where it is in.
    ///
    /// # Errors
    ///
    /// When the registry cannot be asked or refuses, when others never stop writing, and those of `add`.
    pub fn add_to_tagged(&self, tagged: &Tagged<'_>, add: &Add<'_>) -> Result<()> {
        let Tagged { tag, media_type, act } = *tagged;
        let mut settled = false;
        for write in 0..WRITES {
            let found = self.tagged(tagged)?;
            let Some(document) = add(found.as_ref().map(|(bytes, _)| bytes.as_slice()))? else {
                if settled {
                    return Ok(());
                }
                settled = true;
                thread::sleep(SETTLED);
                continue;
            };
            settled = false;
            if write > 0 {
                // Two that hinder each other part.
                thread::sleep(Duration::from_millis(RandomState::new().hash_one(write) % (50 * write).max(1)));
            }
            let entity = found.as_ref().and_then(|(_, entity)| entity.as_deref());
            match self.put_document(tag, media_type, &document, entity) {
                // Another writer was faster.
                Err(error) if error.status() == Some(412) => {}
                put => drop(put?),
            }
        }
        Err(RegistryError::answer(act, format!("others keep writing to the tag {tag}; try again")))
    }

    /// The document under a tag, and its entity tag where there is one.
    pub(super) fn tagged(&self, tagged: &Tagged<'_>) -> Result<Option<(Vec<u8>, Option<String>)>> {
        let (session, url) = (self.session(), self.url(&format!("manifests/{}", tagged.tag)));
        session.retried(|| {
            let accept = [("accept", tagged.media_type)];
            let call = Call { headers: &accept, ..Call::new(tagged.act, "GET", &url) };
            let answer = session.send(&call, &mut Body::Empty)?;
            match answer.status() {
                StatusCode::OK => {
                    let entity = answer.header("etag").map(str::to_owned);
                    Ok(Some((read(tagged.act, answer)?.bytes, entity)))
                }
                StatusCode::NOT_FOUND => Ok(None),
                _ => Err(session.refused(tagged.act, answer)),
            }
        })
    }
}
