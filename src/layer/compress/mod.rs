//! Compressed bytes; one file a format.
//!
//! Output depends on the input alone: block sizes and levels are constants, and
//! which thread compresses a block does not matter.

mod gzip;

pub use gzip::GzipWriter;
