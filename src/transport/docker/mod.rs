//! The docker daemon: its API, images read from it, and images loaded into it.

pub(crate) mod api;
pub(crate) mod read;
pub(crate) mod write;

pub use api::{Daemon, DaemonError};
