//! `strata plan GRAPH`: compares strategies on a closure, without building anything.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::source::ImageArguments;
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
    path_info(value).map(Some).with_context(|| format!("{} is neither an image nor a closure", path.display()))
}

/// Converts the entries of `nix path-info --json` to those of `exportReferencesGraph`:
///
/// ```text
/// Nix 2.8     [ { "path": "/nix/store/…-x", "references": [ "/nix/store/…-y" ], … } ]
/// Nix 2.19    { "/nix/store/…-x": { "references": [ "/nix/store/…-y" ], … }, "/nix/store/…-invalid": null }
/// Nix 2.33    { "version": 2 or 3, "storeDir": "/nix/store", "info": { "…-x": { "references": [ "…-y" ], … } } }
/// ```
///
/// The last one is that of `--json-format 2` and `3`, which differ in their signatures. Hashes are SRI strings or
/// objects there.
fn path_info(value: Value) -> Option<Value> {
    let mut object = match value {
        Value::Object(object) => object,
        list @ Value::Array(_) => return Some(list),
        _ => return None,
    };
    let store = object.get("storeDir").and_then(Value::as_str).unwrap_or("/nix/store").to_owned();
    let entries = match object.remove("info") {
        Some(Value::Object(entries)) => entries,
        _ => object,
    };
    let whole = |path: &str| if path.starts_with('/') { path.to_owned() } else { format!("{store}/{path}") };
    let entry = |(path, info): (String, Value)| {
        let Value::Object(mut info) = info else { return None };
        let references = info.get("references").and_then(Value::as_array).into_iter().flatten();
        let references: Vec<String> = references.filter_map(Value::as_str).map(whole).collect();
        info.insert("references".to_owned(), references.into());
        info.insert("path".to_owned(), whole(&path).into());
        info.get("narHash").is_some_and(Value::is_object).then(|| info.remove("narHash"));
        Some(Value::Object(info))
    };
    Some(entries.into_iter().filter_map(entry).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn recorded_outputs_of_nix_are_one_closure() {
        // The output of `nix path-info --recursive --json [--json-format N]` of these releases, for one store path.
        let outputs = [
            include_str!("../../tests/golden/path-info/2.8.json"),
            include_str!("../../tests/golden/path-info/2.26.json"),
            include_str!("../../tests/golden/path-info/2.34-format-1.json"),
            include_str!("../../tests/golden/path-info/2.34-format-2.json"),
        ];
        let graphs = outputs.map(|output| {
            let nodes = path_info(serde_json::from_str(output).unwrap()).unwrap();
            let nodes: Vec<RawNode> = serde_json::from_value(nodes).unwrap();
            let graph = Graph::new(&StoreDir::default(), nodes).unwrap();
            let node = |node: &crate::closure::Node| (node.path.to_string(), node.nar_size, node.references.clone());
            graph.nodes().iter().map(node).collect::<Vec<_>>()
        });
        assert_eq!(graphs[0].len(), 3);
        assert!(graphs[0].iter().all(|(_, size, _)| *size > 0) && graphs[0].iter().any(|(.., to)| !to.is_empty()));
        assert!(graphs.iter().all(|graph| *graph == graphs[0]), "{graphs:?}");
    }

    #[test]
    fn every_format_of_path_info_is_read() {
        let (x, y) = ("/nix/store/0c6a1cv41yy9yz8svln6w09ks4wdjk4n-x", "/nix/store/1c6a1cv41yy9yz8svln6w09ks4wdjk4n-y");
        let (short_x, short_y) = (&x[11..], &y[11..]);
        let nested = |version: u32, hash: Value| {
            json!({ "version": version, "storeDir": "/nix/store", "info": {
                short_x: { "narSize": 2, "references": [short_y], "narHash": hash, "path": short_x, "storeDir": "/nix/store" },
                short_y: { "narSize": 1, "references": [], "narHash": hash } } })
        };
        for format in [
            json!([{ "path": x, "narSize": 2, "references": [y] }, { "path": y, "narSize": 1, "references": [] }]),
            json!({ x: { "narSize": 2, "references": [y] }, y: { "narSize": 1, "references": [] }, "/nix/store/z": null }),
            nested(2, json!("sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")),
            nested(
                3,
                json!({ "algorithm": "sha256", "format": "base64", "hash": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" }),
            ),
        ] {
            let nodes: Vec<RawNode> = serde_json::from_value(path_info(format.clone()).unwrap()).unwrap();
            let graph = Graph::new(&StoreDir::default(), nodes).unwrap();
            assert_eq!(graph.nodes().len(), 2, "{format}");
            assert_eq!(
                (graph.nodes()[0].path.as_str(), graph.nodes()[0].references.as_slice()),
                (x, [1].as_slice()),
                "{format}"
            );
        }
        assert!(path_info(json!("x")).is_none());
    }
}
