//! tests/golden/messages.txt has all human-readable output of the program: the help of each command, and the texts of errors,
//! warnings and progress, in the order of the source. Wording is reviewed there. `STRATA_BLESS=1 cargo test --test it messages`
//! writes the file again.

use std::{collections::BTreeMap, fs, path::Path};

use syn::{
    Expr, Token,
    punctuated::Punctuated,
    visit::{self, Visit},
};

use crate::{
    commands::{commands, strata},
    language::files,
    words::unwanted,
};

/// The texts of a file.
#[derive(Default)]
struct Texts(Vec<String>);

impl Texts {
    /// A text that reads like a sentence or a part of one: no names of fields, no paths, no formats alone.
    fn add(&mut self, text: &str) {
        let letters = text.chars().filter(|letter| letter.is_ascii_lowercase()).count();
        let is_script = text.lines().count() > 8;
        if text.trim().contains(' ') && letters > 7 && !is_script && !self.0.iter().any(|found| found == text) {
            self.0.push(text.to_owned());
        }
    }

    fn arguments(&mut self, parsed: syn::Result<Punctuated<Expr, Token![,]>>) {
        let mut found = Self::default();
        for argument in parsed.into_iter().flatten() {
            found.visit_expr(&argument);
        }
        found.0.iter().for_each(|text| self.add(text));
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::Path(path) => path.is_ident("test"),
        syn::Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string().contains("test"),
        syn::Meta::NameValue(_) => false,
    })
}

impl<'ast> Visit<'ast> for Texts {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !is_test(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        if !is_test(&function.attrs) {
            visit::visit_item_fn(self, function);
        }
    }

    /// `#[error("…")]`; the help of arguments is printed by `--help`.
    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if let syn::Meta::List(list) = &attribute.meta
            && list.path.is_ident("error")
        {
            self.arguments(list.parse_args_with(Punctuated::parse_terminated));
        }
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.arguments(call.parse_body_with(Punctuated::parse_terminated));
    }

    fn visit_lit_str(&mut self, text: &'ast syn::LitStr) {
        self.add(&text.value());
    }
}

/// The texts of each file of src/ that has some.
fn texts() -> BTreeMap<String, Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeMap::new();
    for path in
        files(&["src"]).iter().filter(|path| !path.ends_with("tests.rs") && !path.iter().any(|part| part == "tests"))
    {
        let mut texts = Texts::default();
        texts.visit_file(&syn::parse_file(&fs::read_to_string(path).unwrap()).unwrap());
        if !texts.0.is_empty() {
            found.insert(path.strip_prefix(root).unwrap().display().to_string(), texts.0);
        }
    }
    found
}

#[test]
fn messages_are_the_golden_ones() {
    let mut golden = String::new();
    for command in commands() {
        golden.push_str(&format!("# strata {command} --help\n\n{}\n", strata(&[&command, "--help"]).trim_end()));
        golden.push('\n');
    }
    for (file, texts) in texts() {
        golden.push_str(&format!("# {file}\n\n"));
        for text in texts {
            // Each text is one line.
            golden
                .push_str(&format!("{}\n", text.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'")));
        }
        golden.push('\n');
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/messages.txt");
    if std::env::var_os("STRATA_BLESS").is_some() {
        fs::write(&path, &golden).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let changed: Vec<&str> = golden.lines().filter(|line| !kept.lines().any(|old| old == *line)).take(20).collect();
    assert!(
        golden == kept,
        "tests/golden/messages.txt has other texts: review these, then STRATA_BLESS=1 cargo test --test it messages\n{}",
        changed.join("\n")
    );
}

#[test]
fn messages_use_the_vocabulary() {
    let mut wrong = Vec::new();
    for (file, texts) in texts() {
        for text in texts {
            // Names in braces are not printed.
            let shown: String =
                text.split('{').map(|part| part.split_once('}').map_or(part, |(_, rest)| rest)).collect();
            let words = unwanted(&shown);
            if !words.is_empty() {
                wrong.push(format!("{file}: {text:?}: {}", words.join(", ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
