//! The command line's types; what each command does is in `command/`.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use clap::{Parser, Subcommand};

use strata::{
    oci::Platform,
    registry::Reference,
    sink::{self, Destination},
    source::{self, Location},
};

use crate::command::{
    Access, CopyAccess, FleetArguments, IndexArguments, LockArguments, LoginArguments, LogoutArguments, MakesArguments,
    Named, SubstituterArguments, parse_platform, parse_reference,
};
use crate::derivation::Moment;

use crate::command::{
    AttachArguments, Attachments, BudgetArguments, PlanArguments, SbomArguments, VerifyArguments, Wanted,
};

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
    #[command(
        after_help = "Examples:\n  strata copy result docker://registry.example.com/app:v1\n  strata copy result docker-daemon:\n  strata copy docker://alpine:3.20 oci:alpine:3.20 --all"
    )]
    Copy(Box<CopyArguments>),
    /// Serve images as a registry that is read-only, straight from the store; print their references.
    #[command(
        after_help = "Examples:\n  strata serve result\n  strata serve --listen 0.0.0.0:5000 app:v1=result other:v2=archive.tar"
    )]
    Serve {
        /// What `copy` reads, each under a name of its own or as NAME:TAG=IMAGE.
        #[arg(required = true, value_name = "[NAME:TAG=]IMAGE")]
        images: Vec<Named>,
        /// Where to listen; port 0 is any that is free. Only this machine reaches loopback addresses.
        #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5000")]
        listen: SocketAddr,
        #[command(flatten)]
        substituters: SubstituterArguments,
    },
    /// Pull an image into a directory, as `skopeo copy docker://REF dir:DIR` does, and print its digest.
    #[command(
        after_help = "Examples:\n  strata pull docker.io/library/alpine:3.20 alpine\n  strata pull quay.io/org/app@sha256:… app --platform linux/arm64"
    )]
    Pull {
        /// [docker://]HOST/NAME[:TAG|@DIGEST]
        #[arg(value_name = "REF", value_parser = parse_reference)]
        reference: Reference,
        /// The directory; created if it does not exist.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// The image for this machine, where there are several.
        #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = parse_platform)]
        platform: Option<Platform>,
        #[command(flatten)]
        access: Access,
    },
    /// Print an image's raw manifest, as a registry has it.
    #[command(
        after_help = "Examples:\n  strata manifest alpine:3.20 > manifest.json\n  strata manifest alpine:3.20 --index"
    )]
    Manifest {
        /// [docker://]HOST/NAME[:TAG|@DIGEST]
        #[arg(value_name = "REF", value_parser = parse_reference)]
        reference: Reference,
        /// The index, where there is one, not the manifest of one platform.
        #[arg(long, conflicts_with = "platform")]
        index: bool,
        /// The image for this machine, where there are several.
        #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = parse_platform)]
        platform: Option<Platform>,
        /// The list of what refers to the image (signatures, lists of its parts), as an index.
        #[arg(long, conflicts_with = "index")]
        referrers: bool,
        #[command(flatten)]
        access: Access,
    },
    /// Join images of a registry, one for each platform, into one index.
    #[command(
        after_help = "Examples:\n  strata index docker://ghcr.io/me/app:v1 ghcr.io/me/app:v1-amd64 ghcr.io/me/app:v1-arm64"
    )]
    Index(IndexArguments),
    /// Log in to a registry; the password is kept as docker keeps it.
    #[command(
        after_help = "Examples:\n  strata login ghcr.io --username me\n  pass show ghcr | strata login ghcr.io --username me --password-stdin"
    )]
    Login(LoginArguments),
    /// Log out of a registry.
    #[command(after_help = "Examples:\n  strata logout ghcr.io")]
    Logout(LogoutArguments),
    /// Lock a base image for lockedImage: its manifests and configs, and none of its layers.
    #[command(
        after_help = "Examples:\n  strata lock docker://alpine:3.20 > alpine.json\n  strata lock --update alpine.json"
    )]
    Lock(LockArguments),
    /// Write an image to stdout as an archive, for `| docker load`.
    #[command(
        after_help = "Examples:\n  strata stream result | docker load\n  strata stream result --repo-tag app:v2 | podman load"
    )]
    Stream {
        /// What `copy` reads.
        image: Location,
        /// Tag the image so, as NAME:TAG.
        #[arg(short = 't', long = "repo-tag", visible_alias = "repo_tag", value_name = "NAME:TAG")]
        repo_tag: Option<String>,
        /// When the image says it was made, as in RFC 3339, or now.
        #[arg(long, value_name = "TIME", overrides_with = "created")]
        created: Option<Moment>,
    },
    /// Explain an image: what is in each layer, why it is there, and what an update sends.
    #[command(
        after_help = "Examples:\n  strata explain result\n  strata explain result --why openssl\n  strata explain result --html page.html"
    )]
    Explain {
        /// What `copy` reads.
        image: Location,
        #[command(flatten)]
        wanted: Wanted,
        #[command(flatten)]
        access: Access,
    },
    /// Attach a document to an image of a registry, where scanners and policies look for it; print its digest.
    #[command(
        after_help = "Examples:\n  strata attach docker://registry.example.com/app:v1 bom.json --type application/vnd.cyclonedx+json"
    )]
    Attach(Box<AttachArguments>),
    /// Write an image's bill of materials, for scanners; compare two.
    #[command(after_help = "Examples:\n  strata sbom result > bom.json")]
    Sbom(Box<SbomArguments>),
    /// Compare an image's size and its packages' with a budget; exit with 1 and say by how much it is exceeded.
    #[command(
        after_help = "Examples:\n  strata budget result budget.json\n  strata budget result budget.json --update"
    )]
    Budget(Box<BudgetArguments>),
    /// Compare two images, and say what sending the second over the first would cost; exit with 1 if they differ.
    #[command(
        after_help = "Examples:\n  strata diff old-result result\n  strata diff docker://registry.example.com/app:latest result --json"
    )]
    Diff(Box<DiffArguments>),
    /// Build a job of a Makes project, and run it if it is a program; without a job, list them all.
    #[command(
        name = "m",
        hide = true,
        after_help = "Examples:\n  m . /build\n  m . /greet Alice\n  m github:org/project /job"
    )]
    Makes(MakesArguments),
    /// Try ways to group a closure into layers, and compare what updates would send.
    #[command(after_help = "Examples:\n  strata plan result --max-layers 40")]
    Plan(PlanArguments),
    /// Show an image's config and layers.
    #[command(after_help = "Examples:\n  strata inspect result\n  strata inspect archive.tar --raw")]
    Inspect {
        /// What `copy` reads.
        image: Location,
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// The config blob as it is.
        #[arg(long, conflicts_with = "json")]
        raw: bool,
        #[command(flatten)]
        access: Access,
    },
    /// Hash everything again; exit with 1 and say what is wrong if anything is.
    #[command(
        after_help = "Examples:\n  strata verify result\n  strata verify layout/\n  strata verify docker://registry.example.com/app:v1 --key cosign.pub"
    )]
    Verify(VerifyArguments),
    /// Print a shell's completions.
    #[command(
        after_help = "Examples:\n  strata completions bash > ~/.local/share/bash-completion/completions/strata\n  strata completions zsh > ~/.zfunc/_strata\n  strata completions fish > ~/.config/fish/completions/strata.fish"
    )]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write man pages into a directory.
    #[command(hide = true)]
    Man {
        /// The directory; created if it does not exist.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct CopyArguments {
    #[arg(help = format!("What to copy: {}", source::syntaxes()))]
    #[arg(required_unless_present = "fleet")]
    pub image: Option<Location>,
    #[arg(help = format!("Where to: {}", sink::syntaxes()))]
    #[arg(required_unless_present = "fleet")]
    pub destination: Option<Destination>,
    #[command(flatten)]
    pub fleet: FleetArguments,
    /// A further tag; may be given several times.
    #[arg(long, value_name = "TAG")]
    pub additional_tag: Vec<String>,
    /// Every image there is, with the index that lists them, instead of the one for this machine.
    #[arg(long, conflicts_with = "platform")]
    pub all: bool,
    /// The image for this machine, where there are several.
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = parse_platform)]
    pub platform: Option<Platform>,
    /// How plain layers are compressed for a registry.
    #[arg(long, visible_alias = "dest-compress-format", value_enum, default_value_t = CompressionArgument::Gzip)]
    pub compression: CompressionArgument,
    /// Keep plain layers plain, and so every digest, on the way to a registry.
    #[arg(long, conflicts_with_all = ["compression", "compression_level"])]
    pub preserve_digests: bool,
    /// How hard: 1 to 12 for gzip, 1 to 19 for zstd; both have 3 without.
    #[arg(long, visible_alias = "dest-compress-level", value_name = "LEVEL", value_parser = clap::value_parser!(i32).range(1..20))]
    pub compression_level: Option<i32>,
    /// Another repository of the same registry, to take blobs from; may be given several times.
    #[arg(long, value_name = "REPOSITORY")]
    pub mount_from: Vec<String>,
    /// Another tag of the repository, or REPOSITORY:TAG of the registry, whose layers may be the same; may be given
    /// several times.
    #[arg(long, value_name = "[REPOSITORY:]TAG")]
    pub cache_from: Vec<String>,
    /// A tag of the repository, or REPOSITORY:TAG of the registry, that notes what layers compressed to, for pushes with
    /// --cache-from; created if it does not exist.
    #[arg(long, value_name = "[REPOSITORY:]TAG")]
    pub cache_to: Option<String>,
    /// Copy only what is signed with this public key, as `cosign verify --key FILE` checks it.
    #[arg(long, value_name = "FILE")]
    pub verify_key: Option<PathBuf>,
    #[command(flatten)]
    pub attachments: Attachments,
    #[command(flatten)]
    pub access: CopyAccess,
    #[command(flatten)]
    pub substituters: SubstituterArguments,
    #[command(flatten)]
    pub skopeo: SkopeoArguments,
    /// Say nothing of what is sent.
    #[arg(short, long)]
    pub quiet: bool,
    /// Say what is sent as JSON, an object a line.
    #[arg(long)]
    pub json: bool,
}

/// Flags of skopeo's that people have in their scripts.
#[derive(Debug, Args)]
pub struct SkopeoArguments {
    /// Write the digest to this file too.
    #[arg(long, value_name = "FILE")]
    pub digestfile: Option<PathBuf>,
    /// The kind of manifest: images of strata are oci, others stay what they are.
    #[arg(short, long, value_name = "FORMAT", value_parser = ["oci", "v2s2", "v2s1"])]
    pub format: Option<String>,
    /// The image for this architecture, where there are several.
    #[arg(long, value_name = "ARCH", conflicts_with = "platform")]
    pub override_arch: Option<String>,
    /// The image for this operating system, where there are several.
    #[arg(long, value_name = "OS", conflicts_with = "platform")]
    pub override_os: Option<String>,
    /// The image for this variant of the architecture, where there are several.
    #[arg(long, value_name = "VARIANT", conflicts_with = "platform")]
    pub override_variant: Option<String>,
    /// Nothing: strata has no policy that could forbid an image.
    #[arg(long)]
    pub insecure_policy: bool,
    /// Nothing: strata says what it does.
    #[arg(long)]
    pub debug: bool,
}

#[derive(Debug, Args)]
pub struct DiffArguments {
    /// The first: what `copy` reads.
    pub old: Location,
    /// The second.
    pub new: Location,
    /// How a push would compress plain layers.
    #[arg(long, value_enum, default_value_t = CompressionArgument::Gzip)]
    pub compression: CompressionArgument,
    /// How hard: 1 to 12 for gzip, 1 to 19 for zstd; both have 3 without.
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(i32).range(1..20))]
    pub compression_level: Option<i32>,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub access: Access,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum CompressionArgument {
    None,
    Gzip,
    Zstd,
}

impl From<CompressionArgument> for strata::layer::compress::Compression {
    fn from(argument: CompressionArgument) -> Self {
        match argument {
            CompressionArgument::None => Self::None,
            CompressionArgument::Gzip => Self::Gzip,
            CompressionArgument::Zstd => Self::Zstd,
        }
    }
}
