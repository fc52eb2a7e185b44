//! Selects the proxy of a request from the environment, with the rules of curl and Go:
//!
//! ```text
//! HTTPS_PROXY, HTTP_PROXY, ALL_PROXY   by the scheme of the URL; lower case takes precedence
//! NO_PROXY   name            that host and those below it
//!            .name, *.name   those below it
//!            name:port       at that port alone
//! 10.0.0.0/8      literal addresses of this network
//!            *               everything
//! ```
//!
//! hyper-util's `proxy::matcher` (0.1.21) is not used. It supports neither ports (`four.example:5000` never matches),
//! nor `*.name`, nor spaces between names. It takes `.two.example` for `two.example` itself, and its proxies are not
//! those of ureq, which makes the requests. The tests below have these cases.
//!
//! Requests to this machine never use a proxy. [`route`](super::route) sends requests through a proxy. (Go:
//! golang.org/x/net, http/httpproxy/proxy.go)

use std::{env, net::IpAddr};

use ureq::{Proxy, ProxyProtocol};

use super::{HttpError, Origin};

/// The proxies of the user.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    direct: Vec<NoProxyEntry>,
}

/// An entry of `NO_PROXY`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum NoProxyEntry {
    All,
    Network(IpAddr, u8),
    Address(IpAddr, Option<u16>),
    /// A name, whether it includes the name itself, and a port.
    Name(String, bool, Option<u16>),
}

impl Proxies {
    /// Reads the proxies of the environment.
    ///
    /// # Errors
    ///
    /// [`HttpError::Proxy`] if one is not a URL.
    pub fn from_environment() -> Result<Self, HttpError> {
        Self::from_variables(|name| env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, HttpError> {
        let first = |names: &[&str]| names.iter().find_map(|name| Some((name.to_string(), variable(name)?)));
        let proxy = |names: &[&str]| match first(names) {
            None => Ok(None),
            Some((variable, text)) => parse(&text).map(Some).ok_or(HttpError::Proxy { variable }),
        };
        let direct = first(&["no_proxy", "NO_PROXY"]).map(|(_, list)| list).unwrap_or_default();
        Ok(Self {
            // In a CGI script, HTTP_PROXY is a header of the request.
            http: match variable("REQUEST_METHOD") {
                Some(_) => proxy(&["http_proxy", "all_proxy", "ALL_PROXY"])?,
                None => proxy(&["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])?,
            },
            https: proxy(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])?,
            direct: direct.split([',', ' ']).filter_map(NoProxyEntry::parse).collect(),
        })
    }

    /// Returns the proxy for `origin`, if there is one.
    pub fn proxy_for(&self, origin: &Origin) -> Option<&Proxy> {
        let proxy = if origin.is_https() { &self.https } else { &self.http };
        let direct = || origin.is_loopback() || self.direct.iter().any(|entry| entry.meets(origin));
        proxy.as_ref().filter(|_| !direct())
    }
}

/// Parses the URL of a proxy. Returns `None` if its kind is not supported.
///
/// A SOCKS5 proxy resolves host names, also with `socks5:` (Go, net/http, transport.go: "socks5" is treated the same as
/// "socks5h"), since machines behind a proxy often have no DNS of their own.
fn parse(text: &str) -> Option<Proxy> {
    let proxy = Proxy::new(text).ok()?;
    let has_login = proxy.username().is_some() || proxy.password().is_some();
    let protocol = match proxy.protocol() {
        ProxyProtocol::Http | ProxyProtocol::Https => return Some(proxy),
        ProxyProtocol::Socks5 | ProxyProtocol::Socks5h => ProxyProtocol::Socks5h,
        // SOCKS4 has no passwords. Ignoring one would be wrong.
        ProxyProtocol::Socks4 | ProxyProtocol::Socks4A if !has_login => ProxyProtocol::Socks4A,
        _ => return None,
    };
    let mut builder = Proxy::builder(protocol).host(proxy.host()).port(proxy.port());
    if let Some(user) = proxy.username() {
        builder = builder.username(user);
    }
    if let Some(password) = proxy.password() {
        builder = builder.password(password);
    }
    builder.build().ok()
}

impl NoProxyEntry {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        if text.is_empty() {
            return None;
        }
        if text == "*" {
            return Some(Self::All);
        }
        if let Some((address, bits)) = text.split_once('/') {
            let (address, bits): (IpAddr, u8) = (address.parse().ok()?, bits.parse().ok()?);
            let most = if address.is_ipv4() { 32 } else { 128 };
            return (bits <= most).then_some(Self::Network(address, bits));
        }
        let bare = text.trim_start_matches('[').replace(']', "");
        if let Ok(address) = bare.parse() {
            return Some(Self::Address(address, None));
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => (name.to_owned(), Some(port.parse().ok()?)),
            None => (text, None),
        };
        if let Ok(address) = name.trim_matches(['[', ']']).parse() {
            return Some(Self::Address(address, port));
        }
        let name = name.strip_prefix('*').unwrap_or(&name);
        match name.strip_prefix('.') {
            Some(name) => Some(Self::Name(name.to_owned(), false, port)),
            None => Some(Self::Name(name.to_owned(), true, port)),
        }
    }

    fn meets(&self, origin: &Origin) -> bool {
        let host = origin.host().trim_matches(['[', ']']);
        let address: Option<IpAddr> = host.parse().ok();
        let at_port = |port: &Option<u16>| port.is_none_or(|port| port == origin.port());
        match self {
            Self::All => true,
            Self::Network(network, bits) => {
                address.is_some_and(|address| prefix(address, *bits) == prefix(*network, *bits))
            }
            Self::Address(network, port) => address.is_some_and(|address| address == *network) && at_port(port),
            Self::Name(name, itself, port) => {
                let below = host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'));
                (below || *itself && host == name) && at_port(port)
            }
        }
    }
}

/// Returns the first `bits` of an address, and whether it is an IPv4 address.
fn prefix(address: IpAddr, bits: u8) -> (bool, u128) {
    let (whole, size) = match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    };
    let cut = size - u32::from(bits).min(size);
    (address.is_ipv4(), whole.checked_shr(cut).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        let find = |name: &str| {
            variables.iter().find(|(variable_name, _)| *variable_name == name).map(|(_, value)| (*value).to_owned())
        };
        Proxies::from_variables(find).unwrap()
    }

    fn way(proxies: &Proxies, url: &str) -> Option<String> {
        proxies.proxy_for(&Origin::from_url(url).unwrap()).map(|proxy| proxy.host().to_owned())
    }

    #[test]
    fn the_scheme_decides_which_proxy() {
        let both = proxies(&[("HTTPS_PROXY", "http://secure:1"), ("http_proxy", "plain:2"), ("HTTP_PROXY", "other:3")]);
        assert_eq!(way(&both, "https://x.example/").as_deref(), Some("secure"));
        assert_eq!(way(&both, "http://x.example/").as_deref(), Some("plain"));
        assert_eq!(way(&proxies(&[("ALL_PROXY", "all:1")]), "https://x.example/").as_deref(), Some("all"));
        assert_eq!(way(&proxies(&[("HTTP_PROXY", "x:1"), ("REQUEST_METHOD", "GET")]), "http://x.example/"), None);
    }

    #[test]
    fn this_machine_needs_no_proxy() {
        let all = proxies(&[("all_proxy", "p:1")]);
        for url in ["http://localhost:5000/", "https://127.1.2.3/", "http://[::1]:5000/"] {
            assert_eq!(way(&all, url), None, "{url}");
        }
        assert!(way(&all, "http://127.evil.invalid/").is_some());
    }

    #[test]
    fn no_proxy_has_names_suffixes_ports_and_networks() {
        let list = "one.example, .two.example,*.three.example,four.example:5000,10.0.0.0/8,192.168.1.7,fd00::/8,,bad/x";
        let with_exceptions = proxies(&[("ALL_PROXY", "p:1"), ("NO_PROXY", list)]);
        for direct in [
            "https://one.example/",
            "https://a.one.example/",
            "https://a.two.example/",
            "https://a.three.example/",
            "https://four.example:5000/",
            "https://a.four.example:5000/",
            "https://10.200.3.4/",
            "https://192.168.1.7:8443/",
            "https://[fd12::1]/",
            "https://ONE.example/",
        ] {
            assert_eq!(way(&with_exceptions, direct), None, "{direct}");
        }
        for proxied in [
            "https://xone.example/",
            "https://two.example/",
            "https://three.example/",
            "https://four.example/",
            "https://11.0.0.1/",
            "https://192.168.1.8/",
            "https://[fe00::1]/",
        ] {
            assert!(way(&with_exceptions, proxied).is_some(), "{proxied}");
        }
        assert_eq!(way(&proxies(&[("ALL_PROXY", "p:1"), ("no_proxy", "*")]), "https://x.example/"), None);
        assert_eq!(way(&proxies(&[("ALL_PROXY", "p:1"), ("no_proxy", "0.0.0.0/0")]), "https://8.8.8.8/"), None);
    }

    #[test]
    fn the_error_of_a_malformed_proxy_omits_its_value() {
        let error = Proxies::from_variables(|name| (name == "HTTPS_PROXY").then(|| "ftp://me:secret@x".to_owned()))
            .unwrap_err();
        let error = error.to_string();
        assert!(error.contains("HTTPS_PROXY") && !error.contains("secret"), "{error}");
    }
}
