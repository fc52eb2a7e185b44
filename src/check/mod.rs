//! Tests of images: the files of container-structure-test, and services that are started and probed.
//!
//! ```text
//! structure-test.yaml ──▶ yaml ──▶ structure: command, file and metadata tests
//! ```

pub mod expand;
pub mod pattern;
pub mod structure;
pub mod yaml;

pub use structure::Structure;
