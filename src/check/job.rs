//! What runs in namespaces: containers, commands in them, and services. It is written to a file for the process that
//! enters the namespaces, which writes its answer to another.

use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::terminal::note;

/// A container, and the program that runs in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Container {
    /// The unpacked files of the image, which stay as they are.
    pub files: PathBuf,
    /// A directory for what the container writes, shared by the containers of one test.
    pub writable: PathBuf,
    /// Store paths, each in its own place.
    pub mounts: Vec<PathBuf>,
    /// Directories that exist in every container: volumes.
    pub directories: Vec<PathBuf>,
    /// The name of the host.
    pub hostname: String,
    /// The text of `/etc/hosts`.
    pub hosts: String,
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// All variables.
    pub env: Vec<(String, String)>,
    /// The directory of the program, created if it does not exist.
    pub directory: PathBuf,
    /// The program and its arguments.
    pub command: Vec<String>,
}

/// Everything that runs.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Plan {
    /// Commands of tests, one after the other.
    pub commands: Vec<CommandJob>,
    /// Services, in the order in which they start.
    pub services: Vec<Service>,
    /// Scripts that run beside the services.
    pub scripts: Vec<Script>,
    /// The text of `/etc/hosts` for the scripts.
    pub hosts: String,
    /// A directory for files of the processes.
    pub work: PathBuf,
}

/// The commands of one test, each with its container `C`.
#[derive(Debug, Serialize, Deserialize)]
pub struct CommandJob<C = Container> {
    /// The name of the test.
    pub name: String,
    /// Run before.
    pub setup: Vec<C>,
    /// The command itself.
    pub command: C,
    /// Run after.
    pub teardown: Vec<C>,
}

/// A program and its arguments.
pub trait HasCommand {
    /// The program first.
    fn command(&self) -> &[String];
}

impl HasCommand for Container {
    fn command(&self) -> &[String] {
        &self.command
    }
}

impl<C: HasCommand> CommandJob<C> {
    /// Runs all commands, each with what the ones before it wrote; what the test's own command did. `run` runs one of
    /// them, and has whether another follows.
    ///
    /// # Errors
    ///
    /// Those of `run`.
    pub fn run(&self, mut run: impl FnMut(&C, bool) -> Result<Output>) -> Result<Output> {
        for setup in &self.setup {
            let output = run(setup, true)?;
            if let Some(error) = output.error {
                return Ok(Output { error: Some(format!("setup: {error}")), ..output });
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

    /// Only a setup that does not start fails the test, as in container-structure-test.
    fn note_failure(&self, step: &str, command: &C, output: &Output) {
        let (name, words) = (&self.name, command.command().join(" "));
        match &output.error {
            Some(error) => note!("{name}: {step}: {words}: {error}"),
            None if output.status != 0 => note!("{name}: {step}: {words} ended with status {}", output.status),
            None => {}
        }
    }
}

/// A container that runs until it is stopped.
#[derive(Debug, Serialize, Deserialize)]
pub struct Service {
    /// Its name, which is that of its host.
    pub name: String,
    /// The container.
    pub container: Container,
    /// When it is ready.
    pub ready: Ready,
    /// Seconds until it must be ready.
    pub timeout: u64,
    /// The signal that stops it, by its number.
    pub stop_signal: i32,
    /// Seconds until it must have ended.
    pub stop_timeout: u64,
}

/// When a service is ready: when all conditions hold.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ready {
    /// A TCP port accepts connections.
    pub port: Option<u16>,
    /// A path on the port is answered with a status below 400.
    pub http: Option<String>,
    /// A line of the output matches a regular expression.
    pub log: Option<String>,
    /// A command in the container ends with 0.
    pub exec: Option<Vec<String>>,
}

/// A script outside of the containers, on their network.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Script {
    /// The service it belongs to, or `script`.
    pub name: String,
    /// bash.
    pub shell: PathBuf,
    /// The `PATH` of the script.
    pub path: String,
    /// The text.
    pub text: String,
}

/// What came of a plan.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Answer {
    /// Those of the commands, in their order.
    pub commands: Vec<Output>,
    /// Those of the services and scripts: each has a name, and what is wrong with it.
    pub services: Vec<Finding>,
}

/// What a command did.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Output {
    /// Its exit status; that of a signal is 128 and its number.
    pub status: i64,
    /// Its output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// Why it did not start.
    pub error: Option<String>,
    /// Nanoseconds.
    pub duration: u64,
}

/// The result of a service or a script.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Finding {
    /// What it is about.
    pub name: String,
    /// What is wrong, if anything.
    pub errors: Vec<String>,
    /// The last lines of its output.
    pub last_lines: Vec<String>,
    /// Nanoseconds.
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
            Ok(Output { stdout: command[0].clone(), status: 1, error, ..Output::default() })
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
            Ok(Output { error: Some("not found".to_owned()), ..Output::default() })
        };
        assert_eq!(job().run(run).unwrap().error.as_deref(), Some("setup: not found"));
        assert_eq!(count, 1);
    }
}
