//! An image in podman's storage: pulled by podman itself from a registry that
//! serves only it, so that layers it has are not sent.

use std::{
    io,
    process::{Command, Output, Stdio},
};

use super::{
    destination::{Holds, Scheme, Sink, WriteError, WriteOptions, Written, one_image, with_tag},
    serve::{Catalogue, ServeError, Server},
};
use crate::{blobs::ImageBlobs, content::Content, oci::Digest};

/// `containers-storage:NAME:TAG`
pub const SCHEME: Scheme = Scheme {
    name: "containers-storage",
    syntax: "containers-storage:NAME:TAG",
    about: "podman, which pulls the layers it lacks",
    holds: Holds::Image,
    parse: |rest| Ok(std::sync::Arc::new(Podman { name: with_tag(rest) })),
};

/// The user's podman, and under which name, if another than the image's own.
#[derive(Debug)]
struct Podman {
    name: Option<String>,
}

impl Sink for Podman {
    fn write(&self, content: &Content, _: &WriteOptions) -> Result<Written, WriteError> {
        let image = one_image(content)?;
        let name = self.name.as_deref().or(image.reference.as_deref());
        let name = name.ok_or("the image has no name; write containers-storage:NAME:TAG")?;
        pull(image, name)?;
        Ok(Written::new(Digest::of(&image.config)))
    }
}

/// Why podman did not take an image.
#[derive(Debug, thiserror::Error)]
pub enum PodmanError {
    /// It could not be started.
    #[error("starting podman; is it installed?")]
    Start(#[source] io::Error),
    /// It failed.
    #[error("{act}: podman failed: {said}")]
    Failed {
        /// What was tried.
        act: &'static str,
        /// Its own words.
        said: String,
    },
    /// The image could not be served.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// Has podman pull `image`, and name it `reference`; the image's id.
///
/// # Errors
///
/// [`PodmanError`].
pub fn pull(image: &ImageBlobs, reference: &str) -> Result<String, PodmanError> {
    // A name of its own, which nothing else in the storage has.
    let name = format!("strata-{}", std::process::id());
    let mut catalogue = Catalogue::default();
    catalogue.add(&name, "latest", vec![image.clone()])?;
    let server = Server::bind("127.0.0.1:0".parse().expect("a loopback address"), catalogue)?;
    let served = format!("{}/{name}:latest", server.address());
    let running = server.spawn()?;
    let pulled = podman("pulling", &["pull", "--quiet", "--tls-verify=false", &served]);
    drop(running);
    let id = pulled?.trim().to_owned();
    podman("naming the image", &["tag", &id, reference])?;
    podman("removing the name it was pulled by", &["untag", &id, &served])?;
    Ok(id)
}

fn podman(act: &'static str, arguments: &[&str]) -> Result<String, PodmanError> {
    let output = Command::new("podman").args(arguments).stdin(Stdio::null()).output().map_err(PodmanError::Start)?;
    let Output { status, stdout, stderr } = output;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    Err(PodmanError::Failed { act, said: String::from_utf8_lossy(&stderr).trim().to_owned() })
}
