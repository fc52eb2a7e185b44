//! `strata program FILE ARGUMENTS…`: a script of arguments, whose interpreter is strata.
//!
//! ```text
//! #!/nix/store/…-strata/bin/strata program
//! copy
//! /nix/store/…-image-hello.json
//! docker://registry.example.com/hello:v1
//! ```
//!
//! A line is an argument, and those that the script is run with follow. The copy programs of images are such scripts: they
//! need no shell.

use std::{ffi::OsString, fs, path::Path};

use anyhow::{Context, Result, ensure};

/// The command line that the script stands for.
pub fn command_line(script: &Path, arguments: Vec<OsString>) -> Result<Vec<OsString>> {
    let text = fs::read_to_string(script).with_context(|| format!("reading {}", script.display()))?;
    let lines = text.lines().skip(1).map(OsString::from);
    let line: Vec<OsString> = [OsString::from("strata")].into_iter().chain(lines).chain(arguments).collect();
    ensure!(line.get(1).is_none_or(|command| command != "program"), "{} runs a script again", script.display());
    Ok(line)
}
