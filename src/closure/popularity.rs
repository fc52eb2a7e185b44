//! Popularity: the paths that most of the closure depends on get layers of their own.
//!
//! Every path starts with the score 1. In topological order, each path adds its
//! score to the scores of its references, so the score of a path counts the chains
//! of references that lead to it from any path of the closure:
//!
//! ```text
//!   hello ──▶ glibc ──▶ libidn        hello 1, bash 1,
//!   bash ──────▲                      glibc 1+1+1 = 3, libidn 1+3 = 4
//!                                     order: libidn, glibc, then hello and bash
//! ```
//!
//! If scores are equal, the path that nix2container numbers last is first.
//! nix2container numbers paths as they first occur in the closure sorted by path:
//! for each entry, the path itself and then its references. Any change here
//! changes the digests of layers.

use super::{Graph, Strategy};

/// The strategy of nix2container and of older dockerTools.
#[derive(Clone, Copy, Debug, Default)]
pub struct Popularity;

impl Strategy for Popularity {
    /// The first `max_layers` - 1 paths get a layer each, and all others share the last layer.
    fn groups(&self, graph: &Graph, nodes: &[usize], max_layers: usize) -> Vec<Vec<usize>> {
        let mut is_placed = vec![false; graph.nodes().len()];
        nodes.iter().for_each(|&at| is_placed[at] = true);
        let mut order = Self::order(graph).into_iter().filter(|&at| is_placed[at]);
        let mut groups: Vec<Vec<usize>> = order.by_ref().take(max_layers - 1).map(|at| vec![at]).collect();
        let rest: Vec<usize> = order.collect();
        if !rest.is_empty() {
            groups.push(rest);
        }
        groups
    }
}

impl Popularity {
    /// Returns all nodes, the most popular first.
    pub fn order(graph: &Graph) -> Vec<usize> {
        let nodes = graph.nodes();
        // Scores grow exponentially along chains of diamonds. The int64 of nix2container wraps around, so this one must.
        let mut scores = vec![1i64; nodes.len()];
        for at in graph.topological_order() {
            for &to in &nodes[at].references {
                scores[to] = scores[to].wrapping_add(scores[at]);
            }
        }
        let numbers = first_occurrences(graph);
        let mut order: Vec<usize> = (0..nodes.len()).collect();
        order.sort_by(|&a, &b| scores[b].cmp(&scores[a]).then(numbers[b].cmp(&numbers[a])));
        order
    }
}

fn first_occurrences(graph: &Graph) -> Vec<usize> {
    let nodes = graph.nodes();
    let mut numbers = vec![usize::MAX; nodes.len()];
    let mut next = 0;
    let mut visit = |at: usize| {
        if numbers[at] == usize::MAX {
            numbers[at] = next;
            next += 1;
        }
    };
    for (at, node) in nodes.iter().enumerate() {
        visit(at);
        node.references.iter().copied().for_each(&mut visit);
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::super::graph::tests::graph;
    use super::*;

    fn names(text: &str) -> String {
        let graph = graph(text).unwrap();
        let order = Popularity::order(&graph);
        order.iter().map(|&at| graph.nodes()[at].path.name()).collect()
    }

    #[test]
    fn the_example_of_the_module_doc_is_computed() {
        // a bash, b hello, g glibc, i libidn
        assert_eq!(names("a: g, b: g, g: i, i:"), "igba");
    }

    #[test]
    fn equal_scores_are_ordered_by_descending_first_occurrence() {
        // The numbers are a 0, d 1 (a reference of a), b 2, c 3.
        assert_eq!(names("a: d, b:, c:, d:"), "dcba");
        // All four scores are equal.
        assert_eq!(names("a:, b:, c:, d:"), "dcba");
        assert_eq!(names("a: d c, b:, c:, d:"), "dcba");
        assert_eq!(names("a: d, b: c, c:, d:"), "cdba");
    }

    #[test]
    fn scores_wrap_as_int64() {
        // A row of 70 diamonds has 2^70 chains from its top to its bottom.
        let letters: Vec<char> = "0123456789abcdfghijklmnpqrsvwxyz".chars().collect();
        let name = |at: usize| format!("{}{}", letters[at / 32], letters[at % 32]);
        let path = |at: usize| format!("/nix/store/{}-x", name(at).repeat(16));
        let mut raw = Vec::new();
        for step in 0..70 {
            let (top, left, right, bottom) = (step * 3, step * 3 + 1, step * 3 + 2, step * 3 + 3);
            raw.push(format!(r#"{{"path":"{}","references":["{}","{}"]}}"#, path(top), path(left), path(right)));
            for side in [left, right] {
                raw.push(format!(r#"{{"path":"{}","references":["{}"]}}"#, path(side), path(bottom)));
            }
        }
        raw.push(format!(r#"{{"path":"{}","references":[]}}"#, path(210)));
        let raw = serde_json::from_str(&format!("[{}]", raw.join(","))).unwrap();
        let graph = Graph::new(&Default::default(), raw).unwrap();
        assert_eq!(Popularity::order(&graph).len(), 211);
    }
}
