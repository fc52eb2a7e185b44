//! Moves single paths between layers while that lowers the cost.
//!
//! For each path, this needs the cost of its layer without the path. An event is an update of one store path, which changes
//! all paths that depend on it. Each layer counts, for every event, how many paths of the layer the event changes. If the
//! count is 1, moving that path away also removes the event from the layer.

use super::set::{Bits, Scale, Set};

/// The maximum number of rounds over all paths. Every round takes as long as the first one and saves less.
const ROUNDS: usize = 8;

/// A layer, with the counts that price a move.
struct PricedLayer {
    nodes: Vec<usize>,
    size: u64,
    /// The sum of the weights of `events`.
    weight: u64,
    /// The events that change any path of the layer.
    events: Bits,
    /// For every event, the number of paths of the layer that it changes.
    counts: Vec<u32>,
}

impl PricedLayer {
    fn cost(&self) -> u128 {
        u128::from(self.size) * u128::from(self.weight)
    }
}

/// Layers between which paths move.
pub(super) struct Moves<'a> {
    scale: &'a Scale,
    /// The events that change each node.
    events: &'a [Set],
    /// Whether the start of a container needs each node. Nodes move to layers with the same value.
    start: &'a [bool],
    sizes: &'a dyn Fn(usize) -> u64,
    layers: Vec<PricedLayer>,
}

impl<'a> Moves<'a> {
    pub fn new(
        scale: &'a Scale,
        events: &'a [Set],
        start: &'a [bool],
        sizes: &'a dyn Fn(usize) -> u64,
        groups: impl Iterator<Item = Vec<usize>>,
    ) -> Self {
        let mut moves = Self { scale, events, start, sizes, layers: Vec::new() };
        for nodes in groups {
            let bound = scale.bound();
            let events = Bits::new(bound);
            moves.layers.push(PricedLayer { nodes: Vec::new(), size: 0, weight: 0, events, counts: vec![0; bound] });
            nodes.into_iter().for_each(|node| moves.insert(node, moves.layers.len() - 1));
        }
        moves
    }

    fn insert(&mut self, node: usize, to: usize) {
        let layer = &mut self.layers[to];
        layer.nodes.push(node);
        layer.size += (self.sizes)(node);
        for event in self.events[node].iter() {
            if layer.counts[event] == 0 {
                layer.events.insert(event);
                layer.weight += self.scale.weight(event);
            }
            layer.counts[event] += 1;
        }
    }

    fn remove(&mut self, node: usize, from: usize) {
        let layer = &mut self.layers[from];
        layer.nodes.retain(|&other| other != node);
        layer.size -= (self.sizes)(node);
        for event in self.events[node].iter() {
            layer.counts[event] -= 1;
            if layer.counts[event] == 0 {
                layer.events.remove(event);
                layer.weight -= self.scale.weight(event);
            }
        }
    }

    /// Moves paths until no move lowers the cost or [`ROUNDS`] are over, and returns the nodes of each layer.
    pub fn run(mut self) -> Vec<Vec<usize>> {
        for _ in 0..ROUNDS {
            let mut has_moved = false;
            for from in 0..self.layers.len() {
                for node in self.layers[from].nodes.clone() {
                    if let Some(to) = self.better_layer(node, from) {
                        self.remove(node, from);
                        self.insert(node, to);
                        has_moved = true;
                    }
                }
            }
            if !has_moved {
                break;
            }
        }
        self.layers.into_iter().map(|layer| layer.nodes).collect()
    }

    /// Returns the layer to which a move of the node saves most, if any move saves something.
    fn better_layer(&self, node: usize, from: usize) -> Option<usize> {
        let (current, events, size) = (&self.layers[from], &self.events[node], (self.sizes)(node));
        if current.nodes.len() == 1 {
            return None;
        }
        let changes_only_node = |event: &usize| current.counts[*event] == 1;
        let removed: u64 = events.iter().filter(changes_only_node).map(|event| self.scale.weight(event)).sum();
        let saved = current.cost() - u128::from(current.size - size) * u128::from(current.weight - removed);
        let mut best = (saved, None);
        let is_allowed =
            |layer: &PricedLayer| layer.nodes.first().is_some_and(|&at| self.start[at] == self.start[node]);
        let layers = self.layers.iter().enumerate();
        for (to, layer) in layers.filter(|&(to, layer)| to != from && is_allowed(layer)) {
            // With n, the weight of the events that are new to the layer, the move adds size·(weight + n) + layer.size·n:
            // the cost of the node, and the additional cost of the other paths. Above `limit`, n makes the move no better
            // than the best one so far, so the exact value is not needed.
            let fixed = u128::from(size) * u128::from(layer.weight);
            let factor = u128::from(size) + u128::from(layer.size);
            let Some(budget) = best.0.checked_sub(fixed + 1) else { continue };
            let limit = budget.checked_div(factor).and_then(|limit| u64::try_from(limit).ok()).unwrap_or(u64::MAX);
            let new = self.scale.weigh_new(events, &layer.events, limit);
            if new <= limit {
                best = (fixed + factor * u128::from(new), Some(to));
            }
        }
        best.1
    }
}
