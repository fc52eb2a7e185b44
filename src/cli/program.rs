//! `strata program FILE ARGUMENTS…`: a script of arguments, whose interpreter is strata.
//!
//! ```text
//! #!/nix/store/…-strata/bin/strata program
//! copy
//! /nix/store/…-image-hello.json
//! docker://registry.example.com/hello:v1
//! ```
//!
//! Each line is an argument, and the arguments of the script follow. The copy programs of images are such scripts, so
//! they need no shell.

use std::{ffi::OsString, fs, path::Path};

use anyhow::{Context, Result, ensure};

/// Returns the command line of a script. A destination among the arguments that has the transport of the script's
/// destination replaces it: `copyToRegistry -- docker://HOST/NAME:TAG`.
pub fn command_line(script: &Path, arguments: Vec<OsString>) -> Result<Vec<OsString>> {
    let text = fs::read_to_string(script).with_context(|| format!("reading {}", script.display()))?;
    let mut lines: Vec<OsString> = text.lines().skip(1).map(OsString::from).collect();
    let mut arguments = arguments;
    if lines.first().is_some_and(|command| command == "copy") {
        replace_destination(&mut lines, &mut arguments);
    }
    let line: Vec<OsString> = [OsString::from("strata")].into_iter().chain(lines).chain(arguments).collect();
    ensure!(line.get(1).is_none_or(|command| command != "program"), "{} runs a script again", script.display());
    Ok(line)
}

/// Returns the help of the script: its own usage, and the options of its command. Returns `None` if there is no such
/// command.
pub fn help(script: &Path, line: &[OsString], program: clap::Command) -> Option<String> {
    let name = script.file_name()?.to_string_lossy().into_owned();
    let [_, command, fixed @ ..] = line else { return None };
    let command = command.to_str()?;
    let fixed: Vec<_> = fixed.iter().map(|argument| argument.to_string_lossy()).collect();
    let subcommand = program.find_subcommand(command)?.clone();
    let (about, usage) = match (command, fixed.as_slice()) {
        ("copy", [image, destination, ..]) if destination.contains(':') => {
            let transport = destination.split(':').next().unwrap_or_default();
            (
                format!("Copies {image} to {destination}, or to another {transport}: destination"),
                "[OPTIONS] [DESTINATION]",
            )
        }
        ("copy", [image, ..]) => (format!("Copies {image}"), "[OPTIONS] DESTINATION"),
        ("stream", [image, ..]) => {
            (format!("Writes {image} to stdout as an archive, for `| docker load`"), "[OPTIONS]")
        }
        _ => return None,
    };
    // Arguments in the script are not arguments of its user.
    let given: Vec<String> = subcommand.get_positionals().map(|argument| argument.get_id().to_string()).collect();
    let subcommand =
        given.iter().fold(subcommand, |subcommand, id| subcommand.mut_arg(id, |argument| argument.hide(true)));
    let mut subcommand =
        subcommand.about(about.clone()).long_about(about).after_help("").override_usage(format!("{name} {usage}"));
    Some(subcommand.render_long_help().to_string())
}

/// Moves the first argument with the transport of the destination, the third line, to its place.
fn replace_destination(lines: &mut [OsString], arguments: &mut Vec<OsString>) {
    let Some(destination) = lines.get_mut(2) else { return };
    let Some((transport, _)) = destination.to_str().and_then(|destination| destination.split_once(':')) else { return };
    let transport = format!("{transport}:");
    let given = arguments.iter().position(|argument| argument.to_string_lossy().starts_with(&transport));
    if let Some(given) = given {
        *destination = arguments.remove(given);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, arguments: &[&str]) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), format!("#!strata program\n{script}\n")).unwrap();
        let line = command_line(file.path(), arguments.iter().map(OsString::from).collect()).unwrap();
        line.iter().map(|argument| argument.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn scripts_have_a_help_of_their_own() {
        let help = |line: &[&str]| {
            let line: Vec<OsString> = line.iter().map(OsString::from).collect();
            help(
                Path::new("/nix/store/x/bin/copy-to-registry"),
                &line,
                <crate::cli::commands::Cli as clap::CommandFactory>::command(),
            )
        };
        let copy = help(&["strata", "copy", "/image", "docker://h/n:t"]).unwrap();
        assert!(copy.contains("Copies /image to docker://h/n:t, or to another docker: destination"), "{copy}");
        assert!(copy.contains("Usage: copy-to-registry [OPTIONS] [DESTINATION]"), "{copy}");
        assert!(copy.contains("--quiet") && !copy.contains("Examples:") && !copy.contains("strata copy"), "{copy}");
        let stream = help(&["strata", "stream", "/image"]).unwrap();
        assert!(stream.contains("Usage: copy-to-registry [OPTIONS]\n") && stream.contains("--repo-tag"), "{stream}");
        assert!(help(&["strata", "m"]).is_none());
    }

    #[test]
    fn a_destination_of_the_same_transport_replaces_that_of_the_script() {
        let registry = "copy\n/image\ndocker://name:tag\n--provenance";
        assert_eq!(run(registry, &[]), "strata copy /image docker://name:tag --provenance");
        assert_eq!(
            run(registry, &["--quiet", "docker://h/n:t"]),
            "strata copy /image docker://h/n:t --provenance --quiet"
        );
        assert_eq!(run("copy\n/image", &["docker://h/n:t"]), "strata copy /image docker://h/n:t");
        assert_eq!(
            run("copy\n/image\ndocker-daemon:n:t", &["docker-daemon:x:y"]),
            "strata copy /image docker-daemon:x:y"
        );
        assert_eq!(run("stream\n/image", &["docker://h/n"]), "strata stream /image docker://h/n");
    }
}
