//! Conventions of command lines.

use std::{fs, process::Command};

use crate::commands::{commands, strata};

#[test]
fn every_command_has_an_example_in_its_help() {
    for command in commands() {
        let help = strata(&[&command, "--help"]);
        assert!(help.contains(&format!("Examples:\n  strata {command} ")), "{command} has no example");
    }
    assert!(strata(&["m", "--help"]).contains("Examples:\n  m . /"));
}

/// Whether a line of help begins the entry of a flag; texts are indented further.
fn is_flag(line: &str) -> bool {
    let text = line.trim_start();
    text.starts_with('-') && line.len() - text.len() < 10
}

#[test]
fn every_flag_has_help() {
    for command in commands() {
        let help = strata(&[&command, "--help"]);
        let lines: Vec<&str> = help.lines().collect();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| is_flag(line)) {
            // The text is behind two blanks, or in the next line.
            let is_followed = lines.get(at + 1).is_some_and(|next| next.starts_with("          "));
            assert!(is_followed || line.trim_start().contains("  "), "{command}: no help for{line}");
        }
    }
}

#[test]
fn help_and_errors_have_no_colours() {
    assert!(!strata(&["copy", "--help"]).contains('\x1b'));
    let output = Command::new(env!("CARGO_BIN_EXE_strata")).arg("copy").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(!output.stderr.contains(&b'\x1b'));
}

#[test]
fn the_version_is_the_packages() {
    assert_eq!(strata(&["--version"]), format!("strata {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn shells_complete_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = strata(&["completions", shell]);
        for command in commands() {
            assert!(script.contains(&command), "{shell} does not complete {command}");
        }
    }
}

#[test]
fn every_command_has_a_man_page() {
    let directory = tempfile::tempdir().unwrap();
    strata(&["man", directory.path().to_str().unwrap()]);
    for command in commands() {
        let page = fs::read_to_string(directory.path().join(format!("strata-{command}.1"))).unwrap();
        assert!(page.starts_with(".ie") && page.contains(".SH SYNOPSIS"), "{command}: {page}");
    }
}

/// `-h` of the command with the most flags fits a screen; the rest is in `--help`.
#[test]
fn the_short_help_of_copy_fits_one_screen() {
    let run =
        |argument| Command::new(env!("CARGO_BIN_EXE_strata")).args(["copy", argument]).env("COLUMNS", "80").output();
    let text = |argument| String::from_utf8(run(argument).unwrap().stdout).unwrap();
    let (short, long) = (text("-h"), text("--help"));
    assert!(short.lines().count() <= 40, "{} lines:\n{short}", short.lines().count());
    assert!(short.lines().all(|line| line.chars().count() <= 80), "{short}");
    let flags = |help: &str| -> Vec<String> {
        let lines = help.lines().filter(|line| is_flag(line)).map(str::trim_start);
        let words = lines.filter_map(|line| line.split(' ').find(|word| word.starts_with("--")));
        words.map(|word| word.split(['[', '=']).next().unwrap().to_owned()).collect()
    };
    let (short, long) = (flags(&short), flags(&long));
    for flag in &short {
        assert!(long.contains(flag), "{flag} is not in --help");
        assert!(!flag.starts_with("--src-") && !flag.starts_with("--dest-"), "{flag} is for one side");
    }
    assert!(long.len() > 2 * short.len() && long.iter().any(|flag| flag == "--src-creds"), "{long:?}");
}

/// Flags of `serve --flake` have no effect on images that are named, so that they are refused.
#[test]
fn flags_of_flakes_are_refused_without_a_flake() {
    let help = strata(&["serve", "--help"]);
    let (_, group) = help.split_once("\nImages of a flake:\n").unwrap();
    let lines = group.lines().take_while(|line| line.is_empty() || line.starts_with(' '));
    let flags: Vec<&str> =
        lines.filter(|line| is_flag(line)).map(str::trim).filter(|line| !line.starts_with("--flake")).collect();
    assert!(flags.len() > 7, "{flags:?}");
    for flag in flags {
        let (name, has_value) = (flag.split(' ').next().unwrap(), flag.contains('<'));
        let arguments = if has_value { vec!["serve", name, "3", "oci:none"] } else { vec!["serve", name, "oci:none"] };
        let output = Command::new(env!("CARGO_BIN_EXE_strata")).args(&arguments).output().unwrap();
        let messages = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && messages.contains("cannot be used with"), "{name}: {messages}");
    }
}
