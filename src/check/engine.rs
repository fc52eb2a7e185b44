//! Command tests in containers of docker or podman, whose store paths are mounted as `strata run` mounts them.
//!
//! ```text
//! create, start, inspect      the command, as container-structure-test runs it
//! commit                      after a command of setup, so that the next container has its files
//! ```

use std::{
    collections::BTreeMap,
    process::{Command, Output as ProcessOutput, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    Structure,
    commands::{Commands, evaluate, with_variables},
    job::Output,
    results::TestResult,
    structure::RunOptions,
};
use crate::{
    closure::StorePath,
    run::{
        EngineName, engine,
        keeper::{Keeper, Release},
        shared::SharedImage,
    },
    terminal::note,
};

/// An engine that has the image.
#[derive(Debug)]
pub struct EngineRunner<'a> {
    /// The engine's client.
    pub engine: EngineName,
    /// The image that is loaded.
    pub image: &'a SharedImage,
    /// What is mounted.
    pub mounts: &'a [StorePath],
}

/// Images of setup commands, which are removed afterwards.
struct Committed {
    engine: EngineName,
    images: Vec<String>,
}

impl Drop for Committed {
    fn drop(&mut self) {
        for image in self.images.iter().rev() {
            // What remains has no name, and `image prune` removes it.
            let _ = client(self.engine, &["rmi", "--force", image]);
        }
    }
}

impl EngineRunner<'_> {
    /// Runs the command tests; `env` has the variables of the image.
    ///
    /// # Errors
    ///
    /// If the engine does not answer, or a store path is missing.
    pub fn run(&self, structure: &Structure, env: &BTreeMap<String, String>) -> Result<Vec<TestResult>> {
        let mut keeper = Keeper::start(self.engine, self.mounts)?;
        for path in self.mounts {
            let exists = path.as_path().symlink_metadata().is_ok();
            ensure!(
                exists,
                "mounting {path}: it is not in the store any more; `nix-store --realise {path}` restores it"
            );
        }
        // If this process is killed, the keeper removes its containers.
        keeper.set_client(std::process::id())?;
        let label = keeper.label();
        let env = with_variables(env, &structure.global_env_vars);
        let run = |test| {
            let commands = Commands::new(test, &env);
            let output = self.run_test(&test.name, commands, &structure.container_run_options, &label)?;
            Ok(evaluate(test, output))
        };
        let results = structure.command_tests.iter().map(run).collect();
        keeper.release(Release::End);
        results
    }

    fn run_test(&self, name: &str, commands: Commands, options: &RunOptions, label: &str) -> Result<Output> {
        let mut committed = Committed { engine: self.engine, images: Vec::new() };
        let image = |committed: &Committed| committed.images.last().cloned().unwrap_or(self.image.name().to_owned());
        for setup in &commands.setup {
            let create = self.create(&image(&committed), options, label, &commands.setup_env);
            let (container, output) = self.run_container(create, setup)?;
            if let Some(error) = output.error {
                self.remove(&container)?;
                return Ok(Output { error: Some(format!("setup: {error}")), ..output });
            }
            let commit = client(self.engine, &["commit", &container])?;
            committed.images.push(text(&commit.stdout).trim().to_owned());
            self.remove(&container)?;
        }
        let create = self.create(&image(&committed), options, label, &commands.env);
        let (container, output) = self.run_container(create, &commands.command)?;
        self.remove(&container)?;
        for teardown in &commands.teardown {
            let create = self.create(&image(&committed), options, label, &commands.setup_env);
            let (container, after) = self.run_container(create, teardown)?;
            self.remove(&container)?;
            if after.status != 0 {
                note!("{name}: teardown: {} ended with status {}", teardown.join(" "), after.status);
            }
        }
        Ok(output)
    }

    /// A client that creates a container, without its command.
    fn create(&self, image: &str, options: &RunOptions, label: &str, env: &BTreeMap<String, String>) -> Command {
        let mut command = engine::client(self.engine);
        command.args(["create", "--label", label, "--pull", "never", "--entrypoint", ""]);
        for path in self.mounts {
            command.args(["--mount", &format!("type=bind,source={path},target={path},readonly")]);
        }
        let passed = options.variables();
        let passed = passed.iter().filter(|variable| !env.contains_key(&variable.key));
        let env = env.iter().chain(passed.map(|variable| (&variable.key, &variable.value)));
        for (name, value) in env {
            command.args(["--env", &format!("{name}={value}")]);
        }
        for (flag, value) in [("--user", &options.user), ("--env-file", &options.env_file)] {
            if !value.is_empty() {
                command.args([flag, value]);
            }
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

    /// Runs a created container; its ID, and what its command did.
    fn run_container(&self, mut create: Command, command: &[String]) -> Result<(String, Output)> {
        let created = finish(create.args(command))?;
        let container = text(&created.stdout).trim().to_owned();
        let start = Instant::now();
        let mut started = engine::client(self.engine);
        let ran = started.args(["start", "--attach", &container]).stdin(Stdio::null()).output();
        let ran = ran.with_context(|| format!("starting {}", self.engine.program()))?;
        let duration = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let format = "{{.State.ExitCode}} {{.State.Error}}";
        let state = client(self.engine, &["inspect", "--format", format, &container])?;
        let state = text(&state.stdout);
        let (status, error) = state.trim().split_once(' ').unwrap_or((state.trim(), ""));
        let status = status.parse().with_context(|| format!("reading the state of a container: {state}"))?;
        let error = Some(error.trim()).filter(|error| !error.is_empty()).map(str::to_owned);
        let output = Output { status, stdout: text(&ran.stdout), stderr: text(&ran.stderr), error, duration };
        Ok((container, output))
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

/// What a client printed; an error if it failed.
fn finish(command: &mut Command) -> Result<ProcessOutput> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("starting {program}"))?;
    if !output.status.success() {
        let action = command.get_args().next().unwrap_or_default().to_string_lossy().into_owned();
        bail!("{program} {action}: {}", text(&output.stderr).trim());
    }
    Ok(output)
}
