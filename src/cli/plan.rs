//! `strata plan GRAPH`: compares strategies on a closure, without building anything.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::{path_info, source::ImageArguments};
use crate::terminal;
use crate::{
    budget::{self, Budget},
    builder::strategy,
    closure::{Graph, RawNode, StoreDir, Strategy, Weights},
    files,
    image::{Image, Opened, recipe::RecipeFile},
    report::{
        bytes,
        forecast::{Paths, PlanForecast},
        plan,
    },
    transport::{Location, installable::BuiltPath},
};
use anyhow::{Context, Error, Result, ensure};
use serde_json::Value;

/// The names of all strategies.
const ALL: [&str; 3] = ["popularity", "auto", "transfer"];
/// The number of bytes at the start of a file in which JSON has its first bracket.
const START: u64 = 512;

#[derive(Debug, clap::Args)]
pub struct PlanArguments {
    /// Any source of `copy` that records its closure, as an image.json does, or a closure from exportReferencesGraph or
    /// `nix path-info --json --recursive`.
    #[arg(value_name = "IMAGE|CLOSURE")]
    graph: Location,
    /// Maximum number of layers.
    #[arg(long, value_name = "N", default_value_t = 65)]
    max_layers: usize,
    /// popularity, auto, transfer, or a JSON file with a layeringPipeline; may be repeated [default: all three].
    #[arg(long, value_name = "NAME")]
    strategy: Vec<String>,
    /// JSON file saying how often paths change: { "roots": 10, "names": { "python3*": 3 } }.
    #[arg(long, value_name = "FILE", conflicts_with = "history")]
    weights: Option<PathBuf>,
    /// Older image or closure, to learn how often paths change; may be repeated, oldest first.
    #[arg(long, value_name = "OLD")]
    history: Vec<Location>,
    /// Print the learned weights, for `weights` of the Nix functions, instead of a plan.
    #[arg(long, requires = "history")]
    print_weights: bool,
    /// Also simulate this many updates.
    #[arg(long, value_name = "UPDATES", default_value_t = 0)]
    simulate: usize,
    /// Also show what podman, buildah and CRI-O fetch of zstd:chunked layers after an update, and after one that rebuilds
    /// everything. All store paths are read and compressed for it.
    #[arg(long)]
    chunked: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: ImageArguments,
}

pub fn run(arguments: &PlanArguments) -> Result<ExitCode> {
    let graph = open(arguments, &arguments.graph)?;
    let weights = weights(arguments, &graph)?;
    let mut out = terminal::stdout();
    if arguments.print_weights {
        serde_json::to_writer_pretty(out.exact(), &weights).map_err(io::Error::from)?;
        writeln!(out)?;
        return Ok(ExitCode::SUCCESS);
    }
    let strategies = strategies(arguments, &weights)?;
    let paths = arguments.chunked.then(|| Paths::new(&graph, &weights)).transpose()?;
    let max_layers = arguments.max_layers.max(1);
    let planned = plan::compare(&graph, &strategies, max_layers, &weights, arguments.simulate, paths.as_ref());
    let floor = plan::floor(&graph, &weights);
    let size: u64 = graph.nodes().iter().map(|node| node.nar_size).sum();
    if arguments.json {
        let all =
            serde_json::json!({ "paths": graph.nodes().len(), "size": size, "floor": floor, "strategies": planned });
        writeln!(out.exact(), "{all:#}")?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "{} store paths, {}; the floor is {}", graph.nodes().len(), bytes(size), bytes(floor as u64))?;
    writeln!(
        out,
        "strategy    layers   expected    chained{}{}",
        if arguments.simulate > 0 { "  simulated (chained)" } else { "" },
        if arguments.chunked { "   partial    rebuilt" } else { "" }
    )?;
    for plan in &planned {
        let (expected, chained) = (bytes(plan.expected as u64), bytes(plan.chained as u64));
        write!(out, "{:<10}  {:>6}  {expected:>9}  {chained:>9}", plan.strategy, plan.layers)?;
        if let Some((alone, chain)) = plan.simulated {
            let simulated = format!("{:>9} ({})", bytes(alone as u64), bytes(chain as u64));
            write!(out, "  {simulated:<19}")?;
        }
        if let Some(PlanForecast { expected, rebuild }) = plan.chunked {
            write!(out, "  {:>9}  {:>9}", bytes(expected as u64), bytes(rebuild))?;
        }
        writeln!(out)?;
    }
    writeln!(
        out,
        "\nexpected: what an update sends on average to a registry; chained: to docker; floor: the least possible"
    )?;
    // Other strategies are lists of steps that the user wrote.
    let best = planned.iter().filter(|plan| ALL.contains(&plan.strategy.as_str()));
    if let Some(best) = best.min_by(|one, two| one.expected.total_cmp(&two.expected)) {
        writeln!(out, "\nthe cheapest, for buildImage and makeContainerImage:\n")?;
        writeln!(out, "  layering = \"{}\";\n  maxLayers = {max_layers};", best.strategy)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the strategies to compare, by name.
fn strategies(arguments: &PlanArguments, weights: &Weights) -> Result<Vec<(String, Box<dyn Strategy>)>> {
    let mut names: Vec<&str> = arguments.strategy.iter().map(String::as_str).collect();
    if names.is_empty() {
        names.extend(ALL);
    }
    let strategies = names.into_iter().map(|name| {
        // Only `transfer` uses weights, but the results of all strategies are compared with them.
        let strategy_weights = if name == "transfer" { weights.clone() } else { Weights::default() };
        Ok((name.to_owned(), strategy::parse_strategy(name, &strategy_weights, false)?))
    });
    strategies.collect()
}

fn weights(arguments: &PlanArguments, graph: &Graph) -> Result<Weights> {
    if let Some(path) = &arguments.weights {
        let text = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        return serde_json::from_slice(&text).with_context(|| format!("{} contains no weights", path.display()));
    }
    if arguments.history.is_empty() {
        return Ok(Weights::default());
    }
    let mut history = arguments.history.iter().map(|location| open(arguments, location)).collect::<Result<Vec<_>>>()?;
    history.push(graph.clone());
    Ok(plan::learn(&history))
}

/// Returns the closure of an image, or a closure that Nix printed.
fn open(arguments: &PlanArguments, location: &Location) -> Result<Graph> {
    let mut image = location.clone();
    if location.transport().is_none() {
        // The result of building a flake reference is a path.
        let path = BuiltPath::parse(location.to_string().into()).map_err(Error::msg)?.get()?;
        let is_stream = path.as_os_str() == "-" || files::is_stream(&path);
        let text = read_json(&path, is_stream).with_context(|| format!("reading {}", path.display()))?;
        if let Some(list) = text.as_deref().map(|text| read_path_info(&path, text)).transpose()?.flatten() {
            return graph(list).with_context(|| format!("reading {location}"));
        }
        if is_stream {
            return read_stream(arguments, location, &text.unwrap_or_default());
        }
        image = path.to_string_lossy().parse().map_err(Error::msg)?;
    }
    closure(location, &arguments.source.image(&image)?)
}

/// Returns the closure of a recipe from a pipe or a device, which cannot be read again.
fn read_stream(arguments: &PlanArguments, location: &Location, text: &[u8]) -> Result<Graph> {
    ensure!(!text.is_empty(), "{location} is neither a recipe (image.json) nor a closure");
    arguments.source.source.options(&[location])?;
    let opened = Opened::from(RecipeFile::read(text, Path::new(&location.to_string()))?);
    closure(location, &opened.image(arguments.source.platform.as_ref())?)
}

fn closure(location: &Location, image: &Image) -> Result<Graph> {
    let closure = image.closure.as_deref();
    closure.cloned().with_context(|| format!("{location} does not record what its store paths reference"))
}

fn graph(list: Value) -> Result<Graph> {
    let nodes: Vec<RawNode> = serde_json::from_value(list)?;
    let store = nodes.first().and_then(RawNode::store).map(StoreDir::new).unwrap_or_default();
    Ok(Graph::new(&store, nodes)?)
}

/// Returns the text of a file or a stream if it begins like JSON, unlike images in archives and directories.
fn read_json(path: &Path, is_stream: bool) -> io::Result<Option<Vec<u8>>> {
    let mut file: Box<dyn Read> = match is_stream {
        true if path.as_os_str() == "-" => Box::new(io::stdin().lock()),
        true => Box::new(File::open(path)?),
        false => match files::open_plain(path) {
            Ok(file) => Box::new(file),
            Err(_) => return Ok(None),
        },
    };
    let mut start = Vec::new();
    (&mut file).take(START).read_to_end(&mut start)?;
    match start.trim_ascii_start().first() {
        Some(b'[' | b'{') => Budget::new(&budget::RECIPE).read(io::Cursor::new(start).chain(file)).map(Some),
        _ => Ok(None),
    }
}

/// Returns the entries of the closure in a text, or `None` if it is a recipe.
fn read_path_info(path: &Path, text: &[u8]) -> Result<Option<Value>> {
    let value: Value = serde_json::from_slice(text).with_context(|| format!("reading {}", path.display()))?;
    let is_recipe = value.get("version").is_some() && (value.get("layers").is_some() || value.get("images").is_some());
    if is_recipe {
        return Ok(None);
    }
    path_info::entries(value).map(Some).with_context(|| format!("{} is neither an image nor a closure", path.display()))
}
