//! How often each store path is the one that is updated.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Graph;

/// Weights as users give them; every path has 1 where nothing else is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Weights {
    /// Of paths that nothing else references: the application, mostly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roots: Option<u64>,
    /// By name, without hash; `*` stands for anything. The first that fits counts, in order of the patterns.
    pub names: BTreeMap<String, u64>,
}

impl Weights {
    /// The weight of every node.
    pub fn of(&self, graph: &Graph) -> Vec<u64> {
        let mut is_root = vec![true; graph.nodes().len()];
        for &to in graph.nodes().iter().flat_map(|node| &node.references) {
            is_root[to] = false;
        }
        let named =
            |name: &str| self.names.iter().find(|(pattern, _)| matches(pattern, name)).map(|(_, &weight)| weight);
        let weight = |(at, node): (usize, &super::Node)| {
            named(node.path.name()).or(self.roots.filter(|_| is_root[at])).unwrap_or(1)
        };
        graph.nodes().iter().enumerate().map(weight).collect()
    }

    /// Whether nothing is said.
    pub fn is_uniform(&self) -> bool {
        self.roots.is_none() && self.names.is_empty()
    }
}

/// Whether `text` is what `pattern` says, where `*` stands for any characters.
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
    use super::super::graph::tests::graph;
    use super::*;

    #[test]
    fn patterns() {
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
    fn names_come_before_roots() {
        let graph = graph("a: c, b: c, c:").unwrap();
        let weights = Weights { roots: Some(5), names: BTreeMap::from([("b".to_owned(), 7)]) };
        assert_eq!(weights.of(&graph), [5, 7, 1]);
        assert_eq!(Weights::default().of(&graph), [1, 1, 1]);
    }
}
