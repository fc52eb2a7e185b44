//! `strata run`: a container of an image whose store paths are mounted instead of loaded.
//!
//! ```text
//! recipe ──▶ split ──▶ mounts        store paths as they are on this machine, read-only
//!                 └──▶ small image   mount points and everything else, loaded once and shared between runs
//!                                        │
//! docker run --mount … ◀──────┘      the client of the engine has the terminal, the signals and the exit status
//!                 ▲
//! keeper   keeps the store paths from the garbage collector, and removes the container if strata is killed
//! ```
//!
//! The small image has the name `strata-run/NAME:DIGEST`: the same image is never loaded twice, and a new version
//! replaces the old one.

pub(crate) mod client;
pub(crate) mod engine;
pub(crate) mod keeper;
pub(crate) mod options;
pub(crate) mod owners;
pub(crate) mod ready;
pub(crate) mod relay;
pub(crate) mod shared;
pub(crate) mod shell;
pub(crate) mod signals;
pub(crate) mod sources;
pub(crate) mod split;
pub(crate) mod watch;

pub(crate) use engine::{Engine, EngineName};
pub(crate) use split::Split;
