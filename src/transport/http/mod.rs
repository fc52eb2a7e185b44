//! The HTTP client for registries and caches. Credentials stay with their origin.
//!
//! ```text
//! Call ──▶ Http: proxy, TLS, redirects, time limits ──▶ Answer: status, headers, body, and the URL that answered
//!           │
//! └── Retry: retries after temporary errors; Resume: continues a broken download
//! ```
//!
//! A redirect to another origin is followed without `Authorization` and other identifying headers, and so are all
//! further redirects. A redirect from HTTPS never leads to HTTP. Relative URLs in a response are resolved against
//! [`Answer::url`], not against the requested URL.
//!
//! This module requires the feature `net`.

mod answer;
mod error;
mod netrc;
mod proxy;
mod resume;
mod retry;
mod route;
mod tls;
mod url;

use std::{
    collections::HashMap,
    fmt,
    io::{self, Read},
    sync::{Arc, Mutex},
    time::Duration,
};

use ureq::{
    Agent, Proxy, SendBody,
    config::Config,
    http::{Request, Response, header},
};

use crate::threads::lock;

pub use answer::Answer;
pub use error::{HttpError, RequestBodyError, clean};
pub use netrc::Netrc;
pub use proxy::Proxies;
pub use resume::Resume;
pub use retry::{Retry, parse_retry_after, wait};
pub(crate) use route::agent;
pub use tls::{Tls, set_sandbox_certificates};
pub use url::{Origin, encode, join, without_query};

/// The maximum number of redirects. It is that of Go's client.
const REDIRECTS: usize = 10;
/// The timeout of a connection attempt.
const CONNECT: Duration = Duration::from_secs(30);
/// The connection fails if the server sends nothing for this long.
const STALL: Duration = Duration::from_secs(60);
/// The timeout for a whole document in multiples of the stall timeout (two minutes), for servers that send a byte now
/// and then.
const DOCUMENT_STALLS: u32 = 2;
/// The timeout for the response after an upload. Registries on object stores assemble a large blob before they respond.
const UPLOAD_ANSWER: Duration = Duration::from_secs(15 * 60);

type Result<T> = std::result::Result<T, HttpError>;

/// Returns the TLS settings (CAs, client certificate, checks) for an origin. Settings of one host never apply to
/// another, since a server determines the hosts of redirects and token realms.
pub type TlsTrust = Arc<dyn Fn(&Origin) -> Result<Tls> + Send + Sync>;

/// The settings of a client.
pub struct ClientSettings {
    /// The TLS settings for each origin.
    pub trust: TlsTrust,
    pub retry: Retry,
    /// The time that a server may send nothing in the middle of a response.
    pub stall: Option<Duration>,
}

/// A client.
#[derive(Clone)]
pub struct Http {
    trust: TlsTrust,
    /// An agent for each origin. Origins share neither connections nor TLS settings.
    agents: Arc<Mutex<HashMap<Origin, Agent>>>,
    proxies: Proxies,
    stall: Duration,
    pub retry: Retry,
}

/// A request without its body.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// The purpose of the request, for messages.
    pub act: &'static str,
    pub method: &'a str,
    pub url: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
    /// The `Authorization` header, which is sent only to the origin of `url`.
    pub authorization: Option<&'a str>,
}

impl<'a> Call<'a> {
    /// Returns a request for a document.
    pub fn get(act: &'static str, url: &'a str) -> Self {
        Self { act, method: "GET", url, headers: &[], authorization: None }
    }
}

/// The body of a request, which is made again for each attempt.
pub enum HttpBody<'a> {
    Empty,
    Bytes(&'a [u8]),
    /// A form with a secret. Redirects to another origin are refused.
    Secret(&'a [u8]),
    /// A stream, and its size in bytes if it is known.
    Stream(&'a mut dyn FnMut() -> Box<dyn Read + Send>, Option<u64>),
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http")
    }
}

impl Http {
    /// Returns a client with the proxies of the user.
    ///
    /// # Errors
    ///
    /// [`HttpError::Proxy`] if a proxy in the environment is malformed.
    pub fn new(settings: ClientSettings) -> Result<Self> {
        let stall = settings.stall.unwrap_or(STALL);
        let ClientSettings { trust, retry, .. } = settings;
        Ok(Self { trust, agents: Arc::default(), proxies: Proxies::from_environment()?, stall, retry })
    }

    fn agent(&self, origin: &Origin) -> Result<Agent> {
        if let Some(agent) = lock(&self.agents).get(origin) {
            return Ok(agent.clone());
        }
        let config = |proxy| config(self.stall, proxy);
        let agent = route::agent(origin, &(self.trust)(origin)?, self.proxies.proxy_for(origin), &config)?;
        Ok(lock(&self.agents).entry(origin.clone()).or_insert(agent).clone())
    }

    /// Sends one request, and follows redirects.
    ///
    /// # Errors
    ///
    /// If there is no response, or a redirect is not allowed. A response with an error status is returned.
    pub fn send(&self, call: &Call<'_>, body: &mut HttpBody<'_>) -> Result<Answer> {
        let refuse = |why: String| Err(HttpError::Answer { act: call.act, why });
        let Some(origin_of_call) = Origin::from_url(call.url) else {
            return refuse(format!("{} is not an http or https URL", without_query(call.url)));
        };
        let mut url = call.url.to_owned();
        let mut at = origin_of_call.clone();
        let mut left_origin = false;
        let deadline = self.stall * DOCUMENT_STALLS;
        for _ in 0..=REDIRECTS {
            let response = self.send_once(call, (&url, &at), left_origin, body)?;
            let Some(location) = redirect(&response, call.method) else {
                return Ok(Answer { response, url, left_origin, deadline });
            };
            let Some(next) = join(&url, location) else {
                return refuse(format!("{} redirects to an invalid URL", without_query(&url)));
            };
            let Some(origin) = Origin::from_url(&next) else { return refuse("a redirect without a host".to_owned()) };
            if origin_of_call.is_https() && !origin.is_https() {
                return refuse(format!("{} redirects to {origin}, without TLS", without_query(&url)));
            }
            if origin != origin_of_call && matches!(body, HttpBody::Secret(_)) {
                return refuse(format!("{} redirects a request with credentials to {origin}", without_query(&url)));
            }
            left_origin |= origin != origin_of_call;
            (url, at) = (next, origin);
        }
        refuse(format!("{} redirects more than {REDIRECTS} times", without_query(call.url)))
    }

    /// Opens a connection to `url` and checks that the server uses its protocol, without an HTTP request.
    ///
    /// # Errors
    ///
    /// If the connection or its TLS handshake fails.
    pub fn reaches(&self, act: &'static str, url: &str) -> Result<()> {
        self.send(&Call::get(act, url), &mut HttpBody::Empty).map(drop)
    }

    fn send_once(
        &self,
        call: &Call<'_>,
        (url, origin): (&str, &Origin),
        left_origin: bool,
        body: &mut HttpBody<'_>,
    ) -> Result<Response<ureq::Body>> {
        let fail = |source| HttpError::unsent(call.act, without_query(url), source);
        let mut request = Request::builder().method(call.method).uri(url);
        for (name, value) in call.headers.iter().filter(|(name, _)| !left_origin || travels(name)) {
            request = request.header(*name, *value);
        }
        if let Some(authorization) = call.authorization.filter(|_| !left_origin) {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let agent = self.agent(origin)?;
        let timeout = if call.method == "GET" || call.method == "HEAD" { self.stall } else { UPLOAD_ANSWER };
        macro_rules! run {
            ($body:expr) => {{
                let request = request.body($body).map_err(|error| fail(error.into()))?;
                let configured = agent
                    .configure_request(request)
                    .timeout_per_read(Some(timeout))
                    .timeout_recv_response(Some(timeout));
                agent.run(configured.build()).map_err(fail)
            }};
        }
        match body {
            HttpBody::Empty => run!(()),
            HttpBody::Bytes(bytes) | HttpBody::Secret(bytes) => run!(*bytes),
            HttpBody::Stream(make, size) => {
                if let Some(size) = size {
                    request = request.header(header::CONTENT_LENGTH, *size);
                }
                let mut reader = RequestBody(make());
                run!(SendBody::from_reader(&mut reader))
            }
        }
    }
}

fn config(stall: Duration, proxy: Option<Proxy>) -> Config {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_connect(Some(CONNECT))
        .timeout_per_read(Some(stall))
        .timeout_per_write(Some(stall))
        .user_agent(concat!("strata/", env!("CARGO_PKG_VERSION")))
        // Blobs must not be compressed on the way.
        .accept_encoding("identity")
        .input_buffer_size(256 * 1024)
        .output_buffer_size(256 * 1024)
        .proxy(proxy)
        .build()
}

/// Whether a header may be sent to another origin: it describes the request and does not identify the client.
fn travels(name: &str) -> bool {
    ["accept", "content-length", "content-range", "content-type", "range"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}

/// Returns the target of a redirect that can be followed. Redirects that would drop the body are refused.
fn redirect<'a>(response: &'a Response<ureq::Body>, method: &str) -> Option<&'a str> {
    let follow = match response.status().as_u16() {
        301..=303 => matches!(method, "GET" | "HEAD"),
        307 | 308 => true,
        _ => false,
    };
    follow.then(|| response.headers().get(header::LOCATION)?.to_str().ok()).flatten()
}

/// A body whose errors name the server.
struct RequestBody(Box<dyn Read + Send>);

impl Read for RequestBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| io::Error::other(RequestBodyError(error)))
    }
}
