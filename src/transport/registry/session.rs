//! One registry, reached for one repository: who we are to it, and which tokens we have.
//!
//! ```text
//! request, with the token for its scopes if there is one
//!    └─ 401 of the registry itself ──▶ a token for these scopes, or Basic ──▶ the same request again
//!    └─ 401 of another host, where a redirect led ──▶ an error: it is not told who we are
//! ```

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use ureq::http::StatusCode;

use super::{
    Credentials, Options, Purpose, RegistryError, Result,
    challenge::{Bearer, Challenge},
    registries_conf::{Endpoint, RegistriesConf},
    token::{self, Token},
};
use crate::{
    threads::lock,
    transport::http::{self, Answer, Body, Http, HttpError, Origin, Retry, Settings, Tls, Trust},
};

/// A request of a registry, without its body.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    /// What it is for, in messages.
    pub act: &'static str,
    /// GET, PUT, …
    pub method: &'a str,
    /// The whole of it.
    pub url: &'a str,
    /// Names and values.
    pub headers: &'a [(&'a str, &'a str)],
    /// Another repository that the request reads from.
    pub from: Option<&'a str>,
}

impl<'a> Call<'a> {
    pub fn new(act: &'static str, method: &'a str, url: &'a str) -> Self {
        Self { act, method, url, headers: &[], from: None }
    }
}

/// A registry, as it is reached for one repository.
pub(super) struct Session {
    http: Http,
    /// `https://host`
    pub base: String,
    origin: Origin,
    scope: String,
    credentials: Credentials,
    known: Mutex<Known>,
}

/// The authentication that the registry requested.
#[derive(Default)]
struct Known {
    /// It takes names and passwords.
    basic: bool,
    /// Where its tokens are had.
    bearer: Option<Bearer>,
    /// Tokens by what they are good for.
    tokens: HashMap<Vec<String>, Token>,
    /// The hosts to which the password or refresh token was sent.
    realm: Option<Origin>,
}

impl Session {
    /// Prepares to reach `place`. If TLS is optional there, asks whether the server speaks it.
    pub fn new(place: &Endpoint, purpose: Purpose, options: &Options, config: &Arc<RegistriesConf>) -> Result<Self> {
        let given = options.for_host(&place.host);
        let credentials = match given.credentials {
            Some(credentials) => credentials,
            None if options.anonymous => Credentials::Anonymous,
            None => Credentials::find(&place.host, &place.repository, options.auth_file.as_deref())?,
        };
        let insecure = given.insecure.unwrap_or(place.insecure);
        let server = place.server();
        let mut base = format!("https://{server}");
        let secure = Origin::of(&base)
            .ok_or_else(|| RegistryError::answer("connecting", format!("{server} is not a registry host")))?;
        let own = Tls::of_host(&place.host, given.certificates.as_deref(), insecure)?;
        let http = Http::new(Settings {
            trust: trust(secure.clone(), own, config),
            retry: options.tries.map_or_else(Retry::default, |tries| Retry { tries: tries.max(1) }),
            stall: options.stall,
        })?;
        // A loopback registry usually has no TLS; `--tls-verify` given by hand requires it.
        let may_lack_tls = secure.is_loopback() && given.insecure.is_none();
        if (insecure || may_lack_tls) && !speaks_tls(&http, &base) {
            base = format!("http://{server}");
        }
        let origin = Origin::of(&base).unwrap_or(secure);
        let actions = if purpose == Purpose::Write { "pull,push" } else { "pull" };
        let scope = format!("repository:{}:{actions}", place.repository);
        Ok(Self { http, base, origin, scope, credentials, known: Mutex::default() })
    }

    /// Whether the URL is of the registry's own origin.
    pub fn is_own(&self, url: &str) -> bool {
        Origin::of(url).as_ref() == Some(&self.origin)
    }

    /// How often a request is tried.
    pub fn retry(&self) -> Retry {
        self.http.retry
    }

    /// Sends one request, and once more after a 401 with what the registry asks for.
    pub fn send(&self, call: &Call<'_>, body: &mut Body<'_>) -> Result<Answer> {
        let mut scopes = vec![self.scope.clone()];
        scopes.extend(call.from.map(|from| format!("repository:{from}:pull")));
        // Where an upload goes on may be another host, which is told nothing of who we are.
        let is_own = self.is_own(call.url);
        let mut used = if is_own { self.authorization(&scopes)? } else { None };
        let answer = self.send_as(call, used.as_deref(), body)?;
        if answer.status() != StatusCode::UNAUTHORIZED || !is_own || answer.strayed {
            return Ok(answer);
        }
        let Some(challenge) = Challenge::best(answer.headers("www-authenticate")) else { return Ok(answer) };
        match self.meet(challenge, &scopes, used.take())? {
            Some(authorization) => self.send_as(call, Some(&authorization), body),
            None => Ok(answer),
        }
    }

    fn send_as(&self, call: &Call<'_>, authorization: Option<&str>, body: &mut Body<'_>) -> Result<Answer> {
        let Call { act, method, url, headers, .. } = *call;
        Ok(self.http.send(&http::Call { act, method, url, headers, authorization }, body)?)
    }

    /// What is known to be wanted for these scopes, before the registry asks.
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
            // An upload that is refused for an old token would have been made in vain.
            _ => match known.bearer.clone() {
                Some(bearer) => self.token(&mut known, &bearer, scopes).map(Some),
                None => Ok(None),
            },
        }
    }

    /// The value that answers a challenge; `None` without credentials, or if they were refused.
    fn meet(&self, challenge: Challenge, scopes: &[String], used: Option<String>) -> Result<Option<String>> {
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

    /// A new token. Scopes that the registry names and we do not are asked for too.
    fn token(&self, known: &mut Known, bearer: &Bearer, scopes: &[String]) -> Result<String> {
        let realm = Origin::of(&bearer.realm);
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
        let token = token::ask(&self.http, &self.origin, bearer, &self.credentials, &wanted)?;
        known.realm = realm;
        known.bearer = Some(Bearer { scopes: Vec::new(), ..bearer.clone() });
        let header = token.header.clone();
        known.tokens.insert(scopes.to_vec(), token);
        Ok(header)
    }

    /// The error for an answer that is not the one hoped for.
    pub fn refused(&self, act: &'static str, answer: Answer) -> RegistryError {
        let (status, strayed) = (answer.status(), answer.strayed);
        let refused = answer.refused(act);
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if !strayed => RegistryError::Login(Box::new(refused)),
            _ => refused.into(),
        }
    }

    /// Tries again what may pass.
    pub fn retried<T>(&self, attempt: impl FnMut() -> Result<T>) -> Result<T> {
        self.retry().run(attempt)
    }
}

/// The registry's own settings at its own origin; at every other origin (token realms, redirects) those of that host.
fn trust(own: Origin, tls: Tls, config: &Arc<RegistriesConf>) -> Trust {
    let config = Arc::clone(config);
    Arc::new(move |origin| match *origin == own {
        true => Ok(tls.clone()),
        false => Tls::of_host(&origin.authority(), None, config.is_insecure(&origin.authority())),
    })
}

/// Whether a scope asks for no more than `ours` do: `repository:a:pull` is in `repository:a:pull,push`.
fn is_covered(scope: &str, ours: &[String]) -> bool {
    let Some((name, actions)) = scope.rsplit_once(':') else { return true };
    ours.iter()
        .filter_map(|own| own.rsplit_once(':'))
        .any(|(own, has)| own == name && actions.split(',').all(|action| has.split(',').any(|own| own == action)))
}

/// Whether there is TLS, where there need not be: a certificate that nobody trusts is some, a closed port is none.
fn speaks_tls(http: &Http, base: &str) -> bool {
    use rustls::Error;
    let Err(error) = http.reaches("asking for TLS", &format!("{base}/v2/")) else { return true };
    match error {
        HttpError::Send { source, .. } => match *source {
            ureq::Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
                // Plain HTTP answers with something that is no TLS.
                Some(error) => !matches!(error, Error::InvalidMessage(_)),
                None => false,
            },
            _ => false,
        },
        // It answered.
        _ => true,
    }
}
