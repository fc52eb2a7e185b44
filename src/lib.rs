//! OCI container images from Nix closures.
//!
//! ```text
//!  exportReferencesGraph      paths, grouped        entries, sorted       bytes
//!  closure ───────────────▶ plan ───────────────▶ tree ───────────────▶ tar ──▶ hash ──▶ descriptor ─┐
//!  (what must be in it)     (which layer)         (what the layer holds)    └─▶ compress              │
//!                                                                                                     ▼
//!  base image ──────────────────────────────────────────────────────────────────▶ image.json (the recipe)
//!                                                                                                     │
//!             registry · docker · containerd · podman · OCI layout · archive · dir ◀── write ◀── blobs on demand
//! ```
//!
//! Four things make up the API. Every item of it links to one of their examples.
//!
//! # Recipe
//!
//! A [`Recipe`] is an image.json: it describes a whole image, and where the bytes of its layers come from. What Nix builds is
//! a recipe; [`Recipe::open`] reads it. A [`RecipeLayer`] is one of its layers.
//!
//! ```
//! use strata::{Config, Recipe};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = tempfile::tempdir()?;
//! let path = directory.path().join("image.json");
//! let config = Config { cmd: vec!["/bin/hello".to_owned()], ..Config::default() };
//! Recipe::new(config, "amd64".to_owned(), None, Vec::new()).save(&path)?;
//!
//! let recipe = Recipe::open(&path)?;
//! assert_eq!(recipe.config.cmd, ["/bin/hello"]);
//! assert_eq!(recipe.manifest().config.digest, recipe.config_digest());
//! # Ok(())
//! # }
//! ```
//!
//! # Image
//!
//! An [`Image`] is one image of one platform, of any origin: its manifest and config as bytes, and its layers as blobs.
//! [`open`] recognises what a path holds, and [`Opened`] chooses among several images. A [`ManifestGraph`] is an image, or an
//! index with all that it lists. [`rehash`] hashes everything again.
//!
//! ```
//! use strata::{Config, Recipe, open, rehash};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("image.json");
//! # Recipe::new(Config::default(), "arm64".to_owned(), None, Vec::new()).save(&path)?;
//! let opened = open(&path)?;
//! let image = opened.image(None)?;
//! println!("{} for {}", image.digest(), image.platform);
//! assert_eq!(image.parse_config()?.architecture, "arm64");
//! assert!(rehash(&opened)?.problems.is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! # Layer
//!
//! A [`LayerBlob`] is a layer of an image. Its bytes are made from store paths, or read from a file or a registry, when they
//! are asked for. A [`BlobReader`] gives its end only if size and digest are those of the [`Descriptor`].
//!
//! ```
//! use std::io::Read;
//!
//! use strata::{Compression, Descriptor, Digest, LayerBlob};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let digest = Digest::sha256(b"bytes of a tar");
//! let descriptor = Descriptor::new(Compression::None.media_type(), digest, 14);
//! let layer = LayerBlob::new(descriptor, digest, || Ok(Box::new(&b"bytes of a tar"[..])));
//! let mut bytes = Vec::new();
//! layer.read().read_to_end(&mut bytes)?;
//! assert_eq!(bytes, b"bytes of a tar");
//!
//! let descriptor = Descriptor::new(Compression::None.media_type(), digest, 13);
//! let changed = LayerBlob::new(descriptor, digest, || Ok(Box::new(&b"bytes of a TAR"[..])));
//! assert!(changed.read().read_to_end(&mut bytes).is_err());
//! # Ok(())
//! # }
//! ```
//!
//! # Transport
//!
//! A transport is where images are: a registry, an engine, a layout, an archive. A [`Location`] is a source and a
//! [`Destination`] a target, as users write them. [`Destination::write`] returns an [`Outcome`].
//!
//! ```
//! use strata::{Config, Destination, Image, Location, ReadOptions, Recipe, WriteOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let recipe = Recipe::new(Config::default(), "amd64".to_owned(), None, Vec::new());
//! let directory = tempfile::tempdir()?;
//! let layout = format!("oci:{}:v1", directory.path().join("layout").display());
//! // Registries are written docker://HOST/NAME:TAG.
//! let outcome = layout.parse::<Destination>()?.write(&Image::from_recipe(&recipe).into(), &WriteOptions::default())?;
//!
//! let opened = layout.parse::<Location>()?.open(&ReadOptions::default())?;
//! assert_eq!(opened.content()?.digest(), outcome.digest);
//! # Ok(())
//! # }
//! ```
//!
//! # Modules
//!
//! The modules are private. In the order of that flow:
//!
//! - `closure`: store paths, the reference graph, and layering strategies. Pure.
//! - `oci`: digests, descriptors, configs, manifests, references, and their one serializer. Pure.
//! - `layer`: the bytes of one layer: tree, tar, NAR, compression, unpacking.
//! - `image`: the recipe (image.json), any image as documents and blobs, the graph of manifests, and rehashing.
//! - `transport`: registries, engines, layouts and archives, each with its read and its write side.
//! - `attest`: SBOMs, provenance, signatures, policies.
//! - `serve`: the read-only registry.
//! - `report`: the models behind explain, diff, plan and budget.
//! - `builder`: what derivations run (`strata build`).
//! - `run`: containers whose store paths are mounted (`strata run`).
//! - `check`: tests of images (`checkImage`, `strata check`).
//! - `cli`: the commands, their arguments, and everything that is printed.
//! - `budget`: limits for every reader of untrusted input.
//! - `mounts`: mounts of scripts and containers; `files`: files written whole or not at all; `sqlite`: databases of images, opened safely; `threads`: work on several threads.

// The compiler reports dead code in the build of the program, which uses all modules. Without it, parts have no use.
#![cfg_attr(not(feature = "program"), allow(dead_code, unused_imports))]

pub(crate) mod attest;
pub(crate) mod budget;
#[cfg(feature = "program")]
pub(crate) mod builder;
pub(crate) mod causes;
#[cfg(feature = "program")]
pub(crate) mod check;
#[cfg(feature = "program")]
pub(crate) mod cli;
pub(crate) mod closure;
pub(crate) mod files;
pub(crate) mod image;
#[doc(hidden)]
pub mod internals;
pub(crate) mod layer;
#[cfg(all(feature = "program", target_os = "linux"))]
pub(crate) mod mounts;
pub(crate) mod oci;
pub(crate) mod report;
#[cfg(feature = "program")]
pub(crate) mod run;
#[cfg(feature = "net")]
pub(crate) mod serve;
#[cfg(feature = "program")]
pub(crate) mod sqlite;
pub(crate) mod terminal;
pub(crate) mod threads;
pub(crate) mod transport;

#[cfg(feature = "program")]
#[doc(hidden)]
pub use cli::main;
pub use image::{
    BlobReader, Choice, Image, ImageError, ImageIndex, LayerBlob, ManifestGraph, OpenError, Opened, Recipe,
    recipe::{Attachment, Compressed, LayerPath, RecipeLayer},
    rehash::{RehashReport, rehash},
};
pub use layer::{LayerError, PathOptions, Perm, Rewrite, compress::Compression};
pub use oci::{
    Algorithm, Config, Descriptor, Digest, History, ImageConfig, Index, Manifest, Platform, Reference, RootFs,
    Timestamp, digest::ParseDigestError, reference::ParseReferenceError, timestamp::ParseTimestampError,
};
pub use transport::{
    Destination, Details, Location, Outcome, ReadOptions, Sent, WriteError, WriteOptions, open,
    progress::{Evidence, Fate, Progress, Silent},
};
#[cfg(feature = "net")]
pub use transport::{
    Loaded, PushDetails,
    engine::EngineOptions,
    registry::{Credentials, HostOptions, Options as RegistryOptions},
};
