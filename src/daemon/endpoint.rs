//! Where docker's daemon is: `DOCKER_HOST`, else the context in use, else the usual socket.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use ureq::{Agent, tls::TlsConfig};

use super::{DaemonError, unix::UnixConnector};
use crate::{http::tls, oci::Digest};

const USUAL: &str = "unix:///var/run/docker.sock";

/// A daemon's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    /// A folder with `ca.pem`, `cert.pem` and `key.pem`, where TLS is wanted.
    certificates: Option<PathBuf>,
    verify: bool,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)
    }
}

/// docker's description of a context.
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

impl Endpoint {
    /// The one that docker's own command line would use.
    pub fn of_user() -> Result<Self, DaemonError> {
        let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let folder =
            set("DOCKER_CONFIG").map(PathBuf::from).or_else(|| Some(PathBuf::from(set("HOME")?).join(".docker")));
        if let Some(host) = set("DOCKER_HOST") {
            // docker wants TLS when this is set, to anything.
            let tls = set("DOCKER_TLS_VERIFY").is_some() || set("DOCKER_TLS").is_some();
            let certificates = set("DOCKER_CERT_PATH").map(PathBuf::from).or(folder).filter(|_| tls);
            return Ok(Self { host, certificates, verify: set("DOCKER_TLS_VERIFY").is_some() });
        }
        let usual = Self { host: USUAL.to_owned(), certificates: None, verify: true };
        let Some(folder) = folder else { return Ok(usual) };
        let configured = || {
            let config: DockerConfig = serde_json::from_slice(&fs::read(folder.join("config.json")).ok()?).ok()?;
            config.current_context
        };
        match set("DOCKER_CONTEXT").or_else(configured).as_deref() {
            None | Some("default") => Ok(usual),
            Some(name) => Self::of_context(&folder, name),
        }
    }

    fn of_context(folder: &Path, name: &str) -> Result<Self, DaemonError> {
        let id = Digest::of(name.as_bytes()).hex();
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
        })
    }

    /// How to talk to it, and what URLs begin with.
    pub(super) fn agent(&self) -> Result<(Agent, String), DaemonError> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(30)))
            .user_agent(concat!("strata/", env!("CARGO_PKG_VERSION")))
            .proxy(None);
        match self.host.split_once("://") {
            Some(("unix", path)) => {
                let resolver = ureq::unversioned::resolver::DefaultResolver::default();
                let agent = Agent::with_parts(config.build(), UnixConnector::new(path), resolver);
                // The host of a socket is nobody's; an address saves looking for it.
                Ok((agent, "http://127.0.0.1".to_owned()))
            }
            Some(("tcp" | "http" | "https", address)) => {
                let Some(folder) = &self.certificates else {
                    return Ok((config.build().new_agent(), format!("http://{address}")));
                };
                let tls: TlsConfig = tls::docker_config(folder, !self.verify)
                    .map_err(|error| DaemonError::Endpoint(format!("{error}: {}", folder.display())))?;
                Ok((config.tls_config(tls).build().new_agent(), format!("https://{address}")))
            }
            _ => Err(DaemonError::Endpoint(format!(
                "{} is no address of a docker daemon that strata can reach; \
                 unix:// and tcp:// are (for ssh://, run `strata stream IMAGE | docker load`)",
                self.host
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_read_as_docker_writes_them() {
        let folder = tempfile::tempdir().unwrap();
        let meta = folder.path().join("contexts/meta").join(Digest::of(b"far").hex());
        fs::create_dir_all(&meta).unwrap();
        let text = r#"{"Name":"far","Endpoints":{"docker":{"Host":"tcp://far:2376","SkipTLSVerify":false}}}"#;
        fs::write(meta.join("meta.json"), text).unwrap();
        let endpoint = Endpoint::of_context(folder.path(), "far").unwrap();
        assert_eq!(endpoint, Endpoint { host: "tcp://far:2376".to_owned(), certificates: None, verify: true });
        let error = Endpoint::of_context(folder.path(), "gone").unwrap_err().to_string();
        assert!(error.contains("\"gone\""), "{error}");
    }

    #[test]
    fn addresses_of_other_kinds_name_the_way_out() {
        let endpoint = Endpoint { host: "ssh://me@far".to_owned(), certificates: None, verify: true };
        let error = endpoint.agent().unwrap_err().to_string();
        assert!(error.contains("docker load"), "{error}");
    }
}
