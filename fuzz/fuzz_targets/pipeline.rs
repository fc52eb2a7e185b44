//! `layeringPipeline`: what is accepted plans every closure, and places no store path twice.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use strata::internals::closure::{Graph, Pipeline, Plan, RawNode};

fuzz_target!(|bytes: &[u8]| {
    let Ok(steps) = serde_json::from_slice(bytes) else { return };
    let Ok(pipeline) = Pipeline::parse(&steps) else { return };
    let path = |at: usize| format!("/nix/store/{at:0>32}-p{at}");
    let node = |at: usize| {
        let references = [at * 2 + 1, at * 2 + 2, at + 5].into_iter().filter(|&to| to < 24).map(path).collect();
        RawNode::new(path(at), references, 1 << at, None)
    };
    let graph = Graph::new(&Default::default(), (0..24).map(node).collect()).unwrap();
    for most in [1, 3, 100] {
        let plan = Plan::new(&graph, &pipeline, most, |_| false);
        assert!(plan.groups.len() <= most && plan.groups.iter().all(|group| !group.is_empty()));
        let mut placed = BTreeSet::new();
        assert!(plan.groups.iter().flatten().all(|node| placed.insert(&node.path)));
    }
});
