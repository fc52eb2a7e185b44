//! Requests to one registry: who we are, what is tried again, and where credentials go.

use std::{
    io::Read,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use serde::Deserialize;
use ureq::{
    Agent, SendBody,
    http::{Request, Response, StatusCode, header},
};

use super::{
    Reference, RegistryError,
    auth::{Challenge, Credentials},
    error::without_query,
    tls,
};

/// Documents bigger than this (in bytes) are refused; registries refuse them too.
pub(super) const DOCUMENT_LIMIT: u64 = 4 * 1024 * 1024;
/// How often a request is tried that fails for reasons that may pass.
pub(super) const TRIES: u32 = 5;
/// Whatever a registry says, we wait no longer than this before we try again.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How a registry is talked to.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Credentials; `None` looks for stored ones.
    pub credentials: Option<Credentials>,
    /// Where to look for stored ones, instead of docker's and podman's places.
    pub auth_file: Option<PathBuf>,
    /// A folder of certificates, instead of the usual ones for the host.
    pub certificates: Option<PathBuf>,
    /// Whether certificates are not checked, and plain HTTP is tried.
    pub insecure: bool,
    /// Whether nothing is to be written: tokens are asked for pulling only.
    pub read_only: bool,
}

pub(super) type Result<T> = std::result::Result<T, RegistryError>;

/// A request without its body.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// What it is for, in messages.
    pub act: &'static str,
    /// GET, PUT, …
    pub method: &'a str,
    /// The whole of it.
    pub url: &'a str,
    /// Names and values.
    pub headers: &'a [(&'a str, &'a str)],
}

/// A request's body, made anew for each try.
pub enum Body<'a> {
    /// None.
    Empty,
    /// These bytes.
    Bytes(&'a [u8]),
    /// A stream, and its size in bytes where it is known.
    Stream(&'a mut dyn FnMut() -> Box<dyn Read + Send>, Option<u64>),
}

/// A registry, as it is reached for one repository.
pub(super) struct Transport {
    agent: Agent,
    /// `https://host`
    pub base: String,
    scope: String,
    credentials: Credentials,
    /// The `Authorization` header that worked last.
    authorization: Mutex<Option<String>>,
}

#[derive(Deserialize)]
struct Token {
    #[serde(alias = "access_token")]
    token: String,
}

impl Transport {
    pub fn new(reference: &Reference, options: &Options) -> Result<Self> {
        let credentials = match &options.credentials {
            Some(credentials) => credentials.clone(),
            None => Credentials::find(&reference.host, options.auth_file.as_deref()).map_err(|source| {
                RegistryError::AuthFile { path: options.auth_file.clone().unwrap_or_default(), source }
            })?,
        };
        let agent = Agent::config_builder()
            .tls_config(tls::config(&reference.host, options.certificates.as_deref(), options.insecure)?)
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(Duration::from_secs(300)))
            .user_agent(concat!("strata/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        let actions = if options.read_only { "pull" } else { "pull,push" };
        let mut transport = Self {
            agent,
            base: format!("https://{}", reference.server()),
            scope: format!("repository:{}:{actions}", reference.repository),
            credentials,
            authorization: Mutex::new(None),
        };
        if options.insecure || reference.is_loopback() {
            // As docker does for registries that need no TLS: HTTPS if it answers, else HTTP.
            let ping = transport.agent.get(format!("{}/v2/", transport.base)).call();
            // One whose certificate is not trusted does speak TLS.
            if ping.is_err_and(|error| !error.to_string().contains("ertificate")) {
                transport.base = format!("http://{}", reference.server());
            }
        }
        Ok(transport)
    }

    /// Sends one request, and once more after a 401 with what the registry asks for.
    pub fn send(&self, call: &Call<'_>, body: &mut Body<'_>) -> Result<Response<ureq::Body>> {
        let response = self.send_once(call, body)?;
        // Another host, where an upload goes on, is not told who we are, whatever it asks.
        if response.status() != StatusCode::UNAUTHORIZED || !self.is_own(call.url) {
            return Ok(response);
        }
        let challenge = response
            .headers()
            .get_all(header::WWW_AUTHENTICATE)
            .iter()
            .find_map(|header| Challenge::parse(header.to_str().ok()?));
        let Some(authorization) = self.answer(challenge)? else { return Ok(response) };
        *lock(&self.authorization) = Some(authorization);
        self.send_once(call, body)
    }

    fn is_own(&self, url: &str) -> bool {
        url.strip_prefix(&self.base).is_some_and(|rest| rest.starts_with('/'))
    }

    fn send_once(&self, call: &Call<'_>, body: &mut Body<'_>) -> Result<Response<ureq::Body>> {
        let Call { act, method, url, headers } = *call;
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        // An upload may go on at another host, which is told nothing of who we are.
        if self.is_own(url)
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
        if self.base.starts_with("https:") && !realm.starts_with("https:") {
            let why = format!("the registry wants our password sent to {}, without TLS", without_query(&realm));
            return Err(RegistryError::Answer { act, why });
        }
        let fail = |source| RegistryError::http(act, &realm, source);
        let response = match &self.credentials {
            Credentials::Identity(token) => self.agent.post(&realm).send_form([
                ("grant_type", "refresh_token"),
                ("refresh_token", token),
                ("client_id", "strata"),
                ("scope", &self.scope),
                ("service", service.as_deref().unwrap_or_default()),
            ]),
            credentials => {
                let mut request = self.agent.get(&realm).query("scope", &self.scope);
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
    pub fn refused(&self, act: &'static str, url: &str, mut response: Response<ureq::Body>) -> RegistryError {
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

    /// Tries again what may pass.
    pub fn retry<T>(&self, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
        for failed in 1..TRIES {
            match attempt() {
                Ok(done) => return Ok(done),
                Err(error) => match error.passes_after() {
                    Some(least) => self.wait(failed, least),
                    None => return Err(error),
                },
            }
        }
        attempt()
    }

    /// Waits after the `failed`th failure in a row: twice as long each time, or as long as the registry asks.
    pub fn wait(&self, failed: u32, least: Duration) {
        let wait = Duration::from_millis(125 << failed.min(8));
        thread::sleep(wait.max(least).min(LONGEST_WAIT));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
