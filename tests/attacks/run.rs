//! Runs the program as a child with an empty configuration.

use std::{
    path::Path,
    process::{Command, Output},
};

/// The program, without the user's credentials and configuration.
pub fn strata(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strata"));
    command.env("HOME", home).env("XDG_CACHE_HOME", home.join("cache")).env("DOCKER_CONFIG", home);
    for variable in ["REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "http_proxy", "HTTP_PROXY", "COSIGN_PASSWORD"] {
        command.env_remove(variable);
    }
    command
}

/// Returns the output of a run on both streams.
pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// The program with a limit of its memory (`setrlimit`, by the shell) and of its time.
pub fn limited_strata(home: &Path, megabytes: u32, seconds: u32) -> Command {
    let script = format!("ulimit -d {} && exec timeout {seconds} \"$@\"", megabytes * 1024);
    let program = strata(home);
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh"]).arg(program.get_program());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}
