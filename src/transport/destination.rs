//! Where content goes, as users write it: `strata copy`, its help and the README's table know the list in [`WRITE_SCHEMES`]
//! and nothing else.

use std::{fmt, str::FromStr, sync::Arc};

use super::{Holds, Referrers, WriteError, WriteOptions, WriteScheme, WriteTransport, outcome::Outcome};
use crate::{
    image::ManifestGraph,
    oci::name::{self, TaggedName},
};

/// Every medium that strata writes.
pub const WRITE_SCHEMES: &[WriteScheme] = &[
    #[cfg(feature = "net")]
    super::registry::push::SCHEME,
    #[cfg(feature = "net")]
    super::docker::write::SCHEME,
    #[cfg(feature = "net")]
    super::containerd::write::SCHEME,
    #[cfg(feature = "net")]
    super::podman::write::SCHEME,
    super::layout::write::SCHEME,
    super::archive::write::OCI,
    super::archive::write::DOCKER,
    super::dir::write::SCHEME,
];

/// Where content goes, as skopeo users write it.
///
/// [Example](crate#transport).
#[derive(Clone, Debug)]
pub struct Destination {
    scheme: &'static WriteScheme,
    sink: Arc<dyn WriteTransport>,
    text: String,
}

/// Several images are to go where one fits.
#[derive(Debug, thiserror::Error)]
#[error("{scheme}: can hold only one image; omit --all, choose one with --platform, or copy to {others}")]
pub struct HoldsOne {
    scheme: &'static str,
    others: String,
}

/// There is no place for what refers to an image.
#[derive(Debug, thiserror::Error)]
#[error("{0}: has no place for what refers to an image; leave --referrers away, or copy to docker:// or oci:")]
pub struct NoReferrers(&'static str);

impl Destination {
    /// Where what refers to an image goes.
    ///
    /// # Errors
    ///
    /// [`NoReferrers`].
    pub fn referrers(&self) -> Result<&dyn Referrers, NoReferrers> {
        self.sink.referrers().ok_or(NoReferrers(self.scheme.name))
    }

    /// Writes `content` there.
    ///
    /// # Errors
    ///
    /// [`HoldsOne`], and the medium's own.
    pub fn write(&self, content: &ManifestGraph, options: &WriteOptions) -> Result<Outcome, WriteError> {
        self.check_holds(content)?;
        self.sink.write(content, options)
    }

    /// Whether it is pushed to: what [`WriteOptions`] say of registries means nothing elsewhere.
    pub fn is_registry(&self) -> bool {
        self.registry_host().is_some()
    }

    /// The registry host (`HOST[:PORT]`) that is pushed to; `None` for every other medium.
    pub fn registry_host(&self) -> Option<&str> {
        self.sink.registry_host()
    }

    /// Whether the content is written to the standard output.
    pub fn is_stdout(&self) -> bool {
        self.sink.is_stdout()
    }

    /// The name of the medium, such as `docker-daemon`.
    pub fn medium(&self) -> &'static str {
        self.scheme.name
    }

    fn check_holds(&self, content: &ManifestGraph) -> Result<(), HoldsOne> {
        match (content, self.scheme.holds) {
            (ManifestGraph::Image(_), _) | (ManifestGraph::Index(_), Holds::Index) => Ok(()),
            (ManifestGraph::Index(_), Holds::Image) => Err(self.holds_one()),
        }
    }

    /// Refuses an index where one image fits, before anything is read.
    ///
    /// # Errors
    ///
    /// [`HoldsOne`].
    pub fn check_holds_index(&self) -> Result<(), HoldsOne> {
        if self.scheme.holds == Holds::Index { Ok(()) } else { Err(self.holds_one()) }
    }

    fn holds_one(&self) -> HoldsOne {
        let others = WRITE_SCHEMES.iter().filter(|scheme| scheme.holds == Holds::Index).map(|scheme| scheme.syntax);
        HoldsOne { scheme: self.scheme.name, others: others.collect::<Vec<_>>().join(", ") }
    }
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = text.split_once(':').and_then(|(name, rest)| {
            let scheme = WRITE_SCHEMES.iter().find(|scheme| scheme.name == name)?;
            Some((scheme, rest))
        });
        let (scheme, rest) = found.ok_or_else(|| match suggest(text) {
            Some(suggestion) => format!("{suggestion}; destinations are {}", write_syntaxes()),
            None => format!("destinations are {}", write_syntaxes()),
        })?;
        Ok(Self { scheme, sink: (scheme.parse)(rest)?, text: text.to_owned() })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The destination that a text without a known transport may mean.
fn suggest(text: &str) -> Option<String> {
    let known = |name: &str| WRITE_SCHEMES.iter().any(|scheme| scheme.name == name);
    if let Some((name, rest)) = text.split_once(':') {
        let engine = match name {
            "podman" | "buildah" | "cri-o" => Some(("containers-storage", "")),
            "docker" => Some(("docker-daemon", "")),
            "ctr" | "nerdctl" => Some(("containerd", "")),
            "k3s" | "kind" | "minikube" => Some(("containerd", name)),
            _ => None,
        };
        if let Some((scheme, via)) = engine.filter(|(scheme, _)| known(scheme)) {
            let via = if via.is_empty() { String::new() } else { format!(" --via {via}") };
            return Some(format!("for {name}, write {scheme}:{rest}{via}"));
        }
    }
    let is_path = text.starts_with(['/', '.', '~']) || text.ends_with(".tar") || text.contains(".tar.");
    if is_path {
        return Some(format!(
            "for a file, write docker-archive:{text} or oci-archive:{text}, for a directory oci:{text}"
        ));
    }
    let name: TaggedName = text.parse().ok()?;
    if name::split_host(name.as_str()).is_some() {
        return known("docker").then(|| format!("for a registry, write docker://{text}"));
    }
    known("docker-daemon").then(|| {
        format!(
            "for docker, write docker-daemon:{text}, for podman containers-storage:{text}, for a registry docker://HOST/{text}"
        )
    })
}

/// Every way to write a destination, for help.
pub fn write_syntaxes() -> String {
    let all: Vec<&str> = WRITE_SCHEMES.iter().map(|scheme| scheme.syntax).collect();
    format!("{}; FILE may be - for stdout", all.join(", "))
}
