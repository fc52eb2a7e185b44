//! Single references that bring much in: without one of them, everything that is only there because of it is gone.
//!
//! ```text
//! app ──▶ library ──▶ libc      gcc is there because of one reference, libmpfr because of gcc:
//!  └────▶ gcc ──────▶ libc      without app ──▶ gcc both are gone, and libc stays
//!          └────────▶ libmpfr
//! ```
//!
//! A node *dominates* another where every chain of references to that one goes through it. References lead in no
//! circles, so the nearest dominator of a node is where the chains to all of its referrers meet, found in topological
//! order (as in Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm", of which this is the case without
//! loops). A node with one referrer that was not requested goes away with that reference, and so does all it dominates.

use super::Graph;

/// A reference, and what goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dominator {
    /// The node that references.
    pub from: usize,
    /// The node that it references.
    pub to: usize,
    /// What goes, `to` among it; in order of the paths.
    pub nodes: Vec<usize>,
    /// Bytes of it.
    pub saves: u64,
}

/// Every reference without which something is gone, those that save most first. `size` is a node's size in bytes.
pub fn dominators(graph: &Graph, size: impl Fn(usize) -> u64) -> Vec<Dominator> {
    let nodes = graph.nodes();
    let referrers = graph.referrers();
    let mut is_entry = vec![false; nodes.len()];
    graph.entries().into_iter().for_each(|at| is_entry[at] = true);

    let order = graph.topological_order();
    // The nearest dominator; entries have none.
    let mut dominator: Vec<Option<usize>> = vec![None; nodes.len()];
    let mut depth = vec![0usize; nodes.len()];
    for &at in order.iter().filter(|&&at| !is_entry[at]) {
        let meet = |one: Option<usize>, two: Option<usize>| {
            let (mut one, mut two) = (one?, two?);
            while one != two {
                if depth[one] >= depth[two] { one = dominator[one]? } else { two = dominator[two]? }
            }
            Some(one)
        };
        let found = referrers[at].iter().map(|&from| Some(from)).reduce(meet).flatten();
        dominator[at] = found;
        depth[at] = found.map_or(0, |found| depth[found] + 1);
    }

    let mut below: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    (0..nodes.len()).filter_map(|at| Some((dominator[at]?, at))).for_each(|(above, at)| below[above].push(at));
    let cut = |(to, referrers): (usize, &Vec<usize>)| {
        let [from] = referrers.as_slice() else { return None };
        let mut gone = vec![to];
        let mut next = 0;
        while let Some(&at) = gone.get(next) {
            gone.extend(&below[at]);
            next += 1;
        }
        gone.sort_unstable();
        let saves = gone.iter().map(|&at| size(at)).sum();
        (!is_entry[to]).then_some(Dominator { from: *from, to, nodes: gone, saves })
    };
    let mut cuts: Vec<Dominator> = referrers.iter().enumerate().filter_map(cut).collect();
    cuts.sort_by_key(|cut| (std::cmp::Reverse(cut.saves), cut.to));
    cuts
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{super::graph::tests::graph, *};
    use crate::closure::{RawNode, StoreDir};

    /// The paths that entries lead to without one reference.
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
    fn the_example_of_the_module() {
        // a app, b library, c libc, g gcc, m libmpfr
        let graph = graph("a: b g, b: c, c:, g: c m, m:").unwrap();
        let found: Vec<_> = dominators(&graph, |_| 1).into_iter().map(|cut| (cut.from, cut.to, cut.nodes)).collect();
        assert_eq!(found, [(0, 3, vec![3, 4]), (0, 1, vec![1]), (3, 4, vec![4])]);
    }

    #[test]
    fn requested_paths_are_not_cut() {
        let (image, layer) = (graph("a: b, b: c, c:").unwrap(), graph("c:").unwrap());
        let both = Graph::union([&image, &layer]);
        let found: Vec<_> = dominators(&both, |_| 1).into_iter().map(|cut| (cut.from, cut.to, cut.saves)).collect();
        assert_eq!(found, [(0, 1, 1)]);
    }

    #[test]
    fn cuts_of_random_closures_save_the_predicted_bytes() {
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
            let cuts = dominators(&graph, size);
            for (from, node) in graph.nodes().iter().enumerate() {
                for &to in &node.references {
                    let left = reached(&graph, (from, to));
                    let gone: Vec<usize> = (0..count).filter(|at| !left.contains(at)).collect();
                    let said = cuts.iter().find(|cut| (cut.from, cut.to) == (from, to));
                    assert_eq!(said.map_or(&[][..], |cut| &cut.nodes), gone);
                    assert_eq!(said.map_or(0, |cut| cut.saves), gone.iter().map(|&at| size(at)).sum::<u64>());
                }
            }
        }
    }
}
