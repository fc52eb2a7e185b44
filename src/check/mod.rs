//! Tests of images: files of container-structure-test, and services that are started and probed.
//!
//! ```text
//! structure-test.yaml ──▶ yaml ──▶ structure ──┬─▶ metadata, file_tests    answered from configuration and layers
//!                                              └─▶ commands ──▶ job ─┐
//! image ──▶ prepare: files unpacked, store paths ───────────────────▶ sandbox: namespaces, without an engine
//!                                     services, scripts ──▶ job ─────┘   or engine: docker, podman
//! image ──▶ harden: findings, each with the argument that fixes it
//! ```
//!
//! `checkImage` (builder) and `strata check` (cli) use the same code.

mod accounts;
pub mod commands;
pub mod engine;
pub mod expand;
mod file_tests;
mod files;
pub mod harden;
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

use crate::{files::Scratch, image::Recipe, run::Split};
use files::ImageFiles;
use user::User;

/// Returns the user of a recipe's config as `UID:GID`, according to the files of the image.
///
/// # Errors
///
/// If the image does not have the user, or cannot be read.
pub fn numeric_user(recipe: &Recipe) -> Result<String> {
    let scratch = Scratch::create()?;
    let files = ImageFiles::unpack(&Split::from_recipe(recipe)?, &scratch.path().join("root"))?;
    let User { uid, gid, .. } = User::find(&recipe.config.user, &files)?;
    Ok(format!("{uid}:{gid}"))
}

use job::{PlanResults, TestPlan};

/// Runs a plan in namespaces.
///
/// # Errors
///
/// If the system does not support namespaces.
#[cfg(target_os = "linux")]
pub fn run(plan: &TestPlan) -> Result<PlanResults> {
    sandbox::run(plan)
}

/// Returns an error: only Linux can run containers.
///
/// # Errors
///
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn run(_: &TestPlan) -> Result<PlanResults> {
    anyhow::bail!("only Linux has the namespaces that containers need; use --engine docker")
}
