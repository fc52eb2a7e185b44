//! [OCI layouts](https://github.com/opencontainers/image-spec/blob/main/image-layout.md): directories with
//! `oci-layout`, `index.json` and `blobs/`.

pub(crate) mod read;
pub(crate) mod write;

use super::kind::{Capacity, Medium, ParseSource, ReadSide, Transport, WriteSide};

/// `oci:DIR[:TAG]`
pub(crate) const TRANSPORT: Transport = Transport {
    name: "oci",
    about: "OCI layout",
    medium: Medium::Directory,
    read: Some(ReadSide { syntax: "oci:DIR[:TAG]", parse: ParseSource::NamedPath }),
    write: WriteSide { syntax: "oci:DIR[:TAG]", holds: Capacity::INDEX, parse: write::parse },
    aliases: &[],
};
