//! What a registry asks for with a 401 ([RFC 9110, 11.6.1](https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1)):
//! one or more challenges in one or more `WWW-Authenticate` headers.
//!
//! ```text
//! WWW-Authenticate: Basic realm="x", Bearer realm="https://auth.example.com/token",service="registry"
//! ```
//!
//! Of several, the first `Bearer` that says where tokens are had counts, else `Basic`.

use http_auth::{ChallengeRef, parser::ChallengeParser};

/// A challenge that can be met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// Basic authentication: credentials are sent with each request.
    Basic,
    /// Get a token first.
    Bearer(Bearer),
}

/// Where a token is had, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// The URL of the token server.
    pub realm: String,
    /// What the registry is called there.
    pub service: Option<String>,
    /// What a token must be good for, as the registry sees it.
    pub scopes: Vec<String>,
}

impl Challenge {
    /// The best of the challenges in these headers.
    pub fn best<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut basic = None;
        for header in headers {
            // The rest after a malformed part cannot be parsed.
            for challenge in ChallengeParser::new(header).map_while(Result::ok) {
                match Self::of(&challenge) {
                    Some(bearer @ Self::Bearer(_)) => return Some(bearer),
                    found => basic = basic.or(found),
                }
            }
        }
        basic
    }

    fn of(challenge: &ChallengeRef<'_>) -> Option<Self> {
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
            // Any case, spaces, values without quotes.
            (&[r#"BEARER Realm = "https://a/t" , SERVICE=registry"#], bearer("https://a/t", Some("registry"), &[])),
            // Commas and quotes inside of quotes.
            (
                &[r#"Bearer realm="https://a/t?x=1,2",service="a \"b\", c""#],
                bearer("https://a/t?x=1,2", Some("a \"b\", c"), &[]),
            ),
            // Several in one header, and in several; Bearer before Basic, wherever it stands.
            (&[r#"Basic realm="x", Bearer realm="https://a/t",service="s""#], bearer("https://a/t", Some("s"), &[])),
            (&[r#"Negotiate, Basic realm="x""#, r#"Bearer realm="https://a/t""#], bearer("https://a/t", None, &[])),
            (&[r#"Digest realm="x",nonce="y", Basic realm="z""#], Some(Challenge::Basic)),
            (
                &[r#"Bearer realm="https://a/t",scope="repository:a:pull repository:b:pull""#],
                bearer("https://a/t", None, &["repository:a:pull", "repository:b:pull"]),
            ),
            // Nothing that can be met.
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
