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
    let mut files = source_files(directories);
    files.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    files
}

/// The files below these directories.
fn source_files(directories: &[&str]) -> Vec<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut left: Vec<PathBuf> = directories.iter().map(|name| root.join(name)).collect();
    let mut files = Vec::new();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
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

/// Comments of code, and messages of test scripts. Some words of the list have a second meaning there: the user `nobody`, the
/// authority of a URL, packed buffers.
#[test]
fn comments_use_the_vocabulary() {
    const EXEMPT: [&str; 5] = ["nobody", "authority", "packed", "who", "in parts"];
    let mut wrong = Vec::new();
    let mut count = 0;
    for path in source_files(&["src", "tests", "nix", "dev", "fuzz/fuzz_targets", "benches", "examples"]) {
        let is_rust = path.extension().is_some_and(|extension| extension == "rs");
        if path.ends_with("tests/it/words.rs") || path.components().any(|part| part.as_os_str() == "golden") {
            continue;
        }
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for (number, line) in text.lines().enumerate() {
            let comment = if is_rust { rust_comment(line) } else { script_comment(line) };
            let Some(comment) = comment else { continue };
            count += 1;
            let words = unwanted(comment).into_iter();
            let words = words.filter(|word| !EXEMPT.iter().any(|exempt| word.starts_with(&format!("{exempt:?}"))));
            wrong.extend(words.map(|word| format!("{}:{}: {word}", path.display(), number + 1)));
        }
    }
    assert!(count > 5000, "{count}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn rust_comment(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix("//").map(|text| text.trim_start_matches(['/', '!']))
}

/// A line with a comment, or with a message of a failed check.
fn script_comment(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix('#').or_else(|| line.split_once("fail \"").map(|(_, message)| message))
}
