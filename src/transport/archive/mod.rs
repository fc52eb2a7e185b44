//! Archives: OCI layouts in a tar, and those of `docker save`.

mod contents;
mod docker;
pub(crate) mod read;
mod tar_file;
pub(crate) mod write;

pub use write::{size, stdout, write, write_all, write_without};
