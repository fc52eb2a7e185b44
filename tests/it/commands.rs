//! The program, and the list of its commands.

use std::process::Command;

/// Returns the output of the program, which must succeed.
pub fn strata(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_strata")).args(arguments).env("NO_COLOR", "1").output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The commands that `strata --help` lists.
pub fn commands() -> Vec<String> {
    let list = strata(&["--help"]);
    let commands: Vec<String> = list
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next().filter(|word| !word.is_empty()))
        .filter(|word| *word != "help" && !word.starts_with('-'))
        .map(str::to_owned)
        .collect();
    assert!(commands.iter().any(|it| it == "copy") && commands.iter().any(|it| it == "completions"), "{list}");
    commands
}
