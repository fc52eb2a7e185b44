//! The write side of a transport.

use std::{
    error::Error,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    outcome::Outcome,
    progress::{Progress, Silent},
};
use crate::{
    image::ManifestGraph,
    layer::compress::Compression,
    oci::{
        Digest, Reference,
        name::{ParseNameError, TaggedName},
    },
};

/// A destination.
pub trait WriteTransport: fmt::Debug + Send + Sync {
    /// Writes `content` completely or not at all. An index is only written to destinations that hold one.
    ///
    /// # Errors
    ///
    /// Those of the medium.
    fn write(&self, content: &ManifestGraph, options: &WriteOptions) -> Result<Outcome, WriteError>;

    /// Returns the reference if the destination is in a registry. Options for registries have no effect on other
    /// destinations.
    fn registry_reference(&self) -> Option<&Reference> {
        None
    }

    /// Whether the content is written to the standard output.
    fn is_stdout(&self) -> bool {
        false
    }

    /// Returns the file that is replaced.
    fn file(&self) -> Option<&Path> {
        None
    }

    /// Returns the side that writes referrers, or `None` if the medium cannot hold them.
    fn referrers(&self) -> Option<&dyn Referrers> {
        None
    }
}

/// A medium that stores the referrers of images: signatures, SBOMs, attestations.
pub trait Referrers {
    /// Writes `referrer` by its digest, byte for byte.
    ///
    /// # Errors
    ///
    /// Those of the medium.
    fn add(&self, referrer: &ManifestGraph, options: &WriteOptions) -> Result<(), WriteError>;
}

/// The error of writing content.
///
/// [Example](crate#transport).
pub type WriteError = Box<dyn Error + Send + Sync>;

/// Signs a manifest of the client's repository.
#[cfg(feature = "net")]
pub type SignDocument =
    dyn Fn(&super::registry::Client, &crate::oci::Descriptor) -> Result<(), WriteError> + Send + Sync;

/// Options for writing.
///
/// [Example](crate#transport).
#[derive(Clone)]
pub struct WriteOptions {
    /// Additional tags.
    pub additional_tags: Vec<String>,
    /// The compression of uncompressed layers in a registry.
    pub compression: Compression,
    /// The compression level. `None` is the default of the format.
    pub level: Option<i32>,
    /// Other repositories of the same registry from which blobs can be mounted.
    pub mount_from: Vec<String>,
    /// Other tags of the repository, whose images may share layers.
    pub cache_from: Vec<String>,
    /// The place of the document of known layers, which later pushes use.
    pub cache_to: Option<String>,
    /// Keys whose signatures make the layers that a registry's images list trusted in a push.
    #[cfg(feature = "net")]
    pub trusted_keys: Vec<crate::attest::VerifyingKey>,
    /// Whether a push trusts unsigned images as well.
    pub trust_tags: bool,
    /// Layers that stay in a cache besides those of the image, by their diff_ids; `None` if all others stay.
    pub prune: Option<Vec<Digest>>,
    /// Signs the document of known layers that `cache_to` names.
    #[cfg(feature = "net")]
    pub sign: Option<Arc<SignDocument>>,
    /// Options for reaching registries.
    #[cfg(feature = "net")]
    pub registry: super::registry::Options,
    /// Options for reaching engines.
    #[cfg(feature = "net")]
    pub engine: super::engine::EngineOptions,
    /// The state that pushes of several images share.
    #[cfg(feature = "net")]
    pub shared: Option<Arc<super::registry::shared::SharedBlobs>>,
    /// The receiver of progress events.
    pub progress: Arc<dyn Progress>,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            additional_tags: Vec::new(),
            compression: Compression::Gzip,
            level: None,
            mount_from: Vec::new(),
            cache_from: Vec::new(),
            cache_to: None,
            #[cfg(feature = "net")]
            trusted_keys: Vec::new(),
            trust_tags: false,
            prune: None,
            #[cfg(feature = "net")]
            sign: None,
            #[cfg(feature = "net")]
            registry: super::registry::Options::default(),
            #[cfg(feature = "net")]
            engine: super::engine::EngineOptions::default(),
            #[cfg(feature = "net")]
            shared: None,
            progress: Arc::new(Silent),
        }
    }
}

/// Splits `PATH[:NAME]`. As in skopeo, an empty name is no name.
pub(crate) fn path_and_name(rest: &str) -> Result<(PathBuf, Option<String>), String> {
    let (path, name) = rest.split_once(':').unwrap_or((rest, ""));
    // `oci:/a:b/layout` would write to /a, although the directory /a:b exists.
    if let Some(directory) = Path::new(rest).parent().filter(|parent| name.contains('/') && parent.is_dir()) {
        let directory = directory.display();
        return Err(format!("a path ends at its first colon, and the directory {directory} has one; write to another"));
    }
    Ok((some_path(path)?, (!name.is_empty()).then(|| name.to_owned())))
}

/// Returns the path, which must not be empty.
pub(crate) fn some_path(path: &str) -> Result<PathBuf, String> {
    if path.is_empty() { Err("the path is missing".to_owned()) } else { Ok(path.into()) }
}

/// Parses `[NAME[:TAG]]`. Returns `None` if it is empty.
pub(crate) fn parse_name(text: &str) -> Result<Option<TaggedName>, String> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|error: ParseNameError| error.to_string()) }
}

/// Returns the name that the user gave, or else that of the image, which may come from an untrusted archive.
///
/// # Errors
///
/// If the image's own name is invalid in an engine. `syntax` describes how to give a name.
pub(crate) fn name_for(
    given: Option<&TaggedName>,
    image_name: Option<&str>,
    syntax: &str,
) -> Result<Option<TaggedName>, WriteError> {
    match (given, image_name) {
        (Some(name), _) => Ok(Some(name.clone())),
        (None, Some(image_name)) => match image_name.parse() {
            Ok(name) => Ok(Some(name)),
            Err(error) => {
                Err(format!("the name of the image: {error}; to give it another name, write {syntax}").into())
            }
        },
        (None, None) => Ok(None),
    }
}

/// Returns the only image, for destinations that hold one.
pub(crate) fn one_image(content: &ManifestGraph) -> Result<&crate::image::Image, WriteError> {
    match content {
        ManifestGraph::Image(image) => Ok(image),
        ManifestGraph::Index(_) => Err("this destination cannot hold an index".into()),
    }
}
