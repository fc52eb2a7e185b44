//! The public API of the library: what src/lib.rs exports, as tests/golden/api.txt lists it.
//!
//! A change of the API shows in review: `STRATA_BLESS=1 cargo test --test it api::` writes the file anew. The list is read from
//! the sources, because rustdoc's JSON needs a nightly toolchain.

use std::{collections::BTreeMap, fs, path::Path};

use syn::{Attribute, Expr, ImplItem, Item, ItemUse, Lit, Meta, Type, UseTree, Visibility};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/api.txt");
const LIMIT: usize = 60;

/// A public item: where it is defined (its first module and its name there), and its exported name.
struct Export {
    module: String,
    name: String,
    exported: String,
}

fn leaves(tree: &UseTree, path: &[String], found: &mut Vec<Export>) {
    let leaf = |name: String, exported: String| Export { module: path[0].clone(), name, exported };
    match tree {
        UseTree::Path(part) => leaves(&part.tree, &[path, &[part.ident.to_string()]].concat(), found),
        UseTree::Group(group) => group.items.iter().for_each(|tree| leaves(tree, path, found)),
        UseTree::Name(name) => found.push(leaf(name.ident.to_string(), name.ident.to_string())),
        UseTree::Rename(name) => found.push(leaf(name.ident.to_string(), name.rename.to_string())),
        UseTree::Glob(_) => panic!("src/lib.rs exports everything of {}", path.join("::")),
    }
}

fn is_hidden(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) => list.path.is_ident("doc") && list.tokens.to_string() == "hidden",
        _ => false,
    })
}

fn documentation(attributes: &[Attribute]) -> String {
    let line = |attribute: &Attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(value) => match &value.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    };
    attributes.iter().filter_map(line).collect::<Vec<_>>().join("\n")
}

fn exports() -> Vec<Export> {
    let lib = syn::parse_file(&fs::read_to_string(src().join("lib.rs")).unwrap()).unwrap();
    let mut found = Vec::new();
    for item in &lib.items {
        match item {
            Item::Use(ItemUse { vis: Visibility::Public(_), attrs, tree, .. }) if !is_hidden(attrs) => {
                leaves(tree, &[], &mut found);
            }
            Item::Mod(module) => {
                let is_public = matches!(module.vis, Visibility::Public(_)) && !is_hidden(&module.attrs);
                assert!(!is_public, "src/lib.rs exports the module {}", module.ident);
            }
            _ => {}
        }
    }
    found
}

fn src() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))
}

/// Every file of the library, parsed, by its first module.
fn sources(directory: &Path, found: &mut Vec<(String, syn::File)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let module = path.strip_prefix(src()).unwrap().components().next().unwrap();
            let module = module.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
            found.push((module, syn::parse_file(&fs::read_to_string(&path).unwrap()).unwrap()));
        }
    }
}

/// The kind of a public definition, its name, and its documentation.
fn definition(item: &Item) -> Option<(&'static str, String, String)> {
    let (kind, visibility, name, attributes) = match item {
        Item::Struct(item) => ("struct", &item.vis, &item.ident, &item.attrs),
        Item::Enum(item) => ("enum", &item.vis, &item.ident, &item.attrs),
        Item::Trait(item) => ("trait", &item.vis, &item.ident, &item.attrs),
        Item::Type(item) => ("type", &item.vis, &item.ident, &item.attrs),
        Item::Const(item) => ("const", &item.vis, &item.ident, &item.attrs),
        Item::Fn(item) => ("fn", &item.vis, &item.sig.ident, &item.attrs),
        _ => return None,
    };
    matches!(visibility, Visibility::Public(_)).then(|| (kind, name.to_string(), documentation(attributes)))
}

/// The public methods of a type.
fn methods(sources: &[(String, syn::File)], export: &Export) -> Vec<String> {
    let mut found = Vec::new();
    for item in sources
        .iter()
        .filter(|(module, _)| *module == export.module || module == "transport")
        .flat_map(|(_, file)| &file.items)
    {
        let Item::Impl(block) = item else { continue };
        let Type::Path(implementor) = &*block.self_ty else { continue };
        if block.trait_.is_some() || !implementor.path.is_ident(&export.name) {
            continue;
        }
        found.extend(block.items.iter().filter_map(|item| match item {
            ImplItem::Fn(method) if matches!(method.vis, Visibility::Public(_)) => Some(method.sig.ident.to_string()),
            _ => None,
        }));
    }
    found.sort();
    found
}

/// Exported names with their kind, documentation and methods.
fn api() -> BTreeMap<String, (&'static str, String, Vec<String>)> {
    let mut files = Vec::new();
    sources(src(), &mut files);
    let mut api = BTreeMap::new();
    for export in exports() {
        let module_items =
            files.iter().filter(|(module, _)| *module == export.module).flat_map(|(_, file)| &file.items);
        let mut definitions: Vec<_> =
            module_items.filter_map(definition).filter(|(_, name, _)| *name == export.name).collect();
        // Functions and types of the same name in other files of the module have other documentation.
        definitions.retain(|(_, _, text)| has_example(text));
        assert_eq!(definitions.len(), 1, "{}::{} has an example in {definitions:?}", export.module, export.name);
        let (kind, _, text) = definitions.remove(0);
        api.insert(export.exported.clone(), (kind, text, methods(&files, &export)));
    }
    api
}

/// Whether this is the documentation of a public item: it has an example, or a link to one of the crate's page.
fn has_example(text: &str) -> bool {
    text.contains("```")
        || ["recipe", "image", "layer", "transport"]
            .iter()
            .any(|part| text.contains(&format!("[Example](crate#{part})")))
}

#[test]
fn the_public_api_is_the_recorded_one() {
    let lines = api().into_iter().map(|(name, (kind, _, methods))| match methods.as_slice() {
        [] => format!("{kind} {name}\n"),
        methods => format!("{kind} {name}: {}\n", methods.join(" ")),
    });
    let found: String = lines.collect();
    if std::env::var_os("STRATA_BLESS").is_some() {
        fs::write(GOLDEN, &found).unwrap();
    }
    let recorded = fs::read_to_string(GOLDEN).unwrap();
    assert_eq!(found, recorded, "the API changed: run STRATA_BLESS=1 cargo test --test it api::");
}

#[test]
fn the_public_api_is_small() {
    let count = exports().len();
    assert!((20..=LIMIT).contains(&count), "src/lib.rs exports {count} items");
}
