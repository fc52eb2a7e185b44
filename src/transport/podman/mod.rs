//! podman's storage, through its own command.

pub(crate) mod read;
pub(crate) mod write;
