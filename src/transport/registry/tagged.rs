//! Documents under a tag to which several clients add entries: lists of referrers and of signatures.
//!
//! ```text
//! read ──▶ is it in? ──no──▶ add, write over what was read (If-Match) ──▶ read again
//!             └────yes────▶ wait, read again: still in? done
//! ```
//!
//! A tag cannot be locked. A client therefore reads the document again after it wrote, until its entry has been present
//! for a while. Another client that overwrote the entry had read the tag before, and will not write again.

use std::{
    hash::{BuildHasher, RandomState},
    thread,
    time::Duration,
};

use ureq::http::StatusCode;

use super::{Client, RegistryError, Result, client::read, session::RegistryCall};
use crate::transport::http::HttpBody;

/// The maximum number of writes.
const WRITES: u64 = 20;
/// The time after which an entry is taken as permanent. It is longer than a client needs between reading and writing.
const SETTLED: Duration = Duration::from_millis(700);

/// A document of one media type under a tag.
#[derive(Clone, Copy, Debug)]
pub struct Tagged<'a> {
    pub tag: &'a str,
    pub media_type: &'a str,
    /// The operation, for errors.
    pub act: &'static str,
}

impl Tagged<'_> {
    /// Returns the error for other content under the tag.
    pub fn refused(&self, why: &dyn std::fmt::Display) -> RegistryError {
        let tag = self.tag;
        RegistryError::answer(self.act, format!("the tag {tag} holds something else ({why}); delete it first"))
    }
}

/// Returns the document with the new entry, or `None` if it has the entry.
type Add<'a> = dyn Fn(Option<&[u8]>) -> Result<Option<Vec<u8>>> + 'a;

impl Client {
    /// Adds an entry to the document under a tag until the entry is permanent. `add` gets the existing document, and
    /// returns it with the entry, or `None` if it has the entry.
    ///
    /// # Errors
    ///
    /// If a request fails or is refused, if other clients never stop writing, and those of `add`.
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
                // A random delay separates clients that conflict.
                thread::sleep(Duration::from_millis(RandomState::new().hash_one(write) % (50 * write).max(1)));
            }
            let entity = found.as_ref().and_then(|(_, entity)| entity.as_deref());
            match self.put_document(tag, media_type, &document, entity) {
                // Another client wrote first.
                Err(error) if error.status() == Some(412) => {}
                put => drop(put?),
            }
        }
        Err(RegistryError::answer(act, format!("others keep writing to the tag {tag}; try again")))
    }

    /// Returns the document under a tag, and its entity tag if there is one.
    pub(super) fn tagged(&self, tagged: &Tagged<'_>) -> Result<Option<(Vec<u8>, Option<String>)>> {
        let (session, url) = (self.session(), self.url(&format!("manifests/{}", tagged.tag)));
        session.retried(|| {
            let accept = [("accept", tagged.media_type)];
            let call = RegistryCall { headers: &accept, ..RegistryCall::new(tagged.act, "GET", &url) };
            let answer = session.send(&call, &mut HttpBody::Empty)?;
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
