//! What an update costs: the bytes that are sent again, on average.
//!
//! When a path changes, everything that depends on it changes too, and each
//! layer with a changed path is sent again whole. With weights w for "this path
//! is the one updated":
//!
//! ```text
//! expected = Σ over layers   size × Σ w over the union of the closures of its paths
//! chained  = Σ over layers   size × Σ w over the union of the closures of its paths and all paths below
//! ```
//!
//! both divided by the sum of all weights. Registries keep layers one by one,
//! so they pay the first; docker and containerd keep chains, and pay the second.
//! The floor is the first when every path is a layer of its own: no partition
//! costs less.

use super::{Graph, reach::reached_weights};

/// What an update of a closure costs, in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Where layers are kept one by one.
    pub expected: f64,
    /// Where layers are kept as chains.
    pub chained: f64,
}

/// Computes costs of partitions of one closure.
#[derive(Debug)]
pub struct Costs<'a> {
    graph: &'a Graph,
    weights: Vec<u64>,
    /// The weight of each node's closure.
    closures: Vec<u64>,
    total: f64,
}

/// The union of closures that grows by one node's closure after the other.
struct Union<'a> {
    costs: &'a Costs<'a>,
    is_member: Vec<bool>,
    weight: u64,
}

impl Union<'_> {
    fn add(&mut self, nodes: &[usize]) {
        let mut queue = nodes.to_vec();
        while let Some(at) = queue.pop() {
            if !std::mem::replace(&mut self.is_member[at], true) {
                self.weight += self.costs.weights[at];
                queue.extend(self.costs.graph.nodes()[at].references.iter().filter(|&&to| !self.is_member[to]));
            }
        }
    }
}

impl<'a> Costs<'a> {
    /// Of `graph`, whose nodes change as often as `weights` (one each) say.
    pub fn new(graph: &'a Graph, weights: Vec<u64>) -> Self {
        let total = weights.iter().sum::<u64>().max(1) as f64;
        let closures = reached_weights(graph, &weights);
        Self { graph, closures, weights, total }
    }

    fn union(&self) -> Union<'_> {
        Union { costs: self, is_member: vec![false; self.weights.len()], weight: 0 }
    }

    fn size(&self, group: &[usize]) -> u64 {
        group.iter().map(|&at| self.graph.nodes()[at].nar_size).sum()
    }

    /// The cost of layers that hold these nodes, lowest first.
    pub fn of(&self, groups: &[Vec<usize>]) -> Cost {
        let mut below = self.union();
        let (mut expected, mut chained) = (0.0, 0.0);
        for group in groups {
            let size = self.size(group) as f64;
            below.add(group);
            expected += size * self.weight(group) as f64;
            chained += size * below.weight as f64;
        }
        Cost { expected: expected / self.total, chained: chained / self.total }
    }

    /// The weight of the union of the closures of `group`.
    fn weight(&self, group: &[usize]) -> u64 {
        match group {
            [alone] => self.closures[*alone],
            _ => {
                let mut union = self.union();
                union.add(group);
                union.weight
            }
        }
    }

    /// How likely an update changes this layer.
    pub fn chance(&self, group: &[usize]) -> f64 {
        self.weight(group) as f64 / self.total
    }

    /// The least that any partition of `nodes` can cost.
    pub fn floor(&self, nodes: &[usize]) -> f64 {
        let cost = |&at: &usize| self.graph.nodes()[at].nar_size as f64 * self.closures[at] as f64;
        nodes.iter().map(cost).sum::<f64>() / self.total
    }

    /// What is sent when each of `nodes` is the one that changes: one by one, and as a chain.
    pub fn of_updates(&self, nodes: &[usize], groups: &[Vec<usize>]) -> Vec<(u64, u64)> {
        let sizes: Vec<u64> = groups.iter().map(|group| self.size(group)).collect();
        let mut order = self.graph.topological_order();
        order.reverse();
        // A bit for each of 64 updates at once: whether the update changes this node.
        let mut changed = vec![0u64; self.weights.len()];
        let mut costs = Vec::with_capacity(nodes.len());
        for updates in nodes.chunks(64) {
            changed.fill(0);
            updates.iter().enumerate().for_each(|(number, &at)| changed[at] |= 1 << number);
            for &at in &order {
                let references = &self.graph.nodes()[at].references;
                changed[at] |= references.iter().fold(0, |bits, &to| bits | changed[to]);
            }
            let changed_groups: Vec<u64> =
                groups.iter().map(|group| group.iter().fold(0, |bits, &at| bits | changed[at])).collect();
            costs.extend((0..updates.len()).map(|number| {
                let (mut alone, mut chain, mut broken) = (0, 0, false);
                for (bits, size) in changed_groups.iter().zip(&sizes) {
                    let is_changed = bits >> number & 1 == 1;
                    broken |= is_changed;
                    alone += if is_changed { size } else { &0 };
                    chain += if broken { size } else { &0 };
                }
                (alone, chain)
            }));
        }
        costs
    }
}
