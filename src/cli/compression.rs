//! `--compression`

use crate::layer::compress::Compression;
use clap::ValueEnum;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum CompressionArgument {
    None,
    Gzip,
    Zstd,
    #[value(name = "zstd:chunked")]
    ZstdChunked,
}

impl From<CompressionArgument> for Compression {
    fn from(argument: CompressionArgument) -> Self {
        match argument {
            CompressionArgument::None => Self::None,
            CompressionArgument::Gzip => Self::Gzip,
            CompressionArgument::Zstd => Self::Zstd,
            CompressionArgument::ZstdChunked => Self::ZstdChunked,
        }
    }
}
