//! Which store paths an image needs, and which layer each goes into.
//!
//! ```text
//! exportReferencesGraph ──▶ Graph ──▶ strategy: paths in order ──▶ Plan: groups, one a layer
//! ```
//!
//! Pure: no I/O, no clock, no threads.

mod graph;
mod plan;
mod popularity;
mod store_path;

pub use graph::{Graph, GraphError, Node, RawNode};
pub use plan::{Plan, Strategy};
pub use popularity::Popularity;
pub use store_path::{ParseStorePathError, StoreDir, StorePath};
