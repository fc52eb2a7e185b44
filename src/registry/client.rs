//! One repository of one registry: [OCI distribution](https://github.com/opencontainers/distribution-spec/blob/main/spec.md)
//! 1.1, over HTTP. Uploads are in `upload`.

use std::{
    fmt,
    io::{self, Read},
    sync::Arc,
};

use ureq::http::{Response, StatusCode, header};

use super::{
    Reference, RegistryError,
    transport::{Body, Call, DOCUMENT_LIMIT, Options, Result, TRIES, Transport},
};
use crate::oci::{Digest, media_type};

/// A manifest or an index, as a registry gives it.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A repository of a registry.
pub struct Client {
    pub(super) transport: Transport,
    host: String,
    repository: String,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({}/{})", self.host, self.repository)
    }
}

impl Client {
    /// Connects to the registry of `reference`.
    ///
    /// # Errors
    ///
    /// When it cannot be reached, or `options` name a file that cannot be read.
    pub fn new(reference: &Reference, options: &Options) -> Result<Self> {
        let transport = Transport::new(reference, options)?;
        Ok(Self { transport, host: reference.host.clone(), repository: reference.repository.clone() })
    }

    /// The registry's host, as references name it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The manifest or index of `version` (a tag or a digest), or `None` where there is none.
    ///
    /// # Errors
    ///
    /// When the registry cannot be asked, refuses, or answers a digest with something else.
    pub fn manifest(&self, version: &str) -> Result<Option<Document>> {
        let act = "reading the manifest";
        let url = self.url(&format!("manifests/{version}"));
        let accept = [media_type::MANIFEST, media_type::DOCKER_MANIFEST, media_type::INDEX, media_type::DOCKER_INDEX];
        let Some(document) = self.document(act, &url, &accept.join(", "))? else { return Ok(None) };
        match version.parse::<Digest>() {
            Ok(digest) if Digest::of(&document.bytes) != digest => {
                Err(RegistryError::Answer { act, why: format!("the registry sent something else for {digest}") })
            }
            _ => Ok(Some(document)),
        }
    }

    /// A small blob, or `None` where there is none.
    ///
    /// # Errors
    ///
    /// When the registry cannot be asked, refuses, or sends something else.
    pub fn small_blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>> {
        let act = "reading a blob";
        match self.document(act, &self.blob_url(digest), "*/*")? {
            Some(blob) if Digest::of(&blob.bytes) != *digest => {
                let why = format!("the registry sent {} for {digest}", Digest::of(&blob.bytes));
                Err(RegistryError::Answer { act, why })
            }
            blob => Ok(blob.map(|blob| blob.bytes)),
        }
    }

    /// A blob as a stream. A connection that breaks is taken up again where it broke; nothing is checked here.
    pub fn blob(self: &Arc<Self>, digest: &Digest) -> impl Read + Send + 'static {
        BlobReader { client: Arc::clone(self), digest: *digest, at: 0, body: None, tries: TRIES }
    }

    /// Whether the repository has the blob.
    ///
    /// # Errors
    ///
    /// When the registry cannot be asked or refuses.
    pub fn has_blob(&self, digest: &Digest) -> Result<bool> {
        let act = "asking for a blob";
        let url = self.blob_url(digest);
        self.transport.retry(|| {
            let response =
                self.transport.send(&Call { act, method: "HEAD", url: &url, headers: &[] }, &mut Body::Empty)?;
            match response.status() {
                StatusCode::OK => Ok(true),
                StatusCode::NOT_FOUND => Ok(false),
                _ => Err(self.transport.refused(act, &url, response)),
            }
        })
    }

    /// Takes a blob over from another repository of this registry; whether that went.
    ///
    /// # Errors
    ///
    /// When the registry cannot be asked.
    pub fn mount(&self, digest: &Digest, from: &str) -> Result<bool> {
        let act = "mounting a blob";
        let url = self.url(&format!("blobs/uploads/?mount={digest}&from={from}"));
        self.transport.retry(|| {
            let response =
                self.transport.send(&Call { act, method: "POST", url: &url, headers: &[] }, &mut Body::Bytes(&[]))?;
            match response.status() {
                status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                    Err(self.transport.refused(act, &url, response))
                }
                // 202 starts an upload instead, which ends by itself when nobody continues it.
                status => Ok(status == StatusCode::CREATED),
            }
        })
    }

    /// Puts a manifest or index of this media type under `version`.
    ///
    /// # Errors
    ///
    /// When the registry cannot be asked, refuses, or says that it took something else.
    pub fn put_manifest(&self, version: &str, media_type: &str, manifest: &[u8]) -> Result<()> {
        let act = "putting the manifest";
        let url = self.url(&format!("manifests/{version}"));
        self.transport.retry(|| {
            let kind = [(header::CONTENT_TYPE.as_str(), media_type)];
            let response = self
                .transport
                .send(&Call { act, method: "PUT", url: &url, headers: &kind }, &mut Body::Bytes(manifest))?;
            if response.status() != StatusCode::CREATED {
                return Err(self.transport.refused(act, &url, response));
            }
            check_digest(act, &response, &Digest::of(manifest))
        })
    }

    pub(super) fn url(&self, rest: &str) -> String {
        format!("{}/v2/{}/{rest}", self.transport.base, self.repository)
    }

    fn blob_url(&self, digest: &Digest) -> String {
        self.url(&format!("blobs/{digest}"))
    }

    fn document(&self, act: &'static str, url: &str, accept: &str) -> Result<Option<Document>> {
        self.transport.retry(|| {
            let accept = [(header::ACCEPT.as_str(), accept)];
            let mut response =
                self.transport.send(&Call { act, method: "GET", url, headers: &accept }, &mut Body::Empty)?;
            match response.status() {
                StatusCode::OK => {
                    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
                    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_owned();
                    let body = response.body_mut().with_config().limit(DOCUMENT_LIMIT).read_to_vec();
                    let bytes = body.map_err(|source| RegistryError::http(act, url, source))?;
                    Ok(Some(Document { media_type: kind, bytes }))
                }
                StatusCode::NOT_FOUND => Ok(None),
                _ => Err(self.transport.refused(act, url, response)),
            }
        })
    }

    /// The blob from byte `at` on.
    fn open_blob(&self, digest: &Digest, at: u64) -> Result<Box<dyn Read + Send>> {
        let act = "reading a blob";
        let url = self.blob_url(digest);
        self.transport.retry(|| {
            let range = format!("bytes={at}-");
            let headers: &[(&str, &str)] = if at == 0 { &[] } else { &[("range", &range)] };
            let response = self.transport.send(&Call { act, method: "GET", url: &url, headers }, &mut Body::Empty)?;
            let status = response.status();
            let mut body: Box<dyn Read + Send> = match status {
                StatusCode::OK | StatusCode::PARTIAL_CONTENT => {
                    Box::new(response.into_body().into_with_config().limit(u64::MAX).reader())
                }
                _ => return Err(self.transport.refused(act, &url, response)),
            };
            // A registry that knows no ranges begins anew.
            if status == StatusCode::OK && at > 0 {
                let skipped = io::copy(&mut (&mut body).take(at), &mut io::sink());
                skipped.map_err(|source| RegistryError::http(act, &url, source.into()))?;
            }
            Ok(body)
        })
    }
}

/// What a registry says it took must be what we sent.
pub(super) fn check_digest(act: &'static str, response: &Response<ureq::Body>, digest: &Digest) -> Result<()> {
    match response.headers().get("docker-content-digest").and_then(|said| said.to_str().ok()) {
        // Other algorithms cannot be compared.
        Some(said) if said.starts_with("sha256:") && said != digest.to_string() => {
            let why = format!("the registry took {said}, but {digest} was sent; what it holds now cannot be trusted");
            Err(RegistryError::Answer { act, why })
        }
        _ => Ok(()),
    }
}

/// Reads a blob, and goes on where a connection broke.
struct BlobReader {
    client: Arc<Client>,
    digest: Digest,
    at: u64,
    body: Option<Box<dyn Read + Send>>,
    tries: u32,
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let body = match &mut self.body {
                Some(body) => body,
                None => self.body.insert(self.client.open_blob(&self.digest, self.at).map_err(io::Error::other)?),
            };
            match body.read(buffer) {
                Ok(read) => {
                    self.at += read as u64;
                    return Ok(read);
                }
                Err(error) => {
                    self.tries -= 1;
                    if self.tries == 0 {
                        return Err(error);
                    }
                    self.body = None;
                }
            }
        }
    }
}
