//! Layers chosen by what an update will cost (see [`cost`](super::cost)).
//!
//! 1. Every path is a layer. The two whose merging costs least are merged, until
//!    there are few enough; merging A and B costs
//!    `(|A|+|B|)·W(A∪B) − |A|·W(A) − |B|·W(B)`, never less than nothing.
//! 2. Paths move to other layers while that saves anything.
//! 3. Layers smaller than [`SMALL`] are merged with others where that is nearly
//!    free: a layer costs requests and a place in the manifest.
//! 4. From the bottom, the layer comes next that adds the fewest new events of
//!    change per byte, because a chain breaks at its first change.
//!
//! Everything is in whole numbers, and ties go to the lower index, so plans
//! depend on the closure alone.

use super::{Graph, Strategy, Weights, bits::Bits, cost::closures};

/// A layer of fewer bytes is merged where that is nearly free.
const SMALL: u64 = 1 << 20;
/// Nearly free: this fraction of the whole plan's cost.
const NEARLY_FREE: u128 = 2000;
/// With up to this many layers, every pair is tried; with more, only neighbours.
const ALL_PAIRS: usize = 500;
/// The number of neighbours in an order that are candidates for merging.
const NEIGHBOURS: usize = 8;
/// Rounds of moving paths; each costs as much as the first, and saves less.
const ROUNDS: usize = 8;

/// The strategy that plans for updates.
#[derive(Clone, Debug, Default)]
pub struct Transfer {
    /// How often each path is the one that changes.
    pub weights: Weights,
}

impl Strategy for Transfer {
    fn groups(&self, graph: &Graph, nodes: &[usize], max_layers: usize) -> Vec<Vec<usize>> {
        let weights = self.weights.of(graph);
        let closures = closures(graph);
        let mut plan = Partition::new(graph, &closures, &weights, nodes);
        plan.merge_neighbours(ALL_PAIRS.max(max_layers));
        plan.merge_cheapest(max_layers.max(1));
        plan.move_paths();
        plan.merge_small();
        plan.in_order()
    }
}

/// A layer on its way.
#[derive(Clone, Debug)]
struct Group {
    nodes: Vec<usize>,
    size: u64,
    /// Whose change changes it.
    events: Bits,
    /// The sum of the events' weights.
    weight: u64,
}

impl Group {
    fn cost(&self) -> u128 {
        u128::from(self.size) * u128::from(self.weight)
    }
}

struct Partition<'a> {
    graph: &'a Graph,
    closures: &'a [Bits],
    weights: &'a [u64],
    groups: Vec<Group>,
}

impl<'a> Partition<'a> {
    fn new(graph: &'a Graph, closures: &'a [Bits], weights: &'a [u64], nodes: &[usize]) -> Self {
        let mut partition = Self { graph, closures, weights, groups: Vec::with_capacity(nodes.len()) };
        for &at in nodes {
            let group = partition.group(vec![at]);
            partition.groups.push(group);
        }
        partition
    }

    fn group(&self, nodes: Vec<usize>) -> Group {
        let events = super::cost::union(self.closures, &nodes);
        let weight = events.weight_without(&Bits::new(self.weights.len()), self.weights);
        let size = nodes.iter().map(|&at| self.graph.nodes()[at].nar_size).sum();
        Group { nodes, size, events, weight }
    }

    /// What merging two groups adds to the cost.
    fn price(&self, one: &Group, two: &Group) -> u128 {
        let new_to_one = two.events.weight_without(&one.events, self.weights);
        let both = one.weight + new_to_one;
        u128::from(one.size) * u128::from(new_to_one) + u128::from(two.size) * u128::from(both - two.weight)
    }

    /// Merges group `from` into group `to`.
    fn merge(&mut self, to: usize, from: usize) {
        let nothing = self.group(Vec::new());
        let from = std::mem::replace(&mut self.groups[from], nothing);
        let new = from.events.weight_without(&self.groups[to].events, self.weights);
        let to = &mut self.groups[to];
        to.nodes.extend(from.nodes);
        to.size += from.size;
        to.events.unite(&from.events);
        to.weight += new;
    }

    fn drop_empty(&mut self) {
        self.groups.retain(|group| !group.nodes.is_empty());
    }

    /// Merges groups that are neighbours in an order of their events, down to `count`: big closures are mostly small
    /// paths with nearly the same closures.
    fn merge_neighbours(&mut self, count: usize) {
        while self.groups.len() > count {
            // Similar sets of events are next to each other: by weight, then by what is in them.
            self.groups
                .sort_by_cached_key(|group| (group.weight, group.events.iter().collect::<Vec<_>>(), group.nodes[0]));
            let mut prices: Vec<(u128, usize, usize)> = Vec::new();
            for one in 0..self.groups.len() {
                let until = (one + 1 + NEIGHBOURS).min(self.groups.len());
                let price = |two: usize| (self.price(&self.groups[one], &self.groups[two]), one, two);
                prices.extend((one + 1..until).map(price).min());
            }
            prices.sort_unstable();
            // At most half of what is too much at once, then the neighbours are looked at anew.
            let mut left = (self.groups.len() - count).div_ceil(2);
            for (_, one, two) in prices {
                if left == 0 {
                    break;
                }
                if !self.groups[one].nodes.is_empty() && !self.groups[two].nodes.is_empty() {
                    self.merge(one, two);
                    left -= 1;
                }
            }
            self.drop_empty();
        }
    }

    /// Merges the cheapest pair until there are `count` groups.
    fn merge_cheapest(&mut self, count: usize) {
        let total = self.groups.len();
        // The cheapest partner of each group among those after it.
        let mut best: Vec<Option<(u128, usize)>> = (0..total).map(|at| self.cheapest_after(at)).collect();
        let mut left = total;
        while left > count {
            let cheapest = best.iter().enumerate().filter_map(|(one, best)| best.map(|(price, two)| (price, one, two)));
            let Some((_, one, two)) = cheapest.min() else { break };
            self.merge(one, two);
            left -= 1;
            best[two] = None;
            best[one] = self.cheapest_after(one);
            for (at, best) in best.iter_mut().enumerate() {
                if at == one || self.groups[at].nodes.is_empty() {
                    continue;
                }
                match *best {
                    Some((_, partner)) if partner == one || partner == two => *best = self.cheapest_after(at),
                    known if at < one => {
                        let price = self.price(&self.groups[at], &self.groups[one]);
                        if known.is_none_or(|known| (price, one) < known) {
                            *best = Some((price, one));
                        }
                    }
                    _ => {}
                }
            }
        }
        self.drop_empty();
    }

    fn cheapest_after(&self, at: usize) -> Option<(u128, usize)> {
        let others = (at + 1..self.groups.len()).filter(|&other| !self.groups[other].nodes.is_empty());
        others.map(|other| (self.price(&self.groups[at], &self.groups[other]), other)).min()
    }

    /// Moves single paths between groups while that lowers the cost.
    fn move_paths(&mut self) {
        for _ in 0..ROUNDS {
            let mut moved = false;
            for from in 0..self.groups.len() {
                for node in self.groups[from].nodes.clone() {
                    moved |= self.move_path(node, from);
                }
            }
            if !moved {
                break;
            }
        }
        self.drop_empty();
    }

    fn move_path(&mut self, node: usize, from: usize) -> bool {
        let here = &self.groups[from];
        if here.nodes.len() == 1 {
            return false;
        }
        let rest = self.group(here.nodes.iter().copied().filter(|&other| other != node).collect());
        let saved = here.cost() - rest.cost();
        let alone = self.group(vec![node]);
        let price = |to: usize| {
            // What the path itself costs there, and what it makes the others cost.
            (self.price(&self.groups[to], &alone) + alone.cost(), to)
        };
        let Some((price, to)) = (0..self.groups.len()).filter(|&to| to != from).map(price).min() else { return false };
        if price >= saved {
            return false;
        }
        self.groups[from] = rest;
        let mut nodes = std::mem::take(&mut self.groups[to].nodes);
        nodes.push(node);
        self.groups[to] = self.group(nodes);
        true
    }

    /// Merges small groups where that is nearly free.
    fn merge_small(&mut self) {
        let allowed = self.groups.iter().map(Group::cost).sum::<u128>() / NEARLY_FREE;
        let mut spent = 0;
        loop {
            let small = (0..self.groups.len()).filter(|&at| self.groups[at].size < SMALL);
            let pairs = small.flat_map(|small| {
                let others = (0..self.groups.len()).filter(move |&other| other != small);
                others.map(move |other| (small, other))
            });
            let priced = pairs.map(|(small, other)| {
                let price = self.price(&self.groups[small], &self.groups[other]);
                (price, small.min(other), small.max(other))
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

    /// The groups, from the bottom: always the one that adds the least weight of new events per byte.
    fn in_order(mut self) -> Vec<Vec<usize>> {
        let mut below = Bits::new(self.weights.len());
        let mut ordered = Vec::with_capacity(self.groups.len());
        while !self.groups.is_empty() {
            let key = |group: &Group| (group.events.weight_without(&below, self.weights), group.size.max(1));
            let keys: Vec<(u64, u64)> = self.groups.iter().map(key).collect();
            // Fractions are compared crosswise.
            let worse = |one: &(u64, u64), two: &(u64, u64)| {
                (u128::from(one.0) * u128::from(two.1)).cmp(&(u128::from(two.0) * u128::from(one.1)))
            };
            let first = |group: &Group| group.nodes.iter().copied().min();
            let next = (0..keys.len())
                .min_by(|&one, &two| {
                    worse(&keys[one], &keys[two]).then(first(&self.groups[one]).cmp(&first(&self.groups[two])))
                })
                .expect("a group is left");
            let mut group = self.groups.swap_remove(next);
            below.unite(&group.events);
            group.nodes.sort_unstable();
            ordered.push(group.nodes);
        }
        ordered
    }
}
