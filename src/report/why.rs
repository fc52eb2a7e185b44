//! Finds the store paths that a user names: by a store path, a path of a file in one (as in a stack trace), a hash,
//! `hello-2.12` or `hello`.

use strsim::levenshtein;

use crate::closure::{Graph, Node, StorePath};

/// The maximum number of similar names to suggest.
const SUGGESTIONS: usize = 3;

/// Returns the nodes that `query` names, sorted by path. A package may have several store paths. The most specific match
/// applies: a path before a name, and a name before a package.
pub fn find(graph: &Graph, query: &str) -> Vec<usize> {
    let store_path = enclosing_store_path(query);
    let matchers: [&dyn Fn(&StorePath) -> bool; 4] = [
        &|path| path.as_str() == store_path || path.hash_part() == query,
        &|path| base(path) == query.trim_end_matches('/'),
        &|path| path.name() == query,
        &|path| path.package() == query,
    ];
    let matching = |matcher: &&dyn Fn(&StorePath) -> bool| -> Vec<usize> {
        positions(graph, |node| matcher(&node.path)).collect()
    };
    matchers.iter().map(matching).find(|found| !found.is_empty()).unwrap_or_default()
}

/// Returns the names of the closure that are similar to `query`, the most similar first.
pub fn similar_names(graph: &Graph, query: &str) -> Vec<String> {
    let store_path = enclosing_store_path(query);
    let name = StorePath::parse(store_path).map_or_else(|_| query.to_owned(), |path| path.name().to_owned());
    let query = name.to_lowercase();
    let mut similar: Vec<(usize, &str)> = Vec::new();
    for node in graph.nodes() {
        let (name, package) = (node.path.name().to_lowercase(), node.path.package().to_lowercase());
        let distance = levenshtein(&query, &package).min(levenshtein(&query, &name));
        if !query.is_empty() && name.contains(&query) {
            similar.push((0, node.path.name()));
        } else if distance <= query.len().div_ceil(3) {
            similar.push((distance, node.path.name()));
        }
    }
    similar.sort_unstable();
    similar.dedup();
    similar.into_iter().take(SUGGESTIONS).map(|(_, name)| name.to_owned()).collect()
}

fn positions<'a>(graph: &'a Graph, is_match: impl Fn(&Node) -> bool + 'a) -> impl Iterator<Item = usize> + 'a {
    graph.nodes().iter().enumerate().filter(move |(_, node)| is_match(node)).map(|(at, _)| at)
}

/// Returns the last component of a store path, `0c6a…-hello-2.12`.
fn base(path: &StorePath) -> &str {
    path.as_str().rsplit_once('/').map_or("", |(_, base)| base)
}

/// Returns the store path that contains a path, or the text itself if there is none.
fn enclosing_store_path(text: &str) -> &str {
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
    fn store_paths_are_found_by_path_hash_name_and_package() {
        let found = |query: &str| find(&graph(), query);
        let hello = path("a", "hello-2.12");
        let base = hello.rsplit_once('/').unwrap().1;
        for query in [&hello, &format!("{hello}/bin/hello"), &format!("{hello}/"), base, "hello-2.12", "hello"] {
            assert_eq!(found(query), [0], "{query}");
        }
        assert_eq!(found(&"a".repeat(32)), [0]);
        assert_eq!(found("glibc"), [1, 2]);
        assert_eq!(found("glibc-2.36"), [1]);
        assert!(found("hell").is_empty());
        assert!(found("").is_empty());
    }

    #[test]
    fn similar_names_are_suggested() {
        assert_eq!(similar_names(&graph(), "hell"), ["hello-2.12"]);
        assert_eq!(similar_names(&graph(), "opensll"), ["openssl-3.0.20"]);
        assert_eq!(similar_names(&graph(), "libc"), ["glibc-2.36", "glibc-2.36-bin"]);
        // The store path of another build of the same package.
        assert_eq!(similar_names(&graph(), &path("f", "hello-2.12")), ["hello-2.12"]);
        assert!(similar_names(&graph(), "postgresql").is_empty());
    }
}
