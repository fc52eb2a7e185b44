//! The default strategy of dockerTools: paths that the same big packages need share a layer.
//!
//! The biggest paths become primaries, one after the other. Every path
//! has a set of primaries that need it, and each set that occurs is a layer:
//!
//! ```text
//! primaries p, q      needed by p and q    libc       layer 1, the lowest
//!                     needed by p          p, libp    layer 2
//!                     needed by q          q          layer 3
//!                     needed by neither    the rest   layer 4
//! ```
//!
//! Primaries are added until the next one would make more layers than allowed.

use std::collections::BTreeMap;

use super::{Graph, Strategy};

/// The strategy of recent dockerTools.
#[derive(Clone, Copy, Debug, Default)]
pub struct Auto;

impl Strategy for Auto {
    fn groups(&self, graph: &Graph, nodes: &[usize], max_layers: usize) -> Vec<Vec<usize>> {
        let mut by_size = nodes.to_vec();
        by_size.sort_by_key(|&at| (std::cmp::Reverse(graph.nodes()[at].nar_size), at));
        let mut classes = Classes::new(graph.nodes().len());
        let mut best = vec![nodes.to_vec()];
        for (number, &primary) in by_size.iter().enumerate() {
            classes.add(graph, number, primary);
            let groups = classes.group(nodes);
            if groups.len() > max_layers {
                break;
            }
            best = groups;
        }
        best
    }
}

/// A partition of the nodes: the nodes of a class are needed by the same primaries.
struct Classes {
    /// The class of every node.
    class_of_node: Vec<usize>,
    /// The primaries of every class, by their numbers.
    primaries: Vec<Vec<usize>>,
}

impl Classes {
    fn new(nodes: usize) -> Self {
        Self { class_of_node: vec![0; nodes], primaries: vec![Vec::new()] }
    }

    /// Adds a primary. The nodes that it needs move to classes with one more primary.
    fn add(&mut self, graph: &Graph, number: usize, primary: usize) {
        let mut moved: BTreeMap<usize, usize> = BTreeMap::new();
        let mut is_needed = vec![false; self.class_of_node.len()];
        let mut queue = vec![primary];
        while let Some(at) = queue.pop() {
            if !std::mem::replace(&mut is_needed[at], true) {
                queue.extend(&graph.nodes()[at].references);
                let old = self.class_of_node[at];
                self.class_of_node[at] = *moved.entry(old).or_insert_with(|| {
                    self.primaries.push([&self.primaries[old][..], &[number]].concat());
                    self.primaries.len() - 1
                });
            }
        }
    }

    /// Returns the nodes of each class. Classes with many primaries are first, in the lowest layers.
    fn group(&self, nodes: &[usize]) -> Vec<Vec<usize>> {
        let mut groups: BTreeMap<(std::cmp::Reverse<usize>, &[usize]), Vec<usize>> = BTreeMap::new();
        let mut members: Vec<Vec<usize>> = vec![Vec::new(); self.primaries.len()];
        nodes.iter().for_each(|&at| members[self.class_of_node[at]].push(at));
        for (primaries, members) in self.primaries.iter().zip(members).filter(|(_, members)| !members.is_empty()) {
            groups.insert((std::cmp::Reverse(primaries.len()), primaries), members);
        }
        groups.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::closure::strategy::tests::names;

    #[test]
    fn paths_needed_by_the_same_primaries_share_a_layer() {
        // All paths have the same size, so a and b are the first primaries.
        let text = "a: c d, b: c, c:, d:, f:";
        assert_eq!(names(text, &Auto, 1), "abcdf");
        assert_eq!(names(text, &Auto, 2), "acd bf");
        assert_eq!(names(text, &Auto, 4), "c ad b f");
    }
}
