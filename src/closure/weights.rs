//! The weights of store paths: how often each one is updated, relative to the others.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Graph;

/// The number of bits that the sum of all weights may have, approximately. Sizes have 64 bits, so the product of a sum of weights
/// and a sum of sizes fits 128 bits.
const SUM_BITS: u32 = 48;

/// The weights that a user configures. The default weight is 1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Weights {
    /// The weight of roots, which are usually the application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roots: Option<u64>,
    /// The weights of names without hash, in which `*` stands for any characters. If several patterns match, the most
    /// specific one applies: the one with the most characters other than `*`, then the one with the fewest `*`.
    pub names: BTreeMap<String, u64>,
}

impl Weights {
    /// Returns the weight of every node. If their sum is too large, all are scaled down by the same power of two.
    pub fn node_weights(&self, graph: &Graph) -> Vec<u64> {
        let mut is_root = vec![true; graph.nodes().len()];
        for &to in graph.nodes().iter().flat_map(|node| &node.references) {
            is_root[to] = false;
        }
        let named = |name: &str| {
            let matching = self.names.iter().filter(|(pattern, _)| matches(pattern, name));
            matching.max_by_key(|(pattern, _)| specificity(pattern)).map(|(_, &weight)| weight)
        };
        let weight = |(at, node): (usize, &super::Node)| {
            named(node.path.name()).or(self.roots.filter(|_| is_root[at])).unwrap_or(1)
        };
        scale_down(graph.nodes().iter().enumerate().map(weight).collect())
    }

    /// Returns whether all paths have the same weight.
    pub fn is_uniform(&self) -> bool {
        self.roots.is_none() && self.names.is_empty()
    }
}

/// Returns a key that is greater for more specific patterns: the number of characters other than `*`, then the fewest `*`.
fn specificity(pattern: &str) -> (usize, std::cmp::Reverse<usize>) {
    let stars = pattern.matches('*').count();
    (pattern.len() - stars, std::cmp::Reverse(stars))
}

/// Halves the weights until their sum has about [`SUM_BITS`]. Weights other than zero stay at least 1.
fn scale_down(weights: Vec<u64>) -> Vec<u64> {
    let sum: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
    let excess = (u128::BITS - sum.leading_zeros()).saturating_sub(SUM_BITS);
    let scale = |weight: u64| weight.checked_shr(excess).unwrap_or(0).max(u64::from(weight > 0));
    weights.into_iter().map(scale).collect()
}

/// Returns whether `text` matches `pattern`, in which `*` stands for any characters.
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::super::{RawNode, StoreDir, graph::tests::graph};
    use super::*;

    #[test]
    fn stars_match_any_characters() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("*b", "ab", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXcYb", false),
            ("a*a", "a", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn names_take_precedence_over_roots() {
        let graph = graph("a: c, b: c, c:").unwrap();
        let weights = Weights { roots: Some(5), names: BTreeMap::from([("b".to_owned(), 7)]) };
        assert_eq!(weights.node_weights(&graph), [5, 7, 1]);
        assert_eq!(Weights::default().node_weights(&graph), [1, 1, 1]);
    }

    #[test]
    fn the_most_specific_pattern_applies() {
        let node = |name: &str| RawNode::new(format!("/nix/store/{}-{name}", "a".repeat(32)), Vec::new(), 1, None);
        let graph = Graph::new(&StoreDir::default(), ["a", "ab", "abc"].map(node).into()).unwrap();
        let names = [("*", 2), ("a*", 3), ("ab*", 4), ("abc", 5), ("*c*", 6), ("a*b*", 7)];
        let names = names.map(|(pattern, weight)| (pattern.to_owned(), weight));
        assert_eq!(Weights { roots: None, names: BTreeMap::from(names) }.node_weights(&graph), [3, 4, 5]);
    }

    #[test]
    fn weights_near_2_to_the_64_do_not_overflow() {
        let graph = graph("a: c, b: c, c:").unwrap();
        let names = BTreeMap::from([("a".to_owned(), u64::MAX), ("b".to_owned(), u64::MAX / 2), ("c".to_owned(), 0)]);
        let weights = Weights { roots: None, names }.node_weights(&graph);
        assert_eq!((weights[0], weights[2]), (weights[1] * 2 + 1, 0));
        assert!(weights.iter().sum::<u64>() < 1 << (SUM_BITS + 1));
        let small = Weights { roots: Some(1 << 40), ..Weights::default() }.node_weights(&graph);
        assert_eq!(small, [1 << 40, 1 << 40, 1]);
    }
}
