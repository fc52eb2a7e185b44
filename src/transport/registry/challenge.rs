//! The challenges of a registry in a 401 response ([RFC 9110,
//! 11.6.1](https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1)): one or more challenges in one or more
//! `WWW-Authenticate` headers.
//!
//! ```text
//! WWW-Authenticate: Basic realm="x", Bearer realm="https://auth.example.com/token",service="registry"
//! ```
//!
//! If there are several, the first `Bearer` challenge with a realm is used, else `Basic`.

use http_auth::{ChallengeRef, parser::ChallengeParser};

/// A supported challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// Basic authentication: credentials are sent with each request.
    Basic,
    /// A token is required.
    Bearer(Bearer),
}

/// The token server, and the parameters of the request for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    pub realm: String,
    /// The name of the registry for the token server.
    pub service: Option<String>,
    /// The scopes that the registry requires.
    pub scopes: Vec<String>,
}

impl Challenge {
    /// Returns the best of the challenges in these headers.
    pub fn best<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut basic = None;
        for header in headers {
            // The text after a malformed part cannot be parsed.
            for challenge in ChallengeParser::new(header).map_while(Result::ok) {
                match Self::from_parsed(&challenge) {
                    Some(bearer @ Self::Bearer(_)) => return Some(bearer),
                    found => basic = basic.or(found),
                }
            }
        }
        basic
    }

    fn from_parsed(challenge: &ChallengeRef<'_>) -> Option<Self> {
        if challenge.scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !challenge.scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let parameter = |name: &str| {
            let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_unescaped())
        };
        let scopes = parameter("scope").unwrap_or_default();
        Some(Self::Bearer(Bearer {
            realm: parameter("realm")?,
            service: parameter("service"),
            scopes: scopes.split_whitespace().map(str::to_owned).collect(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scopes: &[&str]) -> Option<Challenge> {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        Some(Challenge::Bearer(Bearer { realm: realm.to_owned(), service: service.map(str::to_owned), scopes }))
    }

    #[test]
    fn challenges_are_parsed_as_rfc_9110_has_them() {
        for (headers, expected) in [
            (
                &[r#"Bearer realm="https://auth.example.com/token",service="registry",scope="repository:a:pull,push""#]
                    [..],
                bearer("https://auth.example.com/token", Some("registry"), &["repository:a:pull,push"]),
            ),
            (&[r#"Basic realm="x""#], Some(Challenge::Basic)),
            (&["Basic"], Some(Challenge::Basic)),
            // Different case, spaces, values without quotes.
            (&[r#"BEARER Realm = "https://a/t" , SERVICE=registry"#], bearer("https://a/t", Some("registry"), &[])),
            // Commas and quotes inside of quotes.
            (
                &[r#"Bearer realm="https://a/t?x=1,2",service="a \"b\", c""#],
                bearer("https://a/t?x=1,2", Some("a \"b\", c"), &[]),
            ),
            // Several challenges in one header and in several headers. Bearer takes precedence over Basic in any order.
            (&[r#"Basic realm="x", Bearer realm="https://a/t",service="s""#], bearer("https://a/t", Some("s"), &[])),
            (&[r#"Negotiate, Basic realm="x""#, r#"Bearer realm="https://a/t""#], bearer("https://a/t", None, &[])),
            (&[r#"Digest realm="x",nonce="y", Basic realm="z""#], Some(Challenge::Basic)),
            (
                &[r#"Bearer realm="https://a/t",scope="repository:a:pull repository:b:pull""#],
                bearer("https://a/t", None, &["repository:a:pull", "repository:b:pull"]),
            ),
            // Unsupported challenges.
            (&[r#"Digest realm="x""#], None),
            (&[r#"Bearer realm="open"#], None),
            (&[r#"Bearer service="without realm""#], None),
            (&[""], None),
            (&[], None),
        ] {
            assert_eq!(Challenge::best(headers.iter().copied()), expected, "{headers:?}");
        }
    }
}
