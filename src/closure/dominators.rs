//! Single references that bring many paths into a closure: if such a reference is removed, these paths are no longer needed.
//!
//! ```text
//! app ──▶ library ──▶ libc      one reference needs gcc, and only gcc needs libmpfr:
//!  └────▶ gcc ──────▶ libc      without app ──▶ gcc neither is in the closure, and libc still is
//!          └────────▶ libmpfr
//! ```
//!
//! A node *dominates* another node if every chain of references to the other node goes through it. References have no
//! cycles, so the nearest dominator of a node is the nearest common dominator of its referrers, found in topological
//! order (Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm"; this is the case without loops). If a node
//! has one referrer and was not requested itself, removing that reference removes the node and all nodes it dominates.

use super::Graph;

/// A reference, and the nodes that are only needed because of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dominator {
    /// The referencing node.
    pub from: usize,
    /// The referenced node.
    pub to: usize,
    /// The nodes that removing the reference removes, including `to`, sorted by path.
    pub nodes: Vec<usize>,
    /// The size of `nodes` in bytes.
    pub saves: u64,
}

/// Returns the `count` references whose removal saves most bytes, the first of them first. `size` returns the size of a node
/// in bytes. In a chain of references each node dominates all nodes after it, so that nodes are listed for the results only.
pub fn dominators(graph: &Graph, count: usize, size: impl Fn(usize) -> u64) -> Vec<Dominator> {
    let nodes = graph.nodes();
    let referrers = graph.referrers();
    let mut is_entry = vec![false; nodes.len()];
    graph.entries().into_iter().for_each(|at| is_entry[at] = true);

    let order = graph.topological_order();
    // The nearest dominator of each node; entries have none.
    let mut dominator: Vec<Option<usize>> = vec![None; nodes.len()];
    let mut depth = vec![0usize; nodes.len()];
    for &at in order.iter().filter(|&&at| !is_entry[at]) {
        let common_dominator = |one: Option<usize>, two: Option<usize>| {
            let (mut one, mut two) = (one?, two?);
            while one != two {
                if depth[one] >= depth[two] { one = dominator[one]? } else { two = dominator[two]? }
            }
            Some(one)
        };
        let found = referrers[at].iter().map(|&from| Some(from)).reduce(common_dominator).flatten();
        dominator[at] = found;
        depth[at] = found.map_or(0, |found| depth[found] + 1);
    }

    // References follow their referrers in the order, so that the sizes below a node are complete before its own is added.
    let mut saves: Vec<u64> = (0..nodes.len()).map(size).collect();
    for &at in order.iter().rev() {
        if let Some(above) = dominator[at] {
            saves[above] += saves[at];
        }
    }
    let removal = |(to, referrers): (usize, &Vec<usize>)| match referrers.as_slice() {
        &[from] if !is_entry[to] && saves[to] > 0 => Some((from, to)),
        _ => None,
    };
    let mut found: Vec<(usize, usize)> = referrers.iter().enumerate().filter_map(removal).collect();
    found.sort_by_key(|&(_, to)| (std::cmp::Reverse(saves[to]), to));
    found.truncate(count);

    let mut dominated: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    (0..nodes.len()).filter_map(|at| Some((dominator[at]?, at))).for_each(|(above, at)| dominated[above].push(at));
    let with_nodes = |(from, to): (usize, usize)| {
        let mut removed = vec![to];
        let mut next = 0;
        while let Some(&at) = removed.get(next) {
            removed.extend(&dominated[at]);
            next += 1;
        }
        removed.sort_unstable();
        Dominator { from, to, nodes: removed, saves: saves[to] }
    };
    found.into_iter().map(with_nodes).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{super::graph::tests::graph, *};
    use crate::closure::{RawNode, StoreDir};

    /// The nodes that can be reached from the entries without one reference.
    fn reached(graph: &Graph, without: (usize, usize)) -> BTreeSet<usize> {
        let mut reached: BTreeSet<usize> = graph.entries().into_iter().collect();
        let mut queue: Vec<usize> = reached.iter().copied().collect();
        while let Some(at) = queue.pop() {
            for &to in graph.nodes()[at].references.iter().filter(|&&to| (at, to) != without) {
                if reached.insert(to) {
                    queue.push(to);
                }
            }
        }
        reached
    }

    #[test]
    fn the_example_of_the_module_doc_is_computed() {
        // a app, b library, c libc, g gcc, m libmpfr
        let graph = graph("a: b g, b: c, c:, g: c m, m:").unwrap();
        let found: Vec<_> = dominators(&graph, 9, |_| 1).into_iter().map(|cut| (cut.from, cut.to, cut.nodes)).collect();
        assert_eq!(found, [(0, 3, vec![3, 4]), (0, 1, vec![1]), (3, 4, vec![4])]);
    }

    #[test]
    fn requested_paths_are_not_removed() {
        let (image, layer) = (graph("a: b, b: c, c:").unwrap(), graph("c:").unwrap());
        let both = Graph::union([&image, &layer]);
        let found: Vec<_> = dominators(&both, 9, |_| 1).into_iter().map(|cut| (cut.from, cut.to, cut.saves)).collect();
        assert_eq!(found, [(0, 1, 1)]);
    }

    #[test]
    fn dominators_of_random_closures_equal_those_found_by_removing_each_reference() {
        let mut state = 7u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as usize % below
        };
        let path = |at: usize| format!("/nix/store/{:032}-n{at}", at);
        for round in 0..200 {
            let count = 2 + round % 30;
            let node = |at: usize, random: &mut dyn FnMut(usize) -> usize| {
                let references = (at + 1..count).filter(|_| random(4) == 0).map(path).collect();
                RawNode::new(path(at), references, 1 + random(100) as u64, None)
            };
            let raw = (0..count).map(|at| node(at, &mut random)).collect();
            let graph = Graph::new(&StoreDir::default(), raw).unwrap();
            let size = |at: usize| graph.nodes()[at].nar_size;
            let dominators = dominators(&graph, count, size);
            for (from, node) in graph.nodes().iter().enumerate() {
                for &to in &node.references {
                    let reached = reached(&graph, (from, to));
                    let removed: Vec<usize> = (0..count).filter(|at| !reached.contains(at)).collect();
                    let found = dominators.iter().find(|found| (found.from, found.to) == (from, to));
                    assert_eq!(found.map_or(&[][..], |found| &found.nodes), removed);
                    assert_eq!(found.map_or(0, |found| found.saves), removed.iter().map(|&at| size(at)).sum::<u64>());
                }
            }
        }
    }
}
