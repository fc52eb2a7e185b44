//! One repository of one registry, over HTTP.

use std::{
    fs,
    io::Read,
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde::Deserialize;
use ureq::{
    Agent, SendBody,
    http::{Request, Response, StatusCode, header},
    tls::{PemItem, RootCerts, TlsConfig, parse_pem},
};

use super::{
    Reference, RegistryError,
    auth::{Challenge, Credentials},
    error::without_query,
};
use crate::oci::Digest;

/// Documents bigger than this (in bytes) are refused; registries refuse them too.
const DOCUMENT_LIMIT: u64 = 4 * 1024 * 1024;
/// How often a request is tried that fails for reasons that may pass.
const TRIES: u32 = 5;
/// Whatever a registry says, we wait no longer than this before we try again.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const MANIFEST_TYPES: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";

/// How a registry is talked to.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Credentials; `None` looks for stored ones.
    pub credentials: Option<Credentials>,
    /// Where to look for stored ones, instead of docker's and podman's places.
    pub auth_file: Option<PathBuf>,
    /// Whether certificates are not checked, and plain HTTP is tried.
    pub insecure: bool,
}

type Result<T> = std::result::Result<T, RegistryError>;

/// A request's body, made anew for each try.
pub enum Body<'a> {
    /// None.
    Empty,
    /// These bytes.
    Bytes(&'a [u8]),
    /// A stream, and its size in bytes where it is known.
    Stream(&'a mut dyn FnMut() -> Box<dyn Read + Send>, Option<u64>),
}

/// A repository of a registry.
pub struct Client {
    agent: Agent,
    base: String,
    repository: String,
    credentials: Credentials,
    /// The `Authorization` header that worked last.
    authorization: Mutex<Option<String>>,
}

#[derive(Deserialize)]
struct Token {
    #[serde(alias = "access_token")]
    token: String,
}

impl Client {
    /// Connects to the registry of `reference`.
    ///
    /// # Errors
    ///
    /// When it cannot be reached, or `options` name a file that cannot be read.
    pub fn new(reference: &Reference, options: &Options) -> Result<Self> {
        let credentials = match &options.credentials {
            Some(credentials) => credentials.clone(),
            None => Credentials::find(&reference.host, options.auth_file.as_deref()).map_err(|source| {
                RegistryError::AuthFile { path: options.auth_file.clone().unwrap_or_default(), source }
            })?,
        };
        let insecure = options.insecure || reference.is_loopback();
        let tls = TlsConfig::builder().root_certs(root_certificates()).disable_verification(options.insecure).build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(Duration::from_secs(300)))
            .user_agent(concat!("strata/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        let mut client = Self {
            agent,
            base: format!("https://{}", reference.server()),
            repository: reference.repository.clone(),
            credentials,
            authorization: Mutex::new(None),
        };
        if insecure {
            // As docker does for registries that need no TLS: HTTPS if it answers, else HTTP.
            let ping = client.agent.get(format!("{}/v2/", client.base)).call();
            if ping.is_err() {
                client.base = format!("http://{}", reference.server());
            }
        }
        Ok(client)
    }

    /// The raw manifest of `version` (a tag or a digest), or `None` where there is none.
    pub fn manifest(&self, version: &str) -> Result<Option<Vec<u8>>> {
        let url = format!("{}/v2/{}/manifests/{version}", self.base, self.repository);
        self.document("reading the manifest", &url, MANIFEST_TYPES)
    }

    /// A small blob, or `None` where there is none.
    pub fn small_blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>> {
        let blob = self.document("reading a blob", &self.blob_url(digest), "*/*")?;
        match blob {
            Some(blob) if Digest::of(&blob) != *digest => Err(RegistryError::Answer {
                act: "reading a blob",
                why: format!("the registry sent {} for {digest}", Digest::of(&blob)),
            }),
            blob => Ok(blob),
        }
    }

    /// Whether the repository has the blob.
    pub fn has_blob(&self, digest: &Digest) -> Result<bool> {
        let act = "asking for a blob";
        let url = self.blob_url(digest);
        self.retry(|| {
            let response = self.send(act, "HEAD", &url, &[], &mut Body::Empty)?;
            match response.status() {
                StatusCode::OK => Ok(true),
                StatusCode::NOT_FOUND => Ok(false),
                _ => Err(self.refused(act, &url, response)),
            }
        })
    }

    /// Takes a blob over from another repository of this registry; whether that went.
    pub fn mount(&self, digest: &Digest, from: &str) -> Result<bool> {
        let act = "mounting a blob";
        let url = format!("{}/v2/{}/blobs/uploads/?mount={digest}&from={from}", self.base, self.repository);
        let response = self.send(act, "POST", &url, &[], &mut Body::Bytes(&[]))?;
        // 202 starts an upload instead, which ends by itself when nobody continues it.
        Ok(response.status() == StatusCode::CREATED)
    }

    /// Uploads a blob whose digest is known, in one request.
    pub fn upload(&self, digest: &Digest, mut body: Body<'_>) -> Result<()> {
        let act = "uploading a blob";
        self.retry(|| {
            let location = self.start_upload(act)?;
            let url = with_query(&location, &format!("digest={digest}"));
            let response = self.send(act, "PUT", &url, &OCTETS, &mut body)?;
            self.expect(act, &url, response, StatusCode::CREATED)
        })
    }

    /// Uploads a blob whose digest is known only when all of it is sent; `digest` then gives it.
    pub fn upload_stream(&self, mut body: Body<'_>, digest: &dyn Fn() -> Option<Digest>) -> Result<()> {
        let act = "uploading a blob";
        self.retry(|| {
            let url = self.start_upload(act)?;
            let response = self.send(act, "PATCH", &url, &OCTETS, &mut body)?;
            if response.status() != StatusCode::ACCEPTED {
                return Err(self.refused(act, &url, response));
            }
            let location = self.location(act, &response)?;
            let Some(digest) = digest() else {
                let why = "the blob ended before its digest was known".to_owned();
                return Err(RegistryError::Answer { act, why });
            };
            let url = with_query(&location, &format!("digest={digest}"));
            let response = self.send(act, "PUT", &url, &OCTETS, &mut Body::Bytes(&[]))?;
            self.expect(act, &url, response, StatusCode::CREATED)
        })
    }

    /// Puts a manifest or index of this media type under `version`.
    pub fn put_manifest(&self, version: &str, media_type: &str, manifest: &[u8]) -> Result<()> {
        let act = "putting the manifest";
        let url = format!("{}/v2/{}/manifests/{version}", self.base, self.repository);
        self.retry(|| {
            let kind = [(header::CONTENT_TYPE.as_str(), media_type)];
            let response = self.send(act, "PUT", &url, &kind, &mut Body::Bytes(manifest))?;
            self.expect(act, &url, response, StatusCode::CREATED)
        })
    }

    fn blob_url(&self, digest: &Digest) -> String {
        format!("{}/v2/{}/blobs/{digest}", self.base, self.repository)
    }

    fn document(&self, act: &'static str, url: &str, accept: &str) -> Result<Option<Vec<u8>>> {
        self.retry(|| {
            let accept = [(header::ACCEPT.as_str(), accept)];
            let mut response = self.send(act, "GET", url, &accept, &mut Body::Empty)?;
            match response.status() {
                StatusCode::OK => {
                    let body = response.body_mut().with_config().limit(DOCUMENT_LIMIT).read_to_vec();
                    body.map(Some).map_err(|source| RegistryError::http(act, url, source))
                }
                StatusCode::NOT_FOUND => Ok(None),
                _ => Err(self.refused(act, url, response)),
            }
        })
    }

    fn start_upload(&self, act: &'static str) -> Result<String> {
        let url = format!("{}/v2/{}/blobs/uploads/", self.base, self.repository);
        let response = self.send(act, "POST", &url, &[], &mut Body::Bytes(&[]))?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(self.refused(act, &url, response));
        }
        self.location(act, &response)
    }

    /// Where an upload goes on; credentials go nowhere else.
    fn location(&self, act: &'static str, response: &Response<ureq::Body>) -> Result<String> {
        let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
        match location {
            Some(path) if path.starts_with('/') => Ok(format!("{}{path}", self.base)),
            Some(url) => Ok(url.to_owned()),
            None => Err(RegistryError::Answer { act, why: "the registry does not say where to upload".to_owned() }),
        }
    }

    fn expect(&self, act: &'static str, url: &str, response: Response<ureq::Body>, expected: StatusCode) -> Result<()> {
        if response.status() == expected { Ok(()) } else { Err(self.refused(act, url, response)) }
    }

    /// Sends one request, and once more after a 401 with what the registry asks for.
    fn send(
        &self,
        act: &'static str,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &mut Body<'_>,
    ) -> Result<Response<ureq::Body>> {
        let response = self.send_once(act, method, url, headers, body)?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let challenge = response
            .headers()
            .get_all(header::WWW_AUTHENTICATE)
            .iter()
            .find_map(|header| Challenge::parse(header.to_str().ok()?));
        let Some(authorization) = self.answer(challenge)? else { return Ok(response) };
        *lock(&self.authorization) = Some(authorization);
        self.send_once(act, method, url, headers, body)
    }

    fn send_once(
        &self,
        act: &'static str,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &mut Body<'_>,
    ) -> Result<Response<ureq::Body>> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        // An upload may go on at another host, which is told nothing of who we are.
        if url.starts_with(&format!("{}/", self.base))
            && let Some(authorization) = &*lock(&self.authorization)
        {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let fail = |source| RegistryError::http(act, url, source);
        match body {
            Body::Empty => self.agent.run(request.body(()).map_err(|error| fail(error.into()))?),
            Body::Bytes(bytes) => self.agent.run(request.body(*bytes).map_err(|error| fail(error.into()))?),
            Body::Stream(make, size) => {
                if let Some(size) = size {
                    request = request.header(header::CONTENT_LENGTH, *size);
                }
                let mut reader = make();
                let body = SendBody::from_reader(&mut reader);
                self.agent.run(request.body(body).map_err(|error| fail(error.into()))?)
            }
        }
        .map_err(fail)
    }

    /// The `Authorization` header that answers a challenge.
    fn answer(&self, challenge: Option<Challenge>) -> Result<Option<String>> {
        let (realm, service) = match challenge {
            None => return Ok(None),
            Some(Challenge::Basic) => return Ok(self.credentials.basic()),
            Some(Challenge::Bearer { realm, service }) => (realm, service),
        };
        let act = "asking for a token";
        let scope = format!("repository:{}:pull,push", self.repository);
        let fail = |source| RegistryError::http(act, &realm, source);
        let response = match &self.credentials {
            Credentials::Identity(token) => self.agent.post(&realm).send_form([
                ("grant_type", "refresh_token"),
                ("refresh_token", token),
                ("client_id", "strata"),
                ("scope", &scope),
                ("service", service.as_deref().unwrap_or_default()),
            ]),
            credentials => {
                let mut request = self.agent.get(&realm).query("scope", &scope);
                if let Some(service) = &service {
                    request = request.query("service", service);
                }
                if let Some(basic) = credentials.basic() {
                    request = request.header(header::AUTHORIZATION, basic);
                }
                request.call()
            }
        };
        let mut response = response.map_err(fail)?;
        if response.status() != StatusCode::OK {
            return Err(self.refused(act, &realm, response));
        }
        let text = response.body_mut().with_config().limit(DOCUMENT_LIMIT).read_to_vec().map_err(fail)?;
        let why = || "the answer has no token".to_owned();
        let Token { token } = serde_json::from_slice(&text).map_err(|_| RegistryError::Answer { act, why: why() })?;
        Ok(Some(format!("Bearer {token}")))
    }

    /// The error for an answer that is not the one hoped for.
    fn refused(&self, act: &'static str, url: &str, mut response: Response<ureq::Body>) -> RegistryError {
        let status = response.status();
        let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|wait| wait.to_str().ok()?.parse().ok());
        let retry_after = retry_after.map(Duration::from_secs);
        let said = response.body_mut().with_config().limit(4096).read_to_string().unwrap_or_default();
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut detail = if said.is_empty() { String::new() } else { format!(": {said}") };
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            detail.push_str(
                "\nLog in first (docker login, podman login or skopeo login), or give --dest-creds or --authfile",
            );
        }
        RegistryError::Status { act, url: without_query(url), status: status.as_u16(), detail, retry_after }
    }

    /// Tries again what may pass, waiting twice as long each time, or as long as the registry asks.
    fn retry<T>(&self, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
        let mut wait = Duration::from_millis(250);
        for _ in 1..TRIES {
            match attempt() {
                Ok(done) => return Ok(done),
                Err(error) => match error.passes_after() {
                    Some(least) => thread::sleep(wait.max(least).min(LONGEST_WAIT)),
                    None => return Err(error),
                },
            }
            wait *= 2;
        }
        attempt()
    }
}

const OCTETS: [(&str, &str); 1] = [("content-type", "application/octet-stream")];

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn with_query(url: &str, query: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}{query}")
}

/// The machine's certificate authorities: where Nix and OpenSSL users name them, else the distribution's.
fn root_certificates() -> RootCerts {
    let named = ["NIX_SSL_CERT_FILE", "SSL_CERT_FILE"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    let usual =
        ["/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/certs/ca-bundle.crt", "/etc/pki/tls/certs/ca-bundle.crt"];
    for path in named.chain(usual.into_iter().map(PathBuf::from)) {
        let Ok(pem) = fs::read(path) else { continue };
        let certificates: Vec<_> = parse_pem(&pem)
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            })
            .collect();
        if !certificates.is_empty() {
            return RootCerts::Specific(Arc::new(certificates));
        }
    }
    RootCerts::WebPki
}
