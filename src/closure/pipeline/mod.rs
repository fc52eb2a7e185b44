//! `layeringPipeline` of dockerTools: the layers as the user's own operations make them.
//!
//! ```text
//! value   ::= graph | list of values, all of one kind | parts: values by name
//! step    ::= [ name, argument… ]
//!
//! popularity_contest        graph → list of graphs, one store path each, the most popular first
//! split_every n             graph → list of graphs of n store paths
//! remove_paths paths        graph → graph; what is removed is not in the image
//! split_paths paths         graph → { main, common, rest }: what only `paths` need, what the rest needs too, the rest
//! subcomponent_out paths    graph → { main, rest }: `paths` and what they need
//! subcomponent_in paths     graph → { main, rest }: `paths` and what needs them
//! limit_layers n            list → list of at most n graphs; the last has all that is left
//! reverse                   list → list
//! flatten                   anything → list of graphs
//! map step                  list → list
//! over name step            parts → parts: the step on one of them
//! pipe [ step… ]            one after the other
//! ```
//!
//! For example, Python and what it alone needs in one layer, and every other path in its own as long as there is room:
//!
//! ```text
//! [ [ "split_paths" [ "/nix/store/…-python3-3.13.1" ] ]  [ "over" "rest" [ "popularity_contest" ] ]  [ "flatten" ]
//!   [ "limit_layers" 20 ] ]
//! ```
//!
//! `paths` are store paths, or `{ regex = "…"; }`, which has to match from the path's first character on. The store
//! paths of a graph are in order of their size, the smallest first. A pipeline is checked as a whole before it runs:
//! each step says what it takes and what it gives.

mod parse;

use regex::Regex;

use super::{Graph, Popularity, Strategy};

/// Takes a line.
type Log = dyn Fn(&str);

/// The steps, checked.
pub struct Pipeline {
    steps: Vec<Step>,
    log: Option<Box<Log>>,
}

/// What is between two steps. Graphs are indices of the closure's nodes.
#[derive(Clone, Debug)]
enum Value {
    Graph(Vec<usize>),
    List(Vec<Value>),
    Parts(Vec<(String, Value)>),
}

/// A step, and where it stands.
#[derive(Debug)]
struct Step {
    at: String,
    name: String,
    operation: Operation,
}

#[derive(Debug)]
enum Operation {
    PopularityContest,
    SplitEvery(usize),
    RemovePaths(Vec<PathSpec>),
    SplitPaths(Vec<PathSpec>),
    Subcomponent(Way, Vec<PathSpec>),
    LimitLayers(usize),
    Reverse,
    Flatten,
    Map(Box<Step>),
    Over(String, Box<Step>),
    Pipe(Vec<Step>),
}

#[derive(Clone, Copy, Debug)]
enum Way {
    /// To what is needed.
    Out,
    /// To what needs it.
    In,
}

/// Which store paths.
#[derive(Debug)]
enum PathSpec {
    Path(String),
    Regex(Regex),
}

impl Pipeline {
    /// Tells `log` what each step made of what it was given.
    pub fn logged(self, log: impl Fn(&str) + 'static) -> Self {
        Self { log: Some(Box::new(log)), ..self }
    }
}

impl Strategy for Pipeline {
    /// What the steps make, without empty groups. Those past `max_layers` are one with the last.
    fn groups(&self, graph: &Graph, nodes: &[usize], max_layers: usize) -> Vec<Vec<usize>> {
        let mut nodes = nodes.to_vec();
        nodes.sort_by_key(|&at| (graph.nodes()[at].nar_size, at));
        let run = Run { graph, log: self.log.as_deref() };
        let groups = flatten(run.steps(&self.steps, Value::Graph(nodes)));
        let made = groups.len();
        let groups = limit(groups, max_layers);
        if let Some(log) = &self.log
            && groups.len() < made
        {
            log(&format!("maxLayers: {made} graphs → {}", groups.len()));
        }
        groups
    }
}

impl PathSpec {
    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Path(wanted) => wanted == path,
            Self::Regex(regex) => regex.find(path).is_some_and(|found| found.start() == 0),
        }
    }
}

/// Steps at work on a closure.
struct Run<'a> {
    graph: &'a Graph,
    log: Option<&'a Log>,
}

impl Run<'_> {
    fn steps(&self, steps: &[Step], value: Value) -> Value {
        steps.iter().fold(value, |value, step| self.step(step, value))
    }

    fn step(&self, step: &Step, value: Value) -> Value {
        let Some(log) = self.log else { return self.operate(&step.operation, value) };
        let before = self.describe(&value);
        let value = self.operate(&step.operation, value);
        log(&format!("layeringPipeline{} {}: {before} → {}", step.at, step.name, self.describe(&value)));
        value
    }

    fn operate(&self, operation: &Operation, value: Value) -> Value {
        let graphs = |groups: Vec<Vec<usize>>| Value::List(groups.into_iter().map(Value::Graph).collect());
        match (operation, value) {
            (Operation::PopularityContest, Value::Graph(nodes)) => {
                graphs(self.popularity(&nodes).into_iter().map(|at| vec![at]).collect())
            }
            (Operation::SplitEvery(count), Value::Graph(nodes)) => {
                graphs(nodes.chunks(*count).map(<[usize]>::to_vec).collect())
            }
            (Operation::RemovePaths(specs), Value::Graph(mut nodes)) => {
                nodes.retain(|&at| !self.is_one_of(specs, at));
                Value::Graph(nodes)
            }
            (Operation::SplitPaths(specs), Value::Graph(nodes)) => self.split(specs, nodes),
            (Operation::Subcomponent(way, specs), Value::Graph(nodes)) => {
                let inside = self.members(&nodes);
                let from = nodes.iter().copied().filter(|&at| self.is_one_of(specs, at)).collect();
                let main = self.reach(from, *way, |at| inside[at]);
                let (main, rest) = nodes.into_iter().partition(|&at| main[at]);
                parts([("main", main), ("rest", rest)])
            }
            (Operation::LimitLayers(count), value @ Value::List(_)) => graphs(limit(flatten(value), *count)),
            (Operation::Reverse, Value::List(mut values)) => {
                values.reverse();
                Value::List(values)
            }
            (Operation::Flatten, value) => graphs(flatten(value)),
            (Operation::Map(step), Value::List(values)) => {
                Value::List(values.into_iter().map(|value| self.step(step, value)).collect())
            }
            (Operation::Over(part, step), Value::Parts(parts)) => {
                let over = |(name, value)| {
                    let value = if name == *part { self.step(step, value) } else { value };
                    (name, value)
                };
                Value::Parts(parts.into_iter().map(over).collect())
            }
            (Operation::Pipe(steps), value) => self.steps(steps, value),
            // Steps are checked against what they are given when they are read.
            (operation, value) => unreachable!("{operation:?} of {value:?}"),
        }
    }

    /// What only these paths need, what is also needed otherwise, and everything else.
    fn split(&self, specs: &[PathSpec], nodes: Vec<usize>) -> Value {
        let inside = self.members(&nodes);
        let split: Vec<usize> = nodes.iter().copied().filter(|&at| self.is_one_of(specs, at)).collect();
        let is_split = self.members(&split);
        let below = self.reach(split, Way::Out, |at| inside[at]);
        let others = nodes.iter().copied().filter(|&at| !below[at]).collect();
        let needed_otherwise = self.reach(others, Way::Out, |at| inside[at] && !is_split[at]);
        let (below, rest): (Vec<usize>, Vec<usize>) = nodes.into_iter().partition(|&at| below[at]);
        let (common, main) = below.into_iter().partition(|&at| needed_otherwise[at]);
        parts([("main", main), ("common", common), ("rest", rest)])
    }

    /// Everything that can be reached from `from` through nodes that `inside` answers for.
    fn reach(&self, from: Vec<usize>, way: Way, inside: impl Fn(usize) -> bool) -> Vec<bool> {
        let mut reached = self.members(&from);
        let mut queue = from;
        let referrers = match way {
            Way::In => self.graph.referrers(),
            Way::Out => Vec::new(),
        };
        while let Some(at) = queue.pop() {
            let next = match way {
                Way::In => &referrers[at],
                Way::Out => &self.graph.nodes()[at].references,
            };
            for &to in next {
                if inside(to) && !std::mem::replace(&mut reached[to], true) {
                    queue.push(to);
                }
            }
        }
        reached
    }

    /// The nodes by how many of them need each.
    fn popularity(&self, nodes: &[usize]) -> Vec<usize> {
        let inside = self.members(nodes);
        let kept: Vec<usize> = (0..inside.len()).filter(|&at| inside[at]).collect();
        Popularity::order(&self.graph.without(|at| !inside[at])).into_iter().map(|at| kept[at]).collect()
    }

    fn members(&self, nodes: &[usize]) -> Vec<bool> {
        let mut members = vec![false; self.graph.nodes().len()];
        nodes.iter().for_each(|&at| members[at] = true);
        members
    }

    fn is_one_of(&self, specs: &[PathSpec], at: usize) -> bool {
        let path = self.graph.nodes()[at].path.as_str();
        specs.iter().any(|spec| spec.matches(path))
    }

    fn describe(&self, value: &Value) -> String {
        match value {
            Value::Graph(nodes) => {
                let size: u64 = nodes.iter().map(|&at| self.graph.nodes()[at].nar_size).sum();
                format!("{} store paths ({size} bytes)", nodes.len())
            }
            Value::List(values) => {
                let groups = flatten(value.clone());
                format!("list of {} with {} store paths", values.len(), groups.iter().map(Vec::len).sum::<usize>())
            }
            Value::Parts(parts) => {
                let part = |(name, value): &(String, Value)| format!("{name}: {}", self.describe(value));
                format!("{{ {} }}", parts.iter().map(part).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

fn parts<const COUNT: usize>(parts: [(&str, Vec<usize>); COUNT]) -> Value {
    Value::Parts(parts.into_iter().map(|(name, nodes)| (name.to_owned(), Value::Graph(nodes))).collect())
}

/// Every graph in it that is not empty, in order.
fn flatten(value: Value) -> Vec<Vec<usize>> {
    match value {
        Value::Graph(nodes) if nodes.is_empty() => Vec::new(),
        Value::Graph(nodes) => vec![nodes],
        Value::List(values) => values.into_iter().flat_map(flatten).collect(),
        Value::Parts(parts) => parts.into_iter().flat_map(|(_, value)| flatten(value)).collect(),
    }
}

/// The first `count` groups, the last of which has all that are left.
fn limit(mut groups: Vec<Vec<usize>>, count: usize) -> Vec<Vec<usize>> {
    if groups.len() > count {
        let rest = groups.split_off(count - 1).concat();
        groups.push(rest);
    }
    groups
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::closure::strategy::tests::names;

    /// a and b are roots; p is what is split off, with q of its own; c is common to p and b.
    const TEXT: &str = "a: p d, b: c, c: f, d:, f:, p: q c, q:";

    fn layers(steps: Json) -> String {
        let path = |name: &str| format!("/nix/store/{}-{name}", name.repeat(32));
        let text = "abcdfpq".chars().fold(steps.to_string(), |text, name| {
            let name = name.to_string();
            text.replace(&format!("\"{name}\""), &format!("{:?}", path(&name)))
        });
        let steps: Json = serde_json::from_str(&text).unwrap();
        names(TEXT, &Pipeline::parse(&steps).unwrap(), 99)
    }

    #[test]
    fn every_step() {
        assert_eq!(layers(json!([])), "abcdfpq");
        assert_eq!(layers(json!([["popularity_contest"]])), "f c q p d b a");
        assert_eq!(layers(json!([["popularity_contest"], ["limit_layers", 3]])), "f c qpdba");
        assert_eq!(layers(json!([["popularity_contest"], ["reverse"], ["limit_layers", 2]])), "a bdpqcf");
        assert_eq!(layers(json!([["split_every", 3]])), "abc dfp q");
        assert_eq!(layers(json!([["remove_paths", "p"], ["split_every", 9]])), "abcdfq");
        assert_eq!(layers(json!([["remove_paths", ["p", { "regex": "/nix/store/[ab]" }]]])), "cdfq");
        assert_eq!(layers(json!([["remove_paths", { "regex": "(?x) /nix/store/[ab] # these" }]])), "cdfpq");
        assert_eq!(layers(json!([["remove_paths", { "regex": "store|/nix/store/a" }]])), "bcdfpq");
        assert_eq!(layers(json!([["subcomponent_out", ["c"]]])), "cf abdpq");
        assert_eq!(layers(json!([["subcomponent_in", ["c"]]])), "abcp dfq");
        assert_eq!(layers(json!([["split_paths", ["p"]]])), "pq cf abd");
        assert_eq!(layers(json!([["split_paths", ["p"]], ["over", "rest", ["popularity_contest"]]])), "pq cf d b a");
        let pipe = json!(["pipe", [["subcomponent_in", ["d"]], ["over", "main", ["split_every", 1]], ["flatten"]]]);
        assert_eq!(layers(json!([["split_paths", "p"], ["over", "rest", pipe]])), "pq cf a d b");
        let map = json!(["map", ["split_every", 2]]);
        assert_eq!(layers(json!([["split_every", 3], map, ["flatten"]])), "ab c df p q");
        assert_eq!(layers(json!([["split_every", 3], map, ["limit_layers", 2]])), "ab cdfpq");
    }

    #[test]
    fn paths_that_are_not_there_change_nothing() {
        assert_eq!(layers(json!([["remove_paths", ["x"]]])), "abcdfpq");
        assert_eq!(layers(json!([["split_paths", []]])), "abcdfpq");
        assert_eq!(layers(json!([["remove_paths", { "regex": "x" }]])), "abcdfpq");
        assert_eq!(layers(json!([["remove_paths", { "regex": "" }], ["popularity_contest"]])), "");
    }

    #[test]
    fn too_many_layers_share_the_last() {
        let pipeline = Pipeline::parse(&json!([["popularity_contest"]])).unwrap();
        assert_eq!(names(TEXT, &pipeline, 3), "f c qpdba");
    }

    #[test]
    fn each_step_logs_its_result() {
        let told = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let log = std::rc::Rc::clone(&told);
        let steps = json!([["split_every", 4], ["map", ["popularity_contest"]]]);
        let pipeline = Pipeline::parse(&steps).unwrap().logged(move |line| log.borrow_mut().push(line.to_owned()));
        names(TEXT, &pipeline, 3);
        assert_eq!(
            told.borrow().as_slice(),
            [
                "layeringPipeline[0] split_every: 7 store paths (7 bytes) → list of 2 with 7 store paths",
                "layeringPipeline[1].map popularity_contest: 4 store paths (4 bytes) → list of 4 with 4 store paths",
                "layeringPipeline[1].map popularity_contest: 3 store paths (3 bytes) → list of 3 with 3 store paths",
                "layeringPipeline[1] map: list of 2 with 7 store paths → list of 2 with 7 store paths",
                "maxLayers: 7 graphs → 3",
            ]
        );
    }
}
