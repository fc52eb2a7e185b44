//! The cost of an update: the bytes that have to be sent again, on average.
//!
//! When a path changes, all paths that depend on it change too, and every layer
//! with a changed path is sent again as a whole. With w, the weight of the event
//! that a path is updated:
//!
//! ```text
//! expected = Σ over layers   size × Σ w over the union of the closures of its paths
//! chained  = Σ over layers   size × Σ w over the union of the closures of its paths and all paths below
//! ```
//!
//! Both are divided by the sum of all weights. Registries keep layers one by one,
//! so the first formula applies to them; docker and containerd keep chains of
//! layers, so the second does. The floor is the first cost if every path is a
//! layer of its own: no partition costs less.

use super::{Graph, reach::reached_weights};

/// The cost of an update of a closure, in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// The cost for registries, which keep layers one by one.
    pub expected: f64,
    /// The cost for engines, which keep chains of layers.
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

/// A union of closures, to which the closures of further nodes can be added.
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
    /// Prepares the costs of `graph`. `weights` has one entry per node: how often that node is the one updated.
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

    /// Returns the cost of a partition into layers, lowest layer first.
    pub fn partition(&self, groups: &[Vec<usize>]) -> Cost {
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
            [node] => self.closures[*node],
            _ => {
                let mut union = self.union();
                union.add(group);
                union.weight
            }
        }
    }

    /// Returns the probability that an update changes the layer with these nodes.
    pub fn chance(&self, group: &[usize]) -> f64 {
        self.weight(group) as f64 / self.total
    }

    /// Returns a lower bound of the cost of any partition of `nodes`.
    pub fn floor(&self, nodes: &[usize]) -> f64 {
        let cost = |&at: &usize| self.graph.nodes()[at].nar_size as f64 * self.closures[at] as f64;
        nodes.iter().map(cost).sum::<f64>() / self.total
    }

    /// For each of `nodes`, returns the bytes that an update of this node sends again: to a registry, and to an engine that
    /// keeps chains.
    pub fn updates(&self, nodes: &[usize], groups: &[Vec<usize>]) -> Vec<(u64, u64)> {
        let sizes: Vec<u64> = groups.iter().map(|group| self.size(group)).collect();
        let mut order = self.graph.topological_order();
        order.reverse();
        // 64 updates are computed at once. Bit n of a node is set if update n changes the node.
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
                let (mut single, mut chained, mut is_broken) = (0, 0, false);
                for (bits, size) in changed_groups.iter().zip(&sizes) {
                    let is_changed = bits >> number & 1 == 1;
                    is_broken |= is_changed;
                    single += if is_changed { size } else { &0 };
                    chained += if is_broken { size } else { &0 };
                }
                (single, chained)
            }));
        }
        costs
    }
}
