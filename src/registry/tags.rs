//! A repository's tags, newest first as far as anybody can tell.
//!
//! The specification's list has no times
//! ([listing tags](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags)). Google's
//! registries add them (`manifest.*.timeUploadedMs`, go-containerregistry, pkg/v1/google/list.go); elsewhere names decide,
//! their numbers compared as numbers: `v1.10` is newer than `v1.9`.

use std::{cmp::Reverse, collections::HashMap};

use serde::Deserialize;
use serde_json::Value;
use ureq::http::StatusCode;

use super::{Client, Result, session::Call};
use crate::http::{Body, DOCUMENT_LIMIT};

/// Tags asked for. Some registries refuse more.
const PAGE: usize = 100;

#[derive(Deserialize)]
struct List {
    tags: Option<Vec<String>>,
    #[serde(default)]
    manifest: HashMap<String, Manifest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    #[serde(default)]
    tag: Vec<String>,
    /// A string of Container Registry's, a number of Artifact Registry's.
    #[serde(default)]
    time_uploaded_ms: Value,
}

impl Client {
    /// At most `count` of the repository's tags, the newest; none where there is no repository.
    ///
    /// # Errors
    ///
    /// When the registry cannot be asked, refuses, or sends something else.
    pub fn newest_tags(&self, count: usize) -> Result<Vec<String>> {
        let act = "listing the tags";
        let url = self.url(&format!("tags/list?n={PAGE}"));
        self.session().retried(|| {
            let answer = self.session().send(&Call::new(act, "GET", &url), &mut Body::Empty)?;
            match answer.status() {
                StatusCode::OK => {
                    let text = answer.bytes(act, DOCUMENT_LIMIT)?;
                    let list = serde_json::from_slice(&text);
                    let list = list.map_err(|error| {
                        super::RegistryError::answer(act, format!("the list is malformed: {error}"))
                    })?;
                    Ok(newest(list, count))
                }
                StatusCode::NOT_FOUND => Ok(Vec::new()),
                _ => Err(self.session().refused(act, answer)),
            }
        })
    }
}

fn newest(list: List, count: usize) -> Vec<String> {
    let time = |manifest: &Manifest| match &manifest.time_uploaded_ms {
        Value::String(text) => text.parse().ok(),
        number => number.as_u64(),
    };
    let mut times: HashMap<&str, u64> = HashMap::new();
    for manifest in list.manifest.values() {
        times.extend(
            manifest.tag.iter().zip(time(manifest).into_iter().cycle()).map(|(tag, time)| (tag.as_str(), time)),
        );
    }
    let mut tags = list.tags.unwrap_or_default();
    tags.sort_by_cached_key(|tag| Reverse((times.get(tag.as_str()).copied(), by_number(tag))));
    tags.truncate(count);
    tags
}

/// A name's runs of digits, as numbers, and what is between them.
fn by_number(tag: &str) -> Vec<(u64, String)> {
    let mut parts = Vec::new();
    let mut rest = tag;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        let (number, more) = rest.split_at(digits);
        let letters = more.find(|letter: char| letter.is_ascii_digit()).unwrap_or(more.len());
        let (text, more) = more.split_at(letters);
        parts.push((number.parse().unwrap_or(0), text.to_owned()));
        rest = more;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(json: &str, count: usize) -> String {
        newest(serde_json::from_str(json).unwrap(), count).join(" ")
    }

    #[test]
    fn numbers_decide_where_there_are_no_times() {
        assert_eq!(sorted(r#"{"name":"a","tags":["v1.9","v1.10","v1.9.1","v2"]}"#, 3), "v2 v1.10 v1.9.1");
        assert_eq!(sorted(r#"{"name":"a","tags":null}"#, 3), "");
        assert_eq!(sorted(r#"{"tags":["9","100000000000000000000000","x"]}"#, 1), "9");
    }

    #[test]
    fn googles_times_decide() {
        let list = r#"{"tags":["a","b","c"],"manifest":{
            "sha256:1":{"tag":["a"],"timeUploadedMs":"2000"},"sha256:2":{"tag":["b"],"timeUploadedMs":3000},"sha256:3":{}}}"#;
        assert_eq!(sorted(list, 9), "b a c");
    }
}
