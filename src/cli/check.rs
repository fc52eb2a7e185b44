//! `strata check IMAGE TESTS…`

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, anyhow};
use clap::{Args, ValueEnum};

use super::{run, run_options::EngineArgument, source::ImageArguments};
use crate::{
    check::{
        self, Structure,
        engine::EngineRunner,
        harden::{Exception, Hardening},
        job::TestPlan,
        junit,
        prepare::PreparedTests,
        results::{TestReport, TestResult},
        suite,
    },
    files::Scratch,
    image::Opened,
    run::{Engine, Split},
    terminal,
    transport::Location,
};

/// `strata check`
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// Any source of `copy`.
    image: Location,
    /// Files of tests, in container-structure-test's schema 2.0.0.
    #[arg(value_name = "TESTS", required_unless_present = "harden")]
    tests: Vec<PathBuf>,
    /// Also run the checks of `explain --harden`: each is a test, which fails if it has a finding.
    #[arg(long)]
    harden: bool,
    /// Allow the findings of a check, or only those at places that match a pattern, in which * stands for any characters.
    ///
    /// May be repeated.
    #[arg(long, value_name = "CHECK[:PATTERN]", requires = "harden")]
    harden_allow: Vec<Exception>,
    /// Run commands in containers of this engine [default: in namespaces, without an engine].
    #[arg(long, value_enum, requires = "tests")]
    engine: Option<EngineArgument>,
    /// Print JSON, with the fields of container-structure-test.
    #[arg(long, conflicts_with = "output")]
    json: bool,
    /// Print the results in this format.
    #[arg(long, short, value_enum, value_name = "FORMAT", default_value_t)]
    output: OutputFormat,
    #[command(flatten)]
    source: ImageArguments,
}

/// Formats of container-structure-test's `--output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    /// A line for each test, with errors and output of those that failed.
    #[default]
    Text,
    /// The same as --json.
    Json,
    /// JUnit XML, for CI systems.
    Junit,
}

/// Exits with 1 if a test failed.
pub fn check(arguments: &CheckArguments) -> Result<ExitCode> {
    let report = TestReport::new(results(arguments)?);
    let format = if arguments.json { OutputFormat::Json } else { arguments.output };
    match print(&report, format, &arguments.image) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::from(u8::from(report.fail > 0))),
    }
}

/// Runs a stage of entering a container.
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
    let mut results = structure_results(arguments, opened, &all)?;
    if arguments.harden {
        let image = opened.image(arguments.source.platform.as_ref())?;
        let hardening = Hardening::new(&image).with_context(|| format!("checking {location}"))?;
        results.extend(hardening.results(&arguments.harden_allow));
    }
    Ok(results)
}

/// The results of the files of tests.
fn structure_results(arguments: &CheckArguments, opened: &Opened, all: &[Structure]) -> Result<Vec<TestResult>> {
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let (location, platform) = (&arguments.image, arguments.source.platform.as_ref());
    let scratch = Scratch::create().context("creating a temporary directory")?;
    let top = scratch.path().join("image");
    let reading = || format!("reading {location}");
    if let Some(name) = arguments.engine {
        let engine = Engine::choose(Some(name.into()))?;
        let split = run::split(location, platform, opened, || engine.mounts().map(Some))?;
        let prepared = PreparedTests::from_split(&split, &top).with_context(reading)?;
        return through_engine(&engine, &split, opened, all, &prepared);
    }
    for structure in all {
        structure.container_run_options.check_namespaces(true)?;
    }
    let prepared = PreparedTests::new(opened, platform, &top).with_context(reading)?;
    in_namespaces(all, &prepared)
}

/// Runs the commands of all files in namespaces.
fn in_namespaces(all: &[Structure], prepared: &PreparedTests) -> Result<Vec<TestResult>> {
    // The tests of files run before the files have the permissions of the image, which may forbid reading them.
    let mut answered: Vec<_> = all.iter().map(|structure| suite::answered(structure, prepared)).collect();
    let jobs = all.iter().enumerate().map(|(at, structure)| suite::jobs(structure, prepared, &format!("file-{at}")));
    let commands = jobs.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect::<Vec<_>>();
    let mut outputs = Vec::new().into_iter();
    if !commands.is_empty() {
        prepared.files.set_permissions()?;
        let work = prepared.writable("work")?;
        outputs = check::run(&TestPlan { commands, work, ..TestPlan::default() })?.commands.into_iter();
    }
    let mut results = Vec::new();
    for (structure, answered) in all.iter().zip(&mut answered) {
        let file_outputs = outputs.by_ref().take(structure.command_tests.len()).collect();
        results.extend(suite::evaluated(structure, file_outputs));
        results.append(answered);
    }
    Ok(results)
}

/// Runs the commands of all files in containers of an engine.
fn through_engine(
    engine: &Engine,
    split: &Split,
    opened: &Opened,
    all: &[Structure],
    prepared: &PreparedTests,
) -> Result<Vec<TestResult>> {
    // Without commands, nothing is loaded.
    let has_commands = all.iter().any(|structure| !structure.command_tests.is_empty());
    let image = has_commands.then(|| run::share(engine, split, opened)).transpose()?;
    let runner = image.as_ref().map(|image| EngineRunner { engine: engine.name(), image, mounts: &split.mounts });
    let mut results = Vec::new();
    for structure in all {
        if let Some(runner) = &runner {
            results.extend(runner.run(structure, &prepared.env)?);
        }
        results.extend(suite::answered(structure, prepared));
    }
    Ok(results)
}

fn print(report: &TestReport, format: OutputFormat, image: &Location) -> io::Result<()> {
    let mut out = terminal::stdout();
    match format {
        OutputFormat::Text => out.write_all(report.to_string().as_bytes()),
        OutputFormat::Json => {
            serde_json::to_writer_pretty(out.exact(), report)?;
            writeln!(out)
        }
        OutputFormat::Junit => junit::write(&mut out.exact(), report, &image.to_string()),
    }
}
