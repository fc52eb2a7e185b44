//! `strata serve --flake REF`: images of a flake, evaluated and built when a client pulls them.
//!
//! ```text
//! NAME:TAG ──▶ reference ──▶ nix flake metadata ──▶ nix eval ──▶ nix-store --realise ──▶ detached recipe ──▶ image
//!              of the tag    key: source and name   drvPath      builds, or substitutes   layers: store, binary caches
//! ```
//!
//! A detached recipe has no references. If a binary cache has it, the closure of the image is not copied to this
//! machine, and layers are generated from the cache's NARs while they are pulled.

pub mod derivation;
mod evaluation;
mod git_refs;
pub mod isolation;
mod lock_file;
mod nix;
mod processes;
pub mod redact;
mod reference;
mod roots;
mod versions;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::{
    closure::matches,
    image::{ManifestGraph, Opened},
    serve::{ImageVersion, Supplied, Supply, SupplyError},
    terminal::note,
    transport::{Location, ReadOptions},
};
pub use git_refs::is_full_commit;
use isolation::Isolation;
use nix::NixCommands;
pub use nix::{NO_SUBSTITUTERS, last_lines};
use processes::Processes;
use redact::redact;
use reference::FlakeReference;
pub use reference::{VERSION_PARAMETERS, checkout};
use roots::GcRoots;
use versions::FlakeSource;

/// The longest time for a build, a year in seconds.
const MAX_BUILD_TIMEOUT: u64 = 366 * 24 * 3600;
/// The default of the address space of an evaluation in MB.
const EVAL_MEMORY: u64 = 8000;
/// The largest address space, that of a process on x86_64 in MB.
const MAX_EVAL_MEMORY: u64 = 140_000_000;

/// The flake, and what may be served of it.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Images of a flake")]
pub struct FlakeArguments {
    /// Serve the images of a flake, ATTRIBUTE:TAG each: evaluated and built, or taken from a binary cache, when they are
    /// pulled. TAG is latest for the flake as it is, or a branch, tag or commit of its git repository. Capitals in attributes
    /// are small letters in ATTRIBUTE.
    #[arg(long, value_name = "REF", conflicts_with_all = ["images", "chunked", "lazy", "also"])]
    pub flake: Option<String>,
    /// Evaluate a flake that is not on this machine, such as github:OWNER/REPO.
    #[arg(long, requires = "flake", conflicts_with = "images")]
    allow_remote_flake: bool,
    /// An attribute of the flake's packages that may be served; may be repeated, * stands for any text [default: all that
    /// are images of strata].
    #[arg(long, value_name = "ATTRIBUTE", requires = "flake", conflicts_with = "images")]
    attribute: Vec<String>,
    /// Also serve shell/PACKAGE/…, an image of these packages of the flake's nixpkgs.
    #[arg(long, requires = "flake", conflicts_with = "images")]
    shell: bool,
    /// A system whose packages are served; may be repeated, and an image that several have is a multi-platform image
    /// [default: that of this machine].
    #[arg(long, value_name = "SYSTEM", requires = "flake", conflicts_with = "images")]
    system: Vec<String>,
    /// Images that are evaluated or built at once; more wait. A client that has one leaves the last one to others.
    #[arg(long, value_name = "N", default_value_t = 3, requires = "flake", conflicts_with = "images", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_builds: u32,
    /// Time for building an image, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, requires = "flake", conflicts_with = "images", value_parser = clap::value_parser!(u64).range(1..=MAX_BUILD_TIMEOUT))]
    build_timeout: u64,
    /// Address space of an evaluation, in MB.
    #[arg(long, value_name = "MB", default_value_t = EVAL_MEMORY, requires = "flake", conflicts_with = "images", value_parser = clap::value_parser!(u64).range(1..=MAX_EVAL_MEMORY))]
    eval_memory: u64,
    /// Images that are kept in the store, those that were pulled last.
    #[arg(long, value_name = "N", default_value_t = 32, requires = "flake", conflicts_with = "images", value_parser = clap::value_parser!(u32).range(1..))]
    keep: u32,
}

/// The output of `nix eval` for a package.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EvaluatedPackage {
    is_image: bool,
    drv_path: Option<String>,
}

/// The answer of shell.nix.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ComposedShell {
    drv_path: Option<String>,
    /// Why there is no derivation.
    missing: Option<String>,
}

/// The images of a flake.
#[derive(Debug)]
pub struct FlakeImages {
    reference: FlakeReference,
    attributes: Vec<String>,
    shell: bool,
    systems: Vec<String>,
    processes: Processes,
    isolation: Isolation,
    access: ReadOptions,
    roots: GcRoots,
    next: AtomicU64,
}

impl FlakeArguments {
    /// Returns the maximum number of images that are kept.
    pub fn keep(&self) -> usize {
        self.keep.try_into().unwrap_or(usize::MAX)
    }

    /// Returns the images of the flake at `reference`.
    ///
    /// # Errors
    ///
    /// If the reference is refused, or Nix does not run.
    pub fn images(&self, reference: &str, access: ReadOptions) -> Result<FlakeImages> {
        let reference = FlakeReference::parse(reference)?;
        reference.check_flake_file()?;
        anyhow::ensure!(
            reference.is_local() || self.allow_remote_flake,
            "--flake {reference}: evaluating a flake of others runs their expressions on this machine; add --allow-remote-flake"
        );
        let timeout = Duration::from_secs(self.build_timeout);
        let processes = Processes::new(timeout, self.eval_memory);
        let isolation = Isolation::create()?;
        let systems = match self.system.is_empty() {
            true => vec![NixCommands { processes: &processes, isolation: &isolation, substitutes: true }.system()?],
            false => self.system.clone(),
        };
        Ok(FlakeImages {
            reference,
            attributes: self.attribute.clone(),
            shell: self.shell,
            systems,
            processes,
            isolation,
            access,
            roots: GcRoots::create()?,
            next: AtomicU64::new(0),
        })
    }
}

impl FlakeImages {
    fn may_serve(&self, name: &str) -> Result<(), SupplyError> {
        match name.strip_prefix("shell/") {
            Some(_) if self.shell => Ok(()),
            Some(_) => Err(SupplyError::Denied("this registry composes no images; --shell allows it".to_owned())),
            None if self.attributes.is_empty()
                || self.attributes.iter().any(|pattern| matches(&pattern.to_ascii_lowercase(), name)) =>
            {
                Ok(())
            }
            None => Err(SupplyError::Denied(format!("{name} is not among the attributes that are served"))),
        }
    }

    /// The same for a name in a request, which may be any text.
    fn is_allowed(&self, name: &str) -> Result<(), SupplyError> {
        if !reference::is_repository(name) {
            return Err(SupplyError::UnknownName(format!("{name} is not the name of a repository")));
        }
        self.may_serve(name)
    }

    fn nix(&self) -> NixCommands<'_> {
        NixCommands { processes: &self.processes, isolation: &self.isolation, substitutes: true }
    }

    /// Returns the package `name` for each system that has it.
    fn packages(&self, name: &str, source: &FlakeSource) -> Result<Vec<(String, EvaluatedPackage)>, SupplyError> {
        let fail = |error: anyhow::Error| self.failed(&format!("evaluating {name}"), &error);
        if let Some(packages) = name.strip_prefix("shell/") {
            let shell = |system: &String| {
                let ComposedShell { drv_path, missing } =
                    self.nix().eval_shell(source, system, packages).map_err(fail)?;
                match missing {
                    Some(missing) => Err(SupplyError::UnknownName(missing)),
                    None => Ok((system.clone(), EvaluatedPackage { is_image: true, drv_path })),
                }
            };
            return self.systems.iter().map(shell).collect();
        }
        let found = self.nix().eval_package(source, &self.systems, name).map_err(fail)?;
        let found: Vec<(String, EvaluatedPackage)> =
            found.into_iter().filter_map(|(system, package)| Some((system, package?))).collect();
        if found.is_empty() {
            let systems = self.systems.join(", ");
            return Err(SupplyError::UnknownName(format!("the flake has no package {name} for {systems}")));
        }
        if let Some((system, _)) = found.iter().find(|(_, package)| !package.is_image && self.attributes.is_empty()) {
            return Err(SupplyError::Denied(format!(
                "{name} for {system} is not an image of strata; --attribute {name} serves it if it is one of another kind"
            )));
        }
        Ok(found)
    }

    /// Builds a derivation, and opens the resulting image.
    fn build(&self, name: &str, source: &FlakeSource, drv_path: &str) -> Result<(ManifestGraph, GcRoot)> {
        let root = GcRoot(self.roots.path(self.next.fetch_add(1, Ordering::Relaxed)));
        let output = self.nix().realise(source, drv_path, &root.0)?;
        let location: Location = format!("{}", output.display()).parse().map_err(anyhow::Error::msg)?;
        let opened = location.open(&self.access).with_context(|| format!("reading {}", output.display()))?;
        // A recipe that was built here has its closure in the store, and the root keeps it.
        let recipes = match &opened {
            Opened::Recipe(recipe) => vec![recipe.recipe.clone()],
            Opened::Index(index) => index.images.iter().map(|recipe| recipe.recipe.clone()).collect(),
            Opened::Found(_) => Vec::new(),
        };
        for (at, recipe) in
            recipes.into_iter().flatten().enumerate().filter(|(_, recipe)| recipe.is_absolute() && recipe.exists())
        {
            self.nix().keep(&recipe, &root.beside(at))?;
        }
        let content = opened.content().with_context(|| format!("reading the image {name}"))?;
        Ok((content, root))
    }

    /// Prints an error, and returns the error for the client. The text of an evaluation may have parts of files, paths and
    /// URLs of the server.
    fn failed(&self, act: &str, error: &anyhow::Error) -> SupplyError {
        note!("{act} failed: {}", redact(&format!("{error:#}")));
        SupplyError::UnknownManifest(format!("{act} failed; the log of the server has the reason"))
    }

    /// The same for a build, of which the client gets the log. Builders have no access to files of the server.
    fn build_failed(&self, act: &str, error: &anyhow::Error) -> SupplyError {
        let message = format!("{act} failed: {}", redact(&format!("{error:#}")));
        note!("{message}");
        SupplyError::UnknownManifest(message)
    }

    /// The flake at `reference`. Only the operator's own checkout is evaluated with the rights of this user.
    fn source(&self, reference: &str) -> Result<FlakeSource> {
        if self.reference.is_local() && reference == self.reference.latest() {
            return self.nix().checkout(reference);
        }
        self.nix().version(reference, self.reference.checkout_lock_file()?.as_ref()).map(FlakeSource::Version)
    }
}

impl Supply for FlakeImages {
    fn names(&self) -> Result<Vec<String>, SupplyError> {
        let source = self.source(&self.reference.latest()).map_err(|error| self.failed("reading the flake", &error))?;
        let names = self.nix().eval_names(&source, &self.systems);
        let mut names = names.map_err(|error| self.failed("listing the packages", &error))?;
        names.iter_mut().for_each(|name| name.make_ascii_lowercase());
        names.retain(|name| reference::is_repository(name) && self.may_serve(name).is_ok());
        names.sort_unstable();
        names.dedup();
        if self.attributes.is_empty() {
            names = self.nix().eval_images(&source, &self.systems, &names);
        }
        Ok(names)
    }

    fn tags(&self, name: &str) -> Result<Vec<String>, SupplyError> {
        self.is_allowed(name)?;
        if name.starts_with("shell/") {
            let fail = |error: anyhow::Error| self.failed("reading the flake", &error);
            self.packages(name, &self.source(&self.reference.latest()).map_err(fail)?)?;
        } else if !self.names()?.iter().any(|known| known == name) {
            return Err(SupplyError::UnknownName(format!("the flake has no image {name}")));
        }
        self.reference.tags(&self.processes).map_err(|error| self.failed("listing tags", &error))
    }

    fn resolve(&self, name: &str, tag: &str) -> Result<ImageVersion, SupplyError> {
        self.is_allowed(name)?;
        let unknown = || SupplyError::UnknownManifest(format!("the flake has no branch, tag or commit {tag}"));
        let found = self
            .reference
            .with_tag(tag, &self.processes)
            .map_err(|error| self.failed(&format!("finding {tag}"), &error))?;
        let reference = found.ok_or_else(unknown)?;
        let fail = |error: anyhow::Error| self.failed(&format!("reading the flake of {tag}"), &error);
        let source = self.source(&reference).map_err(fail)?;
        let text = serde_json::to_string(&source).map_err(|error| fail(error.into()))?;
        Ok(ImageVersion { key: source.key(), source: text })
    }

    fn make(&self, name: &str, version: &ImageVersion) -> Result<Supplied, SupplyError> {
        let start = Instant::now();
        let source: FlakeSource = serde_json::from_str(&version.source)
            .map_err(|error| self.failed(&format!("reading the source of {name}"), &error.into()))?;
        note!("building {name} of {}", source.shown());
        let mut contents = Vec::new();
        let mut roots = Vec::new();
        for (system, package) in self.packages(name, &source)? {
            let act = format!("building {name} for {system}");
            let drv_path = package.drv_path.with_context(|| format!("{name} is not a derivation"));
            let built = drv_path.and_then(|drv_path| self.build(name, &source, &drv_path));
            let (content, root) = built.map_err(|error| self.build_failed(&act, &error))?;
            contents.push(content);
            roots.push(root);
        }
        let content = match contents.len() {
            1 => contents.remove(0),
            _ => ManifestGraph::from_children(contents, Vec::new()),
        };
        note!("built {name} in {:.1} s: {}", start.elapsed().as_secs_f64(), content.digest());
        Ok(Supplied::new(content, roots))
    }

    fn stop(&self) {
        self.processes.stop();
    }
}

/// A root of the garbage collector. After it is dropped, Nix can collect the path.
#[derive(Debug)]
struct GcRoot(PathBuf);

impl GcRoot {
    /// Returns the path of a further root, which is dropped with this one.
    fn beside(&self, at: usize) -> PathBuf {
        beside(&self.0, at)
    }
}

fn beside(root: &Path, at: usize) -> PathBuf {
    root.with_extension(at.to_string())
}

impl Drop for GcRoot {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
        // The recipes of an index are numbered from 0.
        (0..).take_while(|at| fs::remove_file(self.beside(*at)).is_ok()).for_each(drop);
    }
}
