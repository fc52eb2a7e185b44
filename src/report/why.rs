//! Which store paths somebody means, by what is in front of them: a store path, a path in one (from a stack trace, say),
//! a hash, `hello-2.12`, `hello`.

use strsim::levenshtein;

use crate::closure::{Graph, Node, StorePath};

/// How many near names are suggested.
const SUGGESTIONS: usize = 3;

/// The nodes that `what` names, in order of their paths; several where a package has several paths. What says most
/// decides: a whole path before a name, a name before a package.
pub fn find(graph: &Graph, what: &str) -> Vec<usize> {
    let whole = store_path_of(what);
    let ways: [&dyn Fn(&StorePath) -> bool; 4] = [
        &|path| path.as_str() == whole || path.hash_part() == what,
        &|path| base(path) == what.trim_end_matches('/'),
        &|path| path.name() == what,
        &|path| path.package() == what,
    ];
    let matching =
        |way: &&dyn Fn(&StorePath) -> bool| -> Vec<usize> { positions(graph, |node| way(&node.path)).collect() };
    ways.iter().map(matching).find(|found| !found.is_empty()).unwrap_or_default()
}

/// Names of the closure that look like `what`, the nearest first.
pub fn near(graph: &Graph, what: &str) -> Vec<String> {
    let whole = store_path_of(what);
    let name = StorePath::parse(whole).map_or_else(|_| what.to_owned(), |path| path.name().to_owned());
    let wanted = name.to_lowercase();
    let mut near: Vec<(usize, &str)> = Vec::new();
    for node in graph.nodes() {
        let (name, package) = (node.path.name().to_lowercase(), node.path.package().to_lowercase());
        let distance = levenshtein(&wanted, &package).min(levenshtein(&wanted, &name));
        if !wanted.is_empty() && name.contains(&wanted) {
            near.push((0, node.path.name()));
        } else if distance <= wanted.len().div_ceil(3) {
            near.push((distance, node.path.name()));
        }
    }
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(SUGGESTIONS).map(|(_, name)| name.to_owned()).collect()
}

fn positions<'a>(graph: &'a Graph, wanted: impl Fn(&Node) -> bool + 'a) -> impl Iterator<Item = usize> + 'a {
    graph.nodes().iter().enumerate().filter(move |(_, node)| wanted(node)).map(|(at, _)| at)
}

/// `0c6a…-hello-2.12`
fn base(path: &StorePath) -> &str {
    path.as_str().rsplit_once('/').map_or("", |(_, base)| base)
}

/// The store path that a path is or lies in; anything else as it is.
fn store_path_of(text: &str) -> &str {
    let slashes = text.match_indices('/').map(|(at, _)| at).chain([text.len()]);
    slashes.map(|at| &text[..at]).find(|start| StorePath::parse(start).is_ok()).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::closure::{RawNode, StoreDir};

    fn path(letter: &str, name: &str) -> String {
        format!("/nix/store/{}-{name}", letter.repeat(32))
    }

    fn graph() -> Graph {
        let node = |(letter, name): (&str, &str)| RawNode::new(path(letter, name), Vec::new(), 1, None);
        let names = [("a", "hello-2.12"), ("b", "glibc-2.36"), ("c", "glibc-2.36-bin"), ("d", "openssl-3.0.20")];
        Graph::new(&StoreDir::default(), names.map(node).into()).unwrap()
    }

    #[test]
    fn a_store_path_is_found_by_what_a_user_has_in_front_of_them() {
        let found = |what: &str| find(&graph(), what);
        let hello = path("a", "hello-2.12");
        let base = hello.rsplit_once('/').unwrap().1;
        for what in [&hello, &format!("{hello}/bin/hello"), &format!("{hello}/"), base, "hello-2.12", "hello"] {
            assert_eq!(found(what), [0], "{what}");
        }
        assert_eq!(found(&"a".repeat(32)), [0]);
        assert_eq!(found("glibc"), [1, 2]);
        assert_eq!(found("glibc-2.36"), [1]);
        assert!(found("hell").is_empty());
        assert!(found("").is_empty());
    }

    #[test]
    fn near_names_are_suggested() {
        assert_eq!(near(&graph(), "hell"), ["hello-2.12"]);
        assert_eq!(near(&graph(), "opensll"), ["openssl-3.0.20"]);
        assert_eq!(near(&graph(), "libc"), ["glibc-2.36", "glibc-2.36-bin"]);
        // Another build of the same package.
        assert_eq!(near(&graph(), &path("f", "hello-2.12")), ["hello-2.12"]);
        assert!(near(&graph(), "postgresql").is_empty());
    }
}
