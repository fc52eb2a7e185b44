//! `layeringPipeline` of dockerTools: a list of operations, written by the user, that makes the layers.
//!
//! ```text
//! value   ::= graph | list of values, all of one kind | parts: values by name
//! step    ::= [ name, argument… ]
//!
//! popularity_contest        graph → list of graphs, one store path each, the most popular first
//! split_every n             graph → list of graphs of n store paths
//! remove_paths paths        graph → graph; the removed paths are not in the image
//! split_paths paths         graph → { main, common, rest }: main is needed by `paths` only, common by both, rest by others
//! subcomponent_out paths    graph → { main, rest }: main has `paths` and all paths that they need
//! subcomponent_in paths     graph → { main, rest }: main has `paths` and all paths that need them
//! limit_layers n            list → list of at most n graphs; the last one has all further paths
//! reverse                   list → list
//! flatten                   anything → list of graphs
//! map step                  list → list
//! over name step            parts → parts: applies the step to one part
//! pipe [ step… ]            applies the steps one after the other
//! ```
//!
//! For example, one layer has Python and the paths that only Python needs, one has the paths that Python shares with the
//! rest, and all other paths get a layer of their own up to the limit:
//!
//! ```text
//! [ [ "split_paths" [ "/nix/store/…-python3-3.13.1" ] ]  [ "over" "rest" [ "popularity_contest" ] ]  [ "flatten" ]
//!   [ "limit_layers" 20 ] ]
//! ```
//!
//! `paths` are store paths, or `{ regex = "…"; }`, which must match at the first character of the path. The store
//! paths of a graph are sorted by size, the smallest first. A pipeline is checked as a whole before it runs: the
//! result of each step must be of the kind that the next step takes.

mod parse;

use regex::Regex;

use super::{Graph, Popularity, Strategy};

/// A function that prints one line.
type Log = dyn Fn(&str);

/// A checked list of steps.
pub struct Pipeline {
    steps: Vec<Step>,
    log: Option<Box<Log>>,
}

/// The input or the result of a step. Graphs are indices of the closure's nodes.
#[derive(Clone, Debug)]
enum Value {
    Graph(Vec<usize>),
    List(Vec<Value>),
    Parts(Vec<(String, Value)>),
}

#[derive(Debug)]
struct Step {
    /// The position of the step in the pipeline, for messages: `[0].map`.
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
    Subcomponent(Direction, Vec<PathSpec>),
    LimitLayers(usize),
    Reverse,
    Flatten,
    Map(Box<Step>),
    Over(String, Box<Step>),
    Pipe(Vec<Step>),
}

/// The direction in which references are followed.
#[derive(Clone, Copy, Debug)]
enum Direction {
    /// From referrers to references.
    Out,
    /// From references to referrers.
    In,
}

#[derive(Debug)]
enum PathSpec {
    Path(String),
    Regex(Regex),
}

impl Pipeline {
    /// Calls `log` with a line for each step that runs: the sizes of its input and its result.
    pub fn with_log(self, log: impl Fn(&str) + 'static) -> Self {
        Self { log: Some(Box::new(log)), ..self }
    }
}

impl Strategy for Pipeline {
    /// Runs the steps and drops empty groups. Groups past `max_layers` are merged into the last one.
    fn groups(&self, graph: &Graph, nodes: &[usize], max_layers: usize) -> Vec<Vec<usize>> {
        let mut nodes = nodes.to_vec();
        nodes.sort_by_key(|&at| (graph.nodes()[at].nar_size, at));
        let run = Run { graph, log: self.log.as_deref() };
        let groups = flatten(run.steps(&self.steps, Value::Graph(nodes)));
        let count = groups.len();
        let groups = limit(groups, max_layers);
        if let Some(log) = &self.log
            && groups.len() < count
        {
            log(&format!("maxLayers: {count} graphs → {}", groups.len()));
        }
        groups
    }
}

impl PathSpec {
    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Path(selected) => selected == path,
            Self::Regex(regex) => regex.find(path).is_some_and(|found| found.start() == 0),
        }
    }
}

/// A run of steps on a closure.
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
            (Operation::Subcomponent(direction, specs), Value::Graph(nodes)) => {
                let inside = self.members(&nodes);
                let from = nodes.iter().copied().filter(|&at| self.is_one_of(specs, at)).collect();
                let main = self.reach(from, *direction, |at| inside[at]);
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
            // `parse` checked that each step takes the result of the step before it.
            (operation, value) => unreachable!("{operation:?} of {value:?}"),
        }
    }

    /// Splits into the nodes that only the selected paths need, the nodes that other paths need too, and all other nodes.
    fn split(&self, specs: &[PathSpec], nodes: Vec<usize>) -> Value {
        let inside = self.members(&nodes);
        let split: Vec<usize> = nodes.iter().copied().filter(|&at| self.is_one_of(specs, at)).collect();
        let is_split = self.members(&split);
        let below = self.reach(split, Direction::Out, |at| inside[at]);
        let others = nodes.iter().copied().filter(|&at| !below[at]).collect();
        let needed_otherwise = self.reach(others, Direction::Out, |at| inside[at] && !is_split[at]);
        let (below, rest): (Vec<usize>, Vec<usize>) = nodes.into_iter().partition(|&at| below[at]);
        let (common, main) = below.into_iter().partition(|&at| needed_otherwise[at]);
        parts([("main", main), ("common", common), ("rest", rest)])
    }

    /// Returns the nodes that are reachable from `from` through nodes for which `is_inside` is true.
    fn reach(&self, from: Vec<usize>, direction: Direction, is_inside: impl Fn(usize) -> bool) -> Vec<bool> {
        let mut reached = self.members(&from);
        let mut queue = from;
        let referrers = match direction {
            Direction::In => self.graph.referrers(),
            Direction::Out => Vec::new(),
        };
        while let Some(at) = queue.pop() {
            let next = match direction {
                Direction::In => &referrers[at],
                Direction::Out => &self.graph.nodes()[at].references,
            };
            for &to in next {
                if is_inside(to) && !std::mem::replace(&mut reached[to], true) {
                    queue.push(to);
                }
            }
        }
        reached
    }

    /// Returns the nodes by popularity, computed in the closure of these nodes only.
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

/// Returns every nonempty graph of a value, in order.
fn flatten(value: Value) -> Vec<Vec<usize>> {
    match value {
        Value::Graph(nodes) if nodes.is_empty() => Vec::new(),
        Value::Graph(nodes) => vec![nodes],
        Value::List(values) => values.into_iter().flat_map(flatten).collect(),
        Value::Parts(parts) => parts.into_iter().flat_map(|(_, value)| flatten(value)).collect(),
    }
}

/// Returns at most `count` groups. The last one has the nodes of all further groups.
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

    /// a and b are roots. The tests split off p; only p needs q, and both p and b need c.
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
    fn every_step_makes_its_layers() {
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
    fn steps_without_matching_paths_change_nothing() {
        assert_eq!(layers(json!([["remove_paths", ["x"]]])), "abcdfpq");
        assert_eq!(layers(json!([["split_paths", []]])), "abcdfpq");
        assert_eq!(layers(json!([["remove_paths", { "regex": "x" }]])), "abcdfpq");
        assert_eq!(layers(json!([["remove_paths", { "regex": "" }], ["popularity_contest"]])), "");
    }

    #[test]
    fn groups_past_the_limit_share_the_last_layer() {
        let pipeline = Pipeline::parse(&json!([["popularity_contest"]])).unwrap();
        assert_eq!(names(TEXT, &pipeline, 3), "f c qpdba");
    }

    #[test]
    fn each_step_logs_its_result() {
        let lines = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let log = std::rc::Rc::clone(&lines);
        let steps = json!([["split_every", 4], ["map", ["popularity_contest"]]]);
        let pipeline = Pipeline::parse(&steps).unwrap().with_log(move |line| log.borrow_mut().push(line.to_owned()));
        names(TEXT, &pipeline, 3);
        assert_eq!(
            lines.borrow().as_slice(),
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
