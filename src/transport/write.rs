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
        Reference,
        name::{ParseNameError, TaggedName},
    },
};

/// A medium that content is written to.
pub trait WriteTransport: fmt::Debug + Send + Sync {
    /// Writes `content`, whole or not at all. An index is only given to sinks that hold one.
    ///
    /// # Errors
    ///
    /// The medium's own.
    fn write(&self, content: &ManifestGraph, options: &WriteOptions) -> Result<Outcome, WriteError>;

    /// The reference that is pushed to, if it is in a registry; options for registries have no effect elsewhere.
    fn registry_reference(&self) -> Option<&Reference> {
        None
    }

    /// Whether the content is written to the standard output.
    fn is_stdout(&self) -> bool {
        false
    }

    /// The file that is replaced.
    fn file(&self) -> Option<&Path> {
        None
    }

    /// Where the referrers of an image are written; `None` if the medium cannot hold them.
    fn referrers(&self) -> Option<&dyn Referrers> {
        None
    }
}

/// A medium that keeps the referrers of images: signatures, SBOMs, attestations.
pub trait Referrers {
    /// Writes `referrer`, known by its digest alone, byte for byte.
    ///
    /// # Errors
    ///
    /// The medium's own.
    fn add(&self, referrer: &ManifestGraph, options: &WriteOptions) -> Result<(), WriteError>;
}

/// Why content could not be written.
///
/// [Example](crate#transport).
pub type WriteError = Box<dyn Error + Send + Sync>;

/// Signs a manifest of the client's repository.
#[cfg(feature = "net")]
pub type SignDocument =
    dyn Fn(&super::registry::Client, &crate::oci::Descriptor) -> Result<(), WriteError> + Send + Sync;

/// How to write.
///
/// [Example](crate#transport).
#[derive(Clone)]
pub struct WriteOptions {
    /// Further tags.
    pub additional_tags: Vec<String>,
    /// How plain layers are compressed for a registry.
    pub compression: Compression,
    /// How hard; `None` is the format's own.
    pub level: Option<i32>,
    /// Other repositories of the same registry to take blobs from.
    pub mount_from: Vec<String>,
    /// Other tags of the repository, whose layers may be the same.
    pub cache_from: Vec<String>,
    /// Where layers are noted, for pushes that take them over.
    pub cache_to: Option<String>,
    /// Keys whose signatures make the layers that a registry's images list trusted in a push.
    #[cfg(feature = "net")]
    pub trusted_keys: Vec<crate::attest::VerifyingKey>,
    /// Whether a push trusts unsigned images as well.
    pub trust_tags: bool,
    /// Signs the document of known layers that `cache_to` names.
    #[cfg(feature = "net")]
    pub sign: Option<Arc<SignDocument>>,
    /// How registries are reached.
    #[cfg(feature = "net")]
    pub registry: super::registry::Options,
    /// How engines are reached.
    #[cfg(feature = "net")]
    pub engine: super::engine::EngineOptions,
    /// What pushes of many images share.
    #[cfg(feature = "net")]
    pub shared: Option<Arc<super::registry::shared::Shared>>,
    /// Who is told of each blob.
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

/// `PATH[:NAME]` as a path and a name, which as in skopeo may be empty for none.
pub(crate) fn path_and_name(rest: &str) -> Result<(PathBuf, Option<String>), String> {
    let (path, name) = rest.split_once(':').unwrap_or((rest, ""));
    // `oci:/a:b/layout` would write to /a, although the directory /a:b is there.
    if let Some(directory) = Path::new(rest).parent().filter(|parent| name.contains('/') && parent.is_dir()) {
        let directory = directory.display();
        return Err(format!("a path ends at its first colon, and the directory {directory} has one; write to another"));
    }
    Ok((some_path(path)?, (!name.is_empty()).then(|| name.to_owned())))
}

/// The path, which must not be empty.
pub(crate) fn some_path(path: &str) -> Result<PathBuf, String> {
    if path.is_empty() { Err("the path is missing".to_owned()) } else { Ok(path.into()) }
}

/// `[NAME[:TAG]]`; `None` if it is empty.
pub(crate) fn parse_name(text: &str) -> Result<Option<TaggedName>, String> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|error: ParseNameError| error.to_string()) }
}

/// The name that the user gave, or else the image's own, which may come from an untrusted archive.
///
/// # Errors
///
/// If the image's own name cannot name an image of an engine; `syntax` is how a name is given.
pub(crate) fn name_for(
    given: Option<&TaggedName>,
    own: Option<&str>,
    syntax: &str,
) -> Result<Option<TaggedName>, WriteError> {
    match (given, own) {
        (Some(name), _) => Ok(Some(name.clone())),
        (None, Some(own)) => match own.parse() {
            Ok(name) => Ok(Some(name)),
            Err(error) => {
                Err(format!("the name of the image: {error}; to give it another name, write {syntax}").into())
            }
        },
        (None, None) => Ok(None),
    }
}

/// The one image, for sinks that hold no more.
pub(crate) fn one_image(content: &ManifestGraph) -> Result<&crate::image::Image, WriteError> {
    match content {
        ManifestGraph::Image(image) => Ok(image),
        ManifestGraph::Index(_) => Err("this destination cannot hold an index".into()),
    }
}
