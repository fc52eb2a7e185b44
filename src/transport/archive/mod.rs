//! Archives: OCI layouts in a tar, and those of `docker save`.

mod contents;
mod docker;
mod docker_layers;
pub(crate) mod read;
mod tar_file;
pub(crate) mod write;

pub use docker_layers::for_docker;
pub use write::{size, stdout, write, write_all, write_without};
