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

use super::{Graph, bits::Bits};

/// The closure of every node, itself included.
pub(super) fn closures(graph: &Graph) -> Vec<Bits> {
    let nodes = graph.nodes();
    let mut closures: Vec<Bits> = vec![Bits::new(nodes.len()); nodes.len()];
    for at in graph.topological_order().into_iter().rev() {
        let mut closure = Bits::new(nodes.len());
        closure.insert(at);
        for &to in &nodes[at].references {
            closure.unite(&closures[to]);
        }
        closures[at] = closure;
    }
    closures
}

/// The union of the closures of `group`.
pub(super) fn union(closures: &[Bits], group: &[usize]) -> Bits {
    let mut union = Bits::new(closures.len());
    group.iter().for_each(|&at| union.unite(&closures[at]));
    union
}

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
    closures: Vec<Bits>,
    weights: Vec<u64>,
    total: f64,
}

impl<'a> Costs<'a> {
    /// Of `graph`, whose nodes change as often as `weights` (one each) say.
    pub fn new(graph: &'a Graph, weights: Vec<u64>) -> Self {
        let total = weights.iter().sum::<u64>().max(1) as f64;
        Self { graph, closures: closures(graph), weights, total }
    }

    /// The cost of layers that hold these nodes, lowest first.
    pub fn of(&self, groups: &[Vec<usize>]) -> Cost {
        let nothing = Bits::new(self.weights.len());
        let mut below = nothing.clone();
        let (mut expected, mut chained) = (0.0, 0.0);
        for group in groups {
            let size: u64 = group.iter().map(|&at| self.graph.nodes()[at].nar_size).sum();
            let union = union(&self.closures, group);
            below.unite(&union);
            expected += size as f64 * union.weight_without(&nothing, &self.weights) as f64;
            chained += size as f64 * below.weight_without(&nothing, &self.weights) as f64;
        }
        Cost { expected: expected / self.total, chained: chained / self.total }
    }

    /// How likely an update changes this layer.
    pub fn chance(&self, group: &[usize]) -> f64 {
        let union = union(&self.closures, group);
        union.weight_without(&Bits::new(self.weights.len()), &self.weights) as f64 / self.total
    }

    /// The least that any partition of `nodes` can cost.
    pub fn floor(&self, nodes: &[usize]) -> f64 {
        self.of(&nodes.iter().map(|&at| vec![at]).collect::<Vec<_>>()).expected
    }

    /// What is sent when `node` is the one that changes: one by one, and as a chain.
    pub fn of_update(&self, node: usize, groups: &[Vec<usize>]) -> (u64, u64) {
        let (mut alone, mut chain, mut broken) = (0, 0, false);
        for group in groups {
            let size: u64 = group.iter().map(|&at| self.graph.nodes()[at].nar_size).sum();
            let changed = group.iter().any(|&at| self.closures[at].contains(node));
            broken |= changed;
            alone += if changed { size } else { 0 };
            chain += if broken { size } else { 0 };
        }
        (alone, chain)
    }
}
