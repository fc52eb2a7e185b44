//! `strata diff OLD NEW`: like diff(1), exits with 0 if the images are equal, 1 if they differ, and 2 on errors.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use super::{compression::CompressionArgument, source::ImageArguments};
use crate::terminal;
use crate::{
    closure::StorePath,
    report::{
        bytes,
        diff::Diff,
        partial::PartialPull,
        push::{PushEstimate, PushEstimateOptions},
    },
    transport::Location,
};
use anyhow::Result;
use clap::Args;

/// The number of characters of a store path's hash that are printed to distinguish builds.
const SHORT_HASH: usize = 8;

#[derive(Debug, Args)]
pub struct DiffArguments {
    /// The old image: any source of `copy`.
    pub old: Location,
    /// The new image.
    pub new: Location,
    /// How a push would compress uncompressed layers.
    #[arg(long, value_enum, default_value_t = CompressionArgument::Gzip)]
    pub compression: CompressionArgument,
    /// Also say what podman, buildah and CRI-O fetch of the new image's zstd:chunked layers where they have the old one.
    #[arg(long)]
    pub chunked: bool,
    /// Compression level, 1 to 12 for gzip and 1 to 19 for zstd [default: 3].
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(i32).range(1..20))]
    pub compression_level: Option<i32>,
    /// Do not compress changed layers to predict a push: count their uncompressed size. For large images.
    #[arg(long, conflicts_with_all = ["chunked", "compression_level"])]
    pub estimate: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub source: ImageArguments,
}

/// Prints the differences. The exit code is that of diff(1), also if the reader has closed stdout, as in `strata diff … | head -1`.
pub fn run(arguments: &DiffArguments) -> Result<ExitCode> {
    let diff = compare(arguments)?;
    match print(&diff, arguments) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        printed => printed?,
    }
    Ok(if diff.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn compare(arguments: &DiffArguments) -> Result<Diff> {
    let [(opened, old), (_, new)] = arguments.source.images(&arguments.old, &arguments.new)?;
    let options = PushEstimateOptions {
        compression: arguments.compression.into(),
        level: arguments.compression_level,
        host: opened.registry().map(str::to_owned),
        is_rough: arguments.estimate,
    };
    let mut diff = Diff::compare(&old, &new, &options, &|image, lowest| {
        crate::transport::archive::size(image, image.reference.as_deref(), &image.lowest(lowest))
    })?;
    if arguments.chunked {
        diff.chunked = Some(PartialPull::new(&old.layers, &new.layers, arguments.compression_level)?);
    }
    Ok(diff)
}

fn print(diff: &Diff, arguments: &DiffArguments) -> io::Result<()> {
    let mut out = terminal::stdout();
    if arguments.json {
        serde_json::to_writer_pretty(out.exact(), diff)?;
        writeln!(out)?;
    } else {
        table(&mut out, diff, arguments.estimate)?;
    }
    out.flush()
}

fn table(out: &mut impl Write, diff: &Diff, is_rough: bool) -> io::Result<()> {
    if let Some(paths) = &diff.paths {
        for changed in &paths.changed {
            writeln!(out, "~ {}", change(&changed.old, &changed.new))?;
        }
        for path in &paths.added {
            writeln!(out, "+ {path}")?;
        }
        for path in &paths.removed {
            writeln!(out, "- {path}")?;
        }
        let (changed, added, removed) = (paths.changed.len(), paths.added.len(), paths.removed.len());
        writeln!(out, "paths: {changed} changed, {added} added, {removed} removed, {} the same", paths.kept)?;
    }
    for layer in &diff.layers.new {
        writeln!(out, "layer {}: {} is new, {}", layer.number, layer.digest, bytes(layer.size))?;
    }
    writeln!(out, "layers: {} new, {} gone, {} the same", diff.layers.new.len(), diff.layers.gone, diff.layers.kept)?;
    if diff.layers.are_moved {
        writeln!(out, "layers that both images have are in another order, or not as often")?;
    }
    for change in &diff.config {
        writeln!(out, "{}: {} -> {}", change.key, change.old, change.new)?;
    }
    push(out, &diff.push, is_rough)?;
    if let Some(pull) = &diff.chunked {
        let PartialPull { ranges, layers, whole, .. } = pull;
        let (fetched, tables) = (bytes(pull.bytes), bytes(pull.tables));
        writeln!(
            out,
            "a partial pull fetches {fetched}: {tables} of tables of contents, and {ranges} ranges of {layers} layers"
        )?;
        if *whole > 0 {
            writeln!(out, "  and {whole} layers whole, which have no table of contents")?;
        }
    }
    writeln!(
        out,
        "a load into docker streams {}; {} layers are already present",
        bytes(diff.load.bytes),
        diff.load.layers_present
    )?;
    let listed = diff.paths.iter().flat_map(|paths| [paths.changed.len(), paths.added.len(), paths.removed.len()]);
    if listed.sum::<usize>() > 0 {
        writeln!(
            out,
            "\n~: a store path that the new image has in another build or version; +: only in the new image; -: only in the old one"
        )?;
    }
    Ok(())
}

/// Returns `hello-1 -> hello-2`. If both names are the same, the start of the hashes is appended.
fn change(old: &StorePath, new: &StorePath) -> String {
    if old.name() != new.name() {
        return format!("{} -> {}", old.name(), new.name());
    }
    let short = |path: &StorePath| path.hash_part()[..SHORT_HASH].to_owned();
    format!("{} rebuilt, {} -> {}", old.name(), short(old), short(new))
}

fn push(out: &mut impl Write, push: &PushEstimate, is_rough: bool) -> io::Result<()> {
    let PushEstimate { blobs, repacked, estimated, .. } = push;
    let sent = bytes(push.bytes);
    if estimated.is_empty() {
        writeln!(out, "a push sends {blobs} blobs, {sent}")?;
    } else {
        let layers: Vec<String> = estimated.iter().map(usize::to_string).collect();
        let which = match (layers.as_slice(), is_rough) {
            ([layer], true) => format!("layer {layer} was not compressed"),
            (layers, true) => format!("layers {} were not compressed", layers.join(", ")),
            ([layer], false) => format!("what layer {layer} is made from is not on this machine"),
            (layers, false) => format!("what layers {} are made from is not on this machine", layers.join(", ")),
        };
        writeln!(out, "a push sends {blobs} blobs, {sent} before compression: an estimate, because {which}")?;
    }
    if *repacked > 0 {
        writeln!(out, "  {repacked} of them are layers that the first image has in another compression")?;
    }
    Ok(())
}
