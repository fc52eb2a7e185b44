//! Lists that a registry gives in pages: the `Link` header of each names the next
//! ([specification](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags)).
//!
//! The registry chooses how many pages there are and where the next one is. A page that was read before, a page at another
//! origin, and a list that exceeds its limits are errors.

use std::collections::HashSet;

use ureq::http::StatusCode;

use super::{
    Client, RegistryError, Result,
    client::{Document, read},
    session::Call,
};
use crate::{
    budget::{Budget, ExceededError, Limits},
    transport::http::{Body, join, without_query},
};

/// The least that a page takes from the budget, in bytes: a page without entries is a request too.
const PAGE_COST: u64 = 64 * 1024;

/// A list of a registry.
pub(super) struct List {
    /// The act, for errors.
    pub act: &'static str,
    /// The media type that is asked for.
    pub accept: &'static str,
    /// Limits of all pages together.
    pub limits: &'static Limits,
    /// Statuses of a registry that has no such list.
    pub is_missing: fn(StatusCode) -> bool,
}

/// A page, and the URL of the next one.
struct Page {
    bytes: Vec<u8>,
    next: Option<String>,
}

impl List {
    /// The error of a list that exceeds its limits.
    pub fn exceeded(&self, error: ExceededError) -> RegistryError {
        self.error(error.to_string())
    }

    fn error(&self, why: String) -> RegistryError {
        RegistryError::answer(self.act, why)
    }
}

impl Client {
    /// Gives each page of the list at `url` to `add`, with the budget of all pages; `add` returns whether it is a page of
    /// such a list. Returns whether the registry has the list.
    ///
    /// # Errors
    ///
    /// When the registry cannot be asked or refuses, a later page is missing, or the list has no end.
    pub(super) fn read_pages(
        &self,
        list: &List,
        mut url: String,
        mut add: impl FnMut(&[u8], &mut Budget) -> Result<bool>,
    ) -> Result<bool> {
        let (mut budget, mut read) = (Budget::new(list.limits), HashSet::new());
        loop {
            let page = self.page(list, &url)?;
            let next = match page {
                Some(Page { bytes, next }) => {
                    budget.take_bytes((bytes.len() as u64).max(PAGE_COST)).map_err(|error| list.exceeded(error))?;
                    add(&bytes, &mut budget)?.then_some(next)
                }
                None => None,
            };
            let Some(next) = next else {
                return match read.is_empty() {
                    true => Ok(false),
                    false => Err(list.error(format!("the page {} is missing", without_query(&url)))),
                };
            };
            read.insert(url);
            let Some(next) = next else { return Ok(true) };
            if read.contains(&next) {
                let page = without_query(&next);
                return Err(list.error(format!("the page {page} of the list leads to a page that was read before")));
            }
            if !self.session().is_own(&next) {
                return Err(list.error(format!("the list continues at another host, {}", without_query(&next))));
            }
            url = next;
        }
    }

    fn page(&self, list: &List, url: &str) -> Result<Option<Page>> {
        let session = self.session();
        session.retried(|| {
            let accept = [("accept", list.accept)];
            let call = Call { headers: &accept, ..Call::new(list.act, "GET", url) };
            let answer = session.send(&call, &mut Body::Empty)?;
            match answer.status() {
                StatusCode::OK => {
                    let link = answer.headers("link").find_map(next_page).map(str::to_owned);
                    let next = link.and_then(|link| join(&answer.url, &link));
                    let Document { bytes, .. } = read(list.act, answer)?;
                    Ok(Some(Page { bytes, next }))
                }
                status if (list.is_missing)(status) => Ok(None),
                _ => Err(session.refused(list.act, answer)),
            }
        })
    }
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
