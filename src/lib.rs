//! OCI container images from Nix closures.
//!
//! ```text
//!  exportReferencesGraph      paths, grouped        entries, sorted       bytes
//!  closure ───────────────▶ plan ───────────────▶ tree ───────────────▶ tar ──▶ hash ──▶ descriptor ─┐
//!  (what must be in it)     (which layer)         (what the layer holds)    └─▶ compress              │
//!                                                                                                     ▼
//!  base image ──────────────────────────────────────────────────────────────────▶ image.json (the recipe)
//!                                                                                                     │
//!                  registry · docker daemon · podman · OCI layout · archive · stdout ◀── sink ◀── blobs on demand
//! ```
//!
//! The modules below stand in the order of that flow:
//!
//! - [`closure`]: which store paths there are, and which layer each goes into. Pure.
//! - [`layer`]: the bytes of one layer: tree, tar, hash, compression.
//! - [`oci`]: digests, descriptors, configs, manifests and their one serializer. Pure.
//! - [`files`]: files written whole or not at all; [`threads`]: work that several do at once.
//! - [`image`]: the recipe, and every blob of an image made from it on demand.
//! - [`blobs`]: an image as its blobs, as it travels from any source to any sink.
//! - [`content`]: what is copied, an image or an index with all it lists.
//! - `http`, `registry`, `daemon`, `engine` (feature `net`): talking to servers, to registries, to docker, and to the
//!   commands of other engines.
//! - `substituter` (feature `net`): store paths that the machine lacks, from binary caches.
//! - [`source`]: images written by others, read.
//! - [`sink`]: images written.
//! - [`verify`](mod@verify): every blob hashed again.
//! - [`report`]: images that explain themselves, and what updates of them cost.
//! - [`sbom`]: bills of materials; `sqlite` (feature `program`): databases of images, opened safely.
//!
//! [`Image`] is the way in for other programs:
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let image = strata::Image::open("/nix/store/…-image-hello.json")?;
//! println!("{}", image.config_digest());
//! for place in 0..image.layers.len() {
//!     // Made while it is read, and checked: a store path that changed is an error at the end.
//!     std::io::copy(&mut image.layer_blob(place)?, &mut std::io::sink())?;
//! }
//! # Ok(())
//! # }
//! ```

pub mod blobs;
pub mod closure;
pub mod content;
#[cfg(feature = "net")]
pub mod daemon;
#[cfg(feature = "net")]
pub mod engine;
pub mod files;
#[cfg(feature = "net")]
pub mod http;
pub mod image;
pub mod layer;
pub mod oci;
#[cfg(feature = "net")]
pub mod registry;
pub mod report;
pub mod sbom;
#[cfg(feature = "net")]
pub mod signing;
pub mod sink;
pub mod source;
#[cfg(feature = "program")]
pub mod sqlite;
#[cfg(feature = "net")]
pub mod substituter;
pub mod threads;
pub mod verify;

pub use blobs::ImageBlobs;
pub use image::Image;
