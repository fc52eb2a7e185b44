//! The tags of a repository
//! ([listing tags](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags)).

use serde::Deserialize;
use ureq::http::StatusCode;

use super::{Client, RegistryError, Result, pages::PagedList};
use crate::budget;

const LIST: PagedList = PagedList {
    act: "listing the tags",
    accept: "application/json",
    limits: &budget::TAGS,
    is_missing: |status| status == StatusCode::NOT_FOUND,
};

impl Client {
    /// Returns the tags of the repository in the registry's order, or `None` if the registry has no such repository.
    ///
    /// # Errors
    ///
    /// If the request fails or is refused, or the response is not a complete list.
    pub fn tags(&self) -> Result<Option<Vec<String>>> {
        #[derive(Deserialize)]
        struct Page {
            #[serde(default)]
            tags: Option<Vec<String>>,
        }
        let mut tags = Vec::new();
        let is_found = self.read_pages(&LIST, self.url("tags/list"), |bytes, budget| {
            let malformed = |error| RegistryError::answer(LIST.act, format!("it is not a list of tags: {error}"));
            let page: Page = serde_json::from_slice(bytes).map_err(malformed)?;
            let listed = page.tags.unwrap_or_default();
            budget.take_parts(listed.len() as u64).map_err(|error| LIST.exceeded(error))?;
            tags.extend(listed);
            Ok(true)
        })?;
        Ok(is_found.then_some(tags))
    }
}
