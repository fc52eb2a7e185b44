//! dockerTools' default: what the same big packages need lies together.
//!
//! The biggest paths are taken as primaries, one after the other. Every path
//! has a set of primaries that need it, and each set that occurs is a layer:
//!
//! ```text
//! primaries p, q      needed by p and q    libc       layer 1, the lowest
//!                     needed by p          p, libp    layer 2
//!                     needed by q          q          layer 3
//!                     needed by neither    the rest   layer 4
//! ```
//!
//! There are as many primaries as the number of layers allows.

use std::collections::BTreeMap;

use super::{Graph, Strategy, bits::Bits, cost::closures};

/// The strategy of recent dockerTools.
#[derive(Clone, Copy, Debug, Default)]
pub struct Auto;

impl Strategy for Auto {
    fn groups(&self, graph: &Graph, nodes: &[usize], max_layers: usize) -> Vec<Vec<usize>> {
        let closures = closures(graph);
        let mut by_size = nodes.to_vec();
        by_size.sort_by_key(|&at| (std::cmp::Reverse(graph.nodes()[at].nar_size), at));
        let mut needed_by = vec![Bits::new(by_size.len()); graph.nodes().len()];
        let mut best = vec![nodes.to_vec()];
        for (number, &primary) in by_size.iter().enumerate() {
            closures[primary].iter().for_each(|at| needed_by[at].insert(number));
            let groups = group(nodes, &needed_by);
            if groups.len() > max_layers {
                break;
            }
            best = groups;
        }
        best
    }
}

/// The nodes by the primaries that need them; what many need lies low.
fn group(nodes: &[usize], needed_by: &[Bits]) -> Vec<Vec<usize>> {
    let mut groups: BTreeMap<(std::cmp::Reverse<usize>, Vec<usize>), Vec<usize>> = BTreeMap::new();
    for &at in nodes {
        let primaries: Vec<usize> = needed_by[at].iter().collect();
        groups.entry((std::cmp::Reverse(primaries.len()), primaries)).or_default().push(at);
    }
    groups.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::closure::strategy::tests::names;

    #[test]
    fn what_the_same_primaries_need_lies_together() {
        // All are of one size, so a and b are the first primaries.
        let text = "a: c d, b: c, c:, d:, f:";
        assert_eq!(names(text, &Auto, 1), "abcdf");
        assert_eq!(names(text, &Auto, 2), "acd bf");
        assert_eq!(names(text, &Auto, 4), "c ad b f");
    }
}
