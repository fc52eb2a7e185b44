//! Archives: OCI layouts in a tar, and archives of `docker save`.

mod contents;
mod docker;
mod docker_layers;
pub(crate) mod read;
mod tar_file;
pub(crate) mod write;

use super::kind::{Capacity, Medium, ParseSource, ReadSide, Transport, WriteSide};
use crate::image::DOCKER_LAYERS_LIMIT;
pub use docker_layers::for_docker;
pub use write::{size, write, write_all, write_without};

/// `oci-archive:FILE[:NAME:TAG]`
pub(crate) const OCI: Transport = Transport {
    name: "oci-archive",
    about: "OCI layout in a tar, uncompressed or compressed (gzip, zstd, xz)",
    medium: Medium::File,
    read: Some(ReadSide { syntax: "oci-archive:FILE[:TAG]", parse: ParseSource::NamedPath }),
    write: WriteSide { syntax: "oci-archive:FILE[:NAME:TAG]", holds: Capacity::INDEX, parse: write::parse_oci },
    aliases: &[],
};

/// `docker-archive:FILE[:NAME:TAG]`
pub(crate) const DOCKER: Transport = Transport {
    name: "docker-archive",
    about: "archive of `docker save`, uncompressed or compressed (gzip, zstd, xz)",
    medium: Medium::File,
    read: Some(ReadSide { syntax: "docker-archive:FILE[:NAME:TAG]", parse: ParseSource::NamedPath }),
    write: WriteSide {
        syntax: "docker-archive:FILE[:NAME:TAG]",
        holds: Capacity { index: false, layers: Some(DOCKER_LAYERS_LIMIT), zstd: false },
        parse: write::parse_docker,
    },
    aliases: &[],
};
