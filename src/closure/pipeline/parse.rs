//! Pipelines read and checked: each step against what the one before it gives.

use std::fmt;

use regex::Regex;
use serde_json::Value as Json;

use super::{Operation, PathSpec, Pipeline, Step, Way};

/// Every step as it is written.
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

/// Why a pipeline was refused: which of its steps, and what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("layeringPipeline{at}: {problem}")]
pub struct PipelineError {
    at: String,
    problem: Problem,
}

/// What is wrong with a step.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Something that is no step where one must be.
    #[error("a step is a list, [ \"name\" arguments… ], not {0}")]
    NoStep(Json),
    /// A list of something else where steps must be.
    #[error("pipe takes a list of steps, not {0}")]
    NoSteps(Json),
    /// A name that no step has.
    #[error("unknown step {0:?}; the steps are {names}", names = STEPS.map(|(name, _)| name).join(", "))]
    Unknown(String),
    /// Arguments that the step does not take.
    #[error("write it as {0}")]
    Arguments(&'static str),
    /// A malformed regular expression.
    #[error("{0}")]
    Regex(#[from] regex::Error),
    /// A step after one that gives something else.
    #[error("{step} takes {takes}, not {given}")]
    Takes {
        /// The step's name.
        step: String,
        /// What it works on.
        takes: &'static str,
        /// What comes in.
        given: Kind,
    },
    /// A part that the steps before did not make.
    #[error("unknown part {name:?}; the parts are {}", names.join(", "))]
    NoPart {
        /// What was asked for.
        name: String,
        /// What there is.
        names: Vec<String>,
    },
}

/// What a step takes or gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Store paths and their references.
    Graph,
    /// Any number of one kind.
    List(Box<Kind>),
    /// Values by name.
    Parts(Vec<(String, Kind)>),
}

impl fmt::Display for Kind {
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
    /// Reads a list of steps.
    ///
    /// # Errors
    ///
    /// [`PipelineError`] when a step is malformed, or cannot take the result of the step before it.
    pub fn parse(steps: &Json) -> Result<Self, PipelineError> {
        let (steps, _) = parse_steps(steps, Kind::Graph, "")?;
        Ok(Self { steps, log: None })
    }
}

/// Steps that stand at `at`, the first of which works on `kind`, and what the last one gives.
fn parse_steps(steps: &Json, kind: Kind, at: &str) -> Result<(Vec<Step>, Kind), PipelineError> {
    let wrong = || PipelineError { at: at.to_owned(), problem: Problem::NoSteps(steps.clone()) };
    let mut kind = kind;
    let mut parsed = Vec::new();
    for (number, step) in steps.as_array().ok_or_else(wrong)?.iter().enumerate() {
        let (step, gives) = parse_step(step, kind, &format!("{at}[{number}]"))?;
        parsed.push(step);
        kind = gives;
    }
    Ok((parsed, kind))
}

fn parse_step(step: &Json, kind: Kind, at: &str) -> Result<(Step, Kind), PipelineError> {
    let (written, arguments) = Written::read(step, kind, at)?;
    let inner = format!("{at}.{}", written.name);
    let (operation, gives) = match (written.name, arguments) {
        ("popularity_contest", []) => (Operation::PopularityContest, written.of_graph(graphs())?),
        ("split_every", [count]) => (Operation::SplitEvery(written.count(count)?), written.of_graph(graphs())?),
        ("remove_paths", [paths]) => (Operation::RemovePaths(written.paths(paths)?), written.of_graph(Kind::Graph)?),
        ("split_paths", [paths]) => {
            (Operation::SplitPaths(written.paths(paths)?), written.of_graph(parts(&["main", "common", "rest"]))?)
        }
        ("subcomponent_in" | "subcomponent_out", [paths]) => {
            let way = if written.name == "subcomponent_in" { Way::In } else { Way::Out };
            (Operation::Subcomponent(way, written.paths(paths)?), written.of_graph(parts(&["main", "rest"]))?)
        }
        ("limit_layers", [count]) => (Operation::LimitLayers(written.count(count)?), written.of_list(graphs())?),
        ("reverse", []) => (Operation::Reverse, written.of_list(written.kind.clone())?),
        ("flatten", []) => (Operation::Flatten, graphs()),
        ("map", [step]) => {
            let (step, gives) = parse_step(step, written.each()?, &inner)?;
            (Operation::Map(Box::new(step)), Kind::List(Box::new(gives)))
        }
        ("over", [Json::String(part), step]) => {
            let (mut parts, place) = written.part(part)?;
            let (step, gives) = parse_step(step, parts[place].1.clone(), &inner)?;
            parts[place].1 = gives;
            (Operation::Over(part.clone(), Box::new(step)), Kind::Parts(parts))
        }
        ("pipe", [steps]) => {
            let (steps, gives) = parse_steps(steps, written.kind.clone(), &inner)?;
            (Operation::Pipe(steps), gives)
        }
        _ => return Err(written.misused()),
    };
    Ok((Step { at: at.to_owned(), name: written.name.to_owned(), operation }, gives))
}

/// A step as it is written, and what it is given.
struct Written<'a> {
    name: &'a str,
    usage: &'static str,
    at: &'a str,
    kind: Kind,
}

impl<'a> Written<'a> {
    /// The step, and its arguments.
    fn read(step: &'a Json, kind: Kind, at: &'a str) -> Result<(Self, &'a [Json]), PipelineError> {
        let wrong = |problem: Problem| PipelineError { at: at.to_owned(), problem };
        let Some([Json::String(name), arguments @ ..]) = step.as_array().map(Vec::as_slice) else {
            return Err(wrong(Problem::NoStep(step.clone())));
        };
        let known = STEPS.iter().find(|(known, _)| known == name);
        let (_, usage) = *known.ok_or_else(|| wrong(Problem::Unknown(name.clone())))?;
        Ok((Self { name, usage, at, kind }, arguments))
    }

    fn wrong(&self, problem: Problem) -> PipelineError {
        PipelineError { at: self.at.to_owned(), problem }
    }

    fn misused(&self) -> PipelineError {
        self.wrong(Problem::Arguments(self.usage))
    }

    fn takes(&self, takes: &'static str) -> PipelineError {
        self.wrong(Problem::Takes { step: self.name.to_owned(), takes, given: self.kind.clone() })
    }

    fn count(&self, value: &Json) -> Result<usize, PipelineError> {
        number(value).ok_or_else(|| self.misused())
    }

    fn paths(&self, value: &Json) -> Result<Vec<PathSpec>, PipelineError> {
        path_specs(value, self.usage).map_err(|problem| self.wrong(problem))
    }

    /// What a step on a graph gives.
    fn of_graph(&self, gives: Kind) -> Result<Kind, PipelineError> {
        if self.kind == Kind::Graph { Ok(gives) } else { Err(self.takes("a graph")) }
    }

    /// What a step on a list gives.
    fn of_list(&self, gives: Kind) -> Result<Kind, PipelineError> {
        self.each().map(|_| gives)
    }

    /// What the list that is given has.
    fn each(&self) -> Result<Kind, PipelineError> {
        match &self.kind {
            Kind::List(each) => Ok(Kind::clone(each)),
            _ => Err(self.takes("a list")),
        }
    }

    /// The parts that are given, and the place of this one.
    fn part(&self, name: &str) -> Result<(Vec<(String, Kind)>, usize), PipelineError> {
        let Kind::Parts(parts) = &self.kind else { return Err(self.takes("parts")) };
        let names = || parts.iter().map(|(name, _)| name.clone()).collect();
        let place = parts.iter().position(|(part, _)| part == name);
        let place = place.ok_or_else(|| self.wrong(Problem::NoPart { name: name.to_owned(), names: names() }))?;
        Ok((parts.clone(), place))
    }
}

fn graphs() -> Kind {
    Kind::List(Box::new(Kind::Graph))
}

fn parts(names: &[&str]) -> Kind {
    Kind::Parts(names.iter().map(|&name| (name.to_owned(), Kind::Graph)).collect())
}

fn number(value: &Json) -> Option<usize> {
    value.as_u64().and_then(|number| usize::try_from(number).ok()).filter(|&number| number > 0)
}

/// One path or a list of them.
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
