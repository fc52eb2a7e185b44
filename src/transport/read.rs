//! The read side of a transport.

use std::{fmt, path::Path, sync::Arc};

use crate::image::{OpenError, Opened, recipe::Provider};
use crate::oci::Reference;

/// A medium that images are read from, and which of its images to take.
pub trait ReadTransport: fmt::Debug + Send + Sync {
    /// Opens the image or index.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    fn open(&self, access: &ReadOptions) -> Result<Opened, OpenError>;

    /// The reference of the image, if it is in a registry.
    fn registry_reference(&self) -> Option<&Reference> {
        None
    }

    /// The file or directory that is read.
    fn file(&self) -> Option<&Path> {
        None
    }
}

/// How sources are reached.
///
/// [Example](crate#transport).
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// How registries are.
    #[cfg(feature = "net")]
    pub registry: super::registry::Options,
    /// Where recipes find what the machine lacks.
    pub provider: Option<Arc<dyn Provider>>,
    /// How engines are.
    #[cfg(feature = "net")]
    pub engine: super::engine::EngineOptions,
}

/// The name of an image of an engine, which is passed to the engine's command.
#[cfg(feature = "net")]
pub(crate) fn image_name(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("no image is given; write NAME:TAG after the colon".to_owned());
    }
    let is_id = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !is_id {
        text.parse::<Reference>().map_err(|error| error.to_string())?;
    }
    Ok(text.to_owned())
}
