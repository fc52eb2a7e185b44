//! The docker daemon: its API, images read from it, and images loaded into it.

pub(crate) mod api;
pub(crate) mod read;
pub(crate) mod write;

use super::kind::{Capacity, Engine, Medium, ParseSource, ReadSide, Transport, WriteSide};
use crate::image::DOCKER_LAYERS_LIMIT;
pub use api::{Daemon, DaemonError};

/// `docker-daemon:NAME:TAG`
pub(crate) const TRANSPORT: Transport = Transport {
    name: "docker-daemon",
    about: "docker daemon",
    medium: Medium::Engine(Engine { name: "docker", has_namespaces: false, has_address: true }),
    read: ReadSide { syntax: "docker-daemon:NAME[:TAG]", parse: ParseSource::Own(read::parse) },
    write: WriteSide {
        syntax: "docker-daemon:NAME:TAG",
        holds: Capacity { layers: Some(DOCKER_LAYERS_LIMIT), ..Capacity::IMAGE },
        parse: write::parse,
    },
    aliases: &[],
};
