//! The flags of `strata copy`.

use std::path::PathBuf;

use super::{
    access::CopyAccess,
    also::{self, Also},
    attach::Attachments,
    compression::CompressionArgument,
    fleet_arguments::FleetArguments,
    nix_node::NixNodeArguments,
    parse::parse_platform,
    substituters::SubstituterArguments,
    trust::SignatureArguments,
};
use crate::{
    oci::Platform,
    transport::{Destination, Location, table},
};
use clap::Args;

/// `strata copy`
#[derive(Debug, Args)]
pub struct CopyArguments {
    #[arg(help = "The source; --help lists the forms", long_help = format!("The source: {}", table::read_syntaxes()))]
    #[arg(required_unless_present = "fleet")]
    pub image: Option<Location>,
    #[arg(help = "The destination; --help lists the forms")]
    #[arg(long_help = format!("The destination: {}", table::write_syntaxes()))]
    #[arg(required_unless_present = "fleet")]
    pub destination: Option<Destination>,
    /// Push under this tag too; may be repeated.
    #[arg(long, value_name = "TAG")]
    pub additional_tag: Vec<String>,
    /// Copy every platform of a multi-platform image.
    #[arg(long, conflicts_with = "platform")]
    pub all: bool,
    /// The platform to choose from a multi-platform image.
    ///
    /// OS/ARCH[/VARIANT], such as linux/arm64 or linux/arm/v7.
    #[arg(long, value_name = "OS/ARCH", value_parser = parse_platform)]
    pub platform: Option<Platform>,
    /// How a push compresses layers: none, gzip, zstd, zstd:chunked.
    ///
    /// Only uncompressed layers are compressed; the default is gzip.
    #[arg(
        long,
        visible_alias = "dest-compress-format",
        value_name = "FORMAT",
        value_enum,
        hide_possible_values = true
    )]
    pub compression: Option<CompressionArgument>,
    /// Push for nodes that run stargz-snapshotter, which start containers before layers are pulled: the layers are zstd:chunked, and
    /// their annotations are those for lazy pulls. podman and CRI-O do not pull such an image partially.
    #[arg(long, conflicts_with_all = ["preserve_digests", "nix_node"], hide_short_help = true)]
    pub lazy: bool,
    /// Push an index that also has a manifest of zstd:chunked layers, which podman, buildah and CRI-O select; docker and containerd
    /// select the first one. FORMAT is zstd:chunked.
    #[arg(long, value_name = "FORMAT", value_parser = also::parse, hide_short_help = true,
        conflicts_with_all = ["preserve_digests", "nix_node", "compression_level", "referrers"])]
    pub also: Option<Also>,
    /// Push layers uncompressed, which keeps every digest.
    #[arg(long, conflicts_with_all = ["compression", "compression_level"])]
    pub preserve_digests: bool,
    /// Compression level, 1 to 12 for gzip and 1 to 19 for zstd [default: 3].
    #[arg(hide_short_help = true, long, visible_alias = "dest-compress-level", value_name = "LEVEL", value_parser = clap::value_parser!(i32).range(1..20))]
    pub compression_level: Option<i32>,
    /// Mount blobs from this repository of the same registry; may be repeated.
    #[arg(hide_short_help = true, long, value_name = "REPOSITORY")]
    pub mount_from: Vec<String>,
    /// A tag of this repository, or REPOSITORY:TAG of this registry, that may have the same layers; unsigned ones are
    /// verified. May be repeated.
    #[arg(hide_short_help = true, long, value_name = "[REPOSITORY:]TAG")]
    pub cache_from: Vec<String>,
    /// Record what layers compressed to under this tag, for later pushes with --cache-from; created if missing.
    #[arg(hide_short_help = true, long, value_name = "[REPOSITORY:]TAG")]
    pub cache_to: Option<String>,
    /// Trust the layers that images signed with this public key list, without verification; may be repeated [default: the
    /// public half of --sign-key].
    #[arg(hide_short_help = true, long, value_name = "FILE")]
    pub cache_key: Vec<PathBuf>,
    /// Trust the layers that the destination's tag and --cache-from list, signed or not. Only safe if every account that
    /// can push to the registry is trusted.
    #[arg(hide_short_help = true, long, conflicts_with_all = ["sign_key", "sign_with", "sign_tag", "provenance"])]
    pub trust_tags: bool,
    #[command(flatten)]
    pub signature: SignatureArguments,
    /// Print no progress.
    #[arg(short, long)]
    pub quiet: bool,
    /// Report progress as JSON, one object per line.
    #[arg(long)]
    pub json: bool,
    /// Remove the layers from the cache that neither this image nor one of --keep has for any platform.
    #[arg(hide_short_help = true, long, conflicts_with = "fleet")]
    pub prune: bool,
    /// With --prune, keep the layers of this image too; may be repeated.
    #[arg(hide_short_help = true, long, value_name = "IMAGE", requires = "prune")]
    pub keep: Vec<Location>,
    /// Copy its signatures, SBOMs and attestations too.
    #[arg(long)]
    pub referrers: bool,
    // Each of these has a heading in help, so they come last.
    #[command(flatten)]
    pub fleet: FleetArguments,
    #[command(flatten)]
    pub attachments: Attachments,
    #[command(flatten)]
    pub access: CopyAccess,
    #[command(flatten)]
    pub nix_node: NixNodeArguments,
    #[command(flatten)]
    pub substituters: SubstituterArguments,
    #[command(flatten)]
    pub skopeo: SkopeoArguments,
}

/// Flags that scripts written for skopeo use.
#[derive(Debug, Args)]
#[command(next_help_heading = "For scripts written for skopeo")]
pub struct SkopeoArguments {
    /// Write the digest to this file as well.
    #[arg(hide_short_help = true, long, value_name = "FILE", conflicts_with = "fleet")]
    pub digestfile: Option<PathBuf>,
    /// The manifest's format; images built by strata are always oci, others keep theirs.
    #[arg(hide_short_help = true, short, long, value_name = "FORMAT", value_parser = ["oci", "v2s2", "v2s1"])]
    pub format: Option<String>,
    /// The architecture to choose from a multi-platform image.
    #[arg(hide_short_help = true, long, value_name = "ARCH", conflicts_with_all = ["platform", "all"])]
    pub override_arch: Option<String>,
    /// The operating system to choose from a multi-platform image.
    #[arg(hide_short_help = true, long, value_name = "OS", conflicts_with_all = ["platform", "all"])]
    pub override_os: Option<String>,
    /// The architecture variant to choose from a multi-platform image.
    #[arg(hide_short_help = true, long, value_name = "VARIANT", conflicts_with_all = ["platform", "all"])]
    pub override_variant: Option<String>,
    /// Ignored, for skopeo's sake: strata has no signature policy.
    #[arg(hide_short_help = true, long)]
    pub insecure_policy: bool,
    /// Ignored, for skopeo's sake.
    #[arg(hide_short_help = true, long)]
    pub debug: bool,
}
