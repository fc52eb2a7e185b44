//! The command line: every command, and its help. The arguments and the implementation of each are in its own file.

use std::{ffi::OsString, num::NonZeroUsize, path::PathBuf};

use clap::{Parser, Subcommand};

use super::{
    access::Access,
    attach::AttachArguments,
    budget::BudgetArguments,
    check::CheckArguments,
    copy_arguments::CopyArguments,
    diff::DiffArguments,
    explain::ExplainSections,
    index::IndexArguments,
    lock::LockArguments,
    login::{LoginArguments, LogoutArguments},
    makes::MakesArguments,
    parse::{parse_jobs, parse_reference},
    plan::PlanArguments,
    pull::{ManifestArguments, PullArguments},
    rebuild::RebuildArguments,
    run::ComposeArguments,
    run_options::{EngineArgument, RunArguments},
    sbom::SbomArguments,
    serve::ServeArguments,
    source::ImageArguments,
    verify::VerifyArguments,
    vex::VexArguments,
};
use crate::{builder::creation_time::CreationTime, oci::Reference, transport::Location};

/// OCI container images from Nix closures.
#[derive(Debug, Parser)]
#[command(name = "strata", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// An argument of `nix build` for flake references, such as --nix-arg=--impure; may be repeated.
    #[arg(hide_short_help = true, long, global = true, value_name = "ARGUMENT", allow_hyphen_values = true)]
    pub nix_arg: Vec<String>,
    /// The number of threads that hash, and of threads that compress [default: STRATA_JOBS, or the processors that this
    /// process may use].
    #[arg(hide_short_help = true, long, global = true, value_name = "N", value_parser = parse_jobs)]
    pub jobs: Option<NonZeroUsize>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run by derivations only.
    #[command(hide = true)]
    Build,
    /// Run by `build` in new namespaces: enters an image's root and becomes a script.
    #[command(hide = true)]
    EnterRoot { isolation: String },
    /// Run by `check` and `build` in new namespaces: enters a container of a test.
    #[command(hide = true)]
    EnterCheck { stage: String, file: PathBuf, process: Option<i32> },
    /// Run by `run` only: keeps the store paths of a container.
    #[command(hide = true)]
    RunKeeper { engine: EngineArgument, token: String },
    /// Run by scripts of arguments only.
    #[command(hide = true, disable_help_flag = true)]
    Program {
        script: PathBuf,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Run by `skopeo-nix2container` only: skopeo's command line.
    #[command(hide = true, disable_help_flag = true)]
    Skopeo {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Copy an image to a registry, engine, layout or archive, sending only what is missing; print its digest.
    #[command(
        after_help = "Examples:\n  strata copy result docker://registry.example.com/app:v1\n  strata copy result docker-daemon:\n  strata copy docker://alpine:3.20 oci:alpine:3.20 --all"
    )]
    Copy(Box<CopyArguments>),
    /// Serve images as a read-only registry, straight from the store; print their references.
    #[command(
        after_help = "Examples:\n  strata serve result\n  strata serve --listen 0.0.0.0:5000 app:v1=result other:v2=archive.tar\n  strata serve --listen 0.0.0.0:5000 --tls-cert server.pem --basic-auth-file users --access-log - app:v1=result\n  strata serve --flake ."
    )]
    Serve(Box<ServeArguments>),
    /// Pull an image into a directory, as `skopeo copy docker://REF dir:DIR` does, and print its digest.
    #[command(
        after_help = "Examples:\n  strata pull docker.io/library/alpine:3.20 alpine\n  strata pull quay.io/org/app@sha256:… app --platform linux/arm64"
    )]
    Pull(Box<PullArguments>),
    /// Print an image's raw manifest, as a registry has it.
    #[command(
        after_help = "Examples:\n  strata manifest alpine:3.20 > manifest.json\n  strata manifest alpine:3.20 --index"
    )]
    Manifest(Box<ManifestArguments>),
    /// List the tags of a repository, as JSON; skopeo's command of the same name.
    #[command(after_help = "Examples:\n  strata list-tags docker://registry.example.com/app")]
    ListTags {
        /// [docker://]HOST/NAME
        #[arg(value_name = "REF", value_parser = parse_reference)]
        reference: Reference,
        #[command(flatten)]
        access: Access,
    },
    /// Join single-platform images of a registry into one multi-platform index.
    #[command(
        after_help = "Examples:\n  strata index docker://ghcr.io/me/app:v1 ghcr.io/me/app:v1-amd64 ghcr.io/me/app:v1-arm64"
    )]
    Index(IndexArguments),
    /// Log in to a registry; credentials are stored where docker stores them.
    #[command(
        after_help = "Examples:\n  strata login ghcr.io --username me\n  pass show ghcr | strata login ghcr.io --username me --password-stdin"
    )]
    Login(LoginArguments),
    /// Log out of a registry.
    #[command(after_help = "Examples:\n  strata logout ghcr.io")]
    Logout(LogoutArguments),
    /// Write a lock file for lockedImage: a base image's manifests and configs, without its layers.
    #[command(
        after_help = "Examples:\n  strata lock docker://alpine:3.20 > alpine.json\n  strata lock --update alpine.json"
    )]
    Lock(LockArguments),
    /// Run a container of an image, with its store paths mounted instead of loaded.
    #[command(
        disable_help_flag = true,
        after_help = "Options after IMAGE are passed to `docker run` or `podman run`.\n\nExamples:\n  strata run result\n  strata run result -it -p 8080:80 -- sh\n  strata run --engine podman result\n  strata run .#image --watch -p 8080:80"
    )]
    Run(Box<RunArguments>),
    /// Load the small image that `run` starts, and print a compose file that mounts its store paths.
    #[command(
        after_help = "Examples:\n  strata compose-mounts result --service web > strata.json\n  docker compose -f compose.yaml -f strata.json up"
    )]
    ComposeMounts(Box<ComposeArguments>),
    /// Write an image to stdout as an archive, for `| docker load`.
    #[command(
        after_help = "Examples:\n  strata stream result | docker load\n  strata stream result --repo-tag app:v2 | podman load"
    )]
    Stream {
        /// Any source of `copy`.
        image: Location,
        /// The image's name and tag in the archive.
        #[arg(short = 't', long = "repo-tag", visible_alias = "repo_tag", value_name = "NAME:TAG")]
        repo_tag: Option<String>,
        /// The image's creation time: RFC 3339, or "now".
        #[arg(long, value_name = "TIME", overrides_with = "created")]
        created: Option<CreationTime>,
        #[command(flatten)]
        source: Box<ImageArguments>,
    },
    /// Show the store paths of each layer, the references that lead to them, and what an update sends.
    #[command(
        after_help = "Examples:\n  strata explain result\n  strata explain result --why openssl\n  strata explain result --html page.html\n  strata explain result --harden\n  strata explain result --start"
    )]
    Explain {
        /// Any source of `copy`.
        image: Location,
        #[command(flatten)]
        wanted: ExplainSections,
        #[command(flatten)]
        source: Box<ImageArguments>,
    },
    /// Attach a document to an image in a registry, where scanners and admission policies look for it; print its digest.
    #[command(
        after_help = "Examples:\n  strata attach docker://registry.example.com/app:v1 bom.json --type application/vnd.cyclonedx+json"
    )]
    Attach(Box<AttachArguments>),
    /// Print an image's software bill of materials (SBOM), or compare those of two images.
    #[command(after_help = "Examples:\n  strata sbom result > bom.json")]
    Sbom(Box<SbomArguments>),
    /// Check the sizes of an image and its packages against a budget; exit with 1 if one is exceeded.
    #[command(
        after_help = "Examples:\n  strata budget result budget.json\n  strata budget result budget.json --update"
    )]
    Budget(Box<BudgetArguments>),
    /// Test an image with files of container-structure-test, or check its hardening; exit with 1 if a test fails.
    #[command(
        after_help = "Examples:\n  strata check result structure-test.yaml\n  strata check docker://alpine:3.20 structure-test.yaml --json\n  strata check result structure-test.yaml --engine podman\n  strata check result --harden --harden-allow shell"
    )]
    Check(Box<CheckArguments>),
    /// Compare two images, and show what pushing the second over the first sends; exit with 1 if they differ.
    #[command(
        after_help = "Examples:\n  strata diff old-result result\n  strata diff docker://registry.example.com/app:latest result --json"
    )]
    Diff(Box<DiffArguments>),
    /// Build a job of a Makes project, and run it if it is a program; without a job, list the jobs.
    #[command(
        name = "m",
        hide = true,
        after_help = "Examples:\n  m . /build\n  m . /greet Alice\n  m github:org/project /job"
    )]
    Makes(MakesArguments),
    /// Compare ways to group a closure into layers by what updates would send.
    #[command(after_help = "Examples:\n  strata plan result --max-layers 40")]
    Plan(Box<PlanArguments>),
    /// Show an image's config and layers.
    #[command(after_help = "Examples:\n  strata inspect result\n  strata inspect archive.tar --config")]
    Inspect {
        /// Any source of `copy`.
        image: Location,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// Print the manifest byte for byte.
        #[arg(long, visible_alias = "manifest", conflicts_with = "json")]
        raw: bool,
        /// Print the config blob byte for byte.
        #[arg(long, conflicts_with = "json")]
        config: bool,
        /// Fill a template with the fields of `skopeo inspect`, such as {{.Digest}} and {{json .Labels}}; json prints them all.
        ///
        /// With --config, the fields are those of the config.
        #[arg(short, long, value_name = "TEMPLATE", conflicts_with_all = ["json", "raw"])]
        format: Option<String>,
        /// Do not list the tags of the repository for --format json.
        #[arg(long, requires = "format", hide_short_help = true)]
        no_tags: bool,
        #[command(flatten)]
        source: Box<ImageArguments>,
    },
    /// Hash an image again, or check its signature; exit with 1 and report what is wrong.
    #[command(
        after_help = "Examples:\n  strata verify result\n  strata verify layout/\n  strata verify docker://registry.example.com/app:v1 --key cosign.pub"
    )]
    Verify(Box<VerifyArguments>),
    /// Print which vulnerabilities patches of an image's packages fix (VEX), for scanners.
    #[command(
        after_help = "Examples:\n  strata vex result > app.openvex.json\n  strata vex result --vex team.openvex.json --format cyclonedx"
    )]
    Vex(Box<VexArguments>),
    /// Build an image again from its flake, and compare the result; exit with 1 and list the differences if it is another one.
    #[command(
        after_help = "Examples:\n  strata rebuild docker://registry.example.com/app@sha256:… --key cosign.pub --flake github:org/app\n  strata rebuild result --flake .#image --revision \"$(git rev-parse HEAD)\"\n  strata rebuild --compare docker://registry.example.com/app@sha256:… result"
    )]
    Rebuild(Box<RebuildArguments>),
    /// Print a completion script for a shell.
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
