//! The docker daemon: its API, reading images, and loading images.

pub(crate) mod api;
pub(crate) mod read;
pub(crate) mod write;

use super::kind::{Capacity, EngineTransport, Medium, ParseSource, ReadSide, Transport, WriteSide};
use crate::image::DOCKER_LAYERS_LIMIT;
pub use api::{Daemon, DaemonError};

/// `docker-daemon:NAME:TAG`
pub(crate) const TRANSPORT: Transport = Transport {
    name: "docker-daemon",
    about: "docker daemon",
    medium: Medium::Engine(EngineTransport {
        name: "docker",
        has_namespaces: false,
        has_snapshotters: false,
        has_address: true,
    }),
    read: Some(ReadSide { syntax: "docker-daemon:NAME[:TAG]", parse: ParseSource::Own(read::parse) }),
    write: WriteSide {
        syntax: "docker-daemon:NAME:TAG",
        holds: Capacity { layers: Some(DOCKER_LAYERS_LIMIT), ..Capacity::IMAGE },
        parse: write::parse,
    },
    aliases: &[],
};
