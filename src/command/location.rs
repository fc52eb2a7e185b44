//! Where an image is, as skopeo users write it: `docker://…`, `oci:DIR[:TAG]`, a plain path, and so on.

use std::{path::PathBuf, str::FromStr};

use anyhow::{Context, Result};
use strata::ImageBlobs;
use strata::registry::{self, Client, ParseReferenceError, Reference};
use strata::source::Remote;
use strata::{
    oci::Platform,
    source::{self, Choice, Opened},
};

/// Where an image comes from.
#[derive(Clone, Debug)]
pub enum Location {
    Registry(Reference),
    /// A path, and which image of several there.
    Path(PathBuf, Choice),
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let split = |rest: &str| {
            let (path, name) = rest.split_once(':').map_or((rest, None), |(path, name)| (path, Some(name)));
            let (name, tag) = match name.and_then(|name| name.rsplit_once(':')) {
                Some((name, tag)) => (Some(name.to_owned()), Some(tag.to_owned())),
                None => (None, name.map(str::to_owned)),
            };
            Self::Path(path.into(), Choice { name, tag, platform: None })
        };
        match text.split_once(':') {
            Some(("docker", rest)) => {
                let reference = rest.strip_prefix("//").ok_or("write docker://HOST/NAME:TAG")?;
                reference.parse().map(Self::Registry).map_err(|error: ParseReferenceError| error.to_string())
            }
            Some(("oci" | "oci-archive" | "docker-archive", rest)) => Ok(split(rest)),
            Some(("dir", rest)) => Ok(Self::Path(rest.into(), Choice::default())),
            _ => Ok(Self::Path(text.into(), Choice::default())),
        }
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Registry(reference) => write!(f, "docker://{reference}"),
            Self::Path(path, _) => write!(f, "{}", path.display()),
        }
    }
}

/// An image, or several, opened.
#[derive(Debug)]
pub enum Source {
    Remote(Remote),
    Local(Opened, Choice),
}

impl Location {
    /// Opens what is there; `options` are for registries.
    pub fn open(&self, options: &registry::Options) -> Result<Source> {
        match self {
            Self::Registry(reference) => {
                let options = registry::Options { read_only: true, ..options.clone() };
                let client =
                    Client::new(reference, &options).with_context(|| format!("connecting to {}", reference.host))?;
                Ok(Source::Remote(Remote::open(client, reference)?))
            }
            Self::Path(..) => {
                let (opened, choice) = self.open_local(false)?;
                Ok(Source::Local(opened, choice))
            }
        }
    }

    /// Opens what is at a path; with `hash`, its blobs are hashed.
    pub fn open_local(&self, hash: bool) -> Result<(Opened, Choice)> {
        match self {
            Self::Registry(reference) => {
                anyhow::bail!("docker://{reference} is in a registry; copy it to an oci: layout first")
            }
            Self::Path(path, choice) => {
                let text = path.to_string_lossy();
                // The commonest mistake: a reference without its transport.
                let is_reference = !path.exists() && text.contains('/') && !text.starts_with(['/', '.']);
                let opened = source::open(path, hash).map_err(anyhow::Error::from);
                let opened = match is_reference {
                    true => opened.with_context(|| format!("for an image of a registry, write docker://{text}"))?,
                    false => opened?,
                };
                Ok((opened, choice.clone()))
            }
        }
    }
}

impl Source {
    /// The one image that is meant.
    pub fn blobs(&self, platform: Option<&Platform>) -> Result<ImageBlobs> {
        let platform = Some(platform.cloned().unwrap_or_else(own_platform));
        Ok(match self {
            Self::Remote(remote) => remote.blobs(&Choice { platform, ..Choice::default() })?,
            Self::Local(opened, choice) => opened.blobs(&Choice { platform, ..choice.clone() })?,
        })
    }

    /// Every image there.
    pub fn all_blobs(&self) -> Result<Vec<ImageBlobs>> {
        Ok(match self {
            Self::Remote(remote) => remote.all_blobs()?,
            Self::Local(opened, _) => opened.all_blobs()?,
        })
    }
}

/// This machine: where there is a choice and nobody says, an image for it is meant.
pub fn own_platform() -> Platform {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    };
    Platform::linux(architecture, None)
}

/// `OS/ARCHITECTURE[/VARIANT]`
pub fn parse_platform(text: &str) -> Result<Platform, String> {
    let mut parts = text.split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(os), Some(architecture), variant, None) if !os.is_empty() && !architecture.is_empty() => {
            Ok(Platform { os: os.to_owned(), ..Platform::linux(architecture, variant) })
        }
        _ => Err("write it like linux/arm64 or linux/arm/v7".to_owned()),
    }
}
