//! Tests of images: the files of container-structure-test, and services that are started and probed.
//!
//! ```text
//! structure-test.yaml ──▶ yaml ──▶ structure ──┬─▶ metadata, file_tests    answered from configuration and layers
//!                                              └─▶ commands ──▶ job ─┐
//! image ──▶ prepare: files unpacked, store paths ───────────────────▶ sandbox: namespaces, without an engine
//!                                     services, scripts ──▶ job ─────┘   or engine: docker, podman
//! ```
//!
//! `checkImage` (builder) and `strata check` (cli) use the same code.

pub mod commands;
pub mod engine;
pub mod expand;
mod file_tests;
mod files;
pub mod job;
pub mod junit;
mod metadata;
pub mod pattern;
pub mod prepare;
pub mod results;
#[cfg(target_os = "linux")]
pub mod sandbox;
pub mod signal;
mod streams;
pub mod structure;
pub mod suite;
mod user;
pub mod yaml;

use anyhow::Result;

pub use structure::Structure;

use job::{Answer, Plan};

/// Runs a plan in namespaces.
///
/// # Errors
///
/// If the system has none.
#[cfg(target_os = "linux")]
pub fn run(plan: &Plan) -> Result<Answer> {
    sandbox::run(plan)
}

/// Only Linux runs containers.
///
/// # Errors
///
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn run(_: &Plan) -> Result<Answer> {
    anyhow::bail!("only Linux has the namespaces that containers need; use --engine docker")
}
