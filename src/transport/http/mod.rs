//! HTTP as registries and caches need it: one client, whose credentials stay with the origin they belong to.
//!
//! ```text
//! Call ──▶ Http: proxy, TLS, redirects, limits of time ──▶ Answer: status, headers, body, and the URL that answered
//!           │
//!           └── Retry: what may pass is tried again; Resume: a download goes on where it broke
//! ```
//!
//! A redirect to another origin is followed without `Authorization` and other headers that identify us, and so is
//! everything after it; from HTTPS it never leads to HTTP. Relative URLs in an answer are resolved against
//! [`Answer::url`], not against the URL that was asked.
//!
//! Only with the feature `net`.

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
pub use error::{HttpError, OwnBody, clean};
pub use netrc::Netrc;
pub use proxy::Proxies;
pub use resume::Resume;
pub use retry::{Retry, parse_retry_after, wait};
pub(crate) use route::agent;
pub use tls::{Tls, set_sandbox_certificates};
pub use url::{Origin, encode, join, without_query};

/// Redirects of one request; Go's client follows as many.
const REDIRECTS: usize = 10;
/// A connection is there after this time, or fails.
const CONNECT: Duration = Duration::from_secs(30);
/// The connection fails if the server sends nothing for this long.
const STALL: Duration = Duration::from_secs(60);
/// A whole document is read in this many stalls, two minutes: a server that sends a byte now and then is gone too.
const DOCUMENT_STALLS: u32 = 2;
/// Registries on object stores assemble a big upload before they answer its end.
const UPLOAD_ANSWER: Duration = Duration::from_secs(15 * 60);

type Result<T> = std::result::Result<T, HttpError>;

/// The TLS settings (CAs, client certificate, checks) for an origin. Those of one host never apply to another: redirects
/// and token realms lead to hosts that a server names.
pub type Trust = Arc<dyn Fn(&Origin) -> Result<Tls> + Send + Sync>;

/// How a client behaves.
pub struct Settings {
    /// The TLS settings for each origin.
    pub trust: Trust,
    /// How often a request is tried.
    pub retry: Retry,
    /// How long a server may say nothing in the middle of an answer.
    pub stall: Option<Duration>,
}

/// A client.
#[derive(Clone)]
pub struct Http {
    trust: Trust,
    /// One for each origin: connections and TLS settings are not shared.
    agents: Arc<Mutex<HashMap<Origin, Agent>>>,
    proxies: Proxies,
    stall: Duration,
    /// How often a request is tried.
    pub retry: Retry,
}

/// A request without its body.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// What it is for, in messages.
    pub act: &'static str,
    /// GET, PUT, …
    pub method: &'a str,
    /// The whole of it.
    pub url: &'a str,
    /// Names and values.
    pub headers: &'a [(&'a str, &'a str)],
    /// The `Authorization` header, for the origin of `url` and no other.
    pub authorization: Option<&'a str>,
}

impl<'a> Call<'a> {
    /// A request for a document.
    pub fn get(act: &'static str, url: &'a str) -> Self {
        Self { act, method: "GET", url, headers: &[], authorization: None }
    }
}

/// A request's body, made anew for each try.
pub enum Body<'a> {
    /// None.
    Empty,
    /// These bytes.
    Bytes(&'a [u8]),
    /// A form with a secret: no redirect takes it to another origin.
    Secret(&'a [u8]),
    /// A stream, and its size in bytes where it is known.
    Stream(&'a mut dyn FnMut() -> Box<dyn Read + Send>, Option<u64>),
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http")
    }
}

impl Http {
    /// A client with the proxies of the user.
    ///
    /// # Errors
    ///
    /// [`HttpError::Proxy`] when the environment has a malformed proxy.
    pub fn new(settings: Settings) -> Result<Self> {
        let stall = settings.stall.unwrap_or(STALL);
        let Settings { trust, retry, .. } = settings;
        Ok(Self { trust, agents: Arc::default(), proxies: Proxies::of_user()?, stall, retry })
    }

    fn agent(&self, origin: &Origin) -> Result<Agent> {
        if let Some(agent) = lock(&self.agents).get(origin) {
            return Ok(agent.clone());
        }
        let config = |proxy| config(self.stall, proxy);
        let agent = route::agent(origin, &(self.trust)(origin)?, self.proxies.to(origin), &config)?;
        Ok(lock(&self.agents).entry(origin.clone()).or_insert(agent).clone())
    }

    /// Sends one request, and follows redirects.
    ///
    /// # Errors
    ///
    /// When there is no answer, or a redirect is not allowed. An error status is not an error here.
    pub fn send(&self, call: &Call<'_>, body: &mut Body<'_>) -> Result<Answer> {
        let refuse = |why: String| Err(HttpError::Answer { act: call.act, why });
        let Some(asked) = Origin::of(call.url) else {
            return refuse(format!("{} is not an http or https URL", without_query(call.url)));
        };
        let mut url = call.url.to_owned();
        let mut at = asked.clone();
        let mut strayed = false;
        let deadline = self.stall * DOCUMENT_STALLS;
        for _ in 0..=REDIRECTS {
            let response = self.send_once(call, (&url, &at), strayed, body)?;
            let Some(location) = redirect(&response, call.method) else {
                return Ok(Answer { response, url, strayed, deadline });
            };
            let Some(next) = join(&url, location) else {
                return refuse(format!("{} redirects to an invalid URL", without_query(&url)));
            };
            let Some(origin) = Origin::of(&next) else { return refuse("a redirect without a host".to_owned()) };
            if asked.is_https() && !origin.is_https() {
                return refuse(format!("{} redirects to {origin}, without TLS", without_query(&url)));
            }
            if origin != asked && matches!(body, Body::Secret(_)) {
                return refuse(format!("{} redirects a request with credentials to {origin}", without_query(&url)));
            }
            strayed |= origin != asked;
            (url, at) = (next, origin);
        }
        refuse(format!("{} redirects more than {REDIRECTS} times", without_query(call.url)))
    }

    /// The connection to `origin` without a request of ours: whether somebody there speaks its protocol.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn reaches(&self, act: &'static str, url: &str) -> Result<()> {
        self.send(&Call::get(act, url), &mut Body::Empty).map(drop)
    }

    fn send_once(
        &self,
        call: &Call<'_>,
        (url, origin): (&str, &Origin),
        strayed: bool,
        body: &mut Body<'_>,
    ) -> Result<Response<ureq::Body>> {
        let fail = |source| HttpError::unsent(call.act, without_query(url), source);
        let mut request = Request::builder().method(call.method).uri(url);
        for (name, value) in call.headers.iter().filter(|(name, _)| !strayed || travels(name)) {
            request = request.header(*name, *value);
        }
        if let Some(authorization) = call.authorization.filter(|_| !strayed) {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let agent = self.agent(origin)?;
        let patience = if call.method == "GET" || call.method == "HEAD" { self.stall } else { UPLOAD_ANSWER };
        macro_rules! run {
            ($body:expr) => {{
                let request = request.body($body).map_err(|error| fail(error.into()))?;
                let configured = agent
                    .configure_request(request)
                    .timeout_per_read(Some(patience))
                    .timeout_recv_response(Some(patience));
                agent.run(configured.build()).map_err(fail)
            }};
        }
        match body {
            Body::Empty => run!(()),
            Body::Bytes(bytes) | Body::Secret(bytes) => run!(*bytes),
            Body::Stream(make, size) => {
                if let Some(size) = size {
                    request = request.header(header::CONTENT_LENGTH, *size);
                }
                let mut reader = Ours(make());
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
        // Blobs are what they are.
        .accept_encoding("identity")
        .input_buffer_size(256 * 1024)
        .output_buffer_size(256 * 1024)
        .proxy(proxy)
        .build()
}

/// Whether a header says what is wanted, and not who wants it: another origin is told no more.
fn travels(name: &str) -> bool {
    ["accept", "content-length", "content-range", "content-type", "range"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}

/// Where a redirect leads that is to be followed. Without its body, a request that has one is another.
fn redirect<'a>(response: &'a Response<ureq::Body>, method: &str) -> Option<&'a str> {
    let follow = match response.status().as_u16() {
        301..=303 => matches!(method, "GET" | "HEAD"),
        307 | 308 => true,
        _ => false,
    };
    follow.then(|| response.headers().get(header::LOCATION)?.to_str().ok()).flatten()
}

/// A body whose errors name the server.
struct Ours(Box<dyn Read + Send>);

impl Read for Ours {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| io::Error::other(OwnBody(error)))
    }
}
