//! `strata check IMAGE TESTS…`

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, anyhow};
use clap::Args;

use super::{run, run_options::EngineArgument, source::ImageArguments};
use crate::{
    check::{
        self, Structure,
        engine::EngineRunner,
        job::Plan,
        prepare::Prepared,
        results::{Report, TestResult},
        suite,
    },
    files::Scratch,
    image::Opened,
    oci::Platform,
    run::{Engine, shared::SharedImage},
    terminal,
    transport::Location,
};

/// `strata check`
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// Any source of `copy`.
    image: Location,
    /// Files of tests, in container-structure-test's schema 2.0.0.
    #[arg(value_name = "TESTS", required = true)]
    tests: Vec<PathBuf>,
    /// Run commands in containers of this engine [default: in namespaces, without an engine].
    #[arg(long, value_enum)]
    engine: Option<EngineArgument>,
    /// Print JSON, with the fields of container-structure-test.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: ImageArguments,
}

/// Exits with 1 if a test failed.
pub fn check(arguments: &CheckArguments) -> Result<ExitCode> {
    let report = Report::new(results(arguments)?);
    match print(&report, arguments.json) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::from(u8::from(report.fail > 0))),
    }
}

/// Runs a stage on the way into a container.
pub fn enter(stage: &str, file: &Path, process: Option<i32>) -> Result<ExitCode> {
    #[cfg(not(target_os = "linux"))]
    anyhow::bail!("only Linux has the namespaces that this needs");
    #[cfg(target_os = "linux")]
    check::sandbox::enter(stage, file, process)
}

fn results(arguments: &CheckArguments) -> Result<Vec<TestResult>> {
    let read = |path: &PathBuf| Structure::read(path).map_err(|error| anyhow!("{}: {error}", path.display()));
    let all = arguments.tests.iter().map(read).collect::<Result<Vec<_>>>()?;
    let location = &arguments.image;
    let opened = &arguments.source.source.open(&[location])?[0];
    let platform = arguments.source.platform.as_ref();
    let scratch = Scratch::create().context("creating a temporary directory")?;
    if let Some(name) = arguments.engine {
        return through_engine(location, platform, opened, name, &all, scratch.path());
    }
    let mut results = Vec::new();
    for (at, structure) in all.iter().enumerate() {
        structure.container_run_options.check_namespaces(true)?;
        let prepared = Prepared::new(opened, platform, &scratch.path().join(format!("image-{at}")))
            .with_context(|| format!("reading {location}"))?;
        let answered = suite::answered(structure, &prepared);
        let commands = suite::jobs(structure, &prepared)?;
        if !commands.is_empty() {
            prepared.files.set_permissions()?;
            let work = prepared.writable("work")?;
            let answer = check::run(&Plan { commands, work, ..Plan::default() })?;
            results.extend(suite::evaluated(structure, answer.commands));
        }
        results.extend(answered);
    }
    Ok(results)
}

/// Runs commands through an engine.
fn through_engine(
    location: &Location,
    platform: Option<&Platform>,
    opened: &Opened,
    name: EngineArgument,
    all: &[Structure],
    scratch: &Path,
) -> Result<Vec<TestResult>> {
    let engine = Engine::choose(Some(name.into()))?;
    let split = run::split(location, platform, false, opened, &engine)?;
    let prepared =
        Prepared::from_split(&split, &scratch.join("image")).with_context(|| format!("reading {location}"))?;
    let image = SharedImage::prepare(&engine, &split.image, split.image.reference.as_deref())?;
    let runner = EngineRunner { engine: engine.name(), image: &image, mounts: &split.mounts };
    let mut results = Vec::new();
    for structure in all {
        results.extend(runner.run(structure, &prepared.env)?);
        results.extend(suite::answered(structure, &prepared));
    }
    Ok(results)
}

fn print(report: &Report, json: bool) -> io::Result<()> {
    let mut out = terminal::stdout();
    if json {
        serde_json::to_writer_pretty(out.exact(), report)?;
        return writeln!(out);
    }
    out.write_all(report.to_string().as_bytes())
}
