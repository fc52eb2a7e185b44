//! Layering strategies on generated graphs: invariants of every strategy, and the distance of `transfer` from the optimum.

use std::collections::BTreeSet;

use proptest::prelude::*;
use strata::internals::{
    closure::{
        Auto, Costs, Graph, Pipeline, Plan, Popularity, RawNode, Stable, StorePath, Strategy as Layering, Transfer,
        Weights,
    },
    oci::Digest,
};

/// `sizes[i]` bytes for path i, which references those of `edges[i]` that come after it.
fn graph(sizes: &[u64], edges: &[Vec<usize>], order: &[usize]) -> Graph {
    let path = |at: usize| format!("/nix/store/{:0>32}-p{at}-1", at);
    let node = |&at: &usize| {
        let to: Vec<String> = edges[at].iter().filter(|&&to| to > at && to < sizes.len()).map(|&to| path(to)).collect();
        serde_json::json!({ "path": path(at), "narSize": sizes[at], "references": to })
    };
    let raw: Vec<RawNode> = serde_json::from_value(order.iter().map(node).collect()).unwrap();
    Graph::new(&Default::default(), raw).unwrap()
}

prop_compose! {
    fn graphs(most: usize)(count in 1..=most)(
        sizes in proptest::collection::vec(1u64..1_000_000_000, count),
        edges in proptest::collection::vec(proptest::collection::vec(0..count, 0..6), count),
        order in Just((0..count).collect::<Vec<_>>()).prop_shuffle(),
    ) -> (Graph, Graph) {
        let sorted: Vec<usize> = (0..sizes.len()).collect();
        (graph(&sizes, &edges, &sorted), graph(&sizes, &edges, &order))
    }
}

fn strategies() -> Vec<Box<dyn Layering>> {
    let weights = Weights { roots: Some(7), names: [("p1*".to_owned(), 3)].into() };
    let steps = serde_json::json!([
        ["split_paths", { "regex": ".*-p[1-4]-" }],
        ["over", "main", ["popularity_contest"]],
        ["over", "common", ["split_every", 2]],
        ["over", "rest", ["pipe", [["subcomponent_in", { "regex": ".*-p9-" }], ["over", "rest", ["popularity_contest"]]]]],
        ["flatten"],
        ["reverse"],
    ]);
    let pipeline = Pipeline::parse(&steps).unwrap();
    vec![
        Box::new(Popularity),
        Box::new(Auto),
        Box::new(Transfer::default()),
        Box::new(Transfer { weights, ..Transfer::default() }),
        Box::new(pipeline),
    ]
}

fn plan(graph: &Graph, strategy: &dyn Layering, max_layers: usize) -> Vec<Vec<String>> {
    let plan = Plan::new(graph, strategy, max_layers, |_| false);
    plan.groups.iter().map(|group| group.iter().map(|node| node.path.to_string()).collect()).collect()
}

fn indices(graph: &Graph, groups: &[Vec<String>]) -> Vec<Vec<usize>> {
    let index = |path: &String| graph.position(&StorePath::parse(path).unwrap()).unwrap();
    groups.iter().map(|group| group.iter().map(index).collect()).collect()
}

/// The cost by its definition: for each path that changes, the layers that hold anything that depends on it.
fn cost_by_definition(graph: &Graph, groups: &[Vec<usize>]) -> f64 {
    let nodes = graph.nodes();
    fn needs(graph: &Graph, from: usize, to: usize) -> bool {
        from == to || graph.nodes()[from].references.iter().any(|&next| needs(graph, next, to))
    }
    let mut sum = 0.0;
    for changed in 0..nodes.len() {
        for group in groups {
            if group.iter().any(|&at| needs(graph, at, changed)) {
                sum += group.iter().map(|&at| nodes[at].nar_size).sum::<u64>() as f64;
            }
        }
    }
    sum / nodes.len() as f64
}

proptest! {
    #[test]
    fn every_path_is_in_one_layer_and_the_budget_is_kept((graph, shuffled) in graphs(60), max_layers in 1usize..20) {
        for strategy in strategies() {
            let groups = plan(&graph, strategy.as_ref(), max_layers);
            prop_assert!(groups.len() <= max_layers);
            prop_assert!(groups.iter().all(|group| !group.is_empty()));
            let mut all: Vec<&String> = groups.iter().flatten().collect();
            all.sort();
            let expected: Vec<String> = graph.nodes().iter().map(|node| node.path.to_string()).collect();
            prop_assert_eq!(all, expected.iter().collect::<Vec<_>>());
            // The order of the input means nothing.
            prop_assert_eq!(&groups, &plan(&shuffled, strategy.as_ref(), max_layers));
        }
    }

    #[test]
    fn store_paths_of_the_start_share_no_layer_with_others((graph, shuffled) in graphs(60), max_layers in 1usize..20, chosen: u64) {
        let paths = || graph.nodes().iter().map(|node| node.path.clone());
        let start: BTreeSet<StorePath> =
            paths().enumerate().filter(|(at, _)| chosen >> at & 1 == 1).map(|(_, path)| path).collect();
        let is_start = |path: &String| start.contains(&StorePath::parse(path).unwrap());
        let separating = |start: BTreeSet<StorePath>| Transfer { start, ..Transfer::default() };
        let groups = plan(&graph, &separating(start.clone()), max_layers);
        prop_assert!(groups.len() <= max_layers);
        prop_assert_eq!(groups.concat().len(), graph.nodes().len());
        let is_mixed = |group: &Vec<String>| group.iter().any(is_start) && !group.iter().all(is_start);
        prop_assert!(max_layers == 1 || !groups.iter().any(is_mixed), "{groups:?}");
        prop_assert_eq!(&groups, &plan(&shuffled, &separating(start.clone()), max_layers));
        // A start that needs nothing or everything changes nothing.
        for start in [BTreeSet::new(), paths().collect()] {
            prop_assert_eq!(plan(&graph, &separating(start), max_layers), plan(&graph, &Transfer::default(), max_layers));
        }
    }

    #[test]
    fn costs_equal_their_definition((graph, _) in graphs(12), max_layers in 1usize..6) {
        let groups = indices(&graph, &plan(&graph, &Transfer::default(), max_layers));
        let cost = Costs::new(&graph, Weights::default().node_weights(&graph)).partition(&groups);
        let expected = cost_by_definition(&graph, &groups);
        prop_assert!((cost.expected - expected).abs() <= expected * 1e-9, "{} {expected}", cost.expected);
        prop_assert!(cost.chained >= cost.expected * (1.0 - 1e-9));
    }

    #[test]
    fn a_changed_root_does_not_move_other_paths((graph, _) in graphs(40), max_layers in 2usize..12) {
        let before = plan(&graph, &Transfer::default(), max_layers);
        let previous: Vec<Vec<StorePath>> =
            before.iter().map(|group| group.iter().map(|path| StorePath::parse(path).unwrap()).collect()).collect();
        // The first path (nothing references it) has another hash: only its own layer may change.
        let changed = graph.nodes()[0].path.to_string();
        let renamed = changed.replacen("/nix/store/0", "/nix/store/z", 1);
        let raw = graph.nodes().iter().map(|node| serde_json::json!({
            "path": if node.path.as_str() == changed { renamed.clone() } else { node.path.to_string() },
            "narSize": node.nar_size,
            "references": node.references.iter().map(|&to| graph.nodes()[to].path.to_string()).collect::<Vec<_>>(),
        }));
        let new = Graph::new(&Default::default(), serde_json::from_value(raw.collect()).unwrap()).unwrap();
        let after = plan(&new, &Stable { previous: &previous, inner: &Transfer::default() }, max_layers);
        let lost = before.iter().filter(|group| !after.contains(group)).count();
        // One layer may be merged to make room for the changed paths.
        prop_assert!(lost <= 2, "{lost} of {} layers changed", before.len());
    }
}

/// Every way to put `count` paths into at most three layers.
fn partitions(count: usize) -> Vec<Vec<Vec<usize>>> {
    let mut all = Vec::new();
    for mut code in 0..3usize.pow(count as u32) {
        let mut groups = vec![Vec::new(); 3];
        for at in 0..count {
            groups[code % 3].push(at);
            code /= 3;
        }
        groups.retain(|group| !group.is_empty());
        all.push(groups);
    }
    all
}

#[test]
fn small_graphs_are_planned_nearly_as_well_as_can_be() {
    let mut state = 7u64;
    let mut random = move |bound: u64| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) % bound
    };
    let (mut ratios, mut count) = (0.0, 0);
    for round in 0..60 {
        let paths = 5 + round % 5;
        let sizes: Vec<u64> = (0..paths).map(|_| 1 + random(1000)).collect();
        let edges: Vec<Vec<usize>> =
            (0..paths).map(|_| (0..random(4)).map(|_| random(paths as u64) as usize).collect()).collect();
        let graph = graph(&sizes, &edges, &(0..paths).collect::<Vec<_>>());
        let costs = Costs::new(&graph, vec![1; paths]);
        let best =
            partitions(paths).iter().map(|groups| costs.partition(groups).expected).fold(f64::INFINITY, f64::min);
        let found = costs.partition(&indices(&graph, &plan(&graph, &Transfer::default(), 3))).expected;
        assert!(found >= best * (1.0 - 1e-9));
        ratios += found / best;
        count += 1;
    }
    let mean = ratios / f64::from(count);
    assert!(mean <= 1.05, "{mean} times the optimum on average");
}

#[test]
fn transfer_has_lower_costs_than_other_strategies() {
    for seed in 0..20u64 {
        let mut state = seed;
        let mut random = move |bound: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % bound
        };
        let sizes: Vec<u64> = (0..150).map(|_| 1 + random(1000) * random(1000) * random(100)).collect();
        let edges: Vec<Vec<usize>> = (0..150).map(|_| (0..random(7)).map(|_| random(150) as usize).collect()).collect();
        let graph = graph(&sizes, &edges, &(0..150).collect::<Vec<_>>());
        let costs = Costs::new(&graph, vec![1; 150]);
        let cost = |strategy: &dyn Layering, layers| costs.partition(&indices(&graph, &plan(&graph, strategy, layers)));
        for layers in [10, 20, 40, 65] {
            let transfer = cost(&Transfer::default(), layers);
            for other in [cost(&Popularity, layers), cost(&Auto, layers)] {
                assert!(transfer.expected <= other.expected, "seed {seed}, {layers} layers");
            }
        }
    }
}

#[test]
fn plans_of_large_closures_are_the_recorded_ones() {
    let mut state = 7u64;
    let mut random = move |bound: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % bound
    };
    let count = 2000;
    let sizes: Vec<u64> = (0..count).map(|_| 1 + (random(1000) * random(1000) * random(100)) as u64).collect();
    // A few paths are referenced by many, as in real closures: sets of events are lists of a few members and bits of many.
    let mut edge = |at: usize| if random(2) == 0 { at + 1 + random(count - at) } else { count - 1 - random(30) };
    let edges: Vec<Vec<usize>> = (0..count).map(|at| (0..at % 8).map(|_| edge(at)).collect()).collect();
    let graph = graph(&sizes, &edges, &(0..count).collect::<Vec<_>>());
    let weights = Weights { roots: Some(9), names: [("p7*".to_owned(), 3)].into() };
    let digest = |strategy: &dyn Layering| {
        let text: Vec<String> = plan(&graph, strategy, 40).iter().map(|group| group.join(" ")).collect();
        Digest::sha256(text.join("\n").as_bytes()).to_string()
    };
    let digests = [digest(&Transfer::default()), digest(&Transfer { weights, ..Transfer::default() }), digest(&Auto)];
    assert_eq!(
        digests,
        [
            "sha256:45a896ebb275eed37fe9023e2a274b5e1693b6251d81126ab355de1cf31ff604",
            "sha256:ff013b60d12ba32bbd91e0152a8a28f3b271ebb06b0d6dd4da122ffb79353887",
            "sha256:18337de9badf5df086c94eec772d009a025cbf94ce6c83d06f6ebb9281feb0c1",
        ]
    );
}
