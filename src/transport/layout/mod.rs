//! [OCI layouts](https://github.com/opencontainers/image-spec/blob/main/image-layout.md): directories with
//! `oci-layout`, `index.json` and `blobs/`.

pub(crate) mod read;
pub(crate) mod write;
