//! `strata diff OLD NEW`: like diff(1), it ends with 0 where nothing differs, 1 where something does, 2 on trouble.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Result;
use strata::{
    ImageBlobs,
    layer::compress::Compression,
    report::{bytes, diff::Diff},
    source::Location,
};

/// Opens both, compares, prints.
pub fn run(
    open: &dyn Fn(&Location) -> Result<ImageBlobs>,
    old: &Location,
    new: &Location,
    compression: Compression,
    json: bool,
) -> ExitCode {
    let compare = || -> Result<Diff> { Ok(Diff::of(&open(old)?, &open(new)?, compression)?) };
    let printed = compare().and_then(|diff| {
        let mut out = io::stdout().lock();
        if json {
            serde_json::to_writer_pretty(&mut out, &diff).map_err(io::Error::from)?;
            writeln!(out)?;
        } else {
            table(&mut out, &diff)?;
        }
        out.flush()?;
        Ok(diff.is_empty())
    });
    match printed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("strata: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn table(out: &mut impl Write, diff: &Diff) -> io::Result<()> {
    if let Some(paths) = &diff.paths {
        for changed in &paths.changed {
            writeln!(out, "~ {} -> {}", changed.old.name(), changed.new.name())?;
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
    for change in &diff.config {
        writeln!(out, "{}: {} -> {}", change.key, change.old, change.new)?;
    }
    writeln!(out, "a push sends {} blobs, {} bytes", diff.push.blobs, diff.push.bytes)?;
    writeln!(out, "a load into docker streams {} bytes; {} layers are there", diff.load.bytes, diff.load.layers_there)
}
