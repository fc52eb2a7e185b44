//! `strata explain IMAGE`

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use super::{harden, source::ImageArguments, start};
use crate::terminal::{self, line, note};
use crate::{
    check::harden::Hardening,
    closure::{StorePath, Weights},
    image::Image,
    report::{
        bytes,
        cut::{self, CutCandidate, ReferencePlace},
        explain::{self, Explanation, PathSize},
        forecast::Forecast,
        page, why,
    },
    transport::Location,
};
use anyhow::{Context, Result, bail};

/// The error for an image without references.
const UNKNOWN_REFERENCES: &str = "this image does not say what its store paths reference; explain the image.json it \
                                  was made from, built by this version of strata: the attribute recipe of \
                                  makeContainerImage's and dockerTools' archives, as in nix build .#NAME.recipe";

/// The parts to print.
#[derive(Debug, clap::Args)]
pub struct ExplainSections {
    /// Show why a store path is in the image: the shortest chain of references to it. PATH is a store path or a file in
    /// one, a name with or without its version, or a hash.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["json", "html"])]
    why: Option<String>,
    /// Show which references to remove to save the most, and the files that hold them.
    #[arg(long, conflicts_with_all = ["why", "html"])]
    cut: bool,
    /// Also show what podman, buildah and CRI-O fetch of it as zstd:chunked after an update, and after one that rebuilds
    /// everything. All layers are compressed for it.
    #[arg(long, conflicts_with_all = ["why", "cut", "html"])]
    chunked: bool,
    /// Show what makes a container of the image easier to attack, each finding with the argument that fixes it. All layers are read.
    #[arg(long, conflicts_with_all = ["why", "cut", "chunked", "html"])]
    harden: bool,
    /// Show the store paths that the start of a container needs, computed from its program: interpreters, libraries, and what scripts
    /// and wrappers name. Layers that are not made from store paths of this machine are read.
    #[arg(long, conflicts_with_all = ["why", "cut", "chunked", "harden", "html"])]
    start: bool,
    /// Print JSON.
    #[arg(long, conflicts_with = "html")]
    json: bool,
    /// Write an HTML page to FILE; - is stdout.
    #[arg(long, value_name = "FILE")]
    html: Option<std::path::PathBuf>,
}

pub fn run(location: &Location, wanted: &ExplainSections, source: &ImageArguments) -> Result<ExitCode> {
    let image = source.image(location)?;
    if let Some(what) = &wanted.why {
        return why(&image, what);
    }
    if wanted.harden {
        let hardening = Hardening::new(&image).with_context(|| format!("checking {location}"))?;
        return harden::print(&hardening, wanted.json);
    }
    if wanted.start {
        return start::print(&image, wanted.json).with_context(|| format!("computing the start of {location}"));
    }
    let contents = image.layer_contents();
    for (number, problem) in contents.iter().filter_map(|(number, layer)| Some((number, layer.problem.as_ref()?))) {
        note!("strata: warning: layer {number}: {}", line(problem));
    }
    let sizes = contents.iter().flat_map(|(_, layer)| &layer.sizes);
    let mut explanation = explain::explain(&image, &Weights::default());
    explanation.add_sizes(&sizes.map(|(path, size)| (path.as_path(), *size)).collect());
    if wanted.cut || wanted.html.is_some() {
        explanation.cuts = match image.closure.as_deref() {
            Some(graph) => Some(cut::cuts(&image, graph).context("searching store paths for references")?),
            None if wanted.cut => bail!(UNKNOWN_REFERENCES),
            None => None,
        };
    }
    if wanted.chunked {
        let graph = image.closure.as_deref().context(UNKNOWN_REFERENCES)?;
        explanation.chunked = Some(Forecast::new(&image.layers, graph, &Weights::default())?);
    }
    if let Some(path) = &wanted.html {
        return write_page(path, &page::page(&image, &explanation));
    }
    let mut out = terminal::stdout();
    if wanted.json {
        serde_json::to_writer_pretty(out.exact(), &explanation).map_err(io::Error::from)?;
        writeln!(out)?;
    } else if let Some(cuts) = &explanation.cuts {
        cut_table(&mut out, cuts)?;
    } else {
        table(&mut out, &explanation)?;
        if let Some(forecast) = &explanation.chunked {
            forecast_table(&mut out, forecast)?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn why(image: &Image, what: &str) -> Result<ExitCode> {
    let graph = image.closure.as_deref().context(UNKNOWN_REFERENCES)?;
    let found = why::find(graph, what);
    if found.is_empty() {
        match why::similar_names(graph, what).as_slice() {
            [] => bail!("the image has no store path {what}"),
            near => bail!("the image has no store path {what}; did you mean {}?", near.join(", ")),
        }
    }
    let mut out = terminal::stdout();
    for (at, &node) in found.iter().enumerate() {
        if at > 0 {
            writeln!(out)?;
        }
        for (depth, &step) in graph.chain_to(node).iter().enumerate() {
            let mark = if depth == 0 { "" } else { "└ " };
            writeln!(out, "{:indent$}{mark}{}", "", graph.nodes()[step].path, indent = depth.saturating_sub(1) * 2)?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn write_page(path: &Path, page: &str) -> Result<ExitCode> {
    if path == Path::new("-") {
        terminal::stdout().exact().write_all(page.as_bytes())?;
    } else {
        crate::files::save(path, page.as_bytes()).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn table(out: &mut impl Write, explanation: &Explanation) -> io::Result<()> {
    let name = line(explanation.reference.as_deref().unwrap_or("(no name)"));
    writeln!(
        out,
        "{name}: {} in {} layers, {}",
        bytes(explanation.size),
        explanation.layers.len(),
        explanation.digest
    )?;
    match &explanation.cost {
        Some(cost) => {
            writeln!(
                out,
                "an update sends on average {} to a registry and {} to docker; the least possible is {}",
                bytes(cost.expected as u64),
                bytes(cost.chained as u64),
                bytes(cost.floor as u64)
            )?;
            if cost.without_layers > 0 {
                writeln!(out, "  without {} layers whose store paths are unknown", cost.without_layers)?;
            }
        }
        None => writeln!(
            out,
            "what an update sends is unknown: only an image.json has the references of store paths; archives of \
                 makeContainerImage and dockerTools have it as their attribute recipe: strata explain .#NAME.recipe"
        )?,
    }
    layer_table(out, explanation)?;
    if !explanation.biggest.is_empty() {
        writeln!(out, "\nthe biggest store paths")?;
    }
    for PathSize { path, size } in &explanation.biggest {
        writeln!(out, "  {:>9}  {}", size.map_or_else(|| "-".to_owned(), bytes), line(&path.to_string_lossy()))?;
    }
    writeln!(
        out,
        "\nchance: that an update changes the layer; an update: what it sends of the layer on average; together: the part of a \
         changed layer that really changed"
    )?;
    for duplicate in &explanation.duplicates {
        let layers: Vec<String> = duplicate.layers.iter().map(usize::to_string).collect();
        writeln!(out, "in layers {}: {}", layers.join(" and "), line(&duplicate.path.to_string_lossy()))?;
    }
    Ok(())
}

fn layer_table(out: &mut impl Write, explanation: &Explanation) -> io::Result<()> {
    writeln!(out, "\nlayer       size  chance  an update  together  store paths")?;
    for layer in &explanation.layers {
        let percent =
            |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{:.0} %", value * 100.0));
        let cost = layer.expected_cost.map_or_else(|| "-".to_owned(), |cost| bytes(cost as u64));
        writeln!(
            out,
            "{:>5}  {:>9}  {:>6}  {:>9}  {:>8}  {}",
            layer.number,
            bytes(layer.size),
            percent(layer.chance),
            cost,
            percent(layer.cohesion),
            line(&content(&layer.paths, &layer.history))
        )?;
    }
    Ok(())
}

fn forecast_table(out: &mut impl Write, forecast: &Forecast) -> io::Result<()> {
    writeln!(
        out,
        "\nas zstd:chunked, {}: a partial pull fetches on average {} after an update, and {} after a rebuild of everything",
        bytes(forecast.size),
        bytes(forecast.expected as u64),
        bytes(forecast.rebuild)
    )?;
    writeln!(
        out,
        "table: what every pull fetches; an update: what a pull fetches of it after an average update; rebuilt: after a rebuild"
    )?;
    writeln!(out, "layer       size      table  an update    rebuilt")?;
    for (at, layer) in forecast.layers.iter().enumerate() {
        let [size, table, expected, rebuild] =
            [layer.size, layer.tables, layer.expected as u64, layer.rebuild].map(bytes);
        writeln!(out, "{:>5}  {size:>9}  {table:>9}  {expected:>9}  {rebuild:>9}", at + 1)?;
    }
    Ok(())
}

fn cut_table(out: &mut impl Write, cuts: &[CutCandidate]) -> io::Result<()> {
    for cut in cuts {
        let others = match cut.paths.len() - 1 {
            0 => String::new(),
            others => format!(" and {others} more store paths"),
        };
        writeln!(out, "{}: {}{others}", bytes(cut.saves), cut.to)?;
        writeln!(out, "  referenced only by {}", cut.from)?;
        match &cut.places {
            None => writeln!(out, "    which is not on this machine")?,
            Some(places) => {
                for ReferencePlace { file, offset } in places {
                    match offset {
                        Some(offset) => writeln!(out, "    in {} at byte {offset}", line(&file.to_string_lossy()))?,
                        None => writeln!(out, "    in the name or target of {}", line(&file.to_string_lossy()))?,
                    }
                }
            }
        }
        if cut.more_places {
            writeln!(out, "    and in more places")?;
        }
        if cut.chain.len() > 1 {
            let chain: Vec<&str> = cut.chain.iter().map(StorePath::name).collect();
            writeln!(out, "    brought in by {}", chain.join(" -> "))?;
        }
    }
    if cuts.is_empty() {
        writeln!(out, "no single reference can be removed to save anything")?;
    }
    Ok(())
}

/// Returns the first names, and the number of the others.
fn content(paths: &[PathSize], history: &str) -> String {
    const SHOWN: usize = 4;
    if paths.is_empty() {
        return history.chars().take(80).collect();
    }
    let name = |path: &PathSize| {
        let name = path.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.get(33..).map_or(name.clone(), str::to_owned)
    };
    let mut text = paths.iter().take(SHOWN).map(name).collect::<Vec<_>>().join(", ");
    if paths.len() > SHOWN {
        text.push_str(&format!(" and {} more", paths.len() - SHOWN));
    }
    text
}
