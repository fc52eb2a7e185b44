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
//! The modules, in the order of that flow:
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
//! - `cli`: the commands, their arguments, and everything that is printed.
//! - `files`: files written whole or not at all; `sqlite`: databases of images, opened safely; `threads`: work on several threads.
//!
//! [`Recipe`] is the way in for other programs:
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let image = strata::Recipe::open("/nix/store/…-image-hello.json")?;
//! println!("{}", image.config_digest());
//! for place in 0..image.layers.len() {
//!     // The blob is made while it is read, and checked: if a store path has changed, the end is an error.
//!     std::io::copy(&mut image.layer_blob(place)?, &mut std::io::sink())?;
//! }
//! # Ok(())
//! # }
//! ```

// The compiler reports dead code in the build of the program, which uses all modules. Without it, parts have no use.
#![cfg_attr(not(feature = "program"), allow(dead_code, unused_imports))]

pub(crate) mod attest;
#[cfg(feature = "program")]
pub(crate) mod builder;
#[cfg(feature = "program")]
pub(crate) mod cli;
pub(crate) mod closure;
pub(crate) mod files;
pub(crate) mod image;
#[doc(hidden)]
pub mod internals;
pub(crate) mod layer;
pub(crate) mod oci;
pub(crate) mod report;
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
pub use image::{Image, Recipe};
