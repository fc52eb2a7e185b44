//! Credential helpers: programs that store credentials
//! ([protocol](https://github.com/docker/docker-credential-helpers/blob/master/README.md#development)):
//!
//! ```text
//! $ echo registry.example.com | docker-credential-pass get
//! {"ServerURL":"registry.example.com","Username":"me","Secret":"…"}
//! ```
//!
//! A helper without credentials for the host fails with "credentials not found in native keychain", which is not an
//! error.

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

/// The timeout of a helper, which may ask the user for a passphrase.
const DEADLINE: Duration = Duration::from_secs(120);
/// The message for missing credentials (docker-credential-helpers, credentials/error.go).
const NOT_FOUND: &str = "credentials not found in native keychain";
/// The user of an entry whose secret is a refresh token (docker/cli, cli/config/credentials/native_store.go).
const IDENTITY: &str = "<token>";

/// A helper that a file configures for a registry.
#[derive(Clone, Copy, Debug)]
pub struct Helper<'a> {
    /// The name without `docker-credential-`.
    pub name: &'a str,
    /// The file that configures the helper.
    pub file: &'a Path,
    /// The name of the registry for the helper.
    pub server: &'a str,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct HelperEntry {
    #[serde(rename = "ServerURL", default)]
    server_url: String,
    username: String,
    secret: String,
}

impl Helper<'_> {
    /// Returns the credentials, if the helper has some.
    pub fn get(&self) -> Result<Option<Credentials>> {
        let Some(output) = self.run("get", self.server.as_bytes())? else { return Ok(None) };
        let malformed = |_| self.error("it answered something other than credentials".to_owned());
        let HelperEntry { username, secret, .. } = serde_json::from_slice(&output.stdout).map_err(malformed)?;
        Ok(match username.as_str() {
            "" if secret.is_empty() => None,
            IDENTITY => Some(Credentials::Identity(String::new(), secret)),
            _ => Some(Credentials::Basic(username, secret)),
        })
    }

    /// Stores credentials.
    pub fn store(&self, username: &str, secret: &str) -> Result<()> {
        let entry = HelperEntry {
            server_url: self.server.to_owned(),
            username: username.to_owned(),
            secret: secret.to_owned(),
        };
        let entry = serde_json::to_vec(&entry).map_err(|error| self.error(error.to_string()))?;
        self.run("store", &entry).map(drop)
    }

    /// Removes the credentials. Returns whether there were some.
    pub fn erase(&self) -> Result<bool> {
        Ok(self.run("erase", self.server.as_bytes())?.is_some())
    }

    /// Runs the helper. Returns `None` if it has no credentials.
    fn run(&self, act: &str, input: &[u8]) -> Result<Option<Output>> {
        // The helper is searched in PATH, so its name must not be a path.
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
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if stdout.contains(NOT_FOUND) || stderr.contains(NOT_FOUND) {
            return Ok(None);
        }
        // The output of a failed helper may contain a secret.
        let why = if act == "get" && stderr.trim().is_empty() && stdout.trim_start().starts_with('{') {
            String::new()
        } else {
            clean(&format!(": {stdout} {stderr}"))
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
    // The pipes have their own threads, since a full pipe blocks. A helper may answer without reading its input.
    thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&input)));
    let (sender, outputs) = mpsc::channel();
    thread::spawn(move || {
        let errors = thread::spawn(move || {
            let mut message = Vec::new();
            // The exit status shows whether the output is complete.
            let _ = stderr.map(|pipe| Budget::new(&budget::MESSAGE).read_start(pipe, &mut message));
            message
        });
        // The pipe is closed at the limit, which ends the helper.
        let output = stdout.map_or_else(|| Ok(Vec::new()), |pipe| Budget::new(&budget::CREDENTIALS).read(pipe));
        sender.send((output, errors.join().unwrap_or_default()))
    });
    // A process that the helper started may keep the pipes open, so there is a limit for waiting.
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
        let start = Instant::now();
        for script in ["exec sleep 20", "while :; do echo x; sleep 0.05; done", "sleep 20 & wait"] {
            let error = run(script, Duration::from_millis(300)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{script}");
        }
        assert!(start.elapsed() < Duration::from_secs(15));
    }

    #[test]
    fn answers_are_read_to_their_end() {
        let output = run("cat; echo error >&2; exit 3", Duration::from_secs(60)).unwrap();
        assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"input"[..], &b"error\n"[..]));
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(run("head -c 300000 /dev/zero", Duration::from_secs(60)).unwrap().stdout.len(), 300_000);
    }
}
