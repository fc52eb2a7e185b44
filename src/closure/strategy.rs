//! From a closure to groups of paths, one group a layer.

use std::collections::{BTreeSet, HashMap};

use super::{Graph, Node, StorePath};

/// A way to group a closure.
pub trait Strategy {
    /// Groups `nodes` (indices of `graph`, in order) into at most `max_layers` groups, lowest first, none of them
    /// empty. Each is in one group, or in none where the user wants it out of the image.
    ///
    /// Nodes that are not to be placed, such as those that lower layers hold, still count when the others are.
    fn groups(&self, graph: &Graph, nodes: &[usize], max_layers: usize) -> Vec<Vec<usize>>;
}

/// Which path goes into which layer.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// The layers, lowest first; none is empty.
    pub groups: Vec<Vec<&'a Node>>,
}

impl<'a> Plan<'a> {
    /// Groups `graph` into at most `max_layers` layers (0 is taken as 1), without the paths that `left_out` answers
    /// for.
    pub fn new(
        graph: &'a Graph,
        strategy: &dyn Strategy,
        max_layers: usize,
        left_out: impl Fn(&StorePath) -> bool,
    ) -> Self {
        let nodes: Vec<usize> = (0..graph.nodes().len()).filter(|&at| !left_out(&graph.nodes()[at].path)).collect();
        let groups = if nodes.is_empty() { Vec::new() } else { strategy.groups(graph, &nodes, max_layers.max(1)) };
        debug_assert!(groups.len() <= max_layers.max(1));
        debug_assert!(groups.iter().map(Vec::len).sum::<usize>() <= nodes.len());
        Self {
            groups: groups.into_iter().map(|group| group.into_iter().map(|at| &graph.nodes()[at]).collect()).collect(),
        }
    }
}

/// A strategy that keeps what an older plan put together.
///
/// A layer of the older plan whose paths are all still there stays as it is. Of
/// the others, a path goes where one of its name was. What is new, and what has
/// no room, is grouped by the strategy underneath.
pub struct Stable<'a> {
    /// The older plan's layers, lowest first.
    pub previous: &'a [Vec<StorePath>],
    /// For everything else.
    pub inner: &'a dyn Strategy,
}

impl Strategy for Stable<'_> {
    fn groups(&self, graph: &Graph, nodes: &[usize], max_layers: usize) -> Vec<Vec<usize>> {
        let wanted: HashMap<&StorePath, usize> = nodes.iter().map(|&at| (&graph.nodes()[at].path, at)).collect();
        let mut kept: Vec<(usize, Vec<usize>)> = Vec::new();
        let mut by_name: HashMap<&str, usize> = HashMap::new();
        let mut placed = vec![false; graph.nodes().len()];
        for (number, layer) in self.previous.iter().enumerate() {
            // What an older plan, or a layer of it, has twice is placed once.
            let paths: BTreeSet<&StorePath> = layer.iter().collect();
            let still: Option<Vec<usize>> = paths.iter().map(|path| wanted.get(*path).copied()).collect();
            let still = still.filter(|still| still.iter().all(|&at| !placed[at]));
            match still {
                // One layer is left for what changed.
                Some(still) if !still.is_empty() && kept.len() + 1 < max_layers => {
                    still.iter().for_each(|&at| placed[at] = true);
                    kept.push((number, still));
                }
                _ => layer.iter().for_each(|path| {
                    by_name.entry(path.package()).or_insert(number);
                }),
            }
        }
        // Changed layers, as long as there is room for all of them and the rest.
        let mut changed: Vec<(usize, Vec<usize>)> = Vec::new();
        let mut rest: Vec<usize> = Vec::new();
        for &at in nodes.iter().filter(|&&at| !placed[at]) {
            let place = by_name.get(graph.nodes()[at].path.package());
            let known = place.and_then(|number| changed.iter().position(|(other, _)| other == number));
            match (place, known) {
                (_, Some(known)) => changed[known].1.push(at),
                (Some(&number), None) if kept.len() + changed.len() + 1 < max_layers => {
                    changed.push((number, vec![at]))
                }
                _ => rest.push(at),
            }
        }
        let room = max_layers - kept.len() - changed.len();
        let mut all = kept;
        all.extend(changed);
        all.sort_by_key(|(number, _)| *number);
        let mut groups: Vec<Vec<usize>> = all.into_iter().map(|(_, group)| group).collect();
        if !rest.is_empty() {
            groups.extend(self.inner.groups(graph, &rest, room));
        }
        groups
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{Popularity, graph::tests::graph};
    use super::*;

    /// The names of each layer's paths.
    pub fn names(text: &str, strategy: &dyn Strategy, max_layers: usize) -> String {
        shown(&Plan::new(&graph(text).unwrap(), strategy, max_layers, |_| false))
    }

    fn shown(plan: &Plan<'_>) -> String {
        let names = |group: &Vec<&Node>| group.iter().map(|node| node.path.name()).collect::<String>();
        plan.groups.iter().map(names).collect::<Vec<_>>().join(" ")
    }

    fn without(max_layers: usize, left_out: &str) -> String {
        let graph = graph("a: b c, b: c, c:").unwrap();
        shown(&Plan::new(&graph, &Popularity, max_layers, |path| left_out.contains(path.name())))
    }

    #[test]
    fn the_last_layer_takes_the_rest() {
        assert_eq!(without(1, ""), "cba");
        assert_eq!(without(2, ""), "c ba");
        assert_eq!(without(3, ""), "c b a");
        assert_eq!(without(9, ""), "c b a");
    }

    #[test]
    fn paths_left_out_take_no_layer() {
        assert_eq!(without(2, "c"), "b a");
        assert_eq!(without(2, "abc"), "");
    }

    #[test]
    fn duplicate_paths_of_previous_layers_are_placed_once() {
        let graph = graph("a: b c, b: c, c:, d:").unwrap();
        let path = |name: &str| StorePath::parse(&format!("/nix/store/{}-{name}", name.repeat(32))).unwrap();
        let previous = vec![vec![path("c"), path("c")], vec![path("b"), path("c")], vec![path("c")]];
        let stable = Stable { previous: &previous, inner: &Popularity };
        assert_eq!(shown(&Plan::new(&graph, &stable, 9, |_| false)), "c b d a");
    }

    #[test]
    fn paths_of_previous_layers_stay_together() {
        let graph = graph("a: b c, b: c, c:, d:").unwrap();
        let path = |name: &str| StorePath::parse(&format!("/nix/store/{}-{name}", name.repeat(32))).unwrap();
        // x is gone and y is new under an old name.
        let previous = vec![vec![path("c"), path("d")], vec![path("b"), path("x")]];
        let stable = Stable { previous: &previous, inner: &Popularity };
        assert_eq!(shown(&Plan::new(&graph, &stable, 3, |_| false)), "cd b a");
        assert_eq!(shown(&Plan::new(&graph, &stable, 2, |_| false)), "cd ba");
        assert_eq!(shown(&Plan::new(&graph, &stable, 1, |_| false)), "cbda");
    }
}
