//! From an order of paths to groups of paths, one group a layer.

use std::collections::HashSet;

use super::{Graph, Node, StorePath};

/// A way to order a closure: what comes first gets a layer of its own first,
/// and lies lower in the image.
pub trait Strategy {
    /// All node indices of `graph`, each once.
    fn order(&self, graph: &Graph) -> Vec<usize>;
}

/// Which path goes into which layer.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// The layers, lowest first; none is empty.
    pub groups: Vec<Vec<&'a Node>>,
}

impl<'a> Plan<'a> {
    /// Groups `graph` into at most `max_layers` layers (0 is taken as 1).
    ///
    /// Paths that `left_out` answers for, such as those that lower layers hold,
    /// get no place; they still count when the strategy orders the others.
    pub fn new(
        graph: &'a Graph,
        strategy: &dyn Strategy,
        max_layers: usize,
        left_out: impl Fn(&StorePath) -> bool,
    ) -> Self {
        let order = strategy.order(graph);
        debug_assert_eq!(order.iter().collect::<HashSet<_>>().len(), graph.nodes().len());
        let mut paths = order.into_iter().map(|at| &graph.nodes()[at]).filter(|node| !left_out(&node.path));
        let mut groups: Vec<Vec<&Node>> =
            paths.by_ref().take(max_layers.saturating_sub(1)).map(|node| vec![node]).collect();
        let rest: Vec<&Node> = paths.collect();
        if !rest.is_empty() {
            groups.push(rest);
        }
        Self { groups }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Popularity, graph::tests::graph};
    use super::*;

    fn plan(max_layers: usize, left_out: &str) -> String {
        let graph = graph("a: b c, b: c, c:").unwrap();
        let plan = Plan::new(&graph, &Popularity, max_layers, |path| left_out.contains(path.name()));
        let names = |group: &Vec<&Node>| group.iter().map(|node| node.path.name()).collect::<String>();
        plan.groups.iter().map(names).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_last_layer_takes_the_rest() {
        assert_eq!(plan(1, ""), "cba");
        assert_eq!(plan(2, ""), "c ba");
        assert_eq!(plan(3, ""), "c b a");
        assert_eq!(plan(9, ""), "c b a");
    }

    #[test]
    fn paths_left_out_take_no_layer() {
        assert_eq!(plan(2, "c"), "b a");
        assert_eq!(plan(2, "abc"), "");
    }
}
