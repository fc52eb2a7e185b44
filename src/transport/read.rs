//! The read side of a transport.

use std::{fmt, path::Path, sync::Arc};

use crate::image::{OpenError, Opened, recipe::Provider};
use crate::oci::Reference;

/// A source: a medium, and the choice of an image in it.
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

    /// Returns the file or directory that is read.
    fn file(&self) -> Option<&Path> {
        None
    }
}

/// Options for reaching sources.
///
/// [Example](crate#transport).
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// Options for registries.
    #[cfg(feature = "net")]
    pub registry: super::registry::Options,
    /// The provider of store paths that the machine lacks, for recipes.
    pub provider: Option<Arc<dyn Provider>>,
    /// Options for engines.
    #[cfg(feature = "net")]
    pub engine: super::engine::EngineOptions,
}

/// Checks the name of an image in an engine, which is an argument of the engine's command.
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
