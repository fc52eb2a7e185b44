//! A session with one registry for one repository: its credentials and tokens.
//!
//! ```text
//! request, with the token for its scopes if there is one
//!    └─ 401 of the registry itself ──▶ a token for these scopes, or Basic ──▶ the same request again
//! └─ 401 of another host, after a redirect ──▶ an error: it gets no credentials
//! ```

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use ureq::http::StatusCode;

use super::{
    Credentials, Options, Purpose, RegistryError, Result,
    challenge::{Bearer, Challenge},
    registries_conf::{RegistriesConf, RepositoryEndpoint},
    token::{self, Token},
};
use crate::{
    threads::lock,
    transport::http::{self, Answer, ClientSettings, Http, HttpBody, HttpError, Origin, Retry, Tls, TlsTrust},
};

/// A request to a registry, without its body.
#[derive(Clone, Copy)]
pub(super) struct RegistryCall<'a> {
    /// The purpose of the request, for messages.
    pub act: &'static str,
    pub method: &'a str,
    pub url: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
    /// Another repository that the request reads from.
    pub from: Option<&'a str>,
}

impl<'a> RegistryCall<'a> {
    pub fn new(act: &'static str, method: &'a str, url: &'a str) -> Self {
        Self { act, method, url, headers: &[], from: None }
    }
}

/// A registry for one repository.
pub(super) struct Session {
    http: Http,
    /// In the form `https://host`.
    pub base: String,
    origin: Origin,
    scope: String,
    credentials: Credentials,
    known: Mutex<Authentication>,
}

/// The authentication that the registry requested.
#[derive(Default)]
struct Authentication {
    /// Whether it accepts basic authentication.
    basic: bool,
    /// The token server.
    bearer: Option<Bearer>,
    /// Tokens by their scopes.
    tokens: HashMap<Vec<String>, Token>,
    /// The origin to which the password or refresh token was sent.
    realm: Option<Origin>,
}

impl Session {
    /// Prepares requests to `place`. If TLS is optional there, this checks whether the server supports it.
    pub fn new(
        place: &RepositoryEndpoint,
        purpose: Purpose,
        options: &Options,
        config: &Arc<RegistriesConf>,
    ) -> Result<Self> {
        let given = options.for_host(&place.host);
        let credentials = match given.credentials {
            Some(credentials) => credentials,
            None if options.anonymous => Credentials::Anonymous,
            None => Credentials::find(&place.host, &place.repository, options.auth_file.as_deref())?,
        };
        let insecure = given.insecure.unwrap_or(place.insecure);
        let server = place.server();
        let mut base = format!("https://{server}");
        let secure = Origin::from_url(&base)
            .ok_or_else(|| RegistryError::answer("connecting", format!("{server} is not a registry host")))?;
        let tls_settings = Tls::for_host(&place.host, given.certificates.as_deref(), insecure)?;
        let http = Http::new(ClientSettings {
            trust: trust(secure.clone(), tls_settings, config),
            retry: options.tries.map_or_else(Retry::default, |tries| Retry { tries: tries.max(1) }),
            stall: options.stall,
        })?;
        // A loopback registry usually has no TLS. An explicit `--tls-verify` requires it.
        let may_lack_tls = secure.is_loopback() && given.insecure.is_none();
        if (insecure || may_lack_tls) && !speaks_tls(&http, &base) {
            base = format!("http://{server}");
        }
        let origin = Origin::from_url(&base).unwrap_or(secure);
        let actions = if purpose == Purpose::Write { "pull,push" } else { "pull" };
        let scope = format!("repository:{}:{actions}", place.repository);
        Ok(Self { http, base, origin, scope, credentials, known: Mutex::default() })
    }

    /// Whether the URL is of the registry's own origin.
    pub fn is_own(&self, url: &str) -> bool {
        Origin::from_url(url).as_ref() == Some(&self.origin)
    }

    pub fn retry(&self) -> Retry {
        self.http.retry
    }

    /// Sends a request, and repeats it once after a 401 with the requested authentication.
    pub fn send(&self, call: &RegistryCall<'_>, body: &mut HttpBody<'_>) -> Result<Answer> {
        let mut scopes = vec![self.scope.clone()];
        scopes.extend(call.from.map(|from| format!("repository:{from}:pull")));
        // An upload may continue on another host, which gets no credentials.
        let is_own = self.is_own(call.url);
        let mut used = if is_own { self.authorization(&scopes)? } else { None };
        let answer = self.send_as(call, used.as_deref(), body)?;
        if answer.status() != StatusCode::UNAUTHORIZED || !is_own || answer.left_origin {
            return Ok(answer);
        }
        let Some(challenge) = Challenge::best(answer.headers("www-authenticate")) else { return Ok(answer) };
        match self.answer_challenge(challenge, &scopes, used.take())? {
            Some(authorization) => self.send_as(call, Some(&authorization), body),
            None => Ok(answer),
        }
    }

    fn send_as(&self, call: &RegistryCall<'_>, authorization: Option<&str>, body: &mut HttpBody<'_>) -> Result<Answer> {
        let RegistryCall { act, method, url, headers, .. } = *call;
        Ok(self.http.send(&http::Call { act, method, url, headers, authorization }, body)?)
    }

    /// Returns the authorization that these scopes required before, so that the registry need not ask.
    fn authorization(&self, scopes: &[String]) -> Result<Option<String>> {
        if let Credentials::Token(token) = &self.credentials {
            return Ok(Some(format!("Bearer {token}")));
        }
        let mut known = lock(&self.known);
        if known.basic {
            return Ok(self.credentials.basic());
        }
        match known.tokens.get(scopes) {
            Some(token) if token.is_fresh() => Ok(Some(token.header.clone())),
            // An upload that is refused because of an old token would be made twice.
            _ => match known.bearer.clone() {
                Some(bearer) => self.token(&mut known, &bearer, scopes).map(Some),
                None => Ok(None),
            },
        }
    }

    /// Returns the header for a challenge. Returns `None` without credentials, or if they were refused.
    fn answer_challenge(
        &self,
        challenge: Challenge,
        scopes: &[String],
        used: Option<String>,
    ) -> Result<Option<String>> {
        if matches!(self.credentials, Credentials::Token(_)) {
            return Ok(None);
        }
        let mut known = lock(&self.known);
        match challenge {
            Challenge::Basic => {
                known.basic = true;
                Ok(self.credentials.basic().filter(|basic| Some(basic) != used.as_ref()))
            }
            Challenge::Bearer(bearer) => {
                known.basic = false;
                // Another thread got a token in the meantime.
                let newer = known.tokens.get(scopes).filter(|token| Some(&token.header) != used.as_ref());
                if let Some(token) = newer.filter(|token| token.is_fresh()) {
                    return Ok(Some(token.header.clone()));
                }
                self.token(&mut known, &bearer, scopes).map(Some)
            }
        }
    }

    /// Returns a new token. It has the scopes of the request and those of the challenge.
    fn token(&self, known: &mut Authentication, bearer: &Bearer, scopes: &[String]) -> Result<String> {
        let realm = Origin::from_url(&bearer.realm);
        let is_secret = !matches!(self.credentials, Credentials::Anonymous);
        if is_secret
            && let (Some(first), Some(realm)) = (&known.realm, &realm)
            && first != realm
        {
            let why = format!("the registry requests that the credentials for {first} be sent to {realm} too");
            return Err(RegistryError::answer("asking for a token", why));
        }
        let mut wanted = scopes.to_vec();
        wanted.extend(bearer.scopes.iter().filter(|scope| !is_covered(scope, scopes)).cloned());
        let token = token::request(&self.http, &self.origin, bearer, &self.credentials, &wanted)?;
        known.realm = realm;
        known.bearer = Some(Bearer { scopes: Vec::new(), ..bearer.clone() });
        let header = token.header.clone();
        known.tokens.insert(scopes.to_vec(), token);
        Ok(header)
    }

    /// Returns the error for an unexpected response.
    pub fn refused(&self, act: &'static str, answer: Answer) -> RegistryError {
        let (status, left_origin) = (answer.status(), answer.left_origin);
        let refused = answer.refused(act);
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if !left_origin => RegistryError::Login(Box::new(refused)),
            _ => refused.into(),
        }
    }

    /// Retries after temporary errors.
    pub fn retried<T>(&self, attempt: impl FnMut() -> Result<T>) -> Result<T> {
        self.retry().run(attempt)
    }
}

/// Returns the TLS settings of the registry for its own origin. Every other origin (token realms, redirects) has the
/// settings of its host.
fn trust(registry_origin: Origin, tls: Tls, config: &Arc<RegistriesConf>) -> TlsTrust {
    let config = Arc::clone(config);
    Arc::new(move |origin| match *origin == registry_origin {
        true => Ok(tls.clone()),
        false => Tls::for_host(&origin.authority(), None, config.is_insecure(&origin.authority())),
    })
}

/// Whether `granted` includes a scope: `repository:a:pull` is included in `repository:a:pull,push`.
fn is_covered(scope: &str, granted: &[String]) -> bool {
    let Some((name, actions)) = scope.rsplit_once(':') else { return true };
    granted.iter().filter_map(|granted_scope| granted_scope.rsplit_once(':')).any(|(granted_name, has)| {
        granted_name == name && actions.split(',').all(|action| has.split(',').any(|granted| granted == action))
    })
}

/// Whether a server with optional TLS supports it. An untrusted certificate shows that it does, a closed port that it
/// does not.
fn speaks_tls(http: &Http, base: &str) -> bool {
    use rustls::Error;
    let Err(error) = http.reaches("asking for TLS", &format!("{base}/v2/")) else { return true };
    match error {
        HttpError::Send { source, .. } => match *source {
            ureq::Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
                // A server without TLS answers with another protocol.
                Some(error) => !matches!(error, Error::InvalidMessage(_)),
                None => false,
            },
            _ => false,
        },
        // The server answered.
        _ => true,
    }
}
