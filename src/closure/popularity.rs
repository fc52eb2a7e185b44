//! Popularity: what most of the closure stands on gets a layer of its own.
//!
//! Every path starts with the score 1. In topological order each path adds its
//! score to those it references, so a score counts the ways that lead to a path
//! from anywhere in the closure:
//!
//! ```text
//!   hello ──▶ glibc ──▶ libidn        hello 1, bash 1,
//!   bash ──────▲                      glibc 1+1+1 = 3, libidn 1+3 = 4
//!                                     order: libidn, glibc, then hello and bash
//! ```
//!
//! Ties go to the path that nix2container would number last: numbers are given
//! on first sight while reading the closure sorted by path, entry by entry, the
//! path itself and then its references. Changing anything here moves digests.

use super::{Graph, Strategy};

/// The strategy of nix2container and of older dockerTools.
#[derive(Clone, Copy, Debug, Default)]
pub struct Popularity;

impl Strategy for Popularity {
    /// The first `max_layers` - 1 paths get a layer each, the others share the last.
    fn groups(&self, graph: &Graph, nodes: &[usize], max_layers: usize) -> Vec<Vec<usize>> {
        let mut wanted = vec![false; graph.nodes().len()];
        nodes.iter().for_each(|&at| wanted[at] = true);
        let mut order = Self::order(graph).into_iter().filter(|&at| wanted[at]);
        let mut groups: Vec<Vec<usize>> = order.by_ref().take(max_layers - 1).map(|at| vec![at]).collect();
        let rest: Vec<usize> = order.collect();
        if !rest.is_empty() {
            groups.push(rest);
        }
        groups
    }
}

impl Popularity {
    /// All nodes, the most popular first.
    pub fn order(graph: &Graph) -> Vec<usize> {
        let nodes = graph.nodes();
        // Ways multiply along chains of diamonds; nix2container's int64 wraps, so ours does.
        let mut scores = vec![1i64; nodes.len()];
        for at in graph.topological_order() {
            for &to in &nodes[at].references {
                scores[to] = scores[to].wrapping_add(scores[at]);
            }
        }
        let numbers = first_sight_numbers(graph);
        let mut order: Vec<usize> = (0..nodes.len()).collect();
        order.sort_by(|&a, &b| scores[b].cmp(&scores[a]).then(numbers[b].cmp(&numbers[a])));
        order
    }
}

fn first_sight_numbers(graph: &Graph) -> Vec<usize> {
    let nodes = graph.nodes();
    let mut numbers = vec![usize::MAX; nodes.len()];
    let mut next = 0;
    let mut see = |at: usize| {
        if numbers[at] == usize::MAX {
            numbers[at] = next;
            next += 1;
        }
    };
    for (at, node) in nodes.iter().enumerate() {
        see(at);
        node.references.iter().copied().for_each(&mut see);
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
    fn the_example_of_the_module() {
        // a bash, b hello, g glibc, i libidn
        assert_eq!(names("a: g, b: g, g: i, i:"), "igba");
    }

    #[test]
    fn ties_go_to_the_number_given_last() {
        // Read in order: a 0, d 1 (seen as a's reference), b 2, c 3.
        assert_eq!(names("a: d, b:, c:, d:"), "dcba");
        // Four equal scores, but d was seen before b and c.
        assert_eq!(names("a:, b:, c:, d:"), "dcba");
        assert_eq!(names("a: d c, b:, c:, d:"), "dcba");
        assert_eq!(names("a: d, b: c, c:, d:"), "cdba");
    }

    #[test]
    fn scores_wrap_as_int64() {
        // 70 diamonds in a row: 2^70 ways.
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
