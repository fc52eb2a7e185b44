//! The address of the docker daemon: `DOCKER_HOST`, else the current context, else the default socket.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use ureq::{Agent, Proxy, config::Config};

use super::{DaemonError, command::CommandConnector, unix::UnixConnector};
use crate::{
    oci::Digest,
    transport::{
        engine::{Tool, is_shell_word},
        http::{self, Origin, Proxies, Tls},
    },
};

const USUAL: &str = "unix:///var/run/docker.sock";

/// The address of a daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonEndpoint {
    host: String,
    /// A directory with `ca.pem`, `cert.pem` and `key.pem`, for connections with TLS.
    certificates: Option<PathBuf>,
    verify: bool,
    /// A docker command that is used instead of the address.
    via: Option<String>,
}

impl fmt::Display for DaemonEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.via.as_ref().unwrap_or(&self.host))
    }
}

/// A context of docker.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Context {
    endpoints: Endpoints,
}

#[derive(Deserialize)]
struct Endpoints {
    docker: ContextEndpoint,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContextEndpoint {
    host: String,
    #[serde(default, rename = "SkipTLSVerify")]
    skip_tls_verify: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct DockerConfig {
    current_context: Option<String>,
}

impl DaemonEndpoint {
    /// Returns the daemon of this docker command.
    pub fn via(command: &str) -> Self {
        Self { host: String::new(), certificates: None, verify: true, via: Some(command.to_owned()) }
    }

    /// Returns the docker command that reaches the daemon.
    pub fn command(&self) -> Option<&str> {
        self.via.as_deref()
    }

    /// Returns the daemon that the docker command uses, with `host` as its option `--host`.
    pub fn from_environment(host: Option<&str>) -> Result<Self, DaemonError> {
        let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let folder =
            set("DOCKER_CONFIG").map(PathBuf::from).or_else(|| Some(PathBuf::from(set("HOME")?).join(".docker")));
        if let Some(host) = host.map(str::to_owned).or_else(|| set("DOCKER_HOST")) {
            // docker uses TLS if this variable has any value.
            let tls = set("DOCKER_TLS_VERIFY").is_some() || set("DOCKER_TLS").is_some();
            let certificates = set("DOCKER_CERT_PATH").map(PathBuf::from).or(folder).filter(|_| tls);
            // As in docker, DOCKER_TLS alone means TLS without verification, and https:// alone means TLS with
            // verification.
            let verify = set("DOCKER_TLS_VERIFY").is_some() || !tls;
            return Ok(Self { host, certificates, verify, via: None });
        }
        let usual = Self { host: USUAL.to_owned(), certificates: None, verify: true, via: None };
        let Some(folder) = folder else { return Ok(usual) };
        let configured = || {
            let config: DockerConfig = serde_json::from_slice(&fs::read(folder.join("config.json")).ok()?).ok()?;
            config.current_context
        };
        match set("DOCKER_CONTEXT").or_else(configured).as_deref() {
            None | Some("default") => Ok(usual),
            Some(name) => Self::from_context(&folder, name),
        }
    }

    fn from_context(folder: &Path, name: &str) -> Result<Self, DaemonError> {
        let id = Digest::sha256(name.as_bytes()).hex();
        let path = folder.join("contexts/meta").join(&id).join("meta.json");
        let unusable =
            |why: String| DaemonError::Endpoint(format!("docker's context {name:?}: {}: {why}", path.display()));
        let text = fs::read(&path).map_err(|error| unusable(error.to_string()))?;
        let context: Context = serde_json::from_slice(&text).map_err(|error| unusable(error.to_string()))?;
        let certificates = folder.join("contexts/tls").join(&id).join("docker");
        Ok(Self {
            host: context.endpoints.docker.host,
            certificates: certificates.is_dir().then_some(certificates),
            verify: !context.endpoints.docker.skip_tls_verify,
            via: None,
        })
    }

    /// Returns an agent for a daemon on TCP. Proxies are those of docker (docker/go-connections, sockets/sockets.go:
    /// ProxyFromEnvironment).
    fn network_agent(&self, is_tls: bool, address: &str) -> Result<(Agent, String), DaemonError> {
        let unusable = |why: &dyn fmt::Display| DaemonError::Endpoint(format!("{}: {why}", self.host));
        let base = format!("{}://{}", if is_tls { "https" } else { "http" }, address.trim_end_matches('/'));
        let origin = Origin::from_url(&base).ok_or_else(|| unusable(&"write tcp://HOST:PORT or https://HOST:PORT"))?;
        let tls = Tls::for_docker(self.certificates.as_deref(), !self.verify).map_err(|error| unusable(&error))?;
        let proxies = Proxies::from_environment().map_err(|error| unusable(&error))?;
        let agent =
            http::agent(&origin, &tls, proxies.proxy_for(&origin), &config).map_err(|error| unusable(&error))?;
        Ok((agent, base))
    }

    /// Returns an agent for the daemon, and the prefix of its URLs.
    pub(super) fn agent(&self) -> Result<(Agent, String), DaemonError> {
        let config = config(None);
        let resolver = ureq::unversioned::resolver::DefaultResolver::default();
        // Sockets and commands have no host name. An address needs no lookup.
        let placeholder = "http://127.0.0.1".to_owned();
        if let Some(via) = &self.via {
            let connector = CommandConnector::new(Tool::new("docker", Some(via)), &["system", "dial-stdio"]);
            return Ok((Agent::with_parts(config, connector, resolver), placeholder));
        }
        match self.host.split_once("://") {
            Some(("unix", path)) => Ok((Agent::with_parts(config, UnixConnector::new(path), resolver), placeholder)),
            Some(("ssh", rest)) => {
                let arguments =
                    ssh_arguments(rest).map_err(|why| DaemonError::Endpoint(format!("{}: {why}", self.host)))?;
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                let connector = CommandConnector::new(Tool::new("ssh", None), &arguments);
                Ok((Agent::with_parts(config, connector, resolver), placeholder))
            }
            Some((scheme @ ("tcp" | "http" | "https"), address)) => {
                self.network_agent(scheme == "https" || self.certificates.is_some(), address)
            }
            _ => Err(DaemonError::Endpoint(format!(
                "{} is not a supported address of a docker daemon; use unix://, tcp:// or ssh://",
                self.host
            ))),
        }
    }
}

/// Redirects are disabled: a daemon sends none, and `https://` must not lead to `http://`.
fn config(proxy: Option<Proxy>) -> Config {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_connect(Some(Duration::from_secs(30)))
        .user_agent(concat!("strata/", env!("CARGO_PKG_VERSION")))
        .proxy(proxy)
        .build()
}

/// Returns the arguments of ssh for the daemon at `ssh://[USER@]HOST[:PORT][/SOCKET]`, as in docker's command line
/// (docker/cli, cli/connhelper/connhelper.go and cli/connhelper/ssh/ssh.go).
fn ssh_arguments(rest: &str) -> Result<Vec<String>, &'static str> {
    let (place, socket) = rest.split_once('/').map_or((rest, ""), |(place, socket)| (place, socket));
    let (user, place) = place.rsplit_once('@').map_or((None, place), |(user, place)| (Some(user), place));
    let (host, port) = match place.strip_prefix('[').and_then(|place| place.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() {
        return Err("the address has no host; write ssh://USER@HOST");
    }
    if user.is_some_and(|user| user.contains(':')) {
        return Err("ssh cannot take a password from an address; leave it out");
    }
    let mut arguments = vec!["-o", "ConnectTimeout=30", "-T"];
    arguments.extend(user.into_iter().flat_map(|user| ["-l", user]));
    arguments.extend(port.into_iter().flat_map(|port| ["-p", port]));
    arguments.extend(["--", host, "docker"]);
    let host_option = format!("--host=unix:///{socket}");
    if !is_shell_word(&host_option) {
        return Err("the path of its socket has characters that the shell at the other end would interpret");
    }
    if !socket.trim_matches('/').is_empty() {
        arguments.push(&host_option);
    }
    arguments.extend(["system", "dial-stdio"]);
    Ok(arguments.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_read_as_docker_writes_them() {
        let folder = tempfile::tempdir().unwrap();
        let meta = folder.path().join("contexts/meta").join(Digest::sha256(b"far").hex());
        fs::create_dir_all(&meta).unwrap();
        let text = r#"{"Name":"far","Endpoints":{"docker":{"Host":"tcp://far:2376","SkipTLSVerify":false}}}"#;
        fs::write(meta.join("meta.json"), text).unwrap();
        let endpoint = DaemonEndpoint::from_context(folder.path(), "far").unwrap();
        assert_eq!(
            endpoint,
            DaemonEndpoint { host: "tcp://far:2376".to_owned(), certificates: None, verify: true, via: None }
        );
        let error = DaemonEndpoint::from_context(folder.path(), "gone").unwrap_err().to_string();
        assert!(error.contains("\"gone\""), "{error}");
    }

    #[test]
    fn addresses_of_other_kinds_name_the_way_out() {
        let endpoint = DaemonEndpoint { host: "npipe://far".to_owned(), certificates: None, verify: true, via: None };
        let error = endpoint.agent().unwrap_err().to_string();
        assert!(error.contains("ssh://"), "{error}");
    }

    #[test]
    fn ssh_is_called_as_docker_calls_it() {
        let line = |rest| ssh_arguments(rest).unwrap().join(" ");
        assert_eq!(line("far"), "-o ConnectTimeout=30 -T -- far docker system dial-stdio");
        assert_eq!(
            line("me@far:2222/run/user/1/docker.sock"),
            "-o ConnectTimeout=30 -T -l me -p 2222 -- far docker --host=unix:///run/user/1/docker.sock system dial-stdio"
        );
        assert_eq!(line("[::1]:22"), "-o ConnectTimeout=30 -T -p 22 -- ::1 docker system dial-stdio");
        assert!(ssh_arguments("me@").is_err());
        assert!(ssh_arguments("me:secret@far").is_err());
    }
}
