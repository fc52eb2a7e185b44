//! The allowed dependencies between modules, which src/lib.rs draws. They are read from the `use` trees and paths of all files.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use syn::{
    ItemUse, UseTree,
    visit::{self, Visit},
};

/// Modules, and those they may use.
const EDGES: [(&str, &[&str]); 20] = [
    ("budget", &[]),
    ("oci", &[]),
    ("closure", &[]),
    ("causes", &[]),
    ("files", &["budget"]),
    ("mounts", &[]),
    ("threads", &[]),
    ("sqlite", &["budget"]),
    ("terminal", &[]),
    ("layer", &["budget", "closure", "oci", "threads"]),
    ("image", &["budget", "causes", "closure", "files", "layer", "oci", "threads"]),
    ("report", &["closure", "image", "layer", "oci", "threads"]),
    ("attest", &["budget", "closure", "files", "image", "layer", "oci", "sqlite"]),
    ("transport", &["attest", "budget", "causes", "closure", "files", "image", "layer", "oci", "terminal", "threads"]),
    ("serve", &["causes", "image", "oci", "terminal", "threads", "transport"]),
    (
        "builder",
        &[
            "attest",
            "budget",
            "closure",
            "files",
            "image",
            "check",
            "layer",
            "mounts",
            "oci",
            "report",
            "sqlite",
            "terminal",
            "threads",
            "transport",
        ],
    ),
    ("run", &["budget", "closure", "files", "image", "layer", "oci", "terminal", "transport"]),
    ("check", &["budget", "closure", "files", "image", "layer", "mounts", "oci", "run", "terminal", "transport"]),
    (
        "cli",
        &[
            "attest",
            "budget",
            "builder",
            "causes",
            "check",
            "closure",
            "files",
            "image",
            "layer",
            "oci",
            "report",
            "run",
            "serve",
            "terminal",
            "threads",
            "transport",
        ],
    ),
    ("internals", &["attest", "check", "closure", "image", "layer", "oci", "serve", "transport"]),
];

/// The modules of the standard library that pure modules must not use. They must not use rayon either.
const IMPURE: [&str; 5] = ["fs", "env", "thread", "time", "net"];

/// Every path that a file names, from `crate` or an outer crate on.
#[derive(Default)]
struct Paths {
    /// Modules between the root and the file.
    depth: usize,
    found: BTreeSet<Vec<String>>,
}

impl Paths {
    fn take(&mut self, mut path: Vec<String>) {
        let supers = path.iter().take_while(|part| *part == "super").count();
        if supers > 0 && supers >= self.depth {
            path.splice(..supers, ["crate".to_owned()]);
        }
        self.found.insert(path);
    }

    fn tree(&mut self, tree: &UseTree, before: &[String]) {
        let with = |name: String| [before, &[name]].concat();
        match tree {
            UseTree::Path(path) => self.tree(&path.tree, &with(path.ident.to_string())),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(tree, before)),
            UseTree::Name(name) => self.take(with(name.ident.to_string())),
            UseTree::Rename(name) => self.take(with(name.ident.to_string())),
            UseTree::Glob(_) => self.take(before.to_vec()),
        }
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.tree(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.take(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        // Tests may use anything.
        if module.ident != "tests" {
            self.depth += 1;
            visit::visit_item_mod(self, module);
            self.depth -= 1;
        }
    }
}

pub fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

pub fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    fs::read_dir(path).unwrap().flat_map(|entry| files(&entry.unwrap().path())).collect()
}

/// The paths that a module's files name, by file.
fn paths(module: &str) -> BTreeMap<PathBuf, BTreeSet<Vec<String>>> {
    let (directory, file) = (src().join(module), src().join(format!("{module}.rs")));
    let own = if directory.is_dir() { directory } else { file };
    let mut all = BTreeMap::new();
    for file in files(&own).into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs")) {
        let text = fs::read_to_string(&file).unwrap();
        let depth = file.strip_prefix(src()).unwrap().components().count() - usize::from(file.ends_with("mod.rs"));
        let mut paths = Paths { depth, ..Paths::default() };
        paths.visit_file(&syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display())));
        all.insert(file, paths.found);
    }
    assert!(!all.is_empty(), "there is no module {module}");
    all
}

/// Returns the modules of this crate that each file of a module uses.
fn uses(module: &str) -> Vec<(PathBuf, String)> {
    let of_module = |(file, paths): (PathBuf, BTreeSet<Vec<String>>)| {
        let names = paths.into_iter().filter(|path| path.len() > 1 && path[0] == "crate").map(|path| path[1].clone());
        names.map(move |name| (file.clone(), name)).collect::<Vec<_>>()
    };
    paths(module).into_iter().flat_map(of_module).filter(|(_, name)| name != module).collect()
}

fn check(edges: &[(&str, &[&str])]) {
    let modules: Vec<&str> = edges.iter().map(|(module, _)| *module).collect();
    for (module, allowed) in edges {
        for (file, used) in uses(module) {
            // Names that the root gives out again (`crate::Image`) are no modules.
            let is_module = modules.contains(&used.as_str());
            assert!(
                !is_module || allowed.contains(&used.as_str()),
                "{} uses {used}, which {module} may not",
                file.display()
            );
        }
    }
}

#[test]
fn modules_use_only_allowed_modules() {
    check(&EDGES);
}

#[test]
fn every_module_of_the_library_is_listed() {
    let text = fs::read_to_string(src().join("lib.rs")).unwrap();
    let listed: BTreeSet<String> = EDGES.iter().map(|(module, _)| (*module).to_owned()).collect();
    let modules = syn::parse_file(&text).unwrap().items.into_iter().filter_map(|item| match item {
        syn::Item::Mod(module) => Some(module.ident.to_string()),
        _ => None,
    });
    assert_eq!(modules.collect::<BTreeSet<_>>(), listed);
}

#[test]
fn modules_have_no_circles() {
    let mut left: BTreeMap<&str, BTreeSet<&str>> =
        EDGES.iter().map(|(module, allowed)| (*module, allowed.iter().copied().collect())).collect();
    while let Some(free) = left.iter().find(|(_, uses)| uses.is_empty()).map(|(module, _)| *module) {
        left.remove(free);
        left.values_mut().for_each(|uses| {
            uses.remove(free);
        });
    }
    assert!(left.is_empty(), "these use each other: {left:?}");
}

#[test]
fn pure_modules_do_no_io() {
    for module in ["closure", "oci"] {
        for (file, paths) in paths(module) {
            for path in paths {
                let impure = path[0] == "rayon"
                    || path[0] == "std" && path.get(1).is_some_and(|name| IMPURE.contains(&name.as_str()));
                assert!(!impure, "{} uses {}, but {module} is pure", file.display(), path.join("::"));
            }
        }
    }
}

#[test]
fn dependencies_of_the_program_are_not_the_library_s() {
    for (module, _) in
        EDGES.into_iter().filter(|(module, _)| !["builder", "check", "cli", "mounts", "run"].contains(module))
    {
        for (file, paths) in paths(module) {
            let named =
                paths.iter().find(|path| matches!(path[0].as_str(), "anyhow" | "clap" | "indicatif" | "signal_hook"));
            assert!(named.is_none(), "{} uses {named:?}", file.display());
        }
    }
}

/// The functions of a file with more than 60 lines. rustfmt indents a closing brace as the line that opens the function.
fn long_functions(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let indentation = &line[..line.len() - line.trim_start().len()];
        let is_function = line.trim_start().split(' ').take_while(|word| !word.contains('(')).any(|word| word == "fn")
            || line.trim_start().starts_with("fn ");
        if !is_function || line.trim_start().starts_with("//") || line.ends_with(';') || line.ends_with('}') {
            continue;
        }
        let end = format!("{indentation}}}");
        let length = lines[start..].iter().position(|line| *line == end).map_or(0, |length| length + 1);
        if length > 60 {
            found.push(format!("{}:{}: {length} lines", file.display(), start + 1));
        }
    }
    found
}

#[test]
fn functions_have_at_most_60_lines() {
    let long: Vec<String> = files(&src()).iter().flat_map(|file| long_functions(file)).collect();
    assert!(long.is_empty(), "{long:#?}");
}

/// Returns the modules in a directory, and the sibling modules that each uses.
fn siblings(directory: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let is_module = |path: &Path| path.is_dir() || path.extension().is_some_and(|extension| extension == "rs");
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).filter(|path| is_module(path));
    let stem = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let names: BTreeSet<String> = entries.map(|path| stem(&path)).filter(|name| name != "mod").collect();
    let parents = directory.strip_prefix(src()).unwrap().iter().map(|part| part.to_str().unwrap().to_owned());
    let here: Vec<String> = std::iter::once("crate".to_owned()).chain(parents).collect();
    let uses = |name: &String| {
        let (file, module) = (directory.join(format!("{name}.rs")), directory.join(name).join("mod.rs"));
        let mut paths = Paths { depth: 1000, ..Paths::default() };
        if let Ok(text) = fs::read_to_string(file).or_else(|_| fs::read_to_string(module)) {
            paths.visit_file(&syn::parse_file(&text).unwrap());
        }
        let beside = |path: Vec<String>| {
            let path = path.strip_prefix(here.as_slice()).or(path.strip_prefix(["super".to_owned()].as_slice()))?;
            path.first().filter(|used| names.contains(*used)).cloned()
        };
        (name.clone(), paths.found.into_iter().filter_map(beside).filter(|used| used != name).collect())
    };
    names.iter().map(uses).collect()
}

fn directories(below: &Path) -> Vec<PathBuf> {
    let own = fs::read_dir(below).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    own.flat_map(|path| [directories(&path), vec![path]].concat()).collect()
}

#[test]
fn sibling_modules_have_no_cyclic_dependencies() {
    for directory in directories(&src()) {
        let mut left = siblings(&directory);
        while let Some(free) = left.iter().find(|(_, uses)| uses.is_empty()).map(|(name, _)| name.clone()) {
            left.remove(&free);
            left.values_mut().for_each(|uses| uses.retain(|used| *used != free));
        }
        assert!(left.is_empty(), "{}: these use each other: {left:?}", directory.display());
    }
}
