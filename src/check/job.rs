//! The plan for a process in namespaces: containers, commands in them, and services. The plan is written to a file for
//! the process that enters the namespaces, which writes its answer to another file.

use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::terminal::note;

/// A container and its command.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TestContainer {
    /// The unpacked files of the image, which are not changed.
    pub files: PathBuf,
    /// A directory for files that the container writes. The containers of one test share it.
    pub writable: PathBuf,
    /// Store paths, which are mounted at their original location.
    pub mounts: Vec<PathBuf>,
    /// Directories that exist in every container: volumes.
    pub directories: Vec<PathBuf>,
    pub hostname: String,
    /// The contents of `/etc/hosts`.
    pub hosts: String,
    pub uid: u32,
    pub gid: u32,
    pub env: Vec<(String, String)>,
    /// The working directory, which is created if it does not exist.
    pub directory: PathBuf,
    pub command: Vec<String>,
}

/// All commands, services and scripts.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct TestPlan {
    /// Commands of tests, in order.
    pub commands: Vec<CommandJob>,
    /// Services, in the order in which they start.
    pub services: Vec<TestService>,
    /// Scripts that run at the same time as the services.
    pub scripts: Vec<Script>,
    /// The contents of `/etc/hosts` for the scripts.
    pub hosts: String,
    /// A directory for files of the processes.
    pub work: PathBuf,
}

/// The commands of one test. `C` is the type of their containers.
#[derive(Debug, Serialize, Deserialize)]
pub struct CommandJob<C = TestContainer> {
    /// The name of the test.
    pub name: String,
    /// Commands that run before the test.
    pub setup: Vec<C>,
    /// The command of the test.
    pub command: C,
    /// Commands that run after the test.
    pub teardown: Vec<C>,
}

/// A program and its arguments.
pub trait HasCommand {
    /// Returns the program and its arguments.
    fn command(&self) -> &[String];
}

impl HasCommand for TestContainer {
    fn command(&self) -> &[String] {
        &self.command
    }
}

impl<C: HasCommand> CommandJob<C> {
    /// Runs all commands, each with the files of the previous ones. Returns the result of the test's command. `run`
    /// runs one of them, and its second argument is whether another follows.
    ///
    /// # Errors
    ///
    /// Those of `run`.
    pub fn run(&self, mut run: impl FnMut(&C, bool) -> Result<CommandOutput>) -> Result<CommandOutput> {
        for setup in &self.setup {
            let output = run(setup, true)?;
            if let Some(error) = output.error {
                return Ok(CommandOutput { error: Some(format!("setup: {error}")), ..output });
            }
            self.note_failure("setup", setup, &output);
        }
        let output = run(&self.command, !self.teardown.is_empty())?;
        for (at, teardown) in self.teardown.iter().enumerate() {
            let after = run(teardown, at + 1 < self.teardown.len())?;
            self.note_failure("teardown", teardown, &after);
        }
        Ok(output)
    }

    /// Records a failure. Only a setup that does not start fails the test, as in container-structure-test.
    fn note_failure(&self, step: &str, command: &C, output: &CommandOutput) {
        let (name, words) = (&self.name, command.command().join(" "));
        match &output.error {
            Some(error) => note!("{name}: {step}: {words}: {error}"),
            None if output.status != 0 => note!("{name}: {step}: {words} ended with status {}", output.status),
            None => {}
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub struct TestService {
    /// The name of the service, which is also its host name.
    pub name: String,
    pub container: TestContainer,
    pub ready: Ready,
    /// The time in seconds in which the service must become ready.
    pub timeout: u64,
    /// The number of the signal that stops the service.
    pub stop_signal: i32,
    /// The time in seconds in which the service must end after the signal.
    pub stop_timeout: u64,
}

/// The conditions for a service to be ready. All of them must be true.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ready {
    /// A TCP port accepts connections.
    pub port: Option<u16>,
    /// The response for a path on the port has a status below 400.
    pub http: Option<String>,
    /// A line of the output matches a regular expression.
    pub log: Option<String>,
    /// A command in the container exits with status 0.
    pub exec: Option<Vec<String>>,
}

/// A script that runs outside of the containers, in their network.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Script {
    /// The service to which it belongs, or `script`.
    pub name: String,
    /// The path of bash.
    pub shell: PathBuf,
    pub path: String,
    pub text: String,
}

/// The results of a plan.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct PlanResults {
    /// The results of the commands, in order.
    pub commands: Vec<CommandOutput>,
    /// The results of the services and scripts.
    pub services: Vec<ServiceResult>,
}

/// The result of a command.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CommandOutput {
    /// The exit status. For a signal, it is 128 plus its number.
    pub status: i64,
    pub stdout: String,
    pub stderr: String,
    /// The reason why the command did not start.
    pub error: Option<String>,
    /// In nanoseconds.
    pub duration: u64,
}

/// The result of a service or a script.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ServiceResult {
    /// The name of the service or script.
    pub name: String,
    pub errors: Vec<String>,
    /// The last lines of the output.
    pub last_lines: Vec<String>,
    /// In nanoseconds.
    pub duration: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    impl HasCommand for Vec<String> {
        fn command(&self) -> &[String] {
            self
        }
    }

    fn job() -> CommandJob<Vec<String>> {
        let words = |text: &str| vec![text.to_owned()];
        CommandJob {
            name: "test".to_owned(),
            setup: vec![words("setup")],
            command: words("command"),
            teardown: vec![words("first"), words("second")],
        }
    }

    #[test]
    fn teardown_follows_the_command_and_its_result_does_not_matter() {
        let mut ran = Vec::new();
        let run = |command: &Vec<String>, is_followed: bool| {
            ran.push(format!("{} {is_followed}", command[0]));
            let error = (command[0] == "first").then(|| "not found".to_owned());
            Ok(CommandOutput { stdout: command[0].clone(), status: 1, error, ..CommandOutput::default() })
        };
        let output = job().run(run).unwrap();
        assert_eq!((output.stdout.as_str(), output.error), ("command", None));
        assert_eq!(ran, ["setup true", "command true", "first true", "second false"]);
    }

    #[test]
    fn setup_that_does_not_start_fails_the_test() {
        let mut count = 0;
        let run = |_: &Vec<String>, _| {
            count += 1;
            Ok(CommandOutput { error: Some("not found".to_owned()), ..CommandOutput::default() })
        };
        assert_eq!(job().run(run).unwrap().error.as_deref(), Some("setup: not found"));
        assert_eq!(count, 1);
    }
}
