//! Lists that a registry sends in pages. The `Link` header of each page has the URL of the next one
//! ([specification](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags)).
//!
//! The registry determines the number of pages and their URLs. It is an error if a page repeats, if a page is at
//! another origin, or if the list exceeds its limits.

use std::collections::HashSet;

use ureq::http::StatusCode;

use super::{
    Client, RegistryError, Result,
    client::{RegistryDocument, read},
    session::RegistryCall,
};
use crate::{
    budget::{Budget, ExceededError, Limits},
    transport::http::{HttpBody, join, without_query},
};

/// The minimum that a page takes from the budget, in bytes, since a page without entries needs a request too.
const PAGE_COST: u64 = 64 * 1024;

pub(super) struct PagedList {
    /// The operation, for errors.
    pub act: &'static str,
    /// The media type of the request.
    pub accept: &'static str,
    /// The limits of all pages together.
    pub limits: &'static Limits,
    /// The statuses of a registry that does not have the list.
    pub is_missing: fn(StatusCode) -> bool,
}

/// A page, and the URL of the next one.
struct ListPage {
    bytes: Vec<u8>,
    next: Option<String>,
}

impl PagedList {
    /// Returns the error of a list that exceeds its limits.
    pub fn exceeded(&self, error: ExceededError) -> RegistryError {
        self.error(error.to_string())
    }

    fn error(&self, why: String) -> RegistryError {
        RegistryError::answer(self.act, why)
    }
}

impl Client {
    /// Passes each page of the list at `url` to `add`, with the budget of all pages. `add` returns whether the page has
    /// the expected format. Returns whether the registry has the list.
    ///
    /// # Errors
    ///
    /// If the request fails or is refused, a later page is missing, or the list exceeds its limits.
    pub(super) fn read_pages(
        &self,
        list: &PagedList,
        mut url: String,
        mut add: impl FnMut(&[u8], &mut Budget) -> Result<bool>,
    ) -> Result<bool> {
        let (mut budget, mut read) = (Budget::new(list.limits), HashSet::new());
        loop {
            let page = self.page(list, &url)?;
            let next = match page {
                Some(ListPage { bytes, next }) => {
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

    fn page(&self, list: &PagedList, url: &str) -> Result<Option<ListPage>> {
        let session = self.session();
        session.retried(|| {
            let accept = [("accept", list.accept)];
            let call = RegistryCall { headers: &accept, ..RegistryCall::new(list.act, "GET", url) };
            let answer = session.send(&call, &mut HttpBody::Empty)?;
            match answer.status() {
                StatusCode::OK => {
                    let link = answer.headers("link").find_map(next_page).map(str::to_owned);
                    let next = link.and_then(|link| join(&answer.url, &link));
                    let RegistryDocument { bytes, .. } = read(list.act, answer)?;
                    Ok(Some(ListPage { bytes, next }))
                }
                status if (list.is_missing)(status) => Ok(None),
                _ => Err(session.refused(list.act, answer)),
            }
        })
    }
}

/// Parses `</v2/…?last=x>; rel="next"` ([RFC 8288](https://www.rfc-editor.org/rfc/rfc8288)).
fn next_page(link: &str) -> Option<&str> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.split(';').any(|parameter| {
        let parameter = parameter.trim().to_ascii_lowercase();
        parameter == "rel=next" || parameter == "rel=\"next\""
    });
    is_next.then_some(target)
}
