//! A client of a docker daemon, through [its API](https://docs.docker.com/reference/api/engine/).
//!
//! ```text
//! DOCKER_HOST, docker's context, a command ──▶ Endpoint ──▶ Daemon: unix socket, TCP with or without TLS, or
//!                                                           `docker system dial-stdio` behind ssh and the like
//! ```
//!
//! This module requires the feature `net`.

mod answers;
mod command;
mod endpoint;
mod unix;

use std::{
    fs::File,
    io::{self, Read},
};

use serde::Deserialize;
use ureq::{
    Agent, SendBody,
    http::{Response, StatusCode},
};

pub use answers::{DaemonImage, Info};
pub use endpoint::DaemonEndpoint;

use crate::{
    budget::{self, Budget, ExceededError},
    layer,
    oci::Digest,
    transport::{engine, http::encode},
};

/// The error of a request to a daemon.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The request could not be sent.
    #[error("{act} at {endpoint}; {hint}")]
    Http {
        act: &'static str,
        endpoint: String,
        /// The hint for the user.
        hint: String,
        source: Box<ureq::Error>,
    },
    /// The response exceeds the limits.
    #[error("{act}")]
    Exceeded { act: &'static str, source: ExceededError },
    /// The daemon responded with an error.
    #[error("{act}: the daemon answered: {message}")]
    Refused {
        act: &'static str,
        /// The message of the daemon.
        message: String,
    },
    /// The daemon has no such image.
    #[error("{act}: {message}")]
    Missing {
        act: &'static str,
        /// The message of the daemon.
        message: String,
    },
    /// The address of the daemon is unknown or invalid.
    #[error("{0}")]
    Endpoint(String),
    /// The image cannot be read.
    #[error(transparent)]
    Image(#[from] crate::image::ImageError),
}

type Result<T> = std::result::Result<T, DaemonError>;

/// A docker daemon.
#[derive(Debug)]
pub struct Daemon {
    agent: Agent,
    base: String,
    endpoint: String,
    /// The command that reaches the daemon.
    via: Option<String>,
}

impl Daemon {
    /// Returns the daemon of these options, or the one that the docker command uses.
    ///
    /// # Errors
    ///
    /// If the address is invalid, or the certificates cannot be read.
    pub fn from_options(options: &engine::EngineOptions) -> Result<Self> {
        let from_environment = || DaemonEndpoint::from_environment(options.host.as_deref());
        Self::at(&options.via.as_deref().map_or_else(from_environment, |via| Ok(DaemonEndpoint::via(via)))?)
    }

    /// Returns the daemon at an address.
    ///
    /// # Errors
    ///
    /// If the certificates cannot be read.
    pub fn at(endpoint: &DaemonEndpoint) -> Result<Self> {
        let (agent, base) = endpoint.agent()?;
        Ok(Self { agent, base, endpoint: endpoint.to_string(), via: endpoint.command().map(str::to_owned) })
    }

    /// Returns the address for messages.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Returns the daemon's description of itself.
    ///
    /// # Errors
    ///
    /// If the request fails.
    pub fn info(&self) -> Result<Info> {
        self.get("asking the docker daemon", "/info", &mut Budget::new(&budget::DAEMON))
    }

    /// Returns the chains of layers (diff_ids, base first) of all images of the daemon.
    ///
    /// # Errors
    ///
    /// If a request fails.
    pub fn chains(&self) -> Result<Vec<Vec<Digest>>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Summary {
            id: String,
        }
        let act = "asking the docker daemon for its images";
        let mut budget = Budget::new(&budget::DAEMON);
        let images: Vec<Summary> = self.get(act, "/images/json?all=1", &mut budget)?;
        let mut chains = Vec::with_capacity(images.len());
        for Summary { id } in images {
            budget.take_parts(1).map_err(|source| DaemonError::Exceeded { act, source })?;
            // An image may have been removed since it was listed.
            if let Some(image) = self.image_within(&id, &mut budget)? {
                chains.push(image.root_fs.layers.unwrap_or_default());
            }
        }
        Ok(chains)
    }

    /// Returns the image of this name or id, if it exists.
    ///
    /// # Errors
    ///
    /// If the request fails.
    pub fn image(&self, name: &str) -> Result<Option<DaemonImage>> {
        self.image_within(name, &mut Budget::new(&budget::DAEMON))
    }

    fn image_within(&self, name: &str, budget: &mut Budget) -> Result<Option<DaemonImage>> {
        let act = "asking the docker daemon for an image";
        or_none(self.get(act, &format!("/images/{}/json?manifests=1", encode(name)), budget))
    }

    /// Returns the names (`NAME:TAG`) of the images in `repository`.
    ///
    /// # Errors
    ///
    /// If the request fails.
    pub fn names(&self, repository: &str) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Summary {
            #[serde(default)]
            repo_tags: Option<Vec<String>>,
        }
        let filters = serde_json::json!({ "reference": [repository] }).to_string();
        let act = "asking the docker daemon for its images";
        let path = format!("/images/json?filters={}", encode(&filters));
        let images: Vec<Summary> = self.get(act, &path, &mut Budget::new(&budget::DAEMON))?;
        Ok(images.into_iter().flat_map(|image| image.repo_tags.unwrap_or_default()).collect())
    }

    /// Gives the image `id` the name `reference` (`name:tag`). Returns false if the image does not exist any more.
    ///
    /// # Errors
    ///
    /// If the request fails.
    pub fn tag(&self, id: &Digest, reference: &str) -> Result<bool> {
        let act = "naming the image in the docker daemon";
        let (repository, tag) = reference.rsplit_once(':').unwrap_or((reference, "latest"));
        let url = format!("{}/images/{id}/tag?repo={}&tag={}", self.base, encode(repository), encode(tag));
        let mut budget = Budget::new(&budget::DAEMON);
        Ok(or_none(self.text(act, self.agent.post(url).send_empty(), &mut budget))?.is_some())
    }

    /// Removes the name `reference`, and the image with its last name. A missing image is not an error.
    ///
    /// # Errors
    ///
    /// If the request fails.
    pub fn remove(&self, reference: &str) -> Result<()> {
        let url = format!("{}/images/{}", self.base, encode(reference));
        let answer = self.agent.delete(url).call();
        or_none(self.text("removing a name from the docker daemon", answer, &mut Budget::new(&budget::DAEMON)))
            .map(drop)
    }

    /// Returns the archive that `docker save` writes of the image `name`, in a nameless file.
    ///
    /// # Errors
    ///
    /// If the request fails, or there is no such image.
    pub fn save(&self, name: &str) -> Result<File> {
        let act = "reading an image of the docker daemon";
        let response = self.agent.get(format!("{}/images/{}/get", self.base, encode(name))).call();
        let mut response = response.map_err(|source| self.unreachable(act, source))?;
        if response.status() != StatusCode::OK {
            return Err(match self.text(act, Ok(response), &mut Budget::new(&budget::DAEMON)) {
                Err(DaemonError::Missing { message, .. }) => DaemonError::Missing {
                    act,
                    message: format!("it has no image {name} ({message}); `docker images` lists its images"),
                },
                Err(other) => other,
                Ok(message) => DaemonError::Refused { act, message },
            });
        }
        layer::spool(response.body_mut().as_reader()).map_err(|source| self.unreachable(act, ureq::Error::Io(source)))
    }

    /// Loads an archive. Returns the lines that the daemon prints.
    ///
    /// # Errors
    ///
    /// If the request fails. [`DaemonError::Http`] contains the errors of reading `archive`.
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
        let text = self.text(act, response, &mut Budget::new(&budget::DAEMON))?;
        let mut message = Vec::new();
        for line in text.lines() {
            let Ok(line) = serde_json::from_str::<Line>(line) else { continue };
            if let Some(error) = line.error {
                return Err(DaemonError::Refused { act, message: error });
            }
            message.extend(line.stream.map(|line| line.trim().to_owned()));
        }
        Ok(message)
    }

    fn get<T: serde::de::DeserializeOwned>(&self, act: &'static str, path: &str, budget: &mut Budget) -> Result<T> {
        let response = self.agent.get(format!("{}{path}", self.base)).call();
        let text = self.text(act, response, budget)?;
        serde_json::from_str(&text).map_err(|error| DaemonError::Refused { act, message: error.to_string() })
    }

    fn unreachable(&self, act: &'static str, source: ureq::Error) -> DaemonError {
        let is_denied = matches!(&source, ureq::Error::Io(error) if error.kind() == io::ErrorKind::PermissionDenied);
        let hint = match &self.via {
            Some(via) => {
                format!("--via is the beginning of a command line that runs docker; does `{via} version` work?")
            }
            None if is_denied => {
                "the user may not use this socket: add the user to the group docker, or use sudo".to_owned()
            }
            None => "is the daemon running? DOCKER_HOST and docker's contexts choose the daemon".to_owned(),
        };
        DaemonError::Http { act, endpoint: self.endpoint.clone(), hint, source: Box::new(source) }
    }

    fn text(
        &self,
        act: &'static str,
        response: std::result::Result<Response<ureq::Body>, ureq::Error>,
        budget: &mut Budget,
    ) -> Result<String> {
        let mut response = response.map_err(|source| self.unreachable(act, source))?;
        let body = response.body_mut().with_config().limit(u64::MAX).reader();
        let text = budget.read(body).map_err(|error| match ExceededError::cause(&error) {
            Some(source) => DaemonError::Exceeded { act, source },
            None => self.unreachable(act, error.into()),
        })?;
        let text = String::from_utf8_lossy(&text);
        match response.status() {
            StatusCode::NOT_FOUND => Err(DaemonError::Missing { act, message: message(&text) }),
            status if status.is_success() => Ok(text.into_owned()),
            status => Err(DaemonError::Refused { act, message: format!("{status}: {}", message(&text)) }),
        }
    }
}

/// Returns the message in a JSON error of the daemon.
fn message(text: &str) -> String {
    #[derive(Deserialize)]
    struct Message {
        message: String,
    }
    let message = serde_json::from_str(text).map(|Message { message }| message);
    message.unwrap_or_else(|_| text.trim().to_owned())
}

/// Returns `None` for a missing object.
fn or_none<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(DaemonError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
