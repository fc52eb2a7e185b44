//! Layering strategies: how a closure is divided into groups of paths, one group per layer.

use std::collections::{BTreeSet, HashMap};

use super::{Graph, Node, StorePath};

/// A layering strategy.
pub trait Strategy {
    /// Divides `nodes` (sorted indices of `graph`) into at most `max_layers` nonempty groups, lowest layer first. Each node
    /// is in one group, or in none if the user removed it from the image.
    ///
    /// `graph` may have nodes that are not in `nodes`, such as those of lower layers. They are not placed, but their
    /// references and sizes may affect the result.
    fn groups(&self, graph: &Graph, nodes: &[usize], max_layers: usize) -> Vec<Vec<usize>>;
}

/// The distribution of store paths over layers.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// The layers, lowest first; none is empty.
    pub groups: Vec<Vec<&'a Node>>,
}

impl<'a> Plan<'a> {
    /// Divides `graph` into at most `max_layers` layers (0 counts as 1), without the paths that `is_excluded` selects.
    pub fn new(
        graph: &'a Graph,
        strategy: &dyn Strategy,
        max_layers: usize,
        is_excluded: impl Fn(&StorePath) -> bool,
    ) -> Self {
        let nodes: Vec<usize> = (0..graph.nodes().len()).filter(|&at| !is_excluded(&graph.nodes()[at].path)).collect();
        let groups = if nodes.is_empty() { Vec::new() } else { strategy.groups(graph, &nodes, max_layers.max(1)) };
        debug_assert!(groups.len() <= max_layers.max(1));
        debug_assert!(groups.iter().map(Vec::len).sum::<usize>() <= nodes.len());
        Self {
            groups: groups.into_iter().map(|group| group.into_iter().map(|at| &graph.nodes()[at]).collect()).collect(),
        }
    }
}

/// A strategy that keeps the layers of an older plan, so that an update sends fewer layers.
///
/// If all paths of an older layer are still in the closure, the layer stays as it is. Of the
/// other layers, paths stay in the layer that had a path of the same package. New paths, and
/// paths of layers that exceed the limit, are grouped by the inner strategy.
pub struct Stable<'a> {
    /// The layers of the older plan, lowest first.
    pub previous: &'a [Vec<StorePath>],
    /// The strategy that groups all other paths.
    pub inner: &'a dyn Strategy,
}

impl Strategy for Stable<'_> {
    fn groups(&self, graph: &Graph, nodes: &[usize], max_layers: usize) -> Vec<Vec<usize>> {
        let index: HashMap<&StorePath, usize> = nodes.iter().map(|&at| (&graph.nodes()[at].path, at)).collect();
        let mut kept: Vec<(usize, Vec<usize>)> = Vec::new();
        let mut by_package: HashMap<&str, usize> = HashMap::new();
        let mut is_placed = vec![false; graph.nodes().len()];
        for (number, layer) in self.previous.iter().enumerate() {
            // The older plan comes from a file, and may list a path twice. It is placed once.
            let paths: BTreeSet<&StorePath> = layer.iter().collect();
            let unchanged: Option<Vec<usize>> = paths.iter().map(|path| index.get(*path).copied()).collect();
            let unchanged = unchanged.filter(|unchanged| unchanged.iter().all(|&at| !is_placed[at]));
            match unchanged {
                // One layer is reserved for changed paths.
                Some(unchanged) if !unchanged.is_empty() && kept.len() + 1 < max_layers => {
                    unchanged.iter().for_each(|&at| is_placed[at] = true);
                    kept.push((number, unchanged));
                }
                _ => layer.iter().for_each(|path| {
                    by_package.entry(path.package()).or_insert(number);
                }),
            }
        }
        // Changed layers are kept as far as the limit allows. One layer is reserved for the rest.
        let mut changed: Vec<(usize, Vec<usize>)> = Vec::new();
        let mut rest: Vec<usize> = Vec::new();
        for &at in nodes.iter().filter(|&&at| !is_placed[at]) {
            let older = by_package.get(graph.nodes()[at].path.package());
            let position = older.and_then(|number| changed.iter().position(|(other, _)| other == number));
            match (older, position) {
                (_, Some(position)) => changed[position].1.push(at),
                (Some(&number), None) if kept.len() + changed.len() + 1 < max_layers => {
                    changed.push((number, vec![at]))
                }
                _ => rest.push(at),
            }
        }
        let remaining_layers = max_layers - kept.len() - changed.len();
        let mut all = kept;
        all.extend(changed);
        all.sort_by_key(|(number, _)| *number);
        let mut groups: Vec<Vec<usize>> = all.into_iter().map(|(_, group)| group).collect();
        if !rest.is_empty() {
            groups.extend(self.inner.groups(graph, &rest, remaining_layers));
        }
        groups
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{Popularity, graph::tests::graph};
    use super::*;

    /// Plans the closure `text` and returns the names of the paths of each layer.
    pub fn names(text: &str, strategy: &dyn Strategy, max_layers: usize) -> String {
        layer_names(&Plan::new(&graph(text).unwrap(), strategy, max_layers, |_| false))
    }

    fn layer_names(plan: &Plan<'_>) -> String {
        let names = |group: &Vec<&Node>| group.iter().map(|node| node.path.name()).collect::<String>();
        plan.groups.iter().map(names).collect::<Vec<_>>().join(" ")
    }

    fn plan_without(max_layers: usize, excluded: &str) -> String {
        let graph = graph("a: b c, b: c, c:").unwrap();
        layer_names(&Plan::new(&graph, &Popularity, max_layers, |path| excluded.contains(path.name())))
    }

    #[test]
    fn the_last_layer_takes_the_rest() {
        assert_eq!(plan_without(1, ""), "cba");
        assert_eq!(plan_without(2, ""), "c ba");
        assert_eq!(plan_without(3, ""), "c b a");
        assert_eq!(plan_without(9, ""), "c b a");
    }

    #[test]
    fn excluded_paths_take_no_layer() {
        assert_eq!(plan_without(2, "c"), "b a");
        assert_eq!(plan_without(2, "abc"), "");
    }

    #[test]
    fn duplicate_paths_of_previous_layers_are_placed_once() {
        let graph = graph("a: b c, b: c, c:, d:").unwrap();
        let path = |name: &str| StorePath::parse(&format!("/nix/store/{}-{name}", name.repeat(32))).unwrap();
        let previous = vec![vec![path("c"), path("c")], vec![path("b"), path("c")], vec![path("c")]];
        let stable = Stable { previous: &previous, inner: &Popularity };
        assert_eq!(layer_names(&Plan::new(&graph, &stable, 9, |_| false)), "c b d a");
    }

    #[test]
    fn paths_of_previous_layers_stay_together() {
        let graph = graph("a: b c, b: c, c:, d:").unwrap();
        let path = |name: &str| StorePath::parse(&format!("/nix/store/{}-{name}", name.repeat(32))).unwrap();
        // x is no longer in the closure, and a is new.
        let previous = vec![vec![path("c"), path("d")], vec![path("b"), path("x")]];
        let stable = Stable { previous: &previous, inner: &Popularity };
        assert_eq!(layer_names(&Plan::new(&graph, &stable, 3, |_| false)), "cd b a");
        assert_eq!(layer_names(&Plan::new(&graph, &stable, 2, |_| false)), "cd ba");
        assert_eq!(layer_names(&Plan::new(&graph, &stable, 1, |_| false)), "cbda");
    }
}
