//! Moves of single paths between layers, while that lowers the cost.
//!
//! The cost of a layer without one of its paths has to be known for every path. So each layer counts, for every event, the
//! paths that it changes: an event that changes one path only goes with that path.

use super::set::{Bits, Scale, Set};

/// Rounds of moving paths; each costs as much as the first, and saves less.
const ROUNDS: usize = 8;

/// A layer whose paths may leave.
struct Layer {
    nodes: Vec<usize>,
    size: u64,
    /// The weight of the events.
    weight: u64,
    /// The events that change any of its paths.
    events: Bits,
    /// For every event, how many of its paths it changes.
    counts: Vec<u32>,
}

impl Layer {
    fn cost(&self) -> u128 {
        u128::from(self.size) * u128::from(self.weight)
    }
}

/// Layers between which paths move.
pub(super) struct Moves<'a> {
    scale: &'a Scale,
    /// The events of every node that may be placed.
    events: &'a [Set],
    sizes: &'a dyn Fn(usize) -> u64,
    layers: Vec<Layer>,
}

impl<'a> Moves<'a> {
    pub fn new(
        scale: &'a Scale,
        events: &'a [Set],
        sizes: &'a dyn Fn(usize) -> u64,
        groups: impl Iterator<Item = Vec<usize>>,
    ) -> Self {
        let mut moves = Self { scale, events, sizes, layers: Vec::new() };
        for nodes in groups {
            let bound = scale.bound();
            let events = Bits::new(bound);
            moves.layers.push(Layer { nodes: Vec::new(), size: 0, weight: 0, events, counts: vec![0; bound] });
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

    /// Moves paths until no move lowers the cost, and gives the layers' nodes.
    pub fn run(mut self) -> Vec<Vec<usize>> {
        for _ in 0..ROUNDS {
            let mut moved = false;
            for from in 0..self.layers.len() {
                for node in self.layers[from].nodes.clone() {
                    if let Some(to) = self.better_layer(node, from) {
                        self.remove(node, from);
                        self.insert(node, to);
                        moved = true;
                    }
                }
            }
            if !moved {
                break;
            }
        }
        self.layers.into_iter().map(|layer| layer.nodes).collect()
    }

    /// The layer in which a node of layer `from` costs less.
    fn better_layer(&self, node: usize, from: usize) -> Option<usize> {
        let (here, events, size) = (&self.layers[from], &self.events[node], (self.sizes)(node));
        if here.nodes.len() == 1 {
            return None;
        }
        let alone = |event: &usize| here.counts[*event] == 1;
        let lost: u64 = events.iter().filter(alone).map(|event| self.scale.weight(event)).sum();
        let saved = here.cost() - u128::from(here.size - size) * u128::from(here.weight - lost);
        let mut best = (saved, None);
        for (to, layer) in self.layers.iter().enumerate().filter(|&(to, _)| to != from) {
            // What the node costs there, and what the events new to that layer make the others cost: with n as the weight
            // of these events, size·(weight + n) + layer.size·n. From some n on this is not less than the best.
            let known = u128::from(size) * u128::from(layer.weight);
            let each = u128::from(size) + u128::from(layer.size);
            let Some(room) = best.0.checked_sub(known + 1) else { continue };
            let limit = room.checked_div(each).and_then(|limit| u64::try_from(limit).ok()).unwrap_or(u64::MAX);
            let new = self.scale.weigh_new(events, &layer.events, limit);
            if new <= limit {
                best = (known + each * u128::from(new), Some(to));
            }
        }
        best.1
    }
}
