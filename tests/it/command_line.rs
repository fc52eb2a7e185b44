//! What every command line is expected to have.

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

#[test]
fn every_flag_has_help() {
    for command in commands() {
        for line in strata(&[&command, "--help"]).lines() {
            assert!(!line.ends_with(' '), "{command}: no help for{line}");
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
