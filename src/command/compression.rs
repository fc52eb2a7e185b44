//! `--compression`

use clap::ValueEnum;
use strata::layer::compress::Compression;

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
