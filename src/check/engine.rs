//! Command tests in containers of docker or podman, with mounted store paths as in `strata run`.
//!
//! ```text
//! create, start, inspect      the command, as container-structure-test runs it
//! commit                      after each command that another follows, so that the next container has its files
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::{Command, Output as ProcessOutput, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail};

use super::{
    Structure,
    commands::{Commands, evaluate, with_variables},
    job::{CommandOutput, HasCommand},
    results::TestResult,
    streams,
    structure::{CommandTest, ContainerRunOptions},
};
use crate::{
    budget,
    closure::StorePath,
    files,
    run::{
        EngineName,
        client::check_mounts,
        engine,
        keeper::{Keeper, Release},
        shared::SharedImage,
    },
};

#[derive(Debug)]
pub struct EngineRunner<'a> {
    /// The client of the engine.
    pub engine: EngineName,
    /// The loaded image.
    pub image: &'a SharedImage,
    /// The mounted store paths.
    pub mounts: &'a [StorePath],
}

/// Images that were committed between the commands of a test, and are removed afterwards.
struct Committed {
    engine: EngineName,
    images: Vec<String>,
}

impl Drop for Committed {
    fn drop(&mut self) {
        for image in self.images.iter().rev() {
            // If this fails, the image has no name, and `image prune` removes it.
            let _ = client(self.engine, &["rmi", "--force", image]);
        }
    }
}

/// Options of all containers of a test file.
struct ContainerOptions<'a> {
    structure: &'a ContainerRunOptions,
    label: String,
    /// The label of committed images.
    image_label: String,
    /// Names of variables of the machine that are passed on.
    passed: BTreeSet<String>,
    /// Names of variables in the file.
    in_file: BTreeSet<String>,
}

impl<'a> ContainerOptions<'a> {
    fn read(structure: &'a ContainerRunOptions, keeper: &Keeper) -> Result<Self> {
        let in_file = match structure.env_file.as_str() {
            "" => BTreeSet::new(),
            file => {
                let bytes = files::read_bounded(Path::new(file), &budget::STRUCTURE_TEST)
                    .with_context(|| format!("containerRunOptions.envFile: reading {file}"))?;
                names_in(&text(&bytes))
            }
        };
        let passed = structure.variables().into_keys().collect();
        let (label, image_label) = (keeper.label(), keeper.image_label());
        Ok(Self { structure, label, image_label, passed, in_file })
    }
}

/// Returns the names of the variables in a file of `--env-file`, which has NAME=VALUE or NAME on each line.
fn names_in(text: &str) -> BTreeSet<String> {
    let lines = text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.filter_map(|line| line.split('=').next()).map(|name| name.trim().to_owned()).collect()
}

/// Whether docker's client reads the variable.
fn is_of_client(name: &str) -> bool {
    matches!(name, "HOME" | "PATH") || name.starts_with("DOCKER_")
}

/// A command of a test, with the variables of the image and of the test.
struct EngineCommand {
    env: BTreeMap<String, String>,
    words: Vec<String>,
    when: When,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Setup,
    /// Only this command has the variables of `containerRunOptions`, which override all others
    /// (container-structure-test, pkg/drivers/docker_driver.go, `exec`).
    Command,
    Teardown,
}

impl HasCommand for EngineCommand {
    fn command(&self) -> &[String] {
        &self.words
    }
}

impl EngineRunner<'_> {
    /// Runs the command tests. `env` has the variables of the image.
    ///
    /// # Errors
    ///
    /// If the engine does not answer, or a store path is missing.
    pub fn run(&self, structure: &Structure, env: &BTreeMap<String, String>) -> Result<Vec<TestResult>> {
        let mut keeper = Keeper::start(self.engine, self.mounts)?;
        check_mounts(self.mounts)?;
        // If this process is killed, the keeper removes its containers and committed images.
        keeper.set_client(std::process::id())?;
        let options = ContainerOptions::read(&structure.container_run_options, &keeper)?;
        let env = with_variables(env, &structure.global_env_vars);
        let run = |test| Ok(evaluate(test, self.run_test(test, &env, &options)?));
        let results: Result<_> = structure.command_tests.iter().map(run).collect();
        // After an error, a container may remain.
        keeper.release(if results.is_ok() { Release::End } else { Release::Check });
        results
    }

    fn run_test(
        &self,
        test: &CommandTest,
        env: &BTreeMap<String, String>,
        options: &ContainerOptions<'_>,
    ) -> Result<CommandOutput> {
        let step = |env: &BTreeMap<_, _>, words| EngineCommand { env: env.clone(), words, when: When::Setup };
        let mut job = Commands::new(test, env).job(&test.name, step);
        job.command.when = When::Command;
        job.teardown.iter_mut().for_each(|step| step.when = When::Teardown);
        let mut committed = Committed { engine: self.engine, images: Vec::new() };
        job.run(|step, is_followed| {
            let image = committed.images.last().map_or(self.image.name(), String::as_str);
            // As in container-structure-test, a container that cannot be created fails its test (pkg/drivers/docker_driver.go,
            // `ProcessCommand`).
            let mut create = self.create(image, options, step);
            create.args(&step.words);
            let created = output(&mut create)?;
            if let Some(error) = failure(&create, &created) {
                return Ok(CommandOutput { error: Some(error), ..CommandOutput::default() });
            }
            let container = text(&created.stdout).trim().to_owned();
            let output = self.run_container(&container)?;
            if is_followed && output.error.is_none() {
                let label = format!("LABEL {}", options.image_label);
                let commit = client(self.engine, &["commit", "--change", &label, &container])?;
                committed.images.push(text(&commit.stdout).trim().to_owned());
            }
            self.remove(&container)?;
            Ok(output)
        })
    }

    /// Returns a client command that creates a container. The command of the container is not appended yet.
    fn create(&self, image: &str, options: &ContainerOptions<'_>, step: &EngineCommand) -> Command {
        let mut command = engine::client(self.engine);
        command.args(["create", "--label", &options.label, "--pull", "never", "--entrypoint", ""]);
        for path in self.mounts {
            command.args(["--mount", &format!("type=bind,source={path},target={path},readonly")]);
        }
        self.add_variables(&mut command, options, step);
        let options = options.structure;
        if !options.user.is_empty() {
            command.args(["--user", &options.user]);
        }
        for (flag, is_set) in [("--privileged", options.privileged), ("--tty", options.allocate_tty)] {
            if is_set {
                command.arg(flag);
            }
        }
        for (flag, values) in [("--cap-add", &options.capabilities), ("--volume", &options.bind_mounts)] {
            for value in values {
                command.args([flag, value]);
            }
        }
        command.arg(image);
        command
    }

    /// Sets the variables of a container. Values of the machine's variables are not in the arguments, which other users
    /// can read.
    fn add_variables(&self, command: &mut Command, options: &ContainerOptions<'_>, step: &EngineCommand) {
        let is_command = step.when == When::Command;
        let replaceable = || options.passed.union(&options.in_file);
        for (name, value) in &step.env {
            if !(is_command && replaceable().any(|replaceable| replaceable == name)) {
                command.args(["--env", &format!("{name}={value}")]);
            }
        }
        match step.when {
            When::Setup => {}
            When::Command => {
                if !options.structure.env_file.is_empty() {
                    command.args(["--env-file", &options.structure.env_file]);
                }
                for name in &options.passed {
                    command.args(["--env", name]);
                }
            }
            // The committed image has these variables.
            When::Teardown => {
                for name in replaceable().filter(|name| !step.env.contains_key(*name)) {
                    match self.engine {
                        // docker unsets a variable that its client does not have. Those that the client needs stay set.
                        EngineName::Docker if is_of_client(name) => {}
                        EngineName::Docker => drop(command.args(["--env", name]).env_remove(name)),
                        EngineName::Podman => drop(command.args(["--unsetenv", name])),
                    }
                }
            }
        }
    }

    /// Runs a created container. Returns the result of its command.
    fn run_container(&self, container: &str) -> Result<CommandOutput> {
        let start = Instant::now();
        let mut started = engine::client(self.engine);
        started.args(["start", "--attach", container]).stdin(Stdio::null());
        let mut started = started
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", self.engine.program()))?;
        let (stdout, stderr) = streams::capture(&mut started);
        let ended = started.wait().with_context(|| format!("waiting for {}", self.engine.program()))?;
        let duration = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let format = "{{.State.ExitCode}} {{.State.Error}}";
        let state = client(self.engine, &["inspect", "--format", format, container])?;
        let state = text(&state.stdout);
        let (status, error) = state.trim().split_once(' ').unwrap_or((state.trim(), ""));
        let status: i64 = status.parse().with_context(|| format!("reading the state of a container: {state}"))?;
        let error = Some(error.trim()).filter(|error| !error.is_empty()).map(str::to_owned);
        // podman records neither an error nor an exit status for a container that it could not start.
        let not_started = || format!("{} start failed: {ended}", self.engine.program());
        let error = error.or_else(|| (status == 0 && !ended.success()).then(not_started));
        Ok(CommandOutput { status, stdout, stderr, error, duration })
    }

    fn remove(&self, container: &str) -> Result<()> {
        client(self.engine, &["rm", "--force", "--volumes", container]).map(drop)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn client(name: EngineName, arguments: &[&str]) -> Result<ProcessOutput> {
    finish(engine::client(name).args(arguments))
}

/// Returns the output of a client, or an error if it failed.
fn finish(command: &mut Command) -> Result<ProcessOutput> {
    let output = output(command)?;
    match failure(command, &output) {
        Some(error) => bail!("{error}"),
        None => Ok(output),
    }
}

/// Returns the message of a client that failed.
fn failure(command: &Command, output: &ProcessOutput) -> Option<String> {
    (!output.status.success()).then(|| format!("{}: {}", described(command), text(&output.stderr).trim()))
}

/// Returns the output of a client, which may have failed.
fn output(command: &mut Command) -> Result<ProcessOutput> {
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    budget::output(command, &budget::ENGINE_OUTPUT).with_context(|| format!("running {}", described(command)))
}

/// Returns the program and its first argument.
fn described(command: &Command) -> String {
    let action = command.get_args().next().unwrap_or_default().to_string_lossy();
    format!("{} {action}", command.get_program().to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_variables_in_a_file_are_found() {
        let names = names_in("# A comment\nA=1\n\n  B=x=y\nC\n");
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["A", "B", "C"]);
    }
}
