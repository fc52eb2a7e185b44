//! containerd, through its command `ctr`.

mod error;
pub(crate) mod read;
mod snapshotter;
pub(crate) mod write;

use error::ContainerdError;

use super::kind::{Capacity, EngineTransport, Medium, ParseSource, ReadSide, Transport, WriteSide};

/// `containerd:NAME:TAG`
pub(crate) const TRANSPORT: Transport = Transport {
    name: "containerd",
    about: "containerd, also on a Kubernetes node",
    medium: Medium::Engine(EngineTransport {
        name: "containerd",
        has_namespaces: true,
        has_snapshotters: true,
        has_address: false,
    }),
    read: Some(ReadSide { syntax: "containerd:NAME[:TAG]", parse: ParseSource::Own(read::parse) }),
    write: WriteSide { syntax: "containerd:NAME:TAG", holds: Capacity::IMAGE, parse: write::parse },
    aliases: &[
        ("ctr", ""),
        ("nerdctl", ""),
        ("k3s", " --via k3s"),
        ("kind", " --via kind"),
        ("minikube", " --via minikube"),
    ],
};
