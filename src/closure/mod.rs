//! The store paths that an image needs, and their distribution over layers.
//!
//! ```text
//! exportReferencesGraph ──▶ Graph ──▶ Strategy (one per file) ──▶ Plan: one group of paths per layer
//!                                     popularity, auto, transfer, pipeline
//!                                         ▲
//!                           Weights ──▶ cost: the bytes that an update sends
//!                           Graph ────▶ dominators: the paths that a single reference brings in
//! ```
//!
//! This module does no I/O, reads no clock and starts no threads.

mod auto;
pub(crate) mod cost;
mod derivation;
pub(crate) mod dominators;
mod graph;
mod moves;
mod nar_hash;
mod pattern;
pub(crate) mod pipeline;
mod popularity;
mod reach;
mod set;
mod store_path;
mod strategy;
mod transfer;
mod weights;

pub use auto::Auto;
pub use cost::Costs;
pub use derivation::Derivation;
pub use graph::{Graph, Node, RawNode};
pub use nar_hash::parse_nar_hash;
pub use pattern::{PackagePattern, ParsePatternError};
pub use pipeline::Pipeline;
pub use popularity::Popularity;
pub use store_path::{ParseStorePathError, StoreDir, StorePath};
pub use strategy::{Plan, Stable, Strategy};
pub use transfer::Transfer;
pub use weights::{Weights, matches};
