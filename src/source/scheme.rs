//! What a medium is that images are read from: a [`Scheme`] and a [`Source`], in a file of its own.

use std::{fmt, sync::Arc};

use super::{Opened, SourceError};
use crate::image::Provider;
#[cfg(feature = "net")]
use crate::oci::Reference;

/// A kind of source, and how it is written on the command line.
#[derive(Debug)]
pub struct Scheme {
    /// What stands before the first colon.
    pub name: &'static str,
    /// The whole of it, for help: `oci:DIR[:TAG]`.
    pub syntax: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// Reads what follows the first colon.
    pub parse: fn(&str) -> Result<Arc<dyn Source>, String>,
}

/// A medium that images are read from, and which of its images to take.
pub trait Source: fmt::Debug + Send + Sync {
    /// Opens the image or index.
    ///
    /// # Errors
    ///
    /// [`SourceError`].
    fn open(&self, access: &Access) -> Result<Opened, SourceError>;

    /// The registry host (`HOST[:PORT]`) that the image is in.
    fn registry_host(&self) -> Option<&str> {
        None
    }
}

/// How sources are reached.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// How registries are.
    #[cfg(feature = "net")]
    pub registry: crate::registry::Options,
    /// Where recipes find what the machine lacks.
    pub provider: Option<Arc<dyn Provider>>,
    /// How engines are.
    #[cfg(feature = "net")]
    pub engine: crate::engine::Options,
}

/// The name of an image of an engine, which is passed to the engine's command.
#[cfg(feature = "net")]
pub(super) fn image_name(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("no image is given; write NAME:TAG after the colon".to_owned());
    }
    let is_id = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !is_id {
        text.parse::<Reference>().map_err(|error| error.to_string())?;
    }
    Ok(text.to_owned())
}
