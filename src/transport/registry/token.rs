//! Tokens for a registry ([docker's protocol](https://distribution.github.io/distribution/spec/auth/token/),
//! [OAuth2](https://distribution.github.io/distribution/spec/auth/oauth/)).
//!
//! ```text
//! anonymous, or a password   GET  realm?service=…&scope=…&scope=…   (Authorization: Basic)
//! a refresh token            POST realm  grant_type=refresh_token&…
//! ```
//!
//! A token is valid for the registry and its scopes. Passwords and refresh tokens are sent only to the first realm of a
//! registry.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;
use ureq::http::StatusCode;

use super::{Credentials, RegistryError, Result, challenge::Bearer, credentials::basic};
use crate::{
    budget,
    transport::http::{Answer, Call, Http, HttpBody, Origin, encode, without_query},
};

const ACT: &str = "asking for a token";
const CLIENT: &str = "strata";
/// The lifetime in seconds of a token without one. It is that of the protocol.
const LIFE: f64 = 60.0;

/// The value of `Authorization`, and its expiry.
#[derive(Clone)]
pub struct Token {
    pub header: String,
    until: Instant,
}

impl Token {
    /// Whether a request that starts now should use the token.
    pub fn is_fresh(&self) -> bool {
        Instant::now() < self.until
    }
}

#[derive(Deserialize)]
struct TokenResponse {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<Value>,
}

/// Requests a token with these `scopes`.
pub fn request(
    http: &Http,
    registry: &Origin,
    bearer: &Bearer,
    credentials: &Credentials,
    scopes: &[String],
) -> Result<Token> {
    let realm = Origin::from_url(&bearer.realm);
    let realm = realm.ok_or_else(|| RegistryError::answer(ACT, "the registry names no URL of a token server"))?;
    if registry.is_https() && !realm.is_https() {
        let why = format!("the registry requests that credentials be sent to {realm} without TLS");
        return Err(RegistryError::answer(ACT, why));
    }
    let answer = http.retry.run(|| {
        let answer = match credentials {
            Credentials::Identity(user, token) => match refresh(http, bearer, token, scopes)? {
                // Token servers without support for POST accept the token as a password (containerd,
                // core/remotes/docker/authorizer.go).
                refused if matches!(refused.status().as_u16(), 404 | 405) && !user.is_empty() => {
                    fetch(http, bearer, Some((user, token)), scopes)?
                }
                answer => answer,
            },
            Credentials::Basic(user, password) => fetch(http, bearer, Some((user, password)), scopes)?,
            Credentials::Anonymous | Credentials::Token(_) => fetch(http, bearer, None, scopes)?,
        };
        match answer.status() {
            StatusCode::OK => Ok(answer),
            status => {
                let refused = answer.refused(ACT);
                match status {
                    StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(RegistryError::Login(Box::new(refused))),
                    _ => Err(refused.into()),
                }
            }
        }
    })?;
    let request_time = Instant::now();
    let url = without_query(&answer.url);
    let text = answer.bytes(ACT, &budget::DOCUMENT)?;
    let malformed = |why: &str| RegistryError::answer(ACT, format!("the answer of {url} {why}"));
    let response: TokenResponse = serde_json::from_slice(&text).map_err(|_| malformed("is not JSON with a token"))?;
    let non_empty = |token: Option<String>| token.filter(|token| !token.is_empty());
    let token =
        non_empty(response.token).or(non_empty(response.access_token)).ok_or_else(|| malformed("has no token"))?;
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(malformed("has a malformed token"));
    }
    let seconds = response.expires_in.and_then(|life| life.as_f64().or(life.as_str()?.parse().ok()));
    // The lifetime is reduced, since the request takes a while. It is limited to a day.
    let life = seconds.filter(|life| *life > 0.0).unwrap_or(LIFE).clamp(10.0, 86400.0) * 0.9;
    Ok(Token { header: format!("Bearer {token}"), until: request_time + Duration::from_secs_f64(life) })
}

fn fetch(http: &Http, bearer: &Bearer, login: Option<(&String, &String)>, scopes: &[String]) -> Result<Answer> {
    let mut query: Vec<(&str, &str)> = Vec::new();
    query.extend(login.map(|(user, _)| ("account", user.as_str())));
    query.push(("client_id", CLIENT));
    query.extend(bearer.service.as_deref().map(|service| ("service", service)));
    query.extend(scopes.iter().map(|scope| ("scope", scope.as_str())));
    let separator = if bearer.realm.contains('?') { '&' } else { '?' };
    let url = format!("{}{separator}{}", bearer.realm, form(&query));
    let authorization = login.map(|(user, password)| basic(user, password));
    let call = Call { authorization: authorization.as_deref(), ..Call::get(ACT, &url) };
    Ok(http.send(&call, &mut HttpBody::Empty)?)
}

fn refresh(http: &Http, bearer: &Bearer, token: &str, scopes: &[String]) -> Result<Answer> {
    let scopes = scopes.join(" ");
    let form = form(&[
        ("grant_type", "refresh_token"),
        ("refresh_token", token),
        ("service", bearer.service.as_deref().unwrap_or_default()),
        ("scope", &scopes),
        ("client_id", CLIENT),
    ]);
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let call = Call { method: "POST", headers: &headers, ..Call::get(ACT, &bearer.realm) };
    Ok(http.send(&call, &mut HttpBody::Secret(form.as_bytes()))?)
}

fn form(pairs: &[(&str, &str)]) -> String {
    pairs.iter().map(|(key, value)| format!("{key}={}", encode(value))).collect::<Vec<_>>().join("&")
}
