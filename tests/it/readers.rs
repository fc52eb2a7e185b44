//! Untrusted input is read within a budget, and `src/budget.rs` has all limits of bytes.

use std::{collections::BTreeMap, fs};

use syn::visit::{self, Visit};

use crate::modules::{files, src};

/// Files that read without a budget, and why they may.
const UNBOUNDED: [(&str, &str); 17] = [
    ("check/pattern.rs", "the size of a compiled expression"),
    ("check/sandbox/mod.rs", "files that strata wrote, outside of the containers"),
    ("check/sandbox/service.rs", "files that strata wrote, outside of the containers"),
    ("image/recipe/layer.rs", "an output of a build"),
    ("run/engine.rs", "a file of the kernel"),
    ("run/keeper.rs", "the user's own engine lists containers of one label"),
    ("run/ready.rs", "tables of the kernel"),
    ("serve/identity.rs", "the user's certificate and key"),
    ("serve/users.rs", "the user's file of passwords"),
    ("transport/compression_cache.rs", "the user's cache"),
    ("transport/docker/api/endpoint.rs", "docker's own configuration"),
    ("transport/http/netrc.rs", "the user's passwords"),
    ("transport/http/tls/mod.rs", "certificates of the machine and the user"),
    ("transport/import.rs", "an output of a build"),
    ("transport/registry/credentials/file.rs", "the user's passwords"),
    ("transport/registry/credentials/login.rs", "the user's passwords"),
    ("transport/registry/registries_conf.rs", "the machine's configuration"),
];

/// Calls that read all that there is, and constants that are limits.
#[derive(Default)]
struct Readers(Vec<String>);

/// Whether these are the buffers of a connection, whose output is what is to be sent.
fn is_buffers(receiver: &syn::Expr) -> bool {
    matches!(receiver, syn::Expr::Field(field) if matches!(&field.member, syn::Member::Named(name) if name == "buffers"))
}

impl<'ast> Visit<'ast> for Readers {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if module.ident != "tests" {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_const(&mut self, constant: &'ast syn::ItemConst) {
        // A number alone is a limit of a format: of a name, of directories above a file.
        let is_size = matches!(&*constant.expr, syn::Expr::Binary(_));
        if constant.ident.to_string().ends_with("LIMIT") && is_size {
            self.0.push(constant.ident.to_string());
        }
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        let reads_all = ["read_to_end", "read_to_string"].iter().any(|name| call.method == name)
            || (call.method == "output" && call.args.is_empty() && !is_buffers(&call.receiver));
        // The start of a file has a length of its own.
        let is_start = matches!(&*call.receiver, syn::Expr::MethodCall(inner) if inner.method == "take");
        if reads_all && !is_start {
            self.0.push(call.method.to_string());
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
        let names: Vec<String> = path.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if matches!(names.iter().map(String::as_str).collect::<Vec<_>>()[..], [.., "fs", "read" | "read_to_string"]) {
            self.0.push(names.join("::"));
        }
    }
}

#[test]
fn readers_of_untrusted_input_take_a_budget() {
    let mut found = BTreeMap::new();
    for module in ["attest", "check", "image", "layer", "oci", "run", "serve", "sqlite", "transport"] {
        let (directory, file) = (src().join(module), src().join(format!("{module}.rs")));
        for file in files(if directory.is_dir() { &directory } else { &file }) {
            let mut readers = Readers::default();
            readers.visit_file(&syn::parse_file(&fs::read_to_string(&file).unwrap()).unwrap());
            let name = file.strip_prefix(src()).unwrap().display().to_string();
            if !name.ends_with("tests.rs") && !readers.0.is_empty() {
                found.insert(name, readers.0);
            }
        }
    }
    let unbounded: BTreeMap<&str, &Vec<String>> = found
        .iter()
        .filter(|(file, _)| UNBOUNDED.iter().all(|(known, _)| known != file))
        .map(|(file, readers)| (file.as_str(), readers))
        .collect();
    assert!(unbounded.is_empty(), "src/budget.rs has the limits: {unbounded:#?}");
    let gone: Vec<&str> = UNBOUNDED.iter().map(|(file, _)| *file).filter(|file| !found.contains_key(*file)).collect();
    assert!(gone.is_empty(), "nothing is read here: {gone:?}");
}
