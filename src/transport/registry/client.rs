//! A client for one repository of a registry: [OCI
//! distribution](https://github.com/opencontainers/distribution-spec/blob/main/spec.md) 1.1, over HTTP. Uploads are in
//! `upload`, referrers in `referrers`.

use std::{
    cell::Cell,
    fmt,
    io::Read,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use serde::Deserialize;
use ureq::http::StatusCode;

use super::{
    Options, RegistryError, Result,
    registries_conf::RegistriesConf,
    session::{RegistryCall, Session},
};
use crate::{
    budget,
    oci::{Algorithm, Digest, Reference, descriptor::media_type},
    transport::http::{Answer, HttpBody, Resume, clean, without_query},
};

/// A manifest or an index of a registry.
#[derive(Clone, Debug)]
pub struct RegistryDocument {
    pub media_type: String,
    pub bytes: Vec<u8>,
}

/// A blob in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExistingBlob {
    /// The size in bytes, if the response has it (`Content-Length`).
    pub size: Option<u64>,
}

/// The result of a mount.
#[derive(Debug)]
pub enum Mount {
    /// The repository has the blob now.
    Done,
    /// The mount was refused. This session was opened for an upload.
    Session(String),
    /// The mount was refused.
    Refused,
}

/// The purpose of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Reading from mirrors, then from the registry itself.
    Read,
    /// Reading from the registry itself: mirrors lack signatures and other referrers.
    ReadOriginal,
    Write,
}

/// A repository of a registry, and the mirrors that are read first.
pub struct Client {
    places: Vec<(Session, String)>,
    /// The index of the place that answered last.
    active: AtomicUsize,
    /// Whether the registry does not support uploads as streams.
    pub(super) whole_only: AtomicBool,
    host: String,
    repository: String,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({}/{})", self.host, self.repository)
    }
}

impl Client {
    /// Returns a client that reads from the mirrors of `reference`'s registry and the registry itself, with the scope
    /// `pull`.
    ///
    /// # Errors
    ///
    /// Those of [`for_purpose`](Self::for_purpose).
    pub fn new(reference: &Reference, options: &Options) -> Result<Self> {
        Self::for_purpose(Purpose::Read, reference, options)
    }

    /// Connects to the registry of `reference`. Tokens have only the scopes that `purpose` needs.
    ///
    /// # Errors
    ///
    /// If a file of `options` or of the user's configuration cannot be used, or if the image is blocked.
    pub fn for_purpose(purpose: Purpose, reference: &Reference, options: &Options) -> Result<Self> {
        let config = Arc::new(RegistriesConf::from_files()?);
        let places = config.places(reference, purpose == Purpose::Read)?;
        let mut sessions = Vec::with_capacity(places.len());
        for place in places {
            sessions.push((Session::new(&place, purpose, options, &config)?, place.repository));
        }
        Ok(Self {
            places: sessions,
            active: AtomicUsize::new(0),
            whole_only: AtomicBool::new(false),
            host: reference.host.clone(),
            repository: reference.repository.clone(),
        })
    }

    /// Returns the registry's host in the form of references.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the name of the repository.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    pub(super) fn session(&self) -> &Session {
        &self.places[self.active.load(Ordering::Relaxed)].0
    }

    pub(super) fn url(&self, rest: &str) -> String {
        url(&self.places[self.active.load(Ordering::Relaxed)], rest)
    }

    /// Asks each place in turn, beginning with the one that answered last. The first one that has the object is asked
    /// first from now on.
    fn anywhere<T>(&self, ask: impl Fn(&Session, &str) -> Result<Option<T>>, rest: &str) -> Result<Option<T>> {
        let first = self.active.load(Ordering::Relaxed);
        let mut last = Ok(None);
        for at in (first..self.places.len()).chain(0..first) {
            let place = &self.places[at];
            last = ask(&place.0, &url(place, rest));
            if let Ok(Some(_)) = &last {
                self.active.store(at, Ordering::Relaxed);
                return last;
            }
        }
        last
    }

    /// Checks that the registry answers and accepts the credentials, for `login`.
    ///
    /// # Errors
    ///
    /// If the registry cannot be reached, or refuses the credentials.
    pub fn ping(&self) -> Result<()> {
        let act = "logging in";
        let url = format!("{}/v2/", self.session().base);
        self.session().retried(|| {
            let answer = self.session().send(&RegistryCall::new(act, "GET", &url), &mut HttpBody::Empty)?;
            match answer.status() {
                StatusCode::OK => Ok(()),
                _ => Err(self.session().refused(act, answer)),
            }
        })
    }

    /// Returns the manifest or index of `version` (a tag or a digest), or `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// If the request fails or is refused, or the content does not match a digest.
    pub fn manifest(&self, version: &str) -> Result<Option<RegistryDocument>> {
        self.manifest_or_detail(version).map(std::result::Result::ok)
    }

    /// Returns the manifest or index of `version`. If it does not exist, returns the message of the registry after a colon, or an
    /// empty text.
    ///
    /// # Errors
    ///
    /// As [`Self::manifest`].
    pub fn manifest_or_detail(&self, version: &str) -> Result<std::result::Result<RegistryDocument, String>> {
        let act = "reading the manifest";
        let accept = [media_type::MANIFEST, media_type::DOCKER_MANIFEST, media_type::INDEX, media_type::DOCKER_INDEX];
        let accept = accept.join(", ");
        let digest = version.parse::<Digest>().ok();
        let detail = Cell::new(String::new());
        let ask = |session: &Session, url: &str| match document(session, act, url, &accept)? {
            Ok(document) if digest.is_some_and(|digest| !digest.matches(&document.bytes)) => {
                Err(RegistryError::answer(act, format!("the registry sent another manifest for {version}")))
            }
            Ok(document) => Ok(Some(document)),
            Err(text) => {
                detail.set(text);
                Ok(None)
            }
        };
        Ok(self.anywhere(ask, &format!("manifests/{version}"))?.ok_or_else(|| detail.take()))
    }

    /// Returns a small blob, or `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// If the request fails or is refused, or the registry sends something else.
    pub fn small_blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>> {
        let act = "reading a blob";
        let ask = |session: &Session, url: &str| match document(session, act, url, "*/*")?.ok() {
            Some(blob) if !digest.matches(&blob.bytes) => {
                let why = format!("the registry sent {} for {digest}", digest.algorithm().digest(&blob.bytes));
                Err(RegistryError::answer(act, why))
            }
            blob => Ok(blob.map(|blob| blob.bytes)),
        };
        self.anywhere(ask, &format!("blobs/{digest}"))
    }

    /// Returns a blob as a stream. If the connection breaks, the download continues with a new one. The digest is not
    /// checked here.
    pub fn blob(self: &Arc<Self>, digest: &Digest) -> impl Read + Send + 'static {
        let (client, rest) = (Arc::clone(self), format!("blobs/{digest}"));
        Resume::new(self.session().retry(), move |at| {
            let act = "reading a blob";
            let ask = |session: &Session, url: &str| {
                let range = format!("bytes={at}-");
                let headers: &[(&str, &str)] = if at == 0 { &[] } else { &[("range", &range)] };
                let answer = session
                    .send(&RegistryCall { headers, ..RegistryCall::new(act, "GET", url) }, &mut HttpBody::Empty)?;
                match answer.status() {
                    StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(Some(answer.part(act, at)?)),
                    _ => Err(session.refused(act, answer)),
                }
            };
            let found = client.anywhere(ask, &rest)?;
            found.ok_or_else(|| RegistryError::answer(act, format!("there is no {rest}")))
        })
    }

    ///
    /// # Errors
    ///
    /// If the request fails or is refused.
    pub fn has_blob(&self, digest: &Digest) -> Result<bool> {
        Ok(self.find_blob(digest)?.is_some())
    }

    /// Returns the blob, if the repository has it.
    ///
    /// # Errors
    ///
    /// If the request fails or is refused.
    pub fn find_blob(&self, digest: &Digest) -> Result<Option<ExistingBlob>> {
        let act = "asking for a blob";
        let url = self.url(&format!("blobs/{digest}"));
        self.session().retried(|| {
            let answer = self.session().send(&RegistryCall::new(act, "HEAD", &url), &mut HttpBody::Empty)?;
            match answer.status() {
                StatusCode::OK => {
                    let size = answer.header("content-length").and_then(|length| length.parse().ok());
                    Ok(Some(ExistingBlob { size }))
                }
                StatusCode::NOT_FOUND => Ok(None),
                // A registry redirects to blobs that it has, but some object stores sign the URL for GET only.
                status if answer.left_origin && matches!(status.as_u16(), 400 | 401 | 403 | 405) => {
                    Ok(Some(ExistingBlob { size: None }))
                }
                _ => Err(self.session().refused(act, answer)),
            }
        })
    }

    /// Mounts a blob from another repository of this registry, if the registry allows it.
    ///
    /// # Errors
    ///
    /// If the request fails.
    pub fn mount(&self, digest: &Digest, from: &str) -> Result<Mount> {
        let act = "mounting a blob";
        let url = self.url(&format!("blobs/uploads/?mount={digest}&from={from}"));
        let call = RegistryCall { from: Some(from), ..RegistryCall::new(act, "POST", &url) };
        let mounted = self.session().retried(|| {
            let answer = self.session().send(&call, &mut HttpBody::Bytes(&[]))?;
            match answer.status() {
                StatusCode::CREATED => Ok(Mount::Done),
                StatusCode::ACCEPTED => Ok(answer.location(act).map_or(Mount::Refused, Mount::Session)),
                status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                    Err(self.session().refused(act, answer))
                }
                _ => Ok(Mount::Refused),
            }
        });
        match mounted {
            // Without a token for the other repository, the user may not read it, or it does not exist.
            Err(RegistryError::Login(_)) => Ok(Mount::Refused),
            mounted => mounted,
        }
    }

    /// Writes a manifest or index of this media type under `version`. If it has a subject, it is added to the list of
    /// referrers.
    ///
    /// # Errors
    ///
    /// If the request fails or is refused, or the registry reports another digest.
    pub fn put_manifest(&self, version: &str, media_type: &str, manifest: &[u8]) -> Result<()> {
        let answer = self.put_document(version, media_type, manifest, None)?;
        match answer.header("oci-subject") {
            Some(_) => Ok(()),
            None => self.list_referrer(media_type, manifest),
        }
    }

    /// The same as [`put_manifest`](Self::put_manifest), without the list of referrers. With an entity tag, only the
    /// document with that tag is replaced.
    pub(super) fn put_document(
        &self,
        version: &str,
        media_type: &str,
        manifest: &[u8],
        over: Option<&str>,
    ) -> Result<Answer> {
        let act = "putting the manifest";
        let url = self.url(&format!("manifests/{version}"));
        let mut headers = vec![("content-type", media_type)];
        headers.extend(over.map(|tag| ("if-match", tag)));
        self.session().retried(|| {
            let call = RegistryCall { headers: &headers, ..RegistryCall::new(act, "PUT", &url) };
            let answer = self.session().send(&call, &mut HttpBody::Bytes(manifest))?;
            // The specification requires 201. Old versions of Artifactory and some proxies answer 200 or 202.
            if !answer.status().is_success() {
                return Err(self.session().refused(act, answer));
            }
            check_digest(act, &answer, &Digest::sha256(manifest))?;
            Ok(answer)
        })
    }
}

fn url((session, repository): &(Session, String), rest: &str) -> String {
    format!("{}/v2/{repository}/{rest}", session.base)
}

/// Returns a document. If it does not exist, returns the message of the registry after a colon, or an empty text.
fn document(
    session: &Session,
    act: &'static str,
    url: &str,
    accept: &str,
) -> Result<std::result::Result<RegistryDocument, String>> {
    session.retried(|| {
        let accept = [("accept", accept)];
        let answer = session
            .send(&RegistryCall { headers: &accept, ..RegistryCall::new(act, "GET", url) }, &mut HttpBody::Empty)?;
        match answer.status() {
            StatusCode::OK => read(act, answer).map(Ok),
            StatusCode::NOT_FOUND => Ok(Err(answer.refused(act).detail().to_owned())),
            _ => Err(session.refused(act, answer)),
        }
    })
}

/// Returns the document of a response, with the media type of its header or of the document itself.
pub(super) fn read(act: &'static str, answer: Answer) -> Result<RegistryDocument> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct TypedDocument {
        media_type: String,
    }
    let kind = answer.header("content-type").unwrap_or_default();
    let kind = clean(kind.split(';').next().unwrap_or_default());
    let bytes = answer.bytes(act, &budget::DOCUMENT)?;
    // File servers and old registries answer with generic types.
    let is_vague = matches!(kind.as_str(), "" | "application/json" | "application/octet-stream" | "text/plain");
    let typed_document = is_vague.then(|| serde_json::from_slice::<TypedDocument>(&bytes).ok()).flatten();
    Ok(RegistryDocument { media_type: typed_document.map_or(kind, |says| says.media_type), bytes })
}

/// Checks that the digest in a response is that of the document that was sent.
pub(super) fn check_digest(act: &'static str, answer: &Answer, digest: &Digest) -> Result<()> {
    let is_sha256 = digest.algorithm() == Algorithm::Sha256;
    match answer.header("docker-content-digest") {
        // Digests of other algorithms cannot be compared.
        Some(reported) if reported.starts_with("sha256:") && is_sha256 && reported != digest.to_string() => {
            let (reported, url) = (clean(reported), without_query(&answer.url));
            let why =
                format!("the registry stored {reported} at {url}, but {digest} was sent; do not use the stored image");
            Err(RegistryError::answer(act, why))
        }
        _ => Ok(()),
    }
}
