//! Layers that minimise the cost of an update (see [`cost`](super::cost)).
//!
//! 1. Every path is a layer. The two layers whose merging costs least are merged,
//!    until the number of layers is within the limit. Merging A and B costs
//!    `(|A|+|B|)·W(A∪B) − |A|·W(A) − |B|·W(B)`, which is never negative.
//! 2. Single paths move to other layers while that lowers the cost.
//! 3. Layers smaller than [`SMALL`] are merged with others if that is nearly
//!    free, because every layer costs requests and an entry in the manifest.
//! 4. Layers are stacked from the bottom. The next one is always the layer that
//!    adds the least weight of new events per byte, because all layers above a
//!    changed one are sent again to engines that keep chains.
//!
//! With a set of store paths that the start of a container needs, these have layers of their own: steps 1 to 3 never put them
//! together with others, unless there may be one layer only. The order of step 4 stays, because the program of an image is
//! usually what changes most often.
//!
//! An event is an update of one store path; it changes the path and all paths
//! that depend on it. All numbers are integers, and the lower index wins if costs
//! are equal, so the plan depends on the closure alone.

use std::collections::BTreeSet;

use super::{
    Graph, Node, StorePath, Strategy, Weights,
    moves::Moves,
    reach::reached,
    set::{Bits, Scale, Set},
};

/// A layer of fewer bytes is merged if that is nearly free.
const SMALL: u64 = 1 << 20;
/// All merges of small layers together may add this fraction (one 2000th) of the cost of the plan.
const NEARLY_FREE: u128 = 2000;
/// Up to this number of layers, every pair is a candidate for merging. Above it, only neighbours are.
const ALL_PAIRS: usize = 500;
/// The number of neighbours in an order that are candidates for merging.
const NEIGHBOURS: usize = 8;

/// The strategy that minimises the cost of updates.
#[derive(Clone, Debug, Default)]
pub struct Transfer {
    /// How often each path is updated.
    pub weights: Weights,
    /// The store paths that have layers of their own, because the start of a container needs them.
    pub start: BTreeSet<StorePath>,
}

impl Strategy for Transfer {
    fn groups(&self, graph: &Graph, nodes: &[usize], max_layers: usize) -> Vec<Vec<usize>> {
        let events = reached(graph);
        let is_start = |node: &Node| max_layers > 1 && self.start.contains(&node.path);
        let mut plan = Partition {
            sizes: graph.nodes().iter().map(|node| node.nar_size).collect(),
            start: graph.nodes().iter().map(is_start).collect(),
            events: &events,
            scale: Scale::new(self.weights.node_weights(graph)),
            groups: Vec::new(),
        };
        plan.groups = nodes.iter().map(|&at| plan.group(vec![at])).collect();
        plan.merge_neighbours(ALL_PAIRS.max(max_layers));
        plan.merge_cheapest(max_layers.max(1));
        plan.move_paths();
        plan.merge_small();
        plan.stacked()
    }
}

/// A layer that is not final yet.
#[derive(Clone, Debug)]
struct Group {
    nodes: Vec<usize>,
    /// Whether the start of a container needs its paths. All of them have the same value.
    is_start: bool,
    size: u64,
    /// The events that change the layer.
    events: Set,
    /// The sum of the weights of `events`.
    weight: u64,
}

impl Group {
    fn cost(&self) -> u128 {
        u128::from(self.size) * u128::from(self.weight)
    }
}

struct Partition<'a> {
    /// The size of every node in bytes.
    sizes: Vec<u64>,
    /// Whether the start of a container needs each node.
    start: Vec<bool>,
    /// The events that change each node.
    events: &'a [Set],
    scale: Scale,
    groups: Vec<Group>,
}

impl Partition<'_> {
    fn group(&self, nodes: Vec<usize>) -> Group {
        let events = match nodes.as_slice() {
            [node] => self.events[*node].clone(),
            _ => Set::union_all(nodes.iter().map(|&at| &self.events[at]), self.scale.bound()),
        };
        let weight = self.scale.weigh(&events);
        let size = nodes.iter().map(|&at| self.sizes[at]).sum();
        let is_start = nodes.first().is_some_and(|&at| self.start[at]);
        Group { nodes, is_start, size, events, weight }
    }

    /// Returns the cost that merging two groups adds.
    fn price(&self, one: &Group, two: &Group) -> u128 {
        let common = self.scale.weigh_common(&one.events, &two.events);
        let (new_to_one, new_to_two) = (two.weight - common, one.weight - common);
        u128::from(one.size) * u128::from(new_to_one) + u128::from(two.size) * u128::from(new_to_two)
    }

    /// Returns a lower bound of [`price`](Self::price) that needs no sets: the lighter group lacks at least the difference
    /// of the weights.
    fn least_price(one: &Group, two: &Group) -> u128 {
        let new = |group: &Group, other: &Group| {
            u128::from(group.size) * u128::from(other.weight.saturating_sub(group.weight))
        };
        new(one, two) + new(two, one)
    }

    /// Returns the first of `others` that may be merged with group `at` at the lowest price, and that price.
    fn cheapest(&self, at: usize, others: impl Iterator<Item = usize>) -> Option<(u128, usize)> {
        let one = &self.groups[at];
        let mut best: Option<(u128, usize)> = None;
        for other in others.filter(|&other| self.groups[other].is_start == one.is_start) {
            let two = &self.groups[other];
            if best.is_none_or(|(price, _)| Self::least_price(one, two) < price) {
                let price = self.price(one, two);
                if best.is_none_or(|(least, _)| price < least) {
                    best = Some((price, other));
                }
            }
        }
        best
    }

    /// Merges group `from` into group `to`.
    fn merge(&mut self, to: usize, from: usize) {
        let empty = Group { nodes: Vec::new(), is_start: false, size: 0, events: Set::empty(), weight: 0 };
        let from = std::mem::replace(&mut self.groups[from], empty);
        let to = &mut self.groups[to];
        to.weight += from.weight - self.scale.weigh_common(&from.events, &to.events);
        to.nodes.extend(from.nodes);
        to.size += from.size;
        to.events = to.events.union(&from.events, self.scale.bound());
    }

    fn drop_empty(&mut self) {
        self.groups.retain(|group| !group.nodes.is_empty());
    }

    /// Merges groups that are neighbours in an order of their events, until `count` are left. Big closures consist mostly of
    /// small paths with nearly the same closures, so a good partner is usually near.
    fn merge_neighbours(&mut self, count: usize) {
        while self.groups.len() > count {
            // Sorting by weight and then by members puts similar sets of events next to each other.
            self.groups.sort_by(|one, two| {
                let by_weight = one.weight.cmp(&two.weight);
                by_weight.then_with(|| one.events.cmp_members(&two.events)).then(one.nodes[0].cmp(&two.nodes[0]))
            });
            let mut prices: Vec<(u128, usize, usize)> = Vec::new();
            for one in 0..self.groups.len() {
                let until = (one + 1 + NEIGHBOURS).min(self.groups.len());
                prices.extend(self.cheapest(one, one + 1..until).map(|(price, two)| (price, one, two)));
            }
            prices.sort_unstable();
            // Each round makes at most half of the necessary merges, because merges change the order of the groups.
            let mut merges = (self.groups.len() - count).div_ceil(2);
            for (_, one, two) in prices {
                if merges == 0 {
                    break;
                }
                if !self.groups[one].nodes.is_empty() && !self.groups[two].nodes.is_empty() {
                    self.merge(one, two);
                    merges -= 1;
                }
            }
            self.drop_empty();
        }
    }

    /// Merges the cheapest pair until `count` groups are left.
    fn merge_cheapest(&mut self, count: usize) {
        let total = self.groups.len();
        // The cheapest partner of each group among the groups after it.
        let mut best: Vec<Option<(u128, usize)>> = (0..total).map(|at| self.cheapest_after(at)).collect();
        let mut remaining = total;
        while remaining > count {
            let cheapest = best.iter().enumerate().filter_map(|(one, best)| best.map(|(price, two)| (price, one, two)));
            let Some((_, one, two)) = cheapest.min() else { break };
            self.merge(one, two);
            remaining -= 1;
            best[two] = None;
            best[one] = self.cheapest_after(one);
            for (at, best) in best.iter_mut().enumerate() {
                if at == one || self.groups[at].nodes.is_empty() {
                    continue;
                }
                match *best {
                    Some((_, partner)) if partner == one || partner == two => *best = self.cheapest_after(at),
                    current if at < one && self.groups[at].is_start == self.groups[one].is_start => {
                        let groups = (&self.groups[at], &self.groups[one]);
                        let is_less = |price| current.is_none_or(|current| (price, one) < current);
                        if is_less(Self::least_price(groups.0, groups.1)) {
                            let price = self.price(groups.0, groups.1);
                            *best = if is_less(price) { Some((price, one)) } else { current };
                        }
                    }
                    _ => {}
                }
            }
        }
        self.drop_empty();
    }

    fn cheapest_after(&self, at: usize) -> Option<(u128, usize)> {
        self.cheapest(at, (at + 1..self.groups.len()).filter(|&other| !self.groups[other].nodes.is_empty()))
    }

    /// Moves single paths between groups while that lowers the cost.
    fn move_paths(&mut self) {
        let groups = std::mem::take(&mut self.groups).into_iter().map(|group| group.nodes);
        let size = |at: usize| self.sizes[at];
        let groups = Moves::new(&self.scale, self.events, &self.start, &size, groups).run();
        self.groups = groups.into_iter().map(|nodes| self.group(nodes)).collect();
    }

    /// Merges small groups with others if that is nearly free.
    fn merge_small(&mut self) {
        let allowed = self.groups.iter().map(Group::cost).sum::<u128>() / NEARLY_FREE;
        let mut spent = 0;
        loop {
            let small = (0..self.groups.len()).filter(|&at| self.groups[at].size < SMALL);
            let priced = small.filter_map(|small| {
                let (price, other) = self.cheapest(small, (0..self.groups.len()).filter(|&other| other != small))?;
                Some((price, small.min(other), small.max(other)))
            });
            match priced.min() {
                Some((price, one, two)) if spent + price <= allowed => {
                    spent += price;
                    self.merge(one, two);
                    self.drop_empty();
                }
                _ => break,
            }
        }
    }

    /// Returns the groups from the bottom. The next one is always the group that adds the least weight of new events per byte.
    fn stacked(mut self) -> Vec<Vec<usize>> {
        let mut below = Bits::new(self.scale.bound());
        let mut ordered = Vec::with_capacity(self.groups.len());
        while !self.groups.is_empty() {
            let key = |group: &Group| (self.scale.weigh_new(&group.events, &below, u64::MAX), group.size.max(1));
            let keys: Vec<(u64, u64)> = self.groups.iter().map(key).collect();
            // Fractions are compared by cross-multiplication, which keeps them exact.
            let compare = |one: &(u64, u64), two: &(u64, u64)| {
                (u128::from(one.0) * u128::from(two.1)).cmp(&(u128::from(two.0) * u128::from(one.1)))
            };
            let first = |group: &Group| group.nodes.iter().copied().min();
            let next = (0..keys.len())
                .min_by(|&one, &two| {
                    compare(&keys[one], &keys[two])
                        .then_with(|| first(&self.groups[one]).cmp(&first(&self.groups[two])))
                })
                .expect("the groups are not empty");
            let mut group = self.groups.swap_remove(next);
            below.unite(&group.events);
            group.nodes.sort_unstable();
            ordered.push(group.nodes);
        }
        ordered
    }
}
