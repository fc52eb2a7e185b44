//! Talking to a docker daemon, through [its API](https://docs.docker.com/reference/api/engine/).
//!
//! ```text
//! DOCKER_HOST, docker's context ──▶ Endpoint ──▶ Daemon: unix socket, or TCP with or without TLS
//! ```
//!
//! Only with the feature `net`.

mod endpoint;
mod unix;

use std::io::Read;

use serde::Deserialize;
use ureq::{
    Agent, SendBody,
    http::{Response, StatusCode},
};

pub use endpoint::Endpoint;

use crate::oci::Digest;

/// An answer of the daemon is at most this long, in bytes.
const ANSWER_LIMIT: u64 = 64 * 1024 * 1024;

/// Why a daemon did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// It could not be asked.
    #[error("{act} at {endpoint}; is the daemon running? DOCKER_HOST and docker's contexts say which one is meant")]
    Http {
        /// What was tried.
        act: &'static str,
        /// Where.
        endpoint: String,
        /// What went wrong.
        source: Box<ureq::Error>,
    },
    /// It said no.
    #[error("{act}: the daemon answered: {said}")]
    Refused {
        /// What was tried.
        act: &'static str,
        /// Its own words.
        said: String,
    },
    /// We do not know where it is.
    #[error("{0}")]
    Endpoint(String),
}

type Result<T> = std::result::Result<T, DaemonError>;

/// A docker daemon.
#[derive(Debug)]
pub struct Daemon {
    agent: Agent,
    base: String,
    endpoint: String,
}

/// What the daemon says of itself.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Info {
    /// Its version.
    #[serde(default)]
    pub server_version: String,
    /// How it keeps layers.
    #[serde(default)]
    pub driver: String,
    /// More of that.
    #[serde(default)]
    pub driver_status: Option<Vec<(String, String)>>,
}

impl Daemon {
    /// The daemon that docker's own command line would talk to.
    ///
    /// # Errors
    ///
    /// When its address makes no sense, or its certificates cannot be read.
    pub fn of_user() -> Result<Self> {
        Self::at(&Endpoint::of_user()?)
    }

    /// The daemon there.
    ///
    /// # Errors
    ///
    /// When its certificates cannot be read.
    pub fn at(endpoint: &Endpoint) -> Result<Self> {
        let (agent, base) = endpoint.agent()?;
        Ok(Self { agent, base, endpoint: endpoint.to_string() })
    }

    /// Where it is.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What it says of itself.
    ///
    /// # Errors
    ///
    /// When it cannot be asked.
    pub fn info(&self) -> Result<Info> {
        self.get("asking the docker daemon", "/info")
    }

    /// The chains of layers (diff_ids, base first) of all its images.
    ///
    /// # Errors
    ///
    /// When it cannot be asked.
    pub fn chains(&self) -> Result<Vec<Vec<Digest>>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Summary {
            id: String,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Image {
            #[serde(rename = "RootFS")]
            root_fs: RootFs,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct RootFs {
            #[serde(default)]
            layers: Option<Vec<Digest>>,
        }
        let act = "asking the docker daemon for its images";
        let images: Vec<Summary> = self.get(act, "/images/json?all=1")?;
        let mut chains = Vec::with_capacity(images.len());
        for Summary { id } in images {
            // An image may be gone since it was listed.
            if let Ok(image) = self.get::<Image>(act, &format!("/images/{id}/json")) {
                chains.push(image.root_fs.layers.unwrap_or_default());
            }
        }
        Ok(chains)
    }

    /// Loads an archive; what the daemon says of it, line by line.
    ///
    /// # Errors
    ///
    /// When it cannot be reached or refuses; [`DaemonError::Http`] holds the archive's own errors.
    pub fn load(&self, archive: &mut (dyn Read + Send)) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Line {
            stream: Option<String>,
            error: Option<String>,
        }
        let act = "loading into the docker daemon";
        let request = self.agent.post(format!("{}/images/load?quiet=1", self.base));
        let request = request.header("content-type", "application/x-tar");
        let response = request.send(SendBody::from_reader(archive));
        let text = self.text(act, response)?;
        let mut said = Vec::new();
        for line in text.lines() {
            let Ok(line) = serde_json::from_str::<Line>(line) else { continue };
            if let Some(error) = line.error {
                return Err(DaemonError::Refused { act, said: error });
            }
            said.extend(line.stream.map(|line| line.trim().to_owned()));
        }
        Ok(said)
    }

    fn get<T: serde::de::DeserializeOwned>(&self, act: &'static str, path: &str) -> Result<T> {
        let response = self.agent.get(format!("{}{path}", self.base)).call();
        let text = self.text(act, response)?;
        serde_json::from_str(&text).map_err(|error| DaemonError::Refused { act, said: error.to_string() })
    }

    fn text(
        &self,
        act: &'static str,
        response: std::result::Result<Response<ureq::Body>, ureq::Error>,
    ) -> Result<String> {
        let fail = |source| DaemonError::Http { act, endpoint: self.endpoint.clone(), source: Box::new(source) };
        let mut response = response.map_err(fail)?;
        let text = response.body_mut().with_config().limit(ANSWER_LIMIT).read_to_string().map_err(fail)?;
        match response.status() {
            StatusCode::OK => Ok(text),
            status => Err(DaemonError::Refused { act, said: format!("{status}: {}", text.trim()) }),
        }
    }
}
