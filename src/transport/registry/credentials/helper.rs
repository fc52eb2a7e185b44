//! Programs that keep credentials
//! ([protocol](https://github.com/docker/docker-credential-helpers/blob/master/README.md#development)):
//!
//! ```text
//! $ echo registry.example.com | docker-credential-pass get
//! {"ServerURL":"registry.example.com","Username":"me","Secret":"…"}
//! ```
//!
//! Who has nothing says "credentials not found in native keychain", and fails; that is no failure.

use std::{
    fmt,
    io::{self, Write},
    path::Path,
    process::{Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::Credentials;
use crate::{
    budget::{self, Budget},
    transport::{
        http::clean,
        registry::{RegistryError, Result},
    },
};

/// A helper may ask the user for a passphrase, which takes a while.
const DEADLINE: Duration = Duration::from_secs(120);
/// credentials/error.go of docker-credential-helpers.
const NOT_FOUND: &str = "credentials not found in native keychain";
/// The user of an entry whose secret is a refresh token (docker/cli, cli/config/credentials/native_store.go).
const IDENTITY: &str = "<token>";

/// A helper, as a file names it for a registry.
#[derive(Clone, Copy, Debug)]
pub struct Helper<'a> {
    /// Without `docker-credential-`.
    pub name: &'a str,
    /// The file.
    pub file: &'a Path,
    /// The registry, as the helper knows it.
    pub server: &'a str,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(rename = "ServerURL", default)]
    server_url: String,
    username: String,
    secret: String,
}

impl Helper<'_> {
    /// What it has, if anything.
    pub fn get(&self) -> Result<Option<Credentials>> {
        let Some(output) = self.run("get", self.server.as_bytes())? else { return Ok(None) };
        let malformed = |_| self.error("it answered something other than credentials".to_owned());
        let Entry { username, secret, .. } = serde_json::from_slice(&output.stdout).map_err(malformed)?;
        Ok(match username.as_str() {
            "" if secret.is_empty() => None,
            IDENTITY => Some(Credentials::Identity(String::new(), secret)),
            _ => Some(Credentials::Basic(username, secret)),
        })
    }

    /// Gives it something to keep.
    pub fn store(&self, username: &str, secret: &str) -> Result<()> {
        let entry =
            Entry { server_url: self.server.to_owned(), username: username.to_owned(), secret: secret.to_owned() };
        let entry = serde_json::to_vec(&entry).map_err(|error| self.error(error.to_string()))?;
        self.run("store", &entry).map(drop)
    }

    /// Makes it forget; whether there was something.
    pub fn erase(&self) -> Result<bool> {
        Ok(self.run("erase", self.server.as_bytes())?.is_some())
    }

    /// Its answer; `None` if it has no credentials.
    fn run(&self, act: &str, input: &[u8]) -> Result<Option<Output>> {
        // It is looked for in PATH; a name is no path.
        if self.name.contains('/') {
            return Err(self.error("its name has a slash".to_owned()));
        }
        let output = self.ask(act, input).map_err(|error| {
            let is_absent = error.kind() == io::ErrorKind::NotFound;
            self.error(if is_absent { "it is not in PATH".to_owned() } else { error.to_string() })
        })?;
        if output.status.success() {
            return Ok(Some(output));
        }
        let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if said.contains(NOT_FOUND) || complained.contains(NOT_FOUND) {
            return Ok(None);
        }
        // What it says on stdout may be a secret after all, where its last act failed.
        let why = if act == "get" && complained.trim().is_empty() && said.trim_start().starts_with('{') {
            String::new()
        } else {
            clean(&format!(": {said} {complained}"))
        };
        Err(self.error(format!("it ended with {}{why}", output.status)))
    }

    fn ask(&self, act: &str, input: &[u8]) -> io::Result<Output> {
        let mut command = Command::new(format!("docker-credential-{}", self.name));
        run_within(command.arg(act), input, DEADLINE)
    }

    fn error(&self, why: String) -> RegistryError {
        RegistryError::Helper {
            name: self.name.to_owned(),
            file: self.file.to_owned(),
            server: self.server.to_owned(),
            why,
        }
    }
}

/// Runs a command with this input, and kills it after `deadline`.
fn run_within(command: &mut Command, input: &[u8], deadline: Duration) -> io::Result<Output> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let input = input.to_vec();
    // Threads, because a full pipe blocks. A helper that knows its answer does not read its input.
    thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&input)));
    let (sender, outputs) = mpsc::channel();
    thread::spawn(move || {
        let errors = thread::spawn(move || {
            let mut message = Vec::new();
            // The exit status tells whether it is whole.
            let _ = stderr.map(|pipe| Budget::new(&budget::MESSAGE).read_start(pipe, &mut message));
            message
        });
        // At the limit the pipe is closed, and the helper ends.
        let output = stdout.map_or_else(|| Ok(Vec::new()), |pipe| Budget::new(&budget::CREDENTIALS).read(pipe));
        sender.send((output, errors.join().unwrap_or_default()))
    });
    // A process that it started may keep the pipes open, so they are not waited for longer.
    let Ok((stdout, stderr)) = outputs.recv_timeout(deadline) else {
        child.kill()?;
        child.wait()?;
        let why = format!("it did not answer within {} s", deadline.as_secs());
        return Err(io::Error::new(io::ErrorKind::TimedOut, why));
    };
    let status = child.wait()?;
    Ok(Output { status, stdout: stdout?, stderr })
}

impl fmt::Display for Helper<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "docker-credential-{}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn run(script: &str, deadline: Duration) -> io::Result<Output> {
        run_within(Command::new("sh").args(["-c", script]), b"input", deadline)
    }

    #[test]
    fn a_helper_without_an_answer_is_killed() {
        let began = Instant::now();
        for script in ["exec sleep 20", "while :; do echo x; sleep 0.05; done", "sleep 20 & wait"] {
            let error = run(script, Duration::from_millis(300)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{script}");
        }
        assert!(began.elapsed() < Duration::from_secs(15));
    }

    #[test]
    fn answers_are_read_to_their_end() {
        let output = run("cat; echo error >&2; exit 3", Duration::from_secs(60)).unwrap();
        assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"input"[..], &b"error\n"[..]));
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(run("head -c 300000 /dev/zero", Duration::from_secs(60)).unwrap().stdout.len(), 300_000);
    }
}
