//! Compares layering strategies by the cost of updates of a closure, without building an image.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::forecast::{Paths, PlanForecast};
use crate::closure::{Costs, Graph, Plan, StorePath, Strategy, Weights};

/// The plan of a strategy and its costs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Planned {
    /// The name of the strategy.
    pub strategy: String,
    /// The number of layers.
    pub layers: usize,
    /// The bytes that an update sends on average to a registry, which keeps layers one by one.
    pub expected: f64,
    /// The bytes that an update sends on average to an engine that keeps chains of layers.
    pub chained: f64,
    /// The averages `expected` and `chained` of simulated updates. `None` if a simulation was not requested.
    pub simulated: Option<(f64, f64)>,
    /// The bytes that partial pulls fetch. `None` if they were not requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunked: Option<PlanForecast>,
}

/// Plans with each strategy. `updates` is the number of updates to simulate. With `paths`, partial pulls are forecast.
pub fn compare(
    graph: &Graph,
    strategies: &[(String, Box<dyn Strategy>)],
    max_layers: usize,
    weights: &Weights,
    updates: usize,
    paths: Option<&Paths>,
) -> Vec<Planned> {
    let node_weights = weights.node_weights(graph);
    let costs = Costs::new(graph, node_weights.clone());
    let planned = strategies.iter().map(|(name, strategy)| {
        let plan = Plan::new(graph, strategy.as_ref(), max_layers, |_| false);
        let groups = indices(graph, &plan);
        let cost = costs.partition(&groups);
        Planned {
            strategy: name.clone(),
            layers: groups.len(),
            expected: cost.expected,
            chained: cost.chained,
            simulated: (updates > 0).then(|| simulate(&costs, &node_weights, &groups, updates)),
            chunked: paths.map(|paths| paths.forecast(&groups)),
        }
    });
    planned.collect()
}

/// Returns a lower bound of the cost of any plan.
pub fn floor(graph: &Graph, weights: &Weights) -> f64 {
    Costs::new(graph, weights.node_weights(graph)).floor(&(0..graph.nodes().len()).collect::<Vec<_>>())
}

/// Returns the layers of a plan as indices of nodes.
pub fn indices(graph: &Graph, plan: &Plan<'_>) -> Vec<Vec<usize>> {
    let index =
        |group: &Vec<&crate::closure::Node>| group.iter().filter_map(|node| graph.position(&node.path)).collect();
    plan.groups.iter().map(index).collect()
}

/// Simulates updates of paths that are drawn by their weights, and returns the averages of both costs. The sequence is the
/// same in every run.
fn simulate(costs: &Costs<'_>, weights: &[u64], groups: &[Vec<usize>], updates: usize) -> (f64, f64) {
    let total: u64 = weights.iter().sum();
    // Knuth's MMIX generator is simple, and gives the same numbers on every machine.
    let mut state = 1u64;
    let mut draw = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let mut rest = (state >> 11) % total.max(1);
        let node = weights.iter().position(|&weight| {
            let is_drawn = rest < weight;
            rest = rest.saturating_sub(weight);
            is_drawn
        });
        node.unwrap_or(0)
    };
    let updated: Vec<usize> = (0..updates).map(|_| draw()).collect();
    let (mut expected, mut chained) = (0.0, 0.0);
    for (single, chain) in costs.updates(&updated, groups) {
        expected += single as f64;
        chained += chain as f64;
    }
    (expected / updates as f64, chained / updates as f64)
}

/// Learns weights from the closures of several releases of an image, oldest first.
///
/// The weight of a package is the number of releases in which it was updated. A package counts as updated if a new path
/// replaces an old one although none of its references was replaced: otherwise the references caused the change.
pub fn learn(history: &[Graph]) -> Weights {
    let mut names: BTreeMap<String, u64> = BTreeMap::new();
    for pair in history.windows(2) {
        let paths =
            |graph: &'_ Graph| -> BTreeSet<StorePath> { graph.nodes().iter().map(|node| node.path.clone()).collect() };
        let (old, new) = (paths(&pair[0]), paths(&pair[1]));
        // A package may have several paths, and an update may replace some of them only.
        let replaced: BTreeSet<&str> = old.difference(&new).map(StorePath::package).collect();
        let changed = |at: usize| {
            let path = &pair[1].nodes()[at].path;
            !old.contains(path) && replaced.contains(path.package())
        };
        let mut updated: BTreeSet<&str> = BTreeSet::new();
        for (at, node) in pair[1].nodes().iter().enumerate() {
            if changed(at) && !node.references.iter().any(|&to| changed(to)) {
                updated.insert(node.path.package());
            }
        }
        for package in updated {
            *names.entry(format!("{package}*")).or_default() += 1;
        }
    }
    // Packages without an update have the default weight 1, so one update has to weigh more than that.
    names.values_mut().for_each(|count| *count = *count * 10 + 1);
    Weights { roots: None, names }
}
