//! `strata serve --flake REF`: images of a flake, evaluated and built when a client pulls them.
//!
//! ```text
//! NAME:TAG ──▶ reference ──▶ nix flake metadata ──▶ nix eval ──▶ nix-store --realise ──▶ detached recipe ──▶ image
//!              of the tag    key: source and name   drvPath      builds, or substitutes   layers: store, binary caches
//! ```
//!
//! A detached recipe refers to nothing. If a binary cache has it, the closure of the image is not copied to this machine, and
//! layers are generated from the cache's NARs while they are pulled.

mod nix;
mod processes;
mod reference;
mod roots;

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
    serve::{Supplied, Supply, SupplyError, Version},
    terminal::note,
    threads::Turns,
    transport::{Location, ReadOptions},
};
use nix::Nix;
use processes::Processes;
use reference::FlakeReference;
use roots::Roots;

/// The flake, and what may be served of it.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Images of a flake")]
pub struct FlakeArguments {
    /// Serve the images of a flake, ATTRIBUTE:TAG each: evaluated and built, or taken from a binary cache, when they are
    /// pulled. TAG is latest for the flake as it is, or a branch, tag or commit of its git repository.
    #[arg(long, value_name = "REF", conflicts_with_all = ["images", "chunked"])]
    pub flake: Option<String>,
    /// Evaluate a flake that is not on this machine, such as github:OWNER/REPO.
    #[arg(long, requires = "flake")]
    allow_remote_flake: bool,
    /// An attribute of the flake's packages that may be served; may be repeated, * stands for any text [default: all that
    /// are images of strata].
    #[arg(long, value_name = "ATTRIBUTE", requires = "flake")]
    attribute: Vec<String>,
    /// Also serve shell/PACKAGE/…, an image of these packages of the flake's nixpkgs.
    #[arg(long, requires = "flake")]
    shell: bool,
    /// A system whose packages are served; may be repeated, and an image that several have is a multi-platform image
    /// [default: that of this machine].
    #[arg(long, value_name = "SYSTEM", requires = "flake")]
    system: Vec<String>,
    /// Images that are evaluated or built at once; more wait.
    #[arg(long, value_name = "N", default_value_t = 2, requires = "flake", value_parser = clap::value_parser!(u32).range(1..))]
    max_builds: u32,
    /// Time for building an image, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, requires = "flake", value_parser = clap::value_parser!(u64).range(1..))]
    build_timeout: u64,
    /// Address space of an evaluation, in MB.
    #[arg(long, value_name = "MB", default_value_t = 8000, requires = "flake", value_parser = clap::value_parser!(u64).range(1..))]
    eval_memory: u64,
    /// Images that are kept in the store, those that were pulled last.
    #[arg(long, value_name = "N", default_value_t = 32, requires = "flake", value_parser = clap::value_parser!(u32).range(1..))]
    keep: u32,
}

/// The output of `nix eval` for a package.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Package {
    is_image: bool,
    drv_path: Option<String>,
}

/// The images of a flake.
#[derive(Debug)]
pub struct FlakeImages {
    reference: FlakeReference,
    attributes: Vec<String>,
    shell: bool,
    systems: Vec<String>,
    processes: Processes,
    access: ReadOptions,
    roots: Roots,
    turns: Turns,
    next: AtomicU64,
}

impl FlakeArguments {
    /// How many images are kept.
    pub fn keep(&self) -> usize {
        self.keep.try_into().unwrap_or(usize::MAX)
    }

    /// The images of the flake at `reference`.
    ///
    /// # Errors
    ///
    /// When the reference is refused, or Nix does not run.
    pub fn images(&self, reference: &str, access: ReadOptions) -> Result<FlakeImages> {
        let reference = FlakeReference::parse(reference)?;
        anyhow::ensure!(
            reference.is_local() || self.allow_remote_flake,
            "--flake {reference}: evaluating a flake of others runs their expressions on this machine; add --allow-remote-flake"
        );
        let timeout = Duration::from_secs(self.build_timeout);
        let processes = Processes::new(timeout, self.eval_memory);
        let systems = match self.system.is_empty() {
            true => vec![Nix::new(&processes).system()?],
            false => self.system.clone(),
        };
        Ok(FlakeImages {
            reference,
            attributes: self.attribute.clone(),
            shell: self.shell,
            systems,
            processes,
            access,
            roots: Roots::create()?,
            turns: Turns::new(self.max_builds),
            next: AtomicU64::new(0),
        })
    }
}

impl FlakeImages {
    fn may_serve(&self, name: &str) -> Result<(), SupplyError> {
        match name.strip_prefix("shell/") {
            Some(_) if self.shell => Ok(()),
            Some(_) => Err(SupplyError::Denied("this registry composes no images; --shell allows it".to_owned())),
            None if self.attributes.is_empty() || self.attributes.iter().any(|pattern| matches(pattern, name)) => {
                Ok(())
            }
            None => Err(SupplyError::Denied(format!("{name} is not among the attributes that are served"))),
        }
    }

    fn nix(&self) -> Nix<'_> {
        Nix::new(&self.processes)
    }

    /// The package `name` for each system that has it.
    fn packages(&self, name: &str, version: &Version) -> Result<Vec<(String, Package)>, SupplyError> {
        let fail = |error: anyhow::Error| self.failed(&format!("evaluating {name}"), &error);
        if let Some(packages) = name.strip_prefix("shell/") {
            let is_checkout = self.reference.is_local() && version.source == self.reference.latest();
            let shell = |system: &String| {
                let drv_path = self.nix().eval_shell(&version.source, is_checkout, system, packages)?;
                Ok((system.clone(), Package { is_image: true, drv_path: Some(drv_path) }))
            };
            return self.systems.iter().map(shell).collect::<Result<_>>().map_err(fail);
        }
        let found = self.nix().eval_package(&version.source, &self.systems, name).map_err(fail)?;
        let found: Vec<(String, Package)> =
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

    /// Builds a derivation, and reads the image that it is.
    fn build(&self, name: &str, drv_path: &str) -> Result<(ManifestGraph, Root)> {
        let root = Root(self.roots.path(self.next.fetch_add(1, Ordering::Relaxed)));
        let output = self.nix().realise(drv_path, &root.0)?;
        let location: Location = format!("{}", output.display()).parse().map_err(anyhow::Error::msg)?;
        let opened = location.open(&self.access).with_context(|| format!("reading {}", output.display()))?;
        // A recipe that was built here has its closure in the store, and is kept with it.
        let recipes = match &opened {
            Opened::Recipe(recipe) => vec![recipe.recipe.clone()],
            Opened::Index(index) => index.images.iter().map(|recipe| recipe.recipe.clone()).collect(),
            Opened::Found(_) => Vec::new(),
        };
        for (at, recipe) in recipes.into_iter().flatten().enumerate().filter(|(_, recipe)| recipe.exists()) {
            self.nix().keep(&recipe, &root.beside(at))?;
        }
        let content = opened.content().with_context(|| format!("reading the image {name}"))?;
        Ok((content, root))
    }

    /// Prints an error, and makes of it what the client sees.
    fn failed(&self, act: &str, error: &anyhow::Error) -> SupplyError {
        note!("{act} failed: {error:#}");
        SupplyError::UnknownManifest(format!("{act} failed: {error:#}"))
    }
}

impl Supply for FlakeImages {
    fn names(&self) -> Result<Vec<String>, SupplyError> {
        let _turn = self.turns.take();
        let (_, source) =
            self.nix().source(&self.reference.latest()).map_err(|error| self.failed("reading the flake", &error))?;
        let names = self.nix().eval_names(&source, &self.systems);
        let mut names = names.map_err(|error| self.failed("listing the packages", &error))?;
        names.retain(|name| reference::is_repository(name) && self.may_serve(name).is_ok());
        names.sort_unstable();
        names.dedup();
        if self.attributes.is_empty() {
            names = self.nix().eval_images(&source, &self.systems, &names);
        }
        Ok(names)
    }

    fn tags(&self, name: &str) -> Result<Vec<String>, SupplyError> {
        self.may_serve(name)?;
        if !name.starts_with("shell/") && !self.names()?.iter().any(|known| known == name) {
            return Err(SupplyError::UnknownName(format!("the flake has no image {name}")));
        }
        self.reference.tags(&self.processes).map_err(|error| self.failed("listing tags", &error))
    }

    fn resolve(&self, name: &str, tag: &str) -> Result<Version, SupplyError> {
        if !reference::is_repository(name) {
            return Err(SupplyError::UnknownName(format!("{name} is not the name of a repository")));
        }
        self.may_serve(name)?;
        let unknown = || SupplyError::UnknownManifest(format!("the flake has no branch, tag or commit {tag}"));
        let found = self
            .reference
            .with_tag(tag, &self.processes)
            .map_err(|error| self.failed(&format!("finding {tag}"), &error))?;
        let reference = found.ok_or_else(unknown)?;
        let _turn = self.turns.take();
        let fail = |error: anyhow::Error| self.failed(&format!("reading {reference}"), &error);
        let (key, source) = self.nix().source(&reference).map_err(fail)?;
        Ok(Version { key, source })
    }

    fn make(&self, name: &str, version: &Version) -> Result<Supplied, SupplyError> {
        let _turn = self.turns.take();
        let began = Instant::now();
        note!("building {name} of {}", version.source);
        let mut contents = Vec::new();
        let mut roots = Vec::new();
        for (system, package) in self.packages(name, version)? {
            let act = format!("building {name} for {system}");
            let drv_path = package.drv_path.with_context(|| format!("{name} is not a derivation"));
            let built = drv_path.and_then(|drv_path| self.build(name, &drv_path));
            let (content, root) = built.map_err(|error| self.failed(&act, &error))?;
            contents.push(content);
            roots.push(root);
        }
        let content = match contents.len() {
            1 => contents.remove(0),
            _ => ManifestGraph::of(contents, Vec::new()),
        };
        note!("built {name} in {:.1} s: {}", began.elapsed().as_secs_f64(), content.digest());
        Ok(Supplied::new(content, roots))
    }

    fn stop(&self) {
        self.processes.stop();
    }
}

/// A root of the garbage collector. Dropping it lets Nix collect what it kept.
#[derive(Debug)]
struct Root(PathBuf);

impl Root {
    /// A further root, which is dropped with this one.
    fn beside(&self, at: usize) -> PathBuf {
        beside(&self.0, at)
    }
}

fn beside(root: &Path, at: usize) -> PathBuf {
    root.with_extension(at.to_string())
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
        // The recipes of an index are numbered from 0.
        (0..).take_while(|at| fs::remove_file(self.beside(*at)).is_ok()).for_each(drop);
    }
}
