//! podman's storage, through podman's command.

pub(crate) mod read;
pub(crate) mod write;

use super::kind::{Capacity, EngineTransport, Medium, ParseSource, ReadSide, Transport, WriteSide};

/// `containers-storage:NAME:TAG`
pub(crate) const TRANSPORT: Transport = Transport {
    name: "containers-storage",
    about: "podman",
    medium: Medium::Engine(EngineTransport {
        name: "podman",
        has_namespaces: false,
        has_snapshotters: false,
        has_address: false,
    }),
    read: Some(ReadSide { syntax: "containers-storage:NAME[:TAG]", parse: ParseSource::Own(read::parse) }),
    write: WriteSide { syntax: "containers-storage:NAME:TAG", holds: Capacity::IMAGE, parse: write::parse },
    aliases: &[("podman", ""), ("buildah", ""), ("cri-o", "")],
};
