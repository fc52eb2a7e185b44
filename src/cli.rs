//! The command line's types; what each command does is in `command/`.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

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
