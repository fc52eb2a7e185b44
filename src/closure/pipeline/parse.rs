//! Parses pipelines, and checks that each step takes the result of the step before it.

use std::fmt;

use regex::Regex;
use serde_json::Value as Json;

use super::{Direction, Operation, PathSpec, Pipeline, Step};

/// The steps, each with its syntax for error messages.
const STEPS: [(&str, &str); 12] = [
    ("flatten", "[ \"flatten\" ], without arguments"),
    ("limit_layers", "[ \"limit_layers\" n ], n being 1 or more"),
    ("map", "[ \"map\" step ]"),
    ("over", "[ \"over\" \"part\" step ]"),
    ("pipe", "[ \"pipe\" [ step… ] ]"),
    ("popularity_contest", "[ \"popularity_contest\" ], without arguments"),
    ("remove_paths", "[ \"remove_paths\" paths ], store paths or { regex = \"…\"; }"),
    ("reverse", "[ \"reverse\" ], without arguments"),
    ("split_every", "[ \"split_every\" n ], n being 1 or more"),
    ("split_paths", "[ \"split_paths\" paths ], store paths or { regex = \"…\"; }"),
    ("subcomponent_in", "[ \"subcomponent_in\" paths ], store paths or { regex = \"…\"; }"),
    ("subcomponent_out", "[ \"subcomponent_out\" paths ], store paths or { regex = \"…\"; }"),
];

/// The reason that a pipeline is refused: the position of a step, and its problem.
#[derive(Debug, thiserror::Error)]
#[error("layeringPipeline{at}: {problem}")]
pub struct PipelineError {
    at: String,
    problem: Problem,
}

/// The problem of a step.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The value is not a step.
    #[error("a step is a list, [ \"name\" arguments… ], not {0}")]
    NoStep(Json),
    /// The argument of `pipe` is not a list of steps.
    #[error("pipe takes a list of steps, not {0}")]
    NoSteps(Json),
    /// No step has this name.
    #[error("unknown step {0:?}; the steps are {names}", names = STEPS.map(|(name, _)| name).join(", "))]
    Unknown(String),
    /// The step does not take these arguments.
    #[error("write it as {0}")]
    Arguments(&'static str),
    /// A regular expression is malformed.
    #[error("{0}")]
    Regex(#[from] regex::Error),
    /// The step before has a result of another kind.
    #[error("{step} takes {takes}, not {input}")]
    Takes {
        /// The name of the step.
        step: String,
        /// The kind that the step takes.
        takes: &'static str,
        /// The kind of its input.
        input: ValueKind,
    },
    /// The input has no part of this name.
    #[error("unknown part {name:?}; the parts are {}", names.join(", "))]
    NoPart {
        /// The unknown name.
        name: String,
        /// The parts of the input.
        names: Vec<String>,
    },
}

/// The kind of the input or the result of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// Store paths and their references.
    Graph,
    /// A list of values of one kind.
    List(Box<ValueKind>),
    /// Named values.
    Parts(Vec<(String, ValueKind)>),
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Graph => f.write_str("a graph"),
            Self::List(_) => f.write_str("a list; put [ \"map\" … ] around it"),
            Self::Parts(parts) => {
                let names: Vec<&str> = parts.iter().map(|(name, _)| name.as_str()).collect();
                write!(f, "parts ({}); put [ \"over\" \"{}\" … ] around it", names.join(", "), names[0])
            }
        }
    }
}

impl Pipeline {
    /// Parses a list of steps.
    ///
    /// # Errors
    ///
    /// If a step is malformed, or cannot take the result of the step before it.
    pub fn parse(steps: &Json) -> Result<Self, PipelineError> {
        let (steps, _) = parse_steps(steps, ValueKind::Graph, "")?;
        Ok(Self { steps, log: None })
    }
}

/// Parses the list of steps at position `at`, whose input is of kind `kind`. Returns the steps and the kind of their result.
fn parse_steps(steps: &Json, kind: ValueKind, at: &str) -> Result<(Vec<Step>, ValueKind), PipelineError> {
    let not_a_list = || PipelineError { at: at.to_owned(), problem: Problem::NoSteps(steps.clone()) };
    let mut kind = kind;
    let mut parsed = Vec::new();
    for (number, step) in steps.as_array().ok_or_else(not_a_list)?.iter().enumerate() {
        let (step, result) = parse_step(step, kind, &format!("{at}[{number}]"))?;
        parsed.push(step);
        kind = result;
    }
    Ok((parsed, kind))
}

fn parse_step(step: &Json, kind: ValueKind, at: &str) -> Result<(Step, ValueKind), PipelineError> {
    let (syntax, arguments) = StepSyntax::parse(step, kind, at)?;
    let inner = format!("{at}.{}", syntax.name);
    let (operation, result) = match (syntax.name, arguments) {
        ("popularity_contest", []) => (Operation::PopularityContest, syntax.graph_step(graphs())?),
        ("split_every", [count]) => (Operation::SplitEvery(syntax.count(count)?), syntax.graph_step(graphs())?),
        ("remove_paths", [paths]) => {
            (Operation::RemovePaths(syntax.paths(paths)?), syntax.graph_step(ValueKind::Graph)?)
        }
        ("split_paths", [paths]) => {
            (Operation::SplitPaths(syntax.paths(paths)?), syntax.graph_step(parts(&["main", "common", "rest"]))?)
        }
        ("subcomponent_in" | "subcomponent_out", [paths]) => {
            let direction = if syntax.name == "subcomponent_in" { Direction::In } else { Direction::Out };
            (Operation::Subcomponent(direction, syntax.paths(paths)?), syntax.graph_step(parts(&["main", "rest"]))?)
        }
        ("limit_layers", [count]) => (Operation::LimitLayers(syntax.count(count)?), syntax.list_step(graphs())?),
        ("reverse", []) => (Operation::Reverse, syntax.list_step(syntax.kind.clone())?),
        ("flatten", []) => (Operation::Flatten, graphs()),
        ("map", [step]) => {
            let (step, result) = parse_step(step, syntax.list_item()?, &inner)?;
            (Operation::Map(Box::new(step)), ValueKind::List(Box::new(result)))
        }
        ("over", [Json::String(part), step]) => {
            let (mut parts, index) = syntax.part(part)?;
            let (step, result) = parse_step(step, parts[index].1.clone(), &inner)?;
            parts[index].1 = result;
            (Operation::Over(part.clone(), Box::new(step)), ValueKind::Parts(parts))
        }
        ("pipe", [steps]) => {
            let (steps, result) = parse_steps(steps, syntax.kind.clone(), &inner)?;
            (Operation::Pipe(steps), result)
        }
        _ => return Err(syntax.wrong_arguments()),
    };
    Ok((Step { at: at.to_owned(), name: syntax.name.to_owned(), operation }, result))
}

/// The name of a step, its position, and the kind of its input.
struct StepSyntax<'a> {
    name: &'a str,
    usage: &'static str,
    at: &'a str,
    kind: ValueKind,
}

impl<'a> StepSyntax<'a> {
    /// Splits the JSON of a step into its name and its arguments.
    fn parse(step: &'a Json, kind: ValueKind, at: &'a str) -> Result<(Self, &'a [Json]), PipelineError> {
        let error = |problem: Problem| PipelineError { at: at.to_owned(), problem };
        let Some([Json::String(name), arguments @ ..]) = step.as_array().map(Vec::as_slice) else {
            return Err(error(Problem::NoStep(step.clone())));
        };
        let step = STEPS.iter().find(|(step, _)| step == name);
        let (_, usage) = *step.ok_or_else(|| error(Problem::Unknown(name.clone())))?;
        Ok((Self { name, usage, at, kind }, arguments))
    }

    fn error(&self, problem: Problem) -> PipelineError {
        PipelineError { at: self.at.to_owned(), problem }
    }

    fn wrong_arguments(&self) -> PipelineError {
        self.error(Problem::Arguments(self.usage))
    }

    fn wrong_kind(&self, takes: &'static str) -> PipelineError {
        self.error(Problem::Takes { step: self.name.to_owned(), takes, input: self.kind.clone() })
    }

    fn count(&self, value: &Json) -> Result<usize, PipelineError> {
        number(value).ok_or_else(|| self.wrong_arguments())
    }

    fn paths(&self, value: &Json) -> Result<Vec<PathSpec>, PipelineError> {
        path_specs(value, self.usage).map_err(|problem| self.error(problem))
    }

    /// Returns `result` if the input is a graph.
    fn graph_step(&self, result: ValueKind) -> Result<ValueKind, PipelineError> {
        if self.kind == ValueKind::Graph { Ok(result) } else { Err(self.wrong_kind("a graph")) }
    }

    /// Returns `result` if the input is a list.
    fn list_step(&self, result: ValueKind) -> Result<ValueKind, PipelineError> {
        self.list_item().map(|_| result)
    }

    /// Returns the kind of the items of the input, which must be a list.
    fn list_item(&self) -> Result<ValueKind, PipelineError> {
        match &self.kind {
            ValueKind::List(item) => Ok(ValueKind::clone(item)),
            _ => Err(self.wrong_kind("a list")),
        }
    }

    /// Returns the parts of the input, and the index of the part `name`.
    fn part(&self, name: &str) -> Result<(Vec<(String, ValueKind)>, usize), PipelineError> {
        let ValueKind::Parts(parts) = &self.kind else { return Err(self.wrong_kind("parts")) };
        let names = || parts.iter().map(|(name, _)| name.clone()).collect();
        let index = parts.iter().position(|(part, _)| part == name);
        let index = index.ok_or_else(|| self.error(Problem::NoPart { name: name.to_owned(), names: names() }))?;
        Ok((parts.clone(), index))
    }
}

fn graphs() -> ValueKind {
    ValueKind::List(Box::new(ValueKind::Graph))
}

fn parts(names: &[&str]) -> ValueKind {
    ValueKind::Parts(names.iter().map(|&name| (name.to_owned(), ValueKind::Graph)).collect())
}

fn number(value: &Json) -> Option<usize> {
    value.as_u64().and_then(|number| usize::try_from(number).ok()).filter(|&number| number > 0)
}

/// Parses one path specification or a list of them.
fn path_specs(value: &Json, usage: &'static str) -> Result<Vec<PathSpec>, Problem> {
    let one = |value: &Json| match value {
        Json::String(path) => Ok(PathSpec::Path(path.clone())),
        Json::Object(object) if object.len() == 1 => match object.get("regex") {
            Some(Json::String(regex)) => Ok(PathSpec::Regex(Regex::new(regex)?)),
            _ => Err(Problem::Arguments(usage)),
        },
        _ => Err(Problem::Arguments(usage)),
    };
    match value {
        Json::Array(values) => values.iter().map(one).collect(),
        value => one(value).map(|spec| vec![spec]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_name_the_step() {
        for (steps, expected) in [
            (json!("x"), "layeringPipeline: pipe takes a list of steps, not \"x\""),
            (json!([1]), "layeringPipeline[0]: a step is a list, [ \"name\" arguments… ], not 1"),
            (json!(["reverse"]), "layeringPipeline[0]: a step is a list, [ \"name\" arguments… ], not \"reverse\""),
            (
                json!([["popular"]]),
                "layeringPipeline[0]: unknown step \"popular\"; the steps are flatten, limit_layers,",
            ),
            (json!([["split_every", 0]]), "layeringPipeline[0]: write it as [ \"split_every\" n ], n being 1 or more"),
            (json!([["flatten", 1]]), "layeringPipeline[0]: write it as [ \"flatten\" ], without arguments"),
            (json!([["remove_paths", { "regex": "(" }]]), "layeringPipeline[0]: regex parse error"),
            (json!([["remove_paths", { "regex": "x)|(?:y" }]]), "layeringPipeline[0]: regex parse error"),
            (json!([["remove_paths", 7]]), "layeringPipeline[0]: write it as [ \"remove_paths\" paths ], store"),
            (json!([["limit_layers", 2]]), "layeringPipeline[0]: limit_layers takes a list, not a graph"),
            (
                json!([["popularity_contest"], ["split_every", 2]]),
                "layeringPipeline[1]: split_every takes a graph, not a list; put [ \"map\" … ] around it",
            ),
            (
                json!([["split_paths", ["a"]], ["popularity_contest"]]),
                "layeringPipeline[1]: popularity_contest takes a graph, not parts (main, common, rest); put [ \
                 \"over\" \"main\" … ] around it",
            ),
            (
                json!([["subcomponent_in", []], ["over", "common", ["flatten"]]]),
                "layeringPipeline[1]: unknown part \"common\"; the parts are main, rest",
            ),
            (
                json!([["pipe", [["popularity_contest"], ["map", ["pipe", [["reverse"]]]]]]]),
                "layeringPipeline[0].pipe[1].map.pipe[0]: reverse takes a list, not a graph",
            ),
        ] {
            let error = Pipeline::parse(&steps).err().unwrap().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
