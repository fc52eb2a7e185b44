//! `strata skopeo ARGUMENTS…`: the command line of nix2container's `skopeo-nix2container`, as a command line of strata.
//!
//! ```text
//! skopeo --insecure-policy --tmpdir /tmp copy -a nix:/nix/store/…-image.json docker://HOST/NAME:TAG
//! strata copy --all /nix/store/…-image.json docker://HOST/NAME:TAG
//! ```
//!
//! Options without a meaning here are dropped if that is harmless, and refused with the reason otherwise. (skopeo:
//! docs/skopeo.1.md, docs/skopeo-copy.1.md, docs/skopeo-inspect.1.md)

use std::{collections::VecDeque, ffi::OsString};

use anyhow::{Context, Result, bail, ensure};

use super::{commands::Command, copy_arguments::CopyArguments};
use crate::transport::Location;

/// The treatment of an option.
enum Treatment {
    /// Removed, with its value if it takes one: it has no effect here.
    Drop { takes_value: bool },
    /// Moved after the command, with its value.
    Move,
    /// An error with this reason.
    Refuse(&'static str),
    /// Kept unchanged.
    Keep,
}

fn global(name: &str) -> Treatment {
    match name {
        "--debug" | "--insecure-policy" => Treatment::Drop { takes_value: false },
        // strata keeps temporary files next to its output, and its requests have their own timeouts.
        "--command-timeout" | "--tmpdir" | "--user-agent-prefix" => Treatment::Drop { takes_value: true },
        "--override-arch" | "--override-os" | "--override-variant" => Treatment::Move,
        "--policy" => Treatment::Refuse("strata reads no policy files; use --verify-key FILE to require a signature"),
        "--registries.d" => Treatment::Refuse("strata reads no registries.d; it has no signature storage to configure"),
        _ => Treatment::Keep,
    }
}

fn copy_treatment(name: &str) -> Treatment {
    match name {
        // strata copies signatures only with --referrers, and checks for existing layers before each upload.
        "--remove-signatures" | "--dest-precompute-digests" => Treatment::Drop { takes_value: false },
        // Options for a limit, and for the default compression of layers in directories.
        "--image-parallel-copies" => Treatment::Drop { takes_value: true },
        "--dest-compress" | "--dest-oci-accept-uncompressed-layers" => Treatment::Drop { takes_value: false },
        "--dest-decompress" => {
            Treatment::Refuse("strata does not decompress layers; those of images from the Nix store are uncompressed")
        }
        "--dest-shared-blob-dir" | "--src-shared-blob-dir" => {
            Treatment::Refuse("layouts of strata hold their own blobs; copy to one layout with several tags instead")
        }
        "--sign-by" => Treatment::Refuse("strata writes no GPG signatures; use --sign-key"),
        _ => Treatment::Keep,
    }
}

/// Converts the arguments of skopeo to those of strata.
pub fn command_line(arguments: Vec<OsString>) -> Result<Vec<OsString>> {
    let mut rest: VecDeque<String> = arguments
        .into_iter()
        .map(|argument| argument.into_string().map_err(|argument| anyhow::anyhow!("{argument:?} is not UTF-8")))
        .collect::<Result<_>>()?;
    let mut moved = Vec::new();
    let command = loop {
        let Some(argument) = rest.pop_front() else {
            return Ok(["strata", "--help"].map(OsString::from).to_vec());
        };
        if !argument.starts_with('-') {
            break argument;
        }
        if !apply(&argument, global, &mut rest, &mut moved)? {
            return Ok([OsString::from("strata"), argument.into()].to_vec());
        }
    };
    let mut line = vec!["strata".to_owned()];
    match command.as_str() {
        "copy" => {
            line.push(command);
            let overrides = line.len()..line.len() + moved.len();
            line.extend(moved);
            copy(rest, &mut line)?;
            // With --all these have no effect, since every image of an index is copied (docs/skopeo-copy.1.md).
            if line.iter().any(|argument| argument == "--all") {
                line.drain(overrides);
            }
        }
        "inspect" => {
            ensure!(moved.is_empty(), "{} is for `copy`; `inspect` shows every platform", moved[0]);
            inspect(rest, &mut line)?;
        }
        "login" | "logout" => {
            line.push(command);
            line.extend(rest);
        }
        "list-tags" => {
            ensure!(moved.is_empty(), "{} is for `copy`; tags are of no platform", moved[0]);
            line.push(command);
            line.extend(rest);
        }
        "delete" => bail!(
            "skopeo-nix2container deletes nothing from registries: the manifest of a tag may be that of other tags, which are \
             deleted with it; use the registry's own interface, or skopeo"
        ),
        "sync" | "manifest-digest" | "standalone-sign" | "standalone-verify" => {
            bail!("skopeo-nix2container has no `{command}`; use skopeo for it")
        }
        // Commands of strata itself.
        _ => {
            line.push(command);
            line.extend(moved);
            line.extend(rest.into_iter().map(without_nix));
        }
    }
    Ok(line.into_iter().map(OsString::from).collect())
}

/// Omits flags for registries and daemons without an effect on these images, as skopeo ignores them. strata's own
/// commands refuse them.
pub fn omit_flags_without_effect(command: &mut Command) {
    match command {
        Command::Copy(arguments) => {
            let CopyArguments { image: Some(image), destination: Some(destination), access, .. } = &mut **arguments
            else {
                return;
            };
            let source = (image.registry_host().is_some(), may_ask_registry(image));
            access.omit_flags_without_effect(source, destination.is_registry());
        }
        Command::Inspect { image, source, .. } => {
            source.source.omit_flags_without_effect(image.registry_host().is_some(), may_ask_registry(image));
        }
        _ => {}
    }
}

/// Whether layers may come from a registry. The transports of skopeo itself read no recipes.
fn may_ask_registry(image: &Location) -> bool {
    image.registry_host().is_some() || image.transport().is_none()
}

/// Applies the treatment of an option. Returns false for an unknown option. The value of `--name=value` or the next
/// argument belongs to an option that takes one.
fn apply(
    argument: &str,
    treatment: impl Fn(&str) -> Treatment,
    rest: &mut VecDeque<String>,
    moved: &mut Vec<String>,
) -> Result<bool> {
    let (name, value) =
        argument.split_once('=').map_or((argument, None), |(name, value)| (name, Some(value.to_owned())));
    let mut take = || value.clone().or_else(|| rest.pop_front()).with_context(|| format!("{name} has no value"));
    match treatment(name) {
        Treatment::Drop { takes_value: false } => {}
        Treatment::Drop { takes_value: true } => drop(take()?),
        Treatment::Move => moved.extend([name.to_owned(), take()?]),
        Treatment::Refuse(reason) => bail!("{name}: {reason}"),
        Treatment::Keep => return Ok(false),
    }
    Ok(true)
}

fn copy(mut rest: VecDeque<String>, line: &mut Vec<String>) -> Result<()> {
    while let Some(argument) = rest.pop_front() {
        if argument == "-a" {
            line.push("--all".to_owned());
        } else if argument == "--multi-arch" || argument.starts_with("--multi-arch=") {
            let value = argument.split_once('=').map(|(_, value)| value.to_owned()).or_else(|| rest.pop_front());
            match value.as_deref() {
                Some("all") => line.push("--all".to_owned()),
                Some("system") => {}
                Some("index-only") => bail!("--multi-arch index-only: strata copies an index with its images; use all"),
                _ => bail!("--multi-arch is system or all"),
            }
        } else if !apply(&argument, copy_treatment, &mut rest, line)? {
            line.push(without_nix(argument));
        }
    }
    Ok(())
}

fn inspect(rest: VecDeque<String>, line: &mut Vec<String>) -> Result<()> {
    line.push("inspect".to_owned());
    let is_given = |names: &[&str]| rest.iter().any(|argument| names.iter().any(|name| argument == name));
    let is_raw = is_given(&["--raw"]);
    let has_template = is_given(&["-f", "--format"]) || rest.iter().any(|argument| argument.starts_with("--format="));
    ensure!(!(is_raw && has_template), "raw output does not support format option");
    // JSON is the default, of the image or with --config of its config.
    if !is_raw && !has_template {
        line.extend(["--format".to_owned(), "json".to_owned()]);
    }
    let mut rest = rest;
    while let Some(argument) = rest.pop_front() {
        match argument.as_str() {
            "--no-tags" | "-n" if is_raw => {}
            "-n" => line.push("--no-tags".to_owned()),
            "-f" | "--format" => {
                let template = rest.pop_front().with_context(|| format!("{argument} has no value"))?;
                line.extend(["--format".to_owned(), template]);
            }
            _ => line.push(without_nix(argument)),
        }
    }
    Ok(())
}

/// Removes nix2container's transport for image.json, which strata recognises by its contents.
fn without_nix(argument: String) -> String {
    argument.strip_prefix("nix:").map_or(argument.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(line: &str) -> Result<String> {
        let arguments = line.split_whitespace().map(OsString::from).collect();
        let line = command_line(arguments)?;
        Ok(line.iter().map(|argument| argument.to_string_lossy()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn options_without_meaning_are_dropped_with_their_values() {
        for (skopeo, strata) in [
            ("--insecure-policy copy nix:/i docker://h/n:t", "strata copy /i docker://h/n:t"),
            ("--tmpdir /tmp --debug --command-timeout=1m copy nix:/i oci:x", "strata copy /i oci:x"),
            ("--override-os linux copy -a /i oci:x", "strata copy --all /i oci:x"),
            (
                "--override-arch arm64 --override-os=linux copy /i oci:x",
                "strata copy --override-arch arm64 --override-os linux /i oci:x",
            ),
            ("copy -a --multi-arch all --remove-signatures /i oci:x", "strata copy --all --all /i oci:x"),
            (
                "copy --multi-arch=system --dest-precompute-digests --image-parallel-copies 4 /i dir:x",
                "strata copy /i dir:x",
            ),
            ("copy --dest-creds u:p nix:/i docker://h/n", "strata copy --dest-creds u:p /i docker://h/n"),
            ("inspect nix:/i", "strata inspect --format json /i"),
            ("inspect --raw -n nix:/i", "strata inspect --raw /i"),
            ("inspect --config -n nix:/i", "strata inspect --format json --config --no-tags /i"),
            ("inspect --config --raw /i", "strata inspect --config --raw /i"),
            ("inspect -f {{.Digest}} nix:/i", "strata inspect --format {{.Digest}} /i"),
            ("inspect --config --format={{.Os}} /i", "strata inspect --config --format={{.Os}} /i"),
            ("list-tags docker://h/n", "strata list-tags docker://h/n"),
            ("--debug login --username me h", "strata login --username me h"),
            ("", "strata --help"),
            ("--version", "strata --version"),
        ] {
            assert_eq!(translated(skopeo).unwrap(), strata, "{skopeo}");
        }
    }

    #[test]
    fn options_that_would_be_ignored_to_harm_are_refused() {
        for (skopeo, reason) in [
            ("--policy /p copy /i oci:x", "--policy: strata reads no policy files"),
            ("--registries.d=/d copy /i oci:x", "--registries.d: "),
            ("copy --dest-shared-blob-dir /d /i oci:x", "--dest-shared-blob-dir: "),
            ("copy --dest-decompress /i dir:x", "--dest-decompress: "),
            ("copy --multi-arch index-only /i oci:x", "--multi-arch index-only: "),
            ("inspect --format", "--format has no value"),
            ("delete docker://h/n:t", "deletes nothing from registries"),
            ("--override-arch arm64 inspect /i", "--override-arch is for `copy`"),
            ("--tmpdir", "--tmpdir has no value"),
        ] {
            let error = translated(skopeo).unwrap_err().to_string();
            assert!(error.contains(reason), "{skopeo}: {error}");
        }
    }
}
