//! The output of `strata explain --start`.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Context, Result};

use crate::{
    image::{Image, MergedFiles},
    report::{
        bytes,
        start::{MissingFile, Reason, Start, StartPath, Why},
    },
    terminal::{self, line},
};

/// Prints what the start of a container needs, as JSON or as a table.
pub fn print(image: &Image, as_json: bool) -> Result<ExitCode> {
    let config = image.parse_config().context("reading the configuration of the image")?.config;
    let files = MergedFiles::read(image)?;
    let start = Start::new(&config, &files, image.closure.as_deref())?;
    let mut out = terminal::stdout();
    if as_json {
        serde_json::to_writer_pretty(out.exact(), &start).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        table(&mut out, &start)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn table(out: &mut impl Write, start: &Start) -> io::Result<()> {
    let Start { size, needed, opened, paths, missing } = start;
    let percent = |part: u64| 100.0 * part as f64 / (*size).max(1) as f64;
    writeln!(
        out,
        "the start needs {} of {} ({:.1} %), of which it opens files of {} ({:.1} %)",
        bytes(*needed),
        bytes(*size),
        percent(*needed),
        bytes(*opened),
        percent(*opened)
    )?;
    writeln!(out, "\n     size     opened  path")?;
    for StartPath { path, size, opened, reason, .. } in paths {
        writeln!(out, "{:>9}  {:>9}  {}", bytes(*size), bytes(*opened), line(path))?;
        writeln!(out, "{:22} {}", "", line(&explain(reason)))?;
    }
    for MissingFile { name, reason } in missing {
        writeln!(out, "missing: {}, the {}", line(name), line(&explain(reason)))?;
    }
    writeln!(out, "\nopened: the files of the path that the start is known to open; programs may open others")
}

/// Returns the reason in words.
fn explain(Reason { why, by }: &Reason) -> String {
    let by = by.as_deref().unwrap_or("the configuration");
    match why {
        Why::Program => "program of the configuration".to_owned(),
        Why::Argument => "argument of the program in the configuration".to_owned(),
        Why::Variable => "variable of the configuration".to_owned(),
        Why::Interpreter => format!("interpreter of {by}"),
        Why::Library => format!("library of {by}"),
        Why::Command => format!("command in {by}"),
        Why::Named => format!("named in {by}"),
    }
}
