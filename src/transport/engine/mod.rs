//! The commands of container engines (`docker`, `ctr`, `podman`), which run on this machine or through another command.
//!
//! ```text
//! containerd:    ctr …                                           on this machine
//!                k3s ctr …                    --via k3s
//!                docker exec -i NODE ctr …    --via kind          one for each node
//!                ssh host sudo ctr …          --via 'ssh host sudo ctr'
//! ```
//!
//! The value of `--via` is the beginning of a shell command line, as in git's `core.sshCommand`. The arguments follow
//! it. Bytes go through standard input and output, so any command that forwards these can be used.
//!
//! Some of these commands pass their arguments on unchanged: `docker exec`, `kubectl exec`, `k3s`, `sudo`, `nsenter`.
//! Others join them with spaces for the login shell on the other side: `ssh` (openssh-portable, ssh.c) and `minikube
//! ssh` (kubernetes/minikube, pkg/minikube/machine/ssh.go, which calls the `Shell` of libmachine's SSH client: the
//! native client joins them, the external one runs `ssh`). A quoted argument would be wrong for the first kind, an
//! unquoted one for the second, and the value of `--via` does not show which kind it is. Arguments therefore consist
//! only of characters that no shell interprets, which mean the same for both kinds. [`Tool`] refuses all others.

pub(crate) mod incoming;
mod loaded;

use std::{
    fs::File,
    io::{self, Write},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    thread::{self, JoinHandle},
};

use crate::{
    budget::{self, Budget},
    files::Scratch,
    layer,
};

/// Options for reaching an engine.
///
/// [Example](crate#transport).
#[derive(Clone, Debug, Default)]
pub struct EngineOptions {
    /// A command that replaces the engine's own, or a short form of one.
    pub via: Option<String>,
    /// The address of docker's daemon, which overrides `DOCKER_HOST`.
    pub host: Option<String>,
    /// containerd's namespace. The default is that of the command or of `CONTAINERD_NAMESPACE`.
    pub namespace: Option<String>,
    /// The snapshotter of containerd for which an image is unpacked. The default is that of the command or of
    /// `CONTAINERD_SNAPSHOTTER`.
    pub snapshotter: Option<String>,
}

/// The error of running a command of an engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The command could not be started.
    #[error("running {command}; is it installed?")]
    Start { command: String, source: io::Error },
    /// The command failed.
    #[error("{command}: {status}: {message}")]
    Failed {
        command: String,
        status: ExitStatus,
        /// The error output of the command.
        message: String,
    },
    /// A shell on the other side could interpret an argument.
    #[error(
        "running {command}: the argument {argument:?} has characters that a shell at the other end would interpret"
    )]
    Argument { command: String, argument: String },
    /// A short form of `--via` is malformed.
    #[error("--via {via}: {why}")]
    Via { via: String, why: &'static str },
    /// The input could not be made, or the output could not be stored.
    #[error("talking to {command}")]
    Io { command: String, source: io::Error },
}

/// The command of an engine.
#[derive(Debug)]
pub struct Tool {
    /// The command line in the syntax of the shell.
    command: String,
    /// Arguments before all others.
    first: Vec<String>,
    /// Whether a shell on the other side may interpret the arguments.
    may_reach_shell: bool,
    /// The directory with the socket of the connection that several runs of ssh share.
    _shared: Option<Scratch>,
}

impl Tool {
    /// Returns the command `via`, or the program of that name.
    pub fn new(program: &str, via: Option<&str>) -> Self {
        let command = via.unwrap_or(program).trim();
        let may_reach_shell = via.is_some();
        match command.strip_prefix("ssh ").and_then(|rest| Some((rest, shared_connection()?))) {
            Some((rest, folder)) => {
                let path = folder.path().display();
                let options = format!("-o ControlMaster=auto -o 'ControlPath={path}/%C' -o ControlPersist=5");
                let command = format!("ssh {options} {rest}");
                Self { command, first: Vec::new(), may_reach_shell, _shared: Some(folder) }
            }
            None => Self { command: command.to_owned(), first: Vec::new(), may_reach_shell, _shared: None },
        }
    }

    /// Adds `arguments` before all others.
    pub fn with(self, arguments: &[&str]) -> Self {
        Self { first: arguments.iter().map(|argument| (*argument).to_owned()).collect(), ..self }
    }

    /// Returns the command with these arguments.
    ///
    /// # Errors
    ///
    /// [`EngineError::Argument`].
    pub fn command(&self, arguments: &[&str]) -> Result<Command, EngineError> {
        if self.command.is_empty() {
            // The shell would run the first argument as a command: `images`, `load`.
            return Err(EngineError::Via { via: String::new(), why: "it is empty; omit it, or give a command" });
        }
        let all = || self.first.iter().map(String::as_str).chain(arguments.iter().copied());
        if let Some(argument) = all().find(|argument| self.may_reach_shell && !is_shell_word(argument)) {
            return Err(EngineError::Argument { command: self.command.clone(), argument: argument.to_owned() });
        }
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{} \"$@\"", self.command)).arg("sh").args(all());
        Ok(command)
    }

    /// Runs the command and returns its output.
    ///
    /// # Errors
    ///
    /// [`EngineError`].
    pub fn run(&self, arguments: &[&str]) -> Result<String, EngineError> {
        self.start(arguments, Stdio::null(), read_text)?.finish()
    }

    /// Runs the command with input, and returns its output.
    ///
    /// # Errors
    ///
    /// [`EngineError`]. If the command ended before it had read everything, the error has its messages.
    pub fn feed(
        &self,
        arguments: &[&str],
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<String, EngineError> {
        let mut running = self.start(arguments, Stdio::piped(), read_text)?;
        let mut input = running.child.stdin.take().expect("it is piped");
        if let Err(error) = write(&mut input)
            && !is_broken_pipe(&error)
        {
            // The command must not take a part of the input for all of it.
            let _ = running.child.kill();
            let _ = running.child.wait();
            return Err(self.talking(arguments, error));
        }
        drop(input);
        running.finish()
    }

    /// Runs the command, and returns its output in a nameless file.
    ///
    /// # Errors
    ///
    /// [`EngineError`].
    pub fn spool(&self, arguments: &[&str]) -> Result<File, EngineError> {
        self.start(arguments, Stdio::null(), layer::spool)?.finish()
    }

    /// Starts the command, and threads that read its output and its messages.
    fn start<T: Send + 'static>(
        &self,
        arguments: &[&str],
        input: Stdio,
        read: fn(ChildStdout) -> io::Result<T>,
    ) -> Result<RunningCommand<T>, EngineError> {
        let line = self.line(arguments);
        let mut command = self.command(arguments)?;
        let child = command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.map_err(|source| EngineError::Start { command: line.clone(), source })?;
        let (stdout, stderr) = (child.stdout.take().expect("it is piped"), child.stderr.take().expect("it is piped"));
        let out = thread::spawn(move || read(stdout));
        let message = thread::spawn(move || budget::read_message(stderr));
        Ok(RunningCommand { child, line, out, message })
    }

    fn talking(&self, arguments: &[&str], source: io::Error) -> EngineError {
        EngineError::Io { command: self.line(arguments), source }
    }

    fn line(&self, arguments: &[&str]) -> String {
        let first = self.first.iter().map(String::as_str);
        [self.command.as_str()].into_iter().chain(first).chain(arguments.iter().copied()).collect::<Vec<_>>().join(" ")
    }
}

/// Whether every shell reads `text` as one word without special characters.
pub fn is_shell_word(text: &str) -> bool {
    // zsh replaces a leading = and the command after it by the path of the command.
    !text.is_empty()
        && !text.starts_with('=')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./:=@,+".contains(&byte))
}

/// Whether the reader closed the pipe. The error may be wrapped in others.
fn is_broken_pipe(error: &io::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            return true;
        }
        cause = error
            .downcast_ref::<io::Error>()
            .and_then(|error| error.get_ref())
            .map_or(error.source(), |inner| Some(inner as &(dyn std::error::Error + 'static)));
    }
    false
}

/// Reads the output as text.
fn read_text(output: ChildStdout) -> io::Result<String> {
    let text = Budget::new(&budget::ENGINE_OUTPUT).read(output)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

struct RunningCommand<T> {
    child: Child,
    line: String,
    out: JoinHandle<io::Result<T>>,
    message: JoinHandle<Vec<u8>>,
}

impl<T> RunningCommand<T> {
    /// Waits for the end of the command, and returns its output.
    fn finish(mut self) -> Result<T, EngineError> {
        let line = self.line.clone();
        let talking = |source| EngineError::Io { command: line.clone(), source };
        let out = self.out.join().unwrap_or_else(|_| Err(io::Error::other("the thread that reads it ended")));
        if out.is_err() {
            // The command may go on writing, and processes that it started may keep its streams open.
            self.child.kill().map_err(talking)?;
        }
        let status = self.child.wait().map_err(talking)?;
        let out = out.map_err(talking)?;
        if status.success() {
            return Ok(out);
        }
        let message = String::from_utf8_lossy(&self.message.join().unwrap_or_default()).trim().to_owned();
        if status.code() == Some(127) {
            return Err(EngineError::Start { command: self.line, source: io::Error::other(message) });
        }
        Err(EngineError::Failed { command: self.line, status, message })
    }
}

/// Returns a directory for the socket of a connection, if its path is short enough.
fn shared_connection() -> Option<Scratch> {
    let folder = Scratch::create().ok()?;
    // The path of a socket has at most 108 bytes; ssh appends a hash and a random part.
    (folder.path().as_os_str().len() <= 40).then_some(folder)
}

/// Returns the commands that `via` stands for with containerd. A short form may stand for several nodes.
///
/// # Errors
///
/// If kind's nodes cannot be listed, or there is no node.
pub fn containerd_commands(via: Option<&str>) -> Result<Vec<Option<String>>, EngineError> {
    let Some(via) = via else { return Ok(vec![None]) };
    let (form, name) = via.split_once(':').map_or((via, None), |(form, name)| (form, Some(name)));
    let refuse = |why| Err(EngineError::Via { via: via.to_owned(), why });
    Ok(match (form, name) {
        ("k3s", None) => vec![Some("k3s ctr".to_owned())],
        ("k3s", Some(_)) => return refuse("k3s has one cluster; write --via k3s"),
        ("minikube", Some(name)) if !is_plain_name(name) => {
            return refuse("a profile's name has letters, digits and ._-");
        }
        ("minikube", name) => {
            let profile = name.map(|name| format!("-p {name} ")).unwrap_or_default();
            vec![Some(format!("minikube {profile}ssh -- sudo ctr -n k8s.io"))]
        }
        ("kind", Some(name)) if !is_plain_name(name) => return refuse("a cluster's name has letters, digits and ._-"),
        ("kind", name) => kind_nodes(name.unwrap_or("kind"))?
            .into_iter()
            .map(|node| Some(format!("docker exec -i {node} ctr -n k8s.io")))
            .collect(),
        _ => vec![Some(via.to_owned())],
    })
}

/// Whether `name` can be the name of a cluster, a profile or a container: a single word for a shell, and not an option.
fn is_plain_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Lists the nodes of a cluster by the labels of their containers, as kind does. Its load balancer runs no pods (kind's
/// pkg/cluster/internal/providers/docker/provider.go and pkg/cluster/nodeutils/roles.go).
fn kind_nodes(cluster: &str) -> Result<Vec<String>, EngineError> {
    let label = format!("label=io.x-k8s.kind.cluster={cluster}");
    let format = "{{.Names}} {{.Label \"io.x-k8s.kind.role\"}}";
    let docker = Tool::new("docker", None);
    let arguments = ["ps", "--filter", &label, "--format", format];
    let nodes: Vec<String> = docker
        .run(&arguments)?
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(name, role)| *role != "external-load-balancer" && is_plain_name(name))
        .map(|(name, _)| name.to_owned())
        .collect();
    if nodes.is_empty() {
        let why = format!("no kind cluster {cluster:?} is running; `kind get clusters` lists the clusters");
        return Err(docker.talking(&arguments, io::Error::other(why)));
    }
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_that_a_shell_would_interpret_are_refused() {
        let tool = Tool::new("ctr", Some("env"));
        for word in ["docker.io/library/a_b:1", "name==docker.io/a/b:1", "-n", "sha256:00", "a@sha256:00", "[::1"] {
            assert_eq!(tool.command(&[word]).is_ok(), word != "[::1", "{word}");
        }
        for word in [
            "", "a b", "$(id)", "`id`", "a;b", "a|b", "a&b", "a>b", "a<b", "a*b", "a?b", "~", "{a,b}", "a\\b", "a'b",
            "a\"b", "a#b", "a!b", "a\nb", "=ls", "é", "%a", "^a",
        ] {
            let error = tool.command(&[word]).unwrap_err();
            assert!(matches!(error, EngineError::Argument { .. }), "{word:?}: {error}");
            assert!(Tool::new("ctr", Some("env")).with(&[word]).command(&[]).is_err(), "{word:?}");
            // Without --via, no other shell reads the arguments.
            assert!(Tool::new("ctr", None).command(&[word]).is_ok(), "{word:?}");
        }
    }

    #[test]
    fn an_empty_via_is_not_the_first_argument() {
        for via in ["", " "] {
            let error = Tool::new("podman", Some(via)).command(&["images"]).unwrap_err();
            assert_eq!(error.to_string(), "--via : it is empty; omit it, or give a command");
        }
    }

    #[test]
    fn short_forms_of_via_take_names_and_nothing_else() {
        let commands = |via| containerd_commands(Some(via)).map_err(|error| error.to_string());
        assert_eq!(
            commands("minikube:a.b-c"),
            Ok(vec![Some("minikube -p a.b-c ssh -- sudo ctr -n k8s.io".to_owned())])
        );
        assert_eq!(commands("k3s"), Ok(vec![Some("k3s ctr".to_owned())]));
        for via in ["minikube:a b", "minikube:$(id)", "minikube:", "minikube:-x", "kind:a;b", "kind:", "k3s:x"] {
            assert!(commands(via).unwrap_err().starts_with(&format!("--via {via}: ")), "{via}");
        }
    }
}
