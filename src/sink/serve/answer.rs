//! One request, answered as the
//! [distribution specification](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#endpoints) says.

use std::{io, ops::Range, sync::Arc};

use hyper::{
    Method, Request, Response, StatusCode,
    header::{
        ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, HeaderValue,
        IF_NONE_MATCH, LINK, RANGE,
    },
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{
    body::{self, Body},
    catalogue::{Blob, Catalogue, Repository},
};
use crate::oci::{Digest, Index, json::to_vec, media_type};

const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
/// Names in one answer of a list, unless fewer are asked for.
const PAGE: usize = 1000;

/// Answers `request`; what is wrong with it is an answer too.
pub async fn answer<B>(
    catalogue: &Catalogue,
    streams: &Arc<Semaphore>,
    request: &Request<B>,
) -> io::Result<Response<Body>> {
    let is_head = request.method() == Method::HEAD;
    let mut response = if is_head || request.method() == Method::GET {
        route(catalogue, streams, request, is_head).await.unwrap_or_else(Refusal::response)
    } else {
        let mut response =
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "this registry is read-only").response();
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        response
    };
    response.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    if is_head {
        *response.body_mut() = body::empty();
    }
    Ok(response)
}

type Answer = Result<Response<Body>, Refusal>;

/// An [error of the specification](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes).
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// Of the blob, where a range lies outside of it.
    size: Option<u64>,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), size: None }
    }

    fn response(self) -> Response<Body> {
        let errors = json!({ "errors": [{ "code": self.code, "message": self.message, "detail": null }] });
        let mut response = document("application/json", errors.to_string().into_bytes());
        *response.status_mut() = self.status;
        if let Some(size) = self.size {
            insert(&mut response, CONTENT_RANGE, &format!("bytes */{size}"));
        }
        response
    }
}

async fn route<B>(catalogue: &Catalogue, streams: &Arc<Semaphore>, request: &Request<B>, is_head: bool) -> Answer {
    let path = request.uri().path();
    let query = request.uri().query().unwrap_or_default();
    let not_found = || Refusal::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "there is nothing at this path");
    let rest = path.strip_prefix("/v2").ok_or_else(not_found)?;
    if matches!(rest, "" | "/") {
        return Ok(document("application/json", b"{}".to_vec()));
    }
    if rest == "/_catalog" {
        let (names, link) = page(catalogue.names(), query, path);
        return Ok(list(&json!({ "repositories": names }), link));
    }
    let repository = |name: &str| {
        let message = format!("there is no {name} here");
        catalogue.repository(name).ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", message))
    };
    let rest = rest.trim_start_matches('/');
    if let Some(name) = rest.strip_suffix("/tags/list") {
        let (tags, link) = page(repository(name)?.tags(), query, path);
        return Ok(list(&json!({ "name": name, "tags": tags }), link));
    }
    // Names have slashes, so the last of these counts.
    let cut = |kind: &str| rest.rsplit_once(kind);
    if let Some((name, version)) = cut("/manifests/") {
        return manifest(repository(name)?, version, request);
    }
    if let Some((name, digest)) = cut("/blobs/") {
        return blob(repository(name)?, digest, request, streams, is_head).await;
    }
    if let Some((name, digest)) = cut("/referrers/") {
        repository(name)?;
        parse_digest(digest)?;
        return Ok(document(media_type::INDEX, to_vec(&Index::new(Vec::new()))));
    }
    Err(not_found())
}

fn manifest<B>(repository: &Repository, version: &str, request: &Request<B>) -> Answer {
    let unknown = || Refusal::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", format!("there is no manifest {version}"));
    let (digest, manifest) = repository.find(version).ok_or_else(unknown)?;
    if is_known(request, &digest) {
        return Ok(not_modified(&digest));
    }
    let mut response = document(&manifest.media_type, manifest.bytes.to_vec());
    identify(&mut response, &digest);
    Ok(response)
}

async fn blob<B>(
    repository: &Repository,
    digest: &str,
    request: &Request<B>,
    streams: &Arc<Semaphore>,
    is_head: bool,
) -> Answer {
    let digest = parse_digest(digest)?;
    let unknown = || Refusal::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", format!("there is no blob {digest}"));
    let blob = repository.blob(&digest).ok_or_else(unknown)?;
    if is_known(request, &digest) {
        return Ok(not_modified(&digest));
    }
    let size = blob.size();
    let asked = request.headers().get(RANGE).and_then(|range| range.to_str().ok());
    let range = match asked.map(|asked| parse_range(asked, size)) {
        None | Some(Asked::Whole) => None,
        Some(Asked::Part(range)) => Some(range),
        Some(Asked::Nothing) => {
            let refusal = Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "SIZE_INVALID", "the blob ends before");
            return Err(Refusal { size: Some(size), ..refusal });
        }
    };
    let part = range.clone().unwrap_or(0..size);
    let (start, end) = (part.start, part.end);
    let body = match blob {
        _ if is_head => body::empty(),
        Blob::Bytes(bytes) => body::bytes(bytes.slice(start as usize..end as usize)),
        Blob::Layer(layer) => body::layer(layer.as_ref().clone(), part, streams).await,
    };
    let mut response = Response::new(body);
    identify(&mut response, &digest);
    insert(&mut response, CONTENT_TYPE, "application/octet-stream");
    insert(&mut response, ACCEPT_RANGES, "bytes");
    insert(&mut response, CONTENT_LENGTH, &(end - start).to_string());
    if range.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        insert(&mut response, CONTENT_RANGE, &format!("bytes {start}-{}/{size}", end - 1));
    }
    Ok(response)
}

fn parse_digest(text: &str) -> Result<Digest, Refusal> {
    text.parse()
        .map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", format!("{text:?} is no sha256 digest")))
}

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// Everything: the header is of a kind that may be ignored.
    Whole,
    Part(Range<u64>),
    /// A range outside of the blob.
    Nothing,
}

/// [RFC 9110, 14.1.2](https://www.rfc-editor.org/rfc/rfc9110#name-byte-ranges): `bytes=2-4`, `bytes=2-`, `bytes=-3`.
fn parse_range(text: &str, size: u64) -> Asked {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Asked::Whole;
    };
    let range = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Ok(first), Err(_)) if last.is_empty() => first..size,
        (Err(_), Ok(suffix)) if first.is_empty() => size.saturating_sub(suffix)..size,
        // Several ranges, or nonsense: the whole blob is an answer.
        _ => return Asked::Whole,
    };
    if range.start < range.end { Asked::Part(range) } else { Asked::Nothing }
}

/// The names after `last=`, at most `n=` of them, and where the next are.
fn page<'a>(names: impl Iterator<Item = &'a str>, query: &str, path: &str) -> (Vec<&'a str>, Option<String>) {
    let parameter = |name: &str| {
        let found = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
        found.map(|(_, value)| value)
    };
    let last = parameter("last").unwrap_or_default();
    let count = parameter("n").and_then(|n| n.parse().ok()).unwrap_or(PAGE).min(PAGE);
    let mut names: Vec<&str> = names.filter(|name| *name > last).take(count + 1).collect();
    let more = names.len() > count;
    names.truncate(count);
    let link = names.last().filter(|_| more).map(|last| format!("<{path}?n={count}&last={last}>; rel=\"next\""));
    (names, link)
}

fn list(document_of: &Value, link: Option<String>) -> Response<Body> {
    let mut response = document("application/json", document_of.to_string().into_bytes());
    if let Some(link) = link {
        insert(&mut response, LINK, &link);
    }
    response
}

/// Whether the other side has it, as its `If-None-Match` says.
fn is_known<B>(request: &Request<B>, digest: &Digest) -> bool {
    let header = request.headers().get(IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    let tag = format!("\"{digest}\"");
    header
        .is_some_and(|known| known == "*" || known.split(',').any(|known| known.trim().trim_start_matches("W/") == tag))
}

fn not_modified(digest: &Digest) -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    identify(&mut response, digest);
    response
}

fn identify(response: &mut Response<Body>, digest: &Digest) {
    insert(response, DIGEST, &digest.to_string());
    insert(response, ETAG, &format!("\"{digest}\""));
}

fn document(media_type: &str, bytes: Vec<u8>) -> Response<Body> {
    let length = bytes.len();
    let mut response = Response::new(body::bytes(bytes.into()));
    insert(&mut response, CONTENT_TYPE, media_type);
    insert(&mut response, CONTENT_LENGTH, &length.to_string());
    response
}

fn insert(response: &mut Response<Body>, name: HeaderName, value: &str) {
    // Everything that is put into headers here is printable; what is not (a name from a URL) is left out.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_parsed() {
        for (text, expected) in [
            ("bytes=2-4", Asked::Part(2..5)),
            ("bytes=2-", Asked::Part(2..10)),
            ("bytes=-3", Asked::Part(7..10)),
            ("bytes=-30", Asked::Part(0..10)),
            ("bytes=5-99", Asked::Part(5..10)),
            ("bytes=10-", Asked::Nothing),
            ("bytes=-0", Asked::Nothing),
            ("bytes=4-2", Asked::Whole),
            ("bytes=1-2,4-5", Asked::Whole),
            ("lines=1-2", Asked::Whole),
        ] {
            assert_eq!(parse_range(text, 10), expected, "{text}");
        }
    }

    #[test]
    fn lists_come_in_pages() {
        let names = || ["a", "b", "c"].into_iter();
        assert_eq!(page(names(), "", "/p"), (vec!["a", "b", "c"], None));
        assert_eq!(page(names(), "n=2", "/p"), (vec!["a", "b"], Some("</p?n=2&last=b>; rel=\"next\"".to_owned())));
        assert_eq!(page(names(), "n=2&last=b", "/p"), (vec!["c"], None));
        assert_eq!(page(names(), "n=0", "/p"), (vec![], None));
    }
}
