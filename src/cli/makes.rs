//! `m SOURCE [/JOB [ARGUMENTS…]]`: jobs of Makes projects, listed, built and run.
//!
//! ```text
//! SOURCE ──▶ a directory ──▶ nix/makes/project.nix, evaluated once ──▶ the jobs' names, one job's derivation
//!                                                                  │ nix-store --realise, logs to stderr
//!                                                                  ▼
//!                                          a program: becomes it     anything else: its path to stdout
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Write},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use super::restricted::restrict;
use crate::terminal::{self, line, note};
use crate::transport::git::{local_git, restrict_git};
use crate::{budget, files, oci::Digest};
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, de::DeserializeOwned};
use tempfile::NamedTempFile;

/// Builds a job of a project, and runs it if it is a program. Without a job, lists them all.
#[derive(Debug, clap::Args)]
#[command(override_usage = "m SOURCE [/JOB [ARGUMENTS]...]")]
pub struct MakesArguments {
    /// The project: a directory (only files tracked by git are read), or a source Nix can fetch, such as
    /// github:OWNER/REPO or github:OWNER/REPO@REV.
    source: String,
    /// The job, starting with a slash, and the arguments of its program.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "/JOB")]
    job: Vec<String>,
    /// The Nix library; this and the following fields are the settings of packages.m.
    #[arg(long, hide = true)]
    library: PathBuf,
    /// The package set of the library.
    #[arg(long, hide = true)]
    packages: PathBuf,
    #[arg(long, hide = true)]
    strata: PathBuf,
}

/// The output of nix/makes/project.nix.
#[derive(Debug, Deserialize)]
struct Project {
    /// The jobs by name. Their derivations are included if a job is requested.
    jobs: BTreeMap<String, Option<String>>,
    job: Option<MakesJob>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MakesJob {
    drv_path: String,
    output: String,
    path: PathBuf,
    /// The path of the program in the result, if it is one.
    program: Option<String>,
}

pub fn run(arguments: &MakesArguments) -> Result<ExitCode> {
    let place = place(&arguments.source)?;
    let project = evaluate(arguments, &place)?;
    let Some((name, rest)) = arguments.job.split_first() else {
        let mut out = terminal::stdout();
        let width = project.jobs.keys().map(|name| name.chars().count()).max().unwrap_or(0);
        for (name, what) in &project.jobs {
            writeln!(out, "{:<width$}  {}", line(name), line(what.as_deref().unwrap_or_default()))?;
        }
        if project.jobs.is_empty() {
            note!("strata: {} has no jobs; add one as makes/NAME/main.nix{}", arguments.source, place.hint());
        }
        return Ok(ExitCode::SUCCESS);
    };
    let Some(job) = project.job else {
        note!("strata: {}", unknown(name, &project.jobs, &arguments.source, &place));
        return Ok(ExitCode::from(2));
    };
    build(&job, name, &place)?;
    // The argument `action` of makeDerivation.
    let action = job.path.join("makes-action.sh");
    if action.exists() {
        let error = Command::new(&action).arg(&job.path).args(rest).exec();
        return Err(error).with_context(|| format!("running {}", action.display()));
    }
    let path = PathBuf::from(format!("{}{}", job.path.display(), job.program.as_deref().unwrap_or_default()));
    let is_program = fs::metadata(&path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
    if !is_program {
        ensure!(job.program.is_none(), "job {name}: {} is not a program", path.display());
        if !rest.is_empty() {
            note!("strata: job {name} is not a program and takes no arguments: m {} {name}", arguments.source);
            return Ok(ExitCode::from(2));
        }
        writeln!(terminal::stdout(), "{}", path.display())?;
        return Ok(ExitCode::SUCCESS);
    }
    // This returns only after an error.
    let error = Command::new(&path).args(rest).exec();
    Err(error).with_context(|| format!("running {}", path.display()))
}

/// The location of the project, for nix/makes/project.nix.
struct ProjectLocation {
    /// The directory that is read: the top of the git work tree, if there is one.
    root: String,
    /// The project's directory below `root`: empty, or with a slash at its start.
    below: String,
    /// A JSON list of the files that git tracks below `root`, with all directories. Other files are hidden.
    tracked: Option<NamedTempFile>,
}

impl ProjectLocation {
    /// Returns a hint about mistakes in git work trees.
    fn hint(&self) -> &'static str {
        if self.tracked.is_some() { ". Files that git does not track are not seen: git add them" } else { "" }
    }
}

fn evaluate(arguments: &MakesArguments, place: &ProjectLocation) -> Result<Project> {
    let evaluation = || {
        let mut command = nix("nix-instantiate");
        command.args(["--eval", "--strict", "--json", "--read-write-mode"]);
        command
    };
    let mut command = evaluation();
    match (&place.tracked, arguments.job.first()) {
        (Some(tracked), None) => {
            // The restricted evaluation reads the tracked files alone, not ignored secrets in the same directory.
            let mut copy = evaluation();
            copy.arg(arguments.library.join("makes/source.nix"));
            copy.args(["--argstr", "root", &place.root, "--argstr", "tracked"]).arg(tracked.path());
            let root: String = json(copy).with_context(|| format!("copying {}", arguments.source))?;
            restrict_listing(&mut command, arguments, &root);
            command.args(["--argstr", "root", &root]);
        }
        (None, None) => {
            restrict_listing(&mut command, arguments, &place.root);
            command.args(["--argstr", "root", &place.root]);
        }
        (tracked, Some(job)) => {
            command.args(["--argstr", "job", job, "--argstr", "root", &place.root]);
            if let Some(tracked) = tracked {
                command.args(["--argstr", "tracked"]).arg(tracked.path());
            }
        }
    }
    command.arg(arguments.library.join("makes/project.nix")).args(["--argstr", "below", &place.below]);
    for (name, path) in [("packages", &arguments.packages), ("strata", &arguments.strata)] {
        command.args(["--argstr", name]).arg(path);
    }
    json(command).with_context(|| format!("{} does not evaluate{}", arguments.source, listing_hint(arguments)))
}

/// Restricts the evaluation that lists the jobs: the user has not chosen a job yet, and may not trust the project. Its
/// expressions read the files of the project in `root` and of the library, download from https: URLs, and build nothing.
fn restrict_listing(command: &mut Command, arguments: &MakesArguments, root: &str) {
    let MakesArguments { library, packages, strata, .. } = arguments;
    restrict(command, &[Path::new(root), library, packages, strata], &["https://"]);
    command.args(["--option", "allow-import-from-derivation", "false"]);
}

fn listing_hint(arguments: &MakesArguments) -> &'static str {
    match arguments.job.is_empty() {
        true => {
            ", or needs more than a list of jobs may use, which is the files of the project and URLs; m DIR /JOB evaluates a job \
             without these restrictions"
        }
        false => "",
    }
}

/// Parses the source that the user wrote.
fn place(source: &str) -> Result<ProjectLocation> {
    let path = Path::new(source);
    if !path.exists() {
        let is_reference = source.split_once(':').is_some_and(|(scheme, _)| {
            !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+.-".contains(c))
        });
        ensure!(is_reference, "{source} is neither a directory nor a reference like github:OWNER/REPO");
        return fetch(source);
    }
    ensure!(path.is_dir(), "{source} is not a directory; give the directory with makes.nix or makes/");
    let root = fs::canonicalize(path).with_context(|| format!("reading {source}"))?;
    let root = root.to_str().with_context(|| format!("{source} is not UTF-8"))?;
    let Some(top) = Path::new(root).ancestors().find(|directory| directory.join(".git").exists()) else {
        return Ok(ProjectLocation { root: root.to_owned(), below: String::new(), tracked: None });
    };
    let below = root.strip_prefix(top.to_str().unwrap_or_default()).unwrap_or_default();
    let below = if below.is_empty() || below.starts_with('/') { below.to_owned() } else { format!("/{below}") };
    Ok(ProjectLocation { tracked: Some(tracked(top)?), below, root: top.display().to_string() })
}

/// Lists the files that git tracks in a work tree. If git fails, this is an error: the whole directory, with `.git` and
/// ignored secrets, would be copied to the store, which every user can read.
fn tracked(top: &Path) -> Result<NamedTempFile> {
    let shown = top.display();
    let mut git = local_git(top);
    git.args(["ls-files", "-z", "--no-recurse-submodules"]).stdin(Stdio::null()).stderr(Stdio::piped());
    let output = match budget::output(&mut git, &budget::GIT_OUTPUT) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("{shown} is a git work tree, but git is not in PATH; install git, or use a copy without .git")
        }
        output => output.context("running git")?,
    };
    let message = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "git cannot list the files it tracks in {shown}: {}", message.trim_end());
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for name in output.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let name =
            str::from_utf8(name).with_context(|| format!("{shown}/{} is not UTF-8", String::from_utf8_lossy(name)))?;
        names.extend(name.match_indices('/').map(|(at, _)| &name[..at]));
        names.insert(name);
    }
    let mut file = NamedTempFile::new().context("making a temporary file")?;
    serde_json::to_writer(&mut file, &names).context("writing a temporary file")?;
    Ok(file)
}

/// Fetches a reference into the store with Nix.
fn fetch(reference: &str) -> Result<ProjectLocation> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Fetched {
        store_path: String,
    }
    // Makes separates the revision with an `@`.
    let reference = match reference.split_once('@') {
        Some((repository, revision)) if reference.starts_with("github:") || reference.starts_with("gitlab:") => {
            format!("{repository}/{revision}")
        }
        _ => reference.to_owned(),
    };
    let mut command = nix("nix");
    command.args(["--extra-experimental-features", "nix-command flakes", "flake", "prefetch", "--json", &reference]);
    // Older versions of Nix ask the registry on the network even for a complete reference.
    let mut registry = NamedTempFile::new().context("making a temporary file")?;
    if !reference.starts_with("flake:") {
        registry.write_all(br#"{"flakes":[],"version":2}"#).context("writing a temporary file")?;
        command.args(["--option", "flake-registry"]).arg(registry.path());
    }
    let Fetched { store_path } = json(command).with_context(|| format!("{reference} cannot be fetched"))?;
    let query = reference.split_once('?').map_or("", |(_, query)| query);
    let directory = query.split('&').find_map(|pair| pair.strip_prefix("dir="));
    let root = directory.map_or(store_path.clone(), |directory| format!("{store_path}/{directory}"));
    Ok(ProjectLocation { root, below: String::new(), tracked: None })
}

fn build(job: &MakesJob, name: &str, place: &ProjectLocation) -> Result<()> {
    let mut command = nix("nix-store");
    command.arg("--realise").arg(format!("{}!{}", job.drv_path, job.output));
    if let Some(link) = garbage_collector_root(name, place) {
        command.args(["--indirect", "--add-root"]).arg(link);
    }
    let status = command.stdout(Stdio::null()).status().context("starting nix-store")?;
    ensure!(status.success(), "building job {name} failed; see the log above");
    Ok(())
}

/// Returns the link that keeps the last result of a job from being collected, in the user's cache, if there is one.
/// Each job of each project has its own link.
fn garbage_collector_root(name: &str, place: &ProjectLocation) -> Option<PathBuf> {
    let project = format!("{}{}", place.root, place.below);
    let directory = files::cache_folder()?.join("m").join(Digest::sha256(project.as_bytes()).hex());
    fs::create_dir_all(&directory).ok()?;
    // The file `project` contains the project that the directory belongs to.
    files::write(&directory.join("project"), project.as_bytes()).ok()?;
    Some(directory.join(name.replace('%', "%25").replace('/', "%2F")))
}

fn nix(program: &str) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    restrict_git(&mut command);
    command
}

/// Parses the output of a command.
fn json<T: DeserializeOwned>(mut command: Command) -> Result<T> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = match budget::output(&mut command, &budget::NIX_OUTPUT) {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("{name} is not in PATH; m needs Nix: https://nixos.org/download")
        }
        Err(error) => return Err(error).with_context(|| format!("running {name}")),
    };
    ensure!(output.status.success(), "{name} failed; see its messages above");
    serde_json::from_slice(&output.stdout).with_context(|| format!("parsing the output of {name}"))
}

/// Returns the error for an unknown job, with a list of the jobs.
fn unknown(name: &str, jobs: &BTreeMap<String, Option<String>>, source: &str, place: &ProjectLocation) -> String {
    let mut near: Vec<(f64, &String)> =
        jobs.keys().map(|job| (strsim::jaro_winkler(name, job), job)).filter(|(likeness, _)| *likeness > 0.8).collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    let hint = match near.as_slice() {
        [] if jobs.is_empty() => "it has none".to_owned(),
        [] => format!("m {source} lists them all"),
        near => {
            let names: Vec<&str> = near.iter().take(3).map(|(_, job)| job.as_str()).collect();
            format!("similar names: {}", names.join(", "))
        }
    };
    format!("{source} has no job {name}; {hint}{}", place.hint())
}
