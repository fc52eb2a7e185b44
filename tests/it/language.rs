//! Help texts and names of tests use the words of the field.

use std::{fs, path::PathBuf};

use syn::visit::{self, Visit};

use crate::{
    commands::{commands, strata},
    words::unwanted,
};

#[test]
fn help_uses_the_vocabulary() {
    let mut wrong = Vec::new();
    for command in commands() {
        let help = strata(&[&command, "--help"]);
        wrong.extend(unwanted(&help).into_iter().map(|word| format!("strata {command} --help: {word}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The Rust files below these directories.
pub fn files(directories: &[&str]) -> Vec<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut left: Vec<PathBuf> = directories.iter().map(|name| root.join(name)).collect();
    let mut files = Vec::new();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    assert!(files.len() > 20, "{files:?}");
    files
}

/// The functions with `#[test]`.
#[derive(Default)]
struct Tests(Vec<String>);

impl<'ast> Visit<'ast> for Tests {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        if function.attrs.iter().any(|attribute| attribute.path().is_ident("test")) {
            self.0.push(function.sig.ident.to_string());
        }
        visit::visit_item_fn(self, function);
    }
}

#[test]
fn names_of_tests_use_the_vocabulary() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for path in files(&["src", "tests"]) {
        let mut tests = Tests::default();
        tests.visit_file(&syn::parse_file(&fs::read_to_string(&path).unwrap()).unwrap());
        count += tests.0.len();
        for name in tests.0 {
            let words = unwanted(&name);
            let is_headless = name.starts_with("what_") || name.starts_with("who_");
            if !words.is_empty() || is_headless {
                wrong.push(format!("{}: {name} {}: name the behaviour under test", path.display(), words.join(", ")));
            }
        }
    }
    assert!(count > 300, "{count}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
