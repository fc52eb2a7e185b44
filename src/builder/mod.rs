//! What derivations run: `strata build`.
//!
//! ```text
//! .attrs.json ──▶ attributes ──▶ one kind of output, one file each:
//!                                  config    the configuration, for Nix to scan for references
//!                                  layers    buildLayer: layers.json
//!                                  image     buildImage: image.json, and a list of store paths for nodes with a Nix store
//! detached  the same without references, for machines that have none of its store paths
//!                                  digest    the digest of its manifest in a registry
//!                                  image-index  buildIndex: recipes for several platforms
//! customisation  the result of the scripts of an image
//!                                  archive   makeContainerImage, dockerTools: a loadable .tar.gz
//!                                  merge, …  dockerTools' other functions
//!                                  base, …   images to build on
//!                                  nix-…     the database of Nix in the container
//!                                  oci-…     the ociImage* functions
//!                                  check     tests of an image, with an empty file as output
//!                                  sbom      an image's SBOM
//!                                  vex       what patches of an image's packages fix
//!                                  program   bin/NAME, a script that copies an image somewhere
//! ```
//!
//! [`attributes`] is the contract with `nix/`. The request of each kind is the struct at the top of its file.

mod archive;
mod attributes;
mod base;
mod base_tree;
mod budget;
mod check;
mod compressed;
mod config;
mod copies;
pub(crate) mod creation_time;
mod customisation;
mod database;
mod detached;
mod difference;
mod digest;
mod fakeroot;
mod files;
mod grouping;
mod guards;
mod image;
mod images;
mod index;
mod isolation;
mod layering;
mod layers;
mod links;
mod log;
mod moved;
mod oci;
mod program;
mod programs;
mod pull;
mod reserved;
mod root;
mod sbom;
mod script;
pub(crate) mod strategy;
mod unpacked;
mod vex;
mod walk;
mod xattrs;

use std::{
    convert::Infallible,
    env,
    fs::{self, Permissions},
    io,
    num::NonZeroUsize,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context, Result, bail, ensure};

use crate::threads;
use attributes::Attributes;

/// Builds the output that the attributes of the derivation describe, with `jobs` jobs, by default as many as Nix grants cores.
///
/// # Errors
///
/// The message names the attribute, path or layer at fault. The output path is removed.
pub fn run(jobs: Option<NonZeroUsize>) -> Result<()> {
    let attributes = Attributes::read()?;
    threads::set_jobs(jobs.unwrap_or_else(cores)).context("starting threads")?;
    let outputs: Vec<&Path> = [attributes.out()].into_iter().chain(attributes.nix_closure()).collect();
    for out in &outputs {
        ensure!(out.symlink_metadata().is_err(), "{} exists already", out.display());
    }
    dispatch(&attributes).inspect_err(|_| {
        for out in outputs {
            // The output of a failed build is useless, and the first error is the relevant one.
            let _ = if out.is_dir() { fs::remove_dir_all(out) } else { fs::remove_file(out) };
        }
    })
}

/// Enters the root of a script's image and becomes the script. [`script`] starts this in new namespaces.
pub fn enter_root(isolation: &str) -> Result<Infallible> {
    #[cfg(not(target_os = "linux"))]
    bail!("only Linux has the namespaces that this needs");
    #[cfg(target_os = "linux")]
    serde_json::from_str::<isolation::ScriptIsolation>(isolation).context("argument of enter-root")?.enter()
}

fn dispatch(attributes: &Attributes) -> Result<()> {
    match attributes.kind() {
        "budget" => budget::build(attributes),
        "check" => check::build(attributes),
        "config" => config::build(attributes),
        "layers" => layers::build(attributes),
        "image" => image::build(attributes),
        "detached" => detached::build(attributes),
        "digest" => digest::build(attributes),
        "image-index" => index::build(attributes),
        "customisation" => customisation::build(attributes),
        "archive" => archive::build(attributes),
        "oci-layer-tar" => oci::layer_tar::build(attributes),
        "oci-config" => oci::config::build(attributes),
        "oci-manifest" => oci::manifest::build(attributes),
        "oci-layout" => oci::layout::build(attributes),
        "program" => program::build(attributes),
        "files" => files::build(attributes),
        "merge" => images::merge(attributes),
        "export" => images::export(attributes),
        "base" => base::build(attributes),
        "image-from-lock" => base::from_lock(attributes),
        "image-from-dir" => base::from_dir(attributes),
        "image-from-manifest" => base::from_manifest(attributes),
        "sbom" => sbom::build(attributes),
        "vex" => vex::build(attributes),
        "nix-database" => database::build(attributes),
        "pull" => pull::pull(attributes),
        "pull-blob" => pull::pull_blob(attributes),
        kind => bail!("attribute strata.kind: {kind:?} is unknown to this version of strata"),
    }
}

/// Returns a directory for temporary files below the build directory of Nix.
///
/// Without a sandbox, the build directory may have a set-group-ID bit or a default ACL of `TMPDIR`, which would change
/// the modes and owners of files. This directory has neither.
fn work_directory() -> Result<PathBuf> {
    let path = match env::var_os("NIX_BUILD_TOP") {
        Some(top) => Path::new(&top).join("strata"),
        None => tempfile::tempdir().context("making a directory")?.keep(),
    };
    let creating = || format!("creating {}", path.display());
    if let Err(error) = fs::create_dir(&path)
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(error).with_context(creating);
    }
    #[cfg(target_os = "linux")]
    for name in [c"system.posix_acl_default", c"system.posix_acl_access"] {
        // Most directories lack this attribute, and some file systems support none.
        let _ = rustix::fs::removexattr(&path, name);
    }
    fs::set_permissions(&path, Permissions::from_mode(0o700)).with_context(creating)?;
    Ok(path)
}

/// Returns the number of cores that Nix grants. 0 stands for all cores.
fn cores() -> NonZeroUsize {
    let cores = env::var("NIX_BUILD_CORES").ok().and_then(|cores| cores.parse().ok());
    cores.or_else(|| thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN)
}
