//! Responses to requests, by the
//! [distribution specification](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#endpoints).

use std::{borrow::Cow, ops::Range};

use hyper::{
    Method, Request, Response, StatusCode,
    body::Bytes,
    header::{
        ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, HeaderValue,
        IF_NONE_MATCH, LINK, RANGE, RETRY_AFTER, WWW_AUTHENTICATE,
    },
};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{
    body::{self, Body, BodyRange, Streams},
    catalogue::{Catalogue, ServedBlob, ServedRepository},
    demand::SupplyError,
};
use crate::oci::{Digest, Index, descriptor::media_type, json::to_vec};

const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
/// The maximum number of names in a page of a list.
const PAGE: usize = 1000;
/// The maximum number of ranges in a request. podman requests some dozens at most.
const MAX_RANGES: usize = 1024;
const OCTETS: &str = "application/octet-stream";
/// The boundary of multipart responses, which must not occur in a layer.
const BOUNDARY: &str = "strata-7c3e0d6a4f5b49d2-range";

/// Returns the response to `request`, which may be an error.
pub async fn answer<B>(catalogue: &Catalogue, streams: &Streams, request: &Request<B>) -> Response<Body> {
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
    response
}

/// Returns the response to a client without valid credentials.
pub fn unauthorized() -> Response<Body> {
    let refusal = Refusal::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "a name and a password are wanted");
    let mut response = refusal.response();
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"strata\""));
    response.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    response
}

/// Returns the response if an image cannot be built. Only status 404 with this code makes docker, podman and skopeo print the
/// message: they drop the body of a 5xx, and podman repeats requests after other 4xx.
pub fn not_supplied<B>(error: SupplyError, request: &Request<B>) -> Response<Body> {
    let mut response = match error {
        SupplyError::UnknownName(message) => Refusal::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", message),
        SupplyError::UnknownManifest(message) => Refusal::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", message),
        SupplyError::Denied(message) => Refusal::new(StatusCode::FORBIDDEN, "DENIED", message),
        SupplyError::Busy => Refusal::new(
            StatusCode::TOO_MANY_REQUESTS,
            "TOOMANYREQUESTS",
            "too many different images are being made; try again later",
        ),
    }
    .response();
    response.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    if response.status() == StatusCode::TOO_MANY_REQUESTS {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("10"));
    }
    if request.method() == Method::HEAD {
        *response.body_mut() = body::empty();
    }
    response
}

type RouteResult = Result<Response<Body>, Refusal>;

/// An [error of the specification](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes).
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// The range is outside of the blob, whose size this is.
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

async fn route<B>(catalogue: &Catalogue, streams: &Streams, request: &Request<B>, is_head: bool) -> RouteResult {
    let path = request.uri().path();
    let query = request.uri().query().unwrap_or_default();
    let not_found = || Refusal::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "there is nothing at this path");
    if matches!(path, "/v2" | "/v2/") {
        return Ok(document("application/json", b"{}".to_vec()));
    }
    let rest = path.strip_prefix("/v2/").ok_or_else(not_found)?;
    if rest == "_catalog" {
        let (names, link) = page(catalogue.names(), query, path);
        return Ok(list(&json!({ "repositories": names }), link));
    }
    let repository = |name: &str| {
        let message = format!("unknown repository {name}");
        catalogue.repository(name).ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", message))
    };
    if let Some(name) = rest.strip_suffix("/tags/list") {
        let (tags, link) = page(repository(name)?.tags(), query, path);
        return Ok(list(&json!({ "name": name, "tags": tags }), link));
    }
    // Names may contain slashes, so the last separator is the relevant one.
    let cut = |kind: &str| rest.rsplit_once(kind);
    if let Some((name, version)) = cut("/manifests/") {
        return manifest(repository(name)?, version, request);
    }
    if let Some((name, digest)) = cut("/blobs/") {
        return blob(repository(name)?, digest, request, streams, is_head).await;
    }
    if let Some((name, digest)) = cut("/referrers/") {
        let kind = parameter(query, "artifactType");
        let listed = repository(name)?.referrers(&parse_digest(digest)?, kind.as_deref());
        let mut response = document(media_type::INDEX, to_vec(&Index::new(listed)));
        if kind.is_some() {
            insert(&mut response, HeaderName::from_static("oci-filters-applied"), "artifactType");
        }
        return Ok(response);
    }
    Err(not_found())
}

fn manifest<B>(repository: &ServedRepository, version: &str, request: &Request<B>) -> RouteResult {
    let unknown = || Refusal::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", format!("unknown manifest {version}"));
    let (digest, manifest) = repository.find(version).ok_or_else(unknown)?;
    if is_known(request, &digest) {
        return Ok(not_modified(&digest));
    }
    let mut response = document(&manifest.media_type, manifest.bytes.clone());
    identify(&mut response, &digest);
    Ok(response)
}

async fn blob<B>(
    repository: &ServedRepository,
    digest: &str,
    request: &Request<B>,
    streams: &Streams,
    is_head: bool,
) -> RouteResult {
    let digest = parse_digest(digest)?;
    let unknown = || Refusal::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", format!("unknown blob {digest}"));
    let blob = repository.blob(&digest).ok_or_else(unknown)?;
    if is_known(request, &digest) {
        return Ok(not_modified(&digest));
    }
    let size = blob.size();
    // Ranges are defined for GET only (RFC 9110, 14.2).
    let header = request.headers().get(RANGE).filter(|_| !is_head).and_then(|range| range.to_str().ok());
    let ranges = match header.map(|header| parse_ranges(header, size)) {
        None | Some(RequestedRange::Whole) => None,
        Some(RequestedRange::Parts(ranges)) => Some(ranges),
        Some(RequestedRange::Nothing) => {
            let refusal = Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "SIZE_INVALID", "the blob ends before");
            return Err(Refusal { size: Some(size), ..refusal });
        }
    };
    let (pieces, after) = pieces(ranges.as_deref(), size);
    let inside: u64 = pieces.iter().map(|piece| piece.before.len() as u64 + piece.range.end - piece.range.start).sum();
    let length = inside + after.len() as u64;
    let body = match blob {
        _ if is_head => body::empty(),
        ServedBlob::Bytes(bytes) => ranges_of(bytes, &pieces, &after),
        ServedBlob::Layer(layer) => body::layer(layer.as_ref().clone(), pieces, after, streams).await,
    };
    let mut response = Response::new(body);
    identify(&mut response, &digest);
    insert(&mut response, CONTENT_TYPE, OCTETS);
    insert(&mut response, ACCEPT_RANGES, "bytes");
    insert(&mut response, CONTENT_LENGTH, &length.to_string());
    match ranges.as_deref() {
        None => {}
        Some([range]) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            insert(&mut response, CONTENT_RANGE, &format!("bytes {}-{}/{size}", range.start, range.end - 1));
        }
        Some(_) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            insert(&mut response, CONTENT_TYPE, &format!("multipart/byteranges; boundary={BOUNDARY}"));
        }
    }
    Ok(response)
}

/// Returns the body with these pieces of a blob. A single piece is not copied, so that many slow readers of a large blob share
/// its memory.
fn ranges_of(blob: &Bytes, pieces: &[BodyRange], after: &[u8]) -> Body {
    let part = |piece: &BodyRange| blob.slice(piece.range.start as usize..piece.range.end as usize);
    if let [piece] = pieces {
        return body::bytes(part(piece));
    }
    let mut sent = Vec::new();
    for piece in pieces {
        sent.extend_from_slice(&piece.before);
        sent.extend_from_slice(&part(piece));
    }
    sent.extend_from_slice(after);
    body::bytes(sent.into())
}

/// Returns the pieces of the body, and the bytes after the last one. Several ranges become `multipart/byteranges`
/// ([RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-14.6)).
fn pieces(ranges: Option<&[Range<u64>]>, size: u64) -> (Vec<BodyRange>, Vec<u8>) {
    let several = ranges.is_some_and(|ranges| ranges.len() > 1);
    let before = |range: &Range<u64>| match several {
        true => format!(
            "\r\n--{BOUNDARY}\r\nContent-Type: {OCTETS}\r\nContent-Range: bytes {}-{}/{size}\r\n\r\n",
            range.start,
            range.end - 1
        ),
        false => String::new(),
    };
    let whole = 0..size;
    let all = ranges.unwrap_or(std::slice::from_ref(&whole));
    let pieces: Vec<BodyRange> =
        all.iter().map(|range| BodyRange { before: before(range).into(), range: range.clone() }).collect();
    let after = if several { format!("\r\n--{BOUNDARY}--\r\n").into_bytes() } else { Vec::new() };
    (pieces, after)
}

fn parse_digest(text: &str) -> Result<Digest, Refusal> {
    text.parse().map_err(|_| {
        Refusal::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", format!("{text:?} is not a sha256 digest"))
    })
}

/// The requested part of a blob, from a `Range` header.
#[derive(Debug, PartialEq, Eq)]
pub enum RequestedRange {
    /// The whole blob, because the header may be ignored.
    Whole,
    /// Ranges that are sorted and do not overlap.
    Parts(Vec<Range<u64>>),
    /// All ranges are outside of the blob.
    Nothing,
}

/// Parses ranges ([RFC 9110, 14.1.2](https://www.rfc-editor.org/rfc/rfc9110#name-byte-ranges)): `bytes=2-4`, `bytes=2-`,
/// `bytes=-3`, or several with commas in between. They are sorted and adjacent ones are merged, because the blob is made once,
/// from its start to its end.
pub fn parse_ranges(text: &str, size: u64) -> RequestedRange {
    let Some(list) = text.strip_prefix("bytes=") else { return RequestedRange::Whole };
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for one in list.split(',').map(str::trim).filter(|one| !one.is_empty()) {
        let Some((first, last)) = one.split_once('-') else { return RequestedRange::Whole };
        let range = match (first.parse::<u64>(), last.parse::<u64>()) {
            (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(size),
            (Ok(first), Err(_)) if last.is_empty() => first..size,
            (Err(_), Ok(suffix)) if first.is_empty() => size.saturating_sub(suffix)..size,
            // The specification allows ignoring a malformed header.
            _ => return RequestedRange::Whole,
        };
        if range.start < range.end {
            ranges.push(range);
        }
        // No known client requests so many ranges, and the specification allows ignoring them.
        if ranges.len() > MAX_RANGES {
            return RequestedRange::Whole;
        }
    }
    ranges.sort_unstable_by_key(|range| range.start);
    let mut apart: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match apart.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => apart.push(range),
        }
    }
    if apart.is_empty() { RequestedRange::Nothing } else { RequestedRange::Parts(apart) }
}

/// Returns the decoded value of a parameter.
fn parameter<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let (_, value) = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name)?;
    Some(percent_decode_str(value).decode_utf8_lossy())
}

/// Returns a page of names: those after `last=`, at most `n=` of them, with a link to the next page.
fn page<'a>(names: impl Iterator<Item = &'a str>, query: &str, path: &str) -> (Vec<&'a str>, Option<String>) {
    let last = parameter(query, "last").unwrap_or_default();
    let count = parameter(query, "n").and_then(|n| n.parse().ok()).unwrap_or(PAGE).min(PAGE);
    let mut names: Vec<&str> = names.filter(|name| *name > last.as_ref()).take(count + 1).collect();
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

/// Returns whether the client has the content, by its `If-None-Match` header.
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

pub fn document(media_type: &str, bytes: impl Into<Bytes>) -> Response<Body> {
    let bytes = bytes.into();
    let length = bytes.len();
    let mut response = Response::new(body::bytes(bytes));
    insert(&mut response, CONTENT_TYPE, media_type);
    insert(&mut response, CONTENT_LENGTH, &length.to_string());
    response
}

fn insert(response: &mut Response<Body>, name: HeaderName, value: &str) {
    // All values of this module are printable, except for names from URLs, whose header is then omitted.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_parsed() {
        let part = |range: Range<u64>| RequestedRange::Parts([range].into());
        for (text, expected) in [
            ("bytes=2-4", part(2..5)),
            ("bytes=2-", part(2..10)),
            ("bytes=-3", part(7..10)),
            ("bytes=-30", part(0..10)),
            ("bytes=5-99", part(5..10)),
            ("bytes=10-", RequestedRange::Nothing),
            ("bytes=-0", RequestedRange::Nothing),
            ("bytes=4-2", RequestedRange::Whole),
            ("bytes=1-2,4-5", RequestedRange::Parts(vec![1..3, 4..6])),
            ("bytes=8-, 1-2, 20-30", RequestedRange::Parts(vec![1..3, 8..10])),
            ("bytes=1-2,3-5,4-8", part(1..9)),
            ("bytes=20-30,40-", RequestedRange::Nothing),
            ("bytes=1-2,x", RequestedRange::Whole),
            ("lines=1-2", RequestedRange::Whole),
        ] {
            assert_eq!(parse_ranges(text, 10), expected, "{text}");
        }
    }

    #[test]
    fn lists_are_split_into_pages() {
        let names = || ["a", "b", "c"].into_iter();
        assert_eq!(page(names(), "", "/p"), (vec!["a", "b", "c"], None));
        assert_eq!(page(names(), "n=2", "/p"), (vec!["a", "b"], Some("</p?n=2&last=b>; rel=\"next\"".to_owned())));
        assert_eq!(page(names(), "n=2&last=b", "/p"), (vec!["c"], None));
        assert_eq!(page(names(), "n=0", "/p"), (vec![], None));
        assert_eq!(page(["a/b", "a/c"].into_iter(), "last=a%2Fb", "/p"), (vec!["a/c"], None));
    }
}
