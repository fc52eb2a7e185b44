//! `strata plan GRAPH`: compares strategies on a closure, without building anything.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use crate::terminal;
use crate::{
    builder::strategy,
    closure::{Graph, RawNode, StoreDir, Strategy, Weights},
    image::Recipe,
    report::{
        bytes,
        forecast::{Paths, PlanForecast},
        plan,
    },
};
use anyhow::{Context, Result, bail};

/// The names of all strategies.
const ALL: [&str; 3] = ["popularity", "auto", "transfer"];

#[derive(Debug, clap::Args)]
pub struct PlanArguments {
    /// An image.json, or a closure from exportReferencesGraph or `nix path-info --json --recursive`.
    graph: PathBuf,
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
    history: Vec<PathBuf>,
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
}

pub fn run(arguments: &PlanArguments) -> Result<ExitCode> {
    let graph = open(&arguments.graph)?;
    let weights = weights(arguments, &graph)?;
    let mut out = terminal::stdout();
    if arguments.print_weights {
        serde_json::to_writer_pretty(out.exact(), &weights).map_err(io::Error::from)?;
        writeln!(out)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut names: Vec<&str> = arguments.strategy.iter().map(String::as_str).collect();
    if names.is_empty() {
        names.extend(ALL);
    }
    let strategies = names.into_iter().map(|name| {
        // Only one of them looks at weights; what they cost is compared with all.
        let own = if name == "transfer" { weights.clone() } else { Weights::default() };
        Ok((name.to_owned(), strategy::parse_strategy(name, &own, false)?))
    });
    let strategies: Vec<(String, Box<dyn Strategy>)> = strategies.collect::<Result<_>>()?;
    let paths = arguments.chunked.then(|| Paths::of(&graph, &weights)).transpose()?;
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
        if arguments.chunked { "   in parts    rebuilt" } else { "" }
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
    // Others are lists of steps, which the user wrote.
    let best = planned.iter().filter(|plan| ALL.contains(&plan.strategy.as_str()));
    if let Some(best) = best.min_by(|one, two| one.expected.total_cmp(&two.expected)) {
        writeln!(out, "\nthe cheapest, for buildImage and makeContainerImage:\n")?;
        writeln!(out, "  layering = \"{}\";\n  maxLayers = {max_layers};", best.strategy)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn weights(arguments: &PlanArguments, graph: &Graph) -> Result<Weights> {
    if let Some(path) = &arguments.weights {
        let text = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        return serde_json::from_slice(&text).with_context(|| format!("{} contains no weights", path.display()));
    }
    if arguments.history.is_empty() {
        return Ok(Weights::default());
    }
    let mut history = arguments.history.iter().map(|path| open(path)).collect::<Result<Vec<_>>>()?;
    history.push(graph.clone());
    Ok(plan::learn(&history))
}

/// A closure, from an image.json or as Nix gives it: a list, or an object by path (newer versions of Nix).
fn open(path: &Path) -> Result<Graph> {
    let reading = || format!("reading {}", path.display());
    let text = fs::read(path).with_context(reading)?;
    let value: serde_json::Value = serde_json::from_slice(&text).with_context(reading)?;
    let list = match value {
        serde_json::Value::Object(object) if object.contains_key("layers") => {
            let closure = Recipe::open(path)?.closure;
            let closure =
                closure.with_context(|| format!("{} does not say what its store paths reference", path.display()))?;
            return Ok(Graph::clone(&closure));
        }
        serde_json::Value::Object(object) => {
            let with_path = |(path, mut info): (String, serde_json::Value)| {
                info["path"] = path.into();
                info
            };
            object.into_iter().filter(|(_, info)| info.is_object()).map(with_path).collect()
        }
        list @ serde_json::Value::Array(_) => list,
        _ => bail!("{} is neither an image.json nor a closure", path.display()),
    };
    let nodes: Vec<RawNode> = serde_json::from_value(list).with_context(reading)?;
    let store = nodes.first().and_then(RawNode::store).map(StoreDir::new).unwrap_or_default();
    Ok(Graph::new(&store, nodes)?)
}
