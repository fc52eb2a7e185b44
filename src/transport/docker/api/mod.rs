//! Talking to a docker daemon, through [its API](https://docs.docker.com/reference/api/engine/).
//!
//! ```text
//! DOCKER_HOST, docker's context, a command ──▶ Endpoint ──▶ Daemon: unix socket, TCP with or without TLS, or
//!                                                           `docker system dial-stdio` behind ssh and the like
//! ```
//!
//! Only with the feature `net`.

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
pub use endpoint::Endpoint;

use crate::{
    budget::{self, Budget, ExceededError},
    layer,
    oci::Digest,
    transport::{engine, http::encode},
};

/// Why a daemon did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The request could not be sent.
    #[error("{act} at {endpoint}; {hint}")]
    Http {
        /// What was tried.
        act: &'static str,
        /// Where.
        endpoint: String,
        /// What to do.
        hint: String,
        /// What went wrong.
        source: Box<ureq::Error>,
    },
    /// Its answer exceeds the limits.
    #[error("{act}")]
    Exceeded {
        /// What was tried.
        act: &'static str,
        /// The limit.
        source: ExceededError,
    },
    /// The server answered with an error.
    #[error("{act}: the daemon answered: {message}")]
    Refused {
        /// What was tried.
        act: &'static str,
        /// Its own words.
        message: String,
    },
    /// It has no such image.
    #[error("{act}: {message}")]
    Missing {
        /// What was tried.
        act: &'static str,
        /// Its own words.
        message: String,
    },
    /// We do not know where it is.
    #[error("{0}")]
    Endpoint(String),
    /// What is to be loaded cannot be read.
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
    /// The command that reaches it.
    via: Option<String>,
}

impl Daemon {
    /// The daemon that these options name, else the one that docker's own command line would talk to.
    ///
    /// # Errors
    ///
    /// When its address makes no sense, or its certificates cannot be read.
    pub fn of_user(options: &engine::EngineOptions) -> Result<Self> {
        let of_user = || Endpoint::of_user(options.host.as_deref());
        Self::at(&options.via.as_deref().map_or_else(of_user, |via| Ok(Endpoint::via(via)))?)
    }

    /// The daemon there.
    ///
    /// # Errors
    ///
    /// When its certificates cannot be read.
    pub fn at(endpoint: &Endpoint) -> Result<Self> {
        let (agent, base) = endpoint.agent()?;
        Ok(Self { agent, base, endpoint: endpoint.to_string(), via: endpoint.command().map(str::to_owned) })
    }

    /// Its address, for messages.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The daemon's description of itself.
    ///
    /// # Errors
    ///
    /// When it cannot be asked.
    pub fn info(&self) -> Result<Info> {
        self.get("asking the docker daemon", "/info", &mut Budget::new(&budget::DAEMON))
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
        let act = "asking the docker daemon for its images";
        let mut budget = Budget::new(&budget::DAEMON);
        let images: Vec<Summary> = self.get(act, "/images/json?all=1", &mut budget)?;
        let mut chains = Vec::with_capacity(images.len());
        for Summary { id } in images {
            budget.take_parts(1).map_err(|source| DaemonError::Exceeded { act, source })?;
            // An image may be gone since it was listed.
            if let Some(image) = self.image_within(&id, &mut budget)? {
                chains.push(image.root_fs.layers.unwrap_or_default());
            }
        }
        Ok(chains)
    }

    /// The image of this name or id, if there is one.
    ///
    /// # Errors
    ///
    /// When it cannot be asked.
    pub fn image(&self, name: &str) -> Result<Option<DaemonImage>> {
        self.image_within(name, &mut Budget::new(&budget::DAEMON))
    }

    fn image_within(&self, name: &str, budget: &mut Budget) -> Result<Option<DaemonImage>> {
        let act = "asking the docker daemon for an image";
        or_none(self.get(act, &format!("/images/{}/json?manifests=1", encode(name)), budget))
    }

    /// The names (`NAME:TAG`) of the images in `repository`.
    ///
    /// # Errors
    ///
    /// When it cannot be asked.
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

    /// Names the image `id` as `reference` (`name:tag`); false where it is gone.
    ///
    /// # Errors
    ///
    /// When it cannot be asked or refuses.
    pub fn tag(&self, id: &Digest, reference: &str) -> Result<bool> {
        let act = "naming the image in the docker daemon";
        let (repository, tag) = reference.rsplit_once(':').unwrap_or((reference, "latest"));
        let url = format!("{}/images/{id}/tag?repo={}&tag={}", self.base, encode(repository), encode(tag));
        let mut budget = Budget::new(&budget::DAEMON);
        Ok(or_none(self.text(act, self.agent.post(url).send_empty(), &mut budget))?.is_some())
    }

    /// Removes the name `reference`, and the image with its last one. What is gone already is no error.
    ///
    /// # Errors
    ///
    /// When it cannot be asked or refuses.
    pub fn remove(&self, reference: &str) -> Result<()> {
        let url = format!("{}/images/{}", self.base, encode(reference));
        let answer = self.agent.delete(url).call();
        or_none(self.text("removing a name from the docker daemon", answer, &mut Budget::new(&budget::DAEMON)))
            .map(drop)
    }

    /// The archive that `docker save` writes of the image `name`, in a nameless file.
    ///
    /// # Errors
    ///
    /// When it cannot be asked, or has no such image.
    pub fn save(&self, name: &str) -> Result<File> {
        let act = "reading an image of the docker daemon";
        let response = self.agent.get(format!("{}/images/{}/get", self.base, encode(name))).call();
        let mut response = response.map_err(|source| self.unreachable(act, source))?;
        if response.status() != StatusCode::OK {
            return Err(match self.text(act, Ok(response), &mut Budget::new(&budget::DAEMON)) {
                Err(DaemonError::Missing { message, .. }) => DaemonError::Missing {
                    act,
                    message: format!("it has no image {name} ({message}); `docker images` lists what it has"),
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

/// The daemon's own words, out of their JSON.
fn message(text: &str) -> String {
    #[derive(Deserialize)]
    struct Message {
        message: String,
    }
    let message = serde_json::from_str(text).map(|Message { message }| message);
    message.unwrap_or_else(|_| text.trim().to_owned())
}

/// What there is not is no error.
fn or_none<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(DaemonError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
