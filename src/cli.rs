//! The command line's types; what each command does is in `command/`.

use std::path::PathBuf;

#[cfg(feature = "net")]
use clap::Args;
use clap::{Parser, Subcommand};

#[cfg(feature = "net")]
use crate::command::Destination;

/// OCI container images from Nix closures.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run by derivations only.
    #[command(hide = true)]
    Build,
    /// Copy an image to a registry, a layout or an archive; send only what is missing, and print its digest.
    #[cfg(feature = "net")]
    Copy(Box<CopyArguments>),
    /// Write an image to stdout as an archive, for `| docker load`.
    Stream {
        /// An image.json.
        image: PathBuf,
        /// Tag the image so, as NAME:TAG.
        #[arg(short = 't', long = "repo-tag", visible_alias = "repo_tag", value_name = "NAME:TAG")]
        repo_tag: Option<String>,
    },
    /// Show an image's config and layers.
    Inspect {
        /// An image.json, an OCI layout, an OCI archive or a docker archive.
        image: PathBuf,
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// The config blob as it is.
        #[arg(long, conflicts_with = "json")]
        raw: bool,
    },
    /// Hash everything again; exit with 1 and say what is wrong if anything is.
    Verify {
        /// An image.json, an OCI layout, an OCI archive or a docker archive.
        image: PathBuf,
    },
}

#[cfg(feature = "net")]
#[derive(Debug, Args)]
pub struct CopyArguments {
    /// An image.json, or an OCI layout.
    pub image: PathBuf,
    /// docker://HOST/NAME:TAG, oci:DIR[:TAG], docker-archive:FILE[:NAME:TAG] or oci-archive:FILE[:NAME:TAG].
    pub destination: Destination,
    /// A further tag; may be given several times.
    #[arg(long, value_name = "TAG")]
    pub additional_tag: Vec<String>,
    /// Every image of a layout, with the index that lists them.
    #[arg(long)]
    pub all: bool,
    /// How layers are compressed for a registry.
    #[arg(long, value_enum, default_value_t = CompressionArgument::Gzip)]
    pub compression: CompressionArgument,
    /// Another repository of the same registry, to take blobs from; may be given several times.
    #[arg(long, value_name = "REPOSITORY")]
    pub mount_from: Vec<String>,
    /// Another tag of the repository, whose layers may be the same; may be given several times.
    #[arg(long, value_name = "TAG")]
    pub cache_from: Vec<String>,
    /// Log in so. Others can read arguments: stored credentials are better.
    #[arg(long, value_name = "USER:PASSWORD", visible_alias = "creds")]
    pub dest_creds: Option<String>,
    /// Where credentials are stored, instead of docker's and podman's places.
    #[arg(long, value_name = "FILE", visible_alias = "dest-authfile")]
    pub authfile: Option<PathBuf>,
    /// Whether the registry's certificate is checked; without, plain HTTP will do too.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub dest_tls_verify: bool,
    /// Say nothing of what is sent.
    #[arg(short, long)]
    pub quiet: bool,
}

#[cfg(feature = "net")]
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum CompressionArgument {
    None,
    Gzip,
    Zstd,
}

#[cfg(feature = "net")]
impl From<CompressionArgument> for strata::layer::compress::Compression {
    fn from(argument: CompressionArgument) -> Self {
        match argument {
            CompressionArgument::None => Self::None,
            CompressionArgument::Gzip => Self::Gzip,
            CompressionArgument::Zstd => Self::Zstd,
        }
    }
}
