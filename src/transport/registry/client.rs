//! One repository of one registry: [OCI distribution](https://github.com/opencontainers/distribution-spec/blob/main/spec.md)
//! 1.1, over HTTP. Uploads are in `upload`, referrers in `referrers`.

use std::{
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
    session::{Call, Session},
};
use crate::{
    budget,
    oci::{Algorithm, Digest, Reference, descriptor::media_type},
    transport::http::{Answer, Body, Resume, clean, without_query},
};

/// A manifest or an index, as a registry gives it.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A blob that a repository has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExistingBlob {
    /// Its size in bytes, if the registry's answer has it (`Content-Length`).
    pub size: Option<u64>,
}

/// What became of a mount.
#[derive(Debug)]
pub enum Mount {
    /// The repository has the blob now.
    Done,
    /// It has not; this session was opened to upload it.
    Session(String),
    /// It has not.
    Refused,
}

/// What a client is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Read from mirrors, then from the registry itself.
    Read,
    /// Read from the registry itself: mirrors lack signatures and other referrers.
    ReadOriginal,
    /// Write to the registry.
    Write,
}

/// A repository of a registry, and the mirrors that it is read from first.
pub struct Client {
    places: Vec<(Session, String)>,
    /// Which of them answered last.
    active: AtomicUsize,
    /// Whether the registry takes no streams.
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
    /// Reads from the mirrors of `reference`'s registry and the registry itself, with the scope `pull`.
    ///
    /// # Errors
    ///
    /// As [`for_purpose`](Self::for_purpose).
    pub fn new(reference: &Reference, options: &Options) -> Result<Self> {
        Self::for_purpose(Purpose::Read, reference, options)
    }

    /// Connects to the registry of `reference`. Tokens have the scopes that `purpose` needs, and no more.
    ///
    /// # Errors
    ///
    /// Errors if a file that `options` or the user's configuration name cannot be used, or if the image is blocked.
    pub fn for_purpose(purpose: Purpose, reference: &Reference, options: &Options) -> Result<Self> {
        let config = Arc::new(RegistriesConf::of_user()?);
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

    /// The registry's host, as references name it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    pub(super) fn session(&self) -> &Session {
        &self.places[self.active.load(Ordering::Relaxed)].0
    }

    pub(super) fn url(&self, rest: &str) -> String {
        url(&self.places[self.active.load(Ordering::Relaxed)], rest)
    }

    /// Asks each place in turn, beginning with the one that answered last; the first that has it answers from now on.
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

    /// Whether the registry can be asked, and takes our credentials: what `login` wants to know.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn ping(&self) -> Result<()> {
        let act = "logging in";
        let url = format!("{}/v2/", self.session().base);
        self.session().retried(|| {
            let answer = self.session().send(&Call::new(act, "GET", &url), &mut Body::Empty)?;
            match answer.status() {
                StatusCode::OK => Ok(()),
                _ => Err(self.session().refused(act, answer)),
            }
        })
    }

    /// The manifest or index of `version` (a tag or a digest), or `None` where there is none.
    ///
    /// # Errors
    ///
    /// When the registry cannot be asked, refuses, or answers a digest with something else.
    pub fn manifest(&self, version: &str) -> Result<Option<Document>> {
        let act = "reading the manifest";
        let accept = [media_type::MANIFEST, media_type::DOCKER_MANIFEST, media_type::INDEX, media_type::DOCKER_INDEX];
        let accept = accept.join(", ");
        let digest = version.parse::<Digest>().ok();
        let ask = |session: &Session, url: &str| match document(session, act, url, &accept)? {
            Some(document) if digest.is_some_and(|digest| !digest.is_of(&document.bytes)) => {
                Err(RegistryError::answer(act, format!("the registry sent another manifest for {version}")))
            }
            found => Ok(found),
        };
        self.anywhere(ask, &format!("manifests/{version}"))
    }

    /// A small blob, or `None` where there is none.
    ///
    /// # Errors
    ///
    /// When the registry cannot be asked, refuses, or sends something else.
    pub fn small_blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>> {
        let act = "reading a blob";
        let ask = |session: &Session, url: &str| match document(session, act, url, "*/*")? {
            Some(blob) if !digest.is_of(&blob.bytes) => {
                let why = format!("the registry sent {} for {digest}", digest.algorithm().of(&blob.bytes));
                Err(RegistryError::answer(act, why))
            }
            blob => Ok(blob.map(|blob| blob.bytes)),
        };
        self.anywhere(ask, &format!("blobs/{digest}"))
    }

    /// A blob as a stream. A connection that breaks is taken up again where it broke; nothing is checked here.
    pub fn blob(self: &Arc<Self>, digest: &Digest) -> impl Read + Send + 'static {
        let (client, rest) = (Arc::clone(self), format!("blobs/{digest}"));
        Resume::new(self.session().retry(), move |at| {
            let act = "reading a blob";
            let ask = |session: &Session, url: &str| {
                let range = format!("bytes={at}-");
                let headers: &[(&str, &str)] = if at == 0 { &[] } else { &[("range", &range)] };
                let answer = session.send(&Call { headers, ..Call::new(act, "GET", url) }, &mut Body::Empty)?;
                match answer.status() {
                    StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(Some(answer.part(act, at)?)),
                    _ => Err(session.refused(act, answer)),
                }
            };
            let found = client.anywhere(ask, &rest)?;
            found.ok_or_else(|| RegistryError::answer(act, format!("there is no {rest}")))
        })
    }

    /// Whether the repository has the blob.
    ///
    /// # Errors
    ///
    /// When the registry cannot be asked or refuses.
    pub fn has_blob(&self, digest: &Digest) -> Result<bool> {
        Ok(self.find_blob(digest)?.is_some())
    }

    /// The blob, if the repository has it.
    ///
    /// # Errors
    ///
    /// When the registry cannot be asked or refuses.
    pub fn find_blob(&self, digest: &Digest) -> Result<Option<ExistingBlob>> {
        let act = "asking for a blob";
        let url = self.url(&format!("blobs/{digest}"));
        self.session().retried(|| {
            let answer = self.session().send(&Call::new(act, "HEAD", &url), &mut Body::Empty)?;
            match answer.status() {
                StatusCode::OK => {
                    let size = answer.header("content-length").and_then(|length| length.parse().ok());
                    Ok(Some(ExistingBlob { size }))
                }
                StatusCode::NOT_FOUND => Ok(None),
                // A registry redirects to blobs that it has; some object stores sign the URL for GET alone.
                status if answer.strayed && matches!(status.as_u16(), 400 | 401 | 403 | 405) => {
                    Ok(Some(ExistingBlob { size: None }))
                }
                _ => Err(self.session().refused(act, answer)),
            }
        })
    }

    /// Takes a blob over from another repository of this registry, where that goes.
    ///
    /// # Errors
    ///
    /// When the registry cannot be asked.
    pub fn mount(&self, digest: &Digest, from: &str) -> Result<Mount> {
        let act = "mounting a blob";
        let url = self.url(&format!("blobs/uploads/?mount={digest}&from={from}"));
        let call = Call { from: Some(from), ..Call::new(act, "POST", &url) };
        let mounted = self.session().retried(|| {
            let answer = self.session().send(&call, &mut Body::Bytes(&[]))?;
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
            // No token for the other repository: it is not ours to read, or not there.
            Err(RegistryError::Login(_)) => Ok(Mount::Refused),
            mounted => mounted,
        }
    }

    /// Puts a manifest or index of this media type under `version`. One that has a subject is listed as its referrer.
    ///
    /// # Errors
    ///
    /// When the registry cannot be asked, refuses, or says that it took something else.
    pub fn put_manifest(&self, version: &str, media_type: &str, manifest: &[u8]) -> Result<()> {
        let answer = self.put_document(version, media_type, manifest, None)?;
        match answer.header("oci-subject") {
            Some(_) => Ok(()),
            None => self.list_referrer(media_type, manifest),
        }
    }

    /// As [`put_manifest`](Self::put_manifest), without the referrers; only over the document with this entity tag.
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
            let call = Call { headers: &headers, ..Call::new(act, "PUT", &url) };
            let answer = self.session().send(&call, &mut Body::Bytes(manifest))?;
            // 201 by the specification; old Artifactory and some proxies say 200 or 202.
            if !answer.status().is_success() {
                return Err(self.session().refused(act, answer));
            }
            check_digest(act, &answer, &Digest::of(manifest))?;
            Ok(answer)
        })
    }
}

fn url((session, repository): &(Session, String), rest: &str) -> String {
    format!("{}/v2/{repository}/{rest}", session.base)
}

fn document(session: &Session, act: &'static str, url: &str, accept: &str) -> Result<Option<Document>> {
    session.retried(|| {
        let accept = [("accept", accept)];
        let answer = session.send(&Call { headers: &accept, ..Call::new(act, "GET", url) }, &mut Body::Empty)?;
        match answer.status() {
            StatusCode::OK => read(act, answer).map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(session.refused(act, answer)),
        }
    })
}

/// The document of an answer, with the media type that its header or it itself says.
pub(super) fn read(act: &'static str, answer: Answer) -> Result<Document> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Says {
        media_type: String,
    }
    let kind = answer.header("content-type").unwrap_or_default();
    let kind = clean(kind.split(';').next().unwrap_or_default());
    let bytes = answer.bytes(act, &budget::DOCUMENT)?;
    // File servers and old registries know no better.
    let is_vague = matches!(kind.as_str(), "" | "application/json" | "application/octet-stream" | "text/plain");
    let own = is_vague.then(|| serde_json::from_slice::<Says>(&bytes).ok()).flatten();
    Ok(Document { media_type: own.map_or(kind, |says| says.media_type), bytes })
}

/// What a registry says it took must be what we sent.
pub(super) fn check_digest(act: &'static str, answer: &Answer, digest: &Digest) -> Result<()> {
    let is_sha256 = digest.algorithm() == Algorithm::Sha256;
    match answer.header("docker-content-digest") {
        // Other algorithms cannot be compared.
        Some(said) if said.starts_with("sha256:") && is_sha256 && said != digest.to_string() => {
            let (said, url) = (clean(said), without_query(&answer.url));
            let why =
                format!("the registry stored {said} at {url}, but {digest} was sent; do not use the stored image");
            Err(RegistryError::answer(act, why))
        }
        _ => Ok(()),
    }
}
