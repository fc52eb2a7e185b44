//! Evaluations and builds of the images of a flake.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use anyhow::{Context, Result, ensure};

use super::{
    ComposedShell, EvaluatedPackage,
    isolation::{Isolation, isolate_builders},
    nix::{EVALUATION, NixCommands, json, list, store, text},
    reference,
    versions::FlakeSource,
};
use crate::closure::StorePath;

/// Distinguishes images of strata from other packages. The attributes are those in nix/modules/nixos.nix.
const IS_IMAGE: &str = "package: package ? imageName && package ? imageTag && package ? detached";

/// The name in a set of packages that a repository stands for: repositories have no capitals. An attribute in lower case precedes
/// one with capitals.
const NAME_IN: &str = "nameIn = let letters = text: builtins.genList (at: builtins.substring at 1 text) 26; \
     lower = builtins.replaceStrings (letters \"ABCDEFGHIJKLMNOPQRSTUVWXYZ\") (letters \"abcdefghijklmnopqrstuvwxyz\"); in \
     packages: name: let others = builtins.filter (other: lower other == name) (builtins.attrNames packages); in \
     if packages ? ${name} || others == [ ] then name else builtins.head others;";

impl NixCommands<'_> {
    /// Returns the names of the packages of these systems.
    pub fn eval_names(self, source: &FlakeSource, systems: &[String]) -> Result<Vec<String>> {
        let names = "system: builtins.attrNames (all.${system} or { })";
        json(&self.eval(source, &format!("all: builtins.concatMap ({names}) {}", list(systems)))?)
    }

    /// Returns those of `names` that are images. A package that does not evaluate is not an image. If several names do
    /// not evaluate together, each half is tried, since most errors of Nix cannot be caught.
    pub fn eval_images(self, source: &FlakeSource, systems: &[String], names: &[String]) -> Vec<String> {
        let apply = format!(
            "all: let isImage = {IS_IMAGE}; {NAME_IN} is = name: builtins.any (system: let packages = all.${{system}} or {{ }}; \
             own = nameIn packages name; found = builtins.tryEval (packages ? ${{own}} && isImage packages.${{own}}); in \
             found.success && found.value) {}; in builtins.filter is {}",
            list(systems),
            list(names)
        );
        match self.eval(source, &apply).and_then(|output| json(&output)) {
            Ok(images) => images,
            Err(_) if names.len() > 1 => {
                let (first, second) = names.split_at(names.len() / 2);
                [first, second].iter().flat_map(|half| self.eval_images(source, systems, half)).collect()
            }
            Err(_) => Vec::new(),
        }
    }

    /// Returns the package `name` of each system.
    pub fn eval_package(
        self,
        source: &FlakeSource,
        systems: &[String],
        name: &str,
    ) -> Result<BTreeMap<String, Option<EvaluatedPackage>>> {
        let apply = format!(
            "all: let isImage = {IS_IMAGE}; {NAME_IN} of = system: let packages = all.${{system}} or {{ }}; \
             found = packages.${{nameIn packages name}} or null; in \
             if found == null then null else {{ isImage = isImage found; \
             drvPath = if isImage found then found.detached.drvPath else found.drvPath or null; }}; name = {}; in \
             builtins.listToAttrs (map (system: {{ name = system; value = of system; }}) {})",
            text(name),
            list(systems)
        );
        json(&self.eval(source, &apply)?)
    }

    /// Returns the derivation of an image of `packages`, names separated by slashes.
    pub fn eval_shell(self, source: &FlakeSource, system: &str, packages: &str) -> Result<ComposedShell> {
        let names: Vec<String> = packages.split('/').map(str::to_owned).collect();
        let expression = format!(
            "({}) {{ inherit flake; system = {}; packages = {}; }}",
            include_str!("shell.nix"),
            text(system),
            list(&names)
        );
        let reference = match source {
            FlakeSource::Checkout { reference, .. } => reference,
            FlakeSource::Version(version) => return json(&self.eval_version(version, &expression)?),
        };
        let mut command = self.nix_in(self.limited("nix"), "eval");
        // The checkout may have changes, which have no revision. It can read the files of the machine.
        command.args(["--json", "--impure", "--expr"]);
        command
            .arg(format!("let flake = builtins.getFlake {}; in {expression}", text(&reference::absolute(reference))));
        json(&self.run(command, EVALUATION)?)
    }

    fn eval(self, source: &FlakeSource, apply: &str) -> Result<Output> {
        let reference = match source {
            FlakeSource::Checkout { reference, .. } => reference,
            FlakeSource::Version(version) => {
                return self.eval_version(version, &format!("({apply}) (flake.packages or {{ }})"));
            }
        };
        let mut command = self.nix_in(self.limited("nix"), "eval");
        command.args(["--json", "--no-write-lock-file"]).arg(format!("{reference}#packages")).args(["--apply", apply]);
        self.run(command, EVALUATION)
    }

    /// Builds or substitutes a derivation with one output, and keeps it with the root `link`.
    pub fn realise(self, source: &FlakeSource, drv_path: &str, link: &Path) -> Result<PathBuf> {
        // The flake determines the text.
        let drv_path = StorePath::parse(drv_path).with_context(|| format!("{drv_path:?} is not a derivation"))?;
        let mut command = store();
        if matches!(source, FlakeSource::Version(_)) {
            Isolation::keep_home(&mut command);
            isolate_builders(&mut command);
        }
        command.args(["--realise", drv_path.as_str(), "--indirect", "--add-root"]).arg(link);
        self.run(command, self.processes.timeout())?;
        let output = fs::canonicalize(link).with_context(|| format!("reading {}", link.display()))?;
        let store = Path::new(drv_path.as_str()).parent().and_then(|store| fs::canonicalize(store).ok());
        // An output may be a link to any file of this machine.
        ensure!(
            store.is_some_and(|store| output.starts_with(store)),
            "the result is a link to {}, which is not in the store",
            output.display()
        );
        Ok(output)
    }

    /// Keeps an existing store path.
    pub fn keep(self, path: &Path, link: &Path) -> Result<()> {
        let mut command = store();
        command.arg("--realise").arg(path).args(["--indirect", "--add-root"]).arg(link);
        self.run(command, EVALUATION).map(drop)
    }
}
