//! What each strategy would cost on a closure, without building anything.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::forecast::{Paths, PlanForecast};
use crate::closure::{Costs, Graph, Plan, StorePath, Strategy, Weights};

/// One strategy's plan.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Planned {
    /// Its name.
    pub strategy: String,
    /// Layers it makes.
    pub layers: usize,
    /// Bytes an update sends on average, where layers are kept one by one.
    pub expected: f64,
    /// The same where they are kept as chains.
    pub chained: f64,
    /// What replayed updates sent on average, one by one and as chains, where that was asked for.
    pub simulated: Option<(f64, f64)>,
    /// What pulls in parts fetch, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunked: Option<PlanForecast>,
}

/// Plans with each strategy; `updates` of single paths are replayed, and `paths` say what pulls in parts fetch.
pub fn compare(
    graph: &Graph,
    strategies: &[(String, Box<dyn Strategy>)],
    max_layers: usize,
    weights: &Weights,
    updates: usize,
    paths: Option<&Paths>,
) -> Vec<Planned> {
    let weight = weights.node_weights(graph);
    let costs = Costs::new(graph, weight.clone());
    let planned = strategies.iter().map(|(name, strategy)| {
        let plan = Plan::new(graph, strategy.as_ref(), max_layers, |_| false);
        let groups = indices(graph, &plan);
        let cost = costs.partition(&groups);
        Planned {
            strategy: name.clone(),
            layers: groups.len(),
            expected: cost.expected,
            chained: cost.chained,
            simulated: (updates > 0).then(|| simulate(&costs, &weight, &groups, updates)),
            chunked: paths.map(|paths| paths.forecast(&groups)),
        }
    });
    planned.collect()
}

/// The least that any plan can cost.
pub fn floor(graph: &Graph, weights: &Weights) -> f64 {
    Costs::new(graph, weights.node_weights(graph)).floor(&(0..graph.nodes().len()).collect::<Vec<_>>())
}

/// A plan's layers as indices.
pub fn indices(graph: &Graph, plan: &Plan<'_>) -> Vec<Vec<usize>> {
    let index =
        |group: &Vec<&crate::closure::Node>| group.iter().filter_map(|node| graph.position(&node.path)).collect();
    plan.groups.iter().map(index).collect()
}

/// Replays updates of paths chosen by their weights, the same ones each time.
fn simulate(costs: &Costs<'_>, weights: &[u64], groups: &[Vec<usize>], updates: usize) -> (f64, f64) {
    let total: u64 = weights.iter().sum();
    // Knuth's MMIX generator: plain, and the same everywhere.
    let mut state = 1u64;
    let mut draw = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let mut rest = (state >> 11) % total.max(1);
        let node = weights.iter().position(|&weight| {
            let here = rest < weight;
            rest = rest.saturating_sub(weight);
            here
        });
        node.unwrap_or(0)
    };
    let updated: Vec<usize> = (0..updates).map(|_| draw()).collect();
    let (mut alone, mut chain) = (0.0, 0.0);
    for (one, all) in costs.updates(&updated, groups) {
        alone += one as f64;
        chain += all as f64;
    }
    (alone / updates as f64, chain / updates as f64)
}

/// Weights learned from closures of one image, oldest first: how often a package was the one that changed, which is
/// when it has a new path in place of an old one, while everything that references has not changed.
pub fn learn(history: &[Graph]) -> Weights {
    let mut names: BTreeMap<String, u64> = BTreeMap::new();
    for pair in history.windows(2) {
        let paths =
            |graph: &'_ Graph| -> BTreeSet<StorePath> { graph.nodes().iter().map(|node| node.path.clone()).collect() };
        let (before, after) = (paths(&pair[0]), paths(&pair[1]));
        // A package may have several paths, of which some stay.
        let replaced: BTreeSet<&str> = before.difference(&after).map(StorePath::package).collect();
        let changed = |at: usize| {
            let path = &pair[1].nodes()[at].path;
            !before.contains(path) && replaced.contains(path.package())
        };
        let mut own: BTreeSet<&str> = BTreeSet::new();
        for (at, node) in pair[1].nodes().iter().enumerate() {
            if changed(at) && !node.references.iter().any(|&to| changed(to)) {
                own.insert(node.path.package());
            }
        }
        for package in own {
            *names.entry(format!("{package}*")).or_default() += 1;
        }
    }
    // What never changed is still worth something.
    names.values_mut().for_each(|count| *count = *count * 10 + 1);
    Weights { roots: None, names }
}
