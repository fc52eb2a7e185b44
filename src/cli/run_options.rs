//! The arguments of `strata run`: options of strata before and after the image, and options of the engine.

use std::ffi::OsString;

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::{Args, ValueEnum};

use super::{
    parse::parse_platform,
    source::{ImageArguments, SourceArguments},
};
use crate::{
    oci::Platform,
    run::{EngineName, options},
    transport::Location,
};

/// `strata run`
#[derive(Debug, Args)]
pub struct RunArguments {
    /// Any source of `copy`. The store paths of an image.json are mounted; other images are loaded.
    pub image: Location,
    /// The engine [default: docker, or podman if docker is not installed].
    #[arg(long, value_enum)]
    engine: Option<EngineArgument>,
    /// Load the whole image, as a copy to the engine does, and mount nothing.
    #[arg(long)]
    load: bool,
    /// Start a shell in the image's root and environment: the image's bash, or PROGRAM, a bash in the store.
    #[arg(long, value_name = "PROGRAM")]
    shell: Option<String>,
    /// Start a new container after each change of the flake's files, and stop the old one when the new one is up.
    #[arg(long)]
    watch: bool,
    /// With --watch: the new container is up when it listens on this port [default: a health check, or published ports].
    #[arg(long, value_name = "PORT", requires = "watch")]
    ready_port: Option<u16>,
    /// Print help.
    #[arg(long, action = clap::ArgAction::Help)]
    help: (),
    #[command(flatten)]
    pub source: ImageArguments,
    /// Options of the engine's `run`.
    #[arg(value_name = "ENGINE OPTIONS", allow_hyphen_values = true, num_args = 0..)]
    options: Vec<OsString>,
    /// The command and its arguments, instead of the image's own; with --shell, arguments of the shell.
    #[arg(value_name = "COMMAND", last = true)]
    command: Vec<OsString>,
}

/// An engine that runs containers.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum EngineArgument {
    Docker,
    Podman,
}

impl From<EngineArgument> for EngineName {
    fn from(argument: EngineArgument) -> Self {
        match argument {
            EngineArgument::Docker => Self::Docker,
            EngineArgument::Podman => Self::Podman,
        }
    }
}

/// The parsed command line.
#[derive(Debug)]
pub struct RunOptions {
    pub engine: Option<EngineName>,
    pub load: bool,
    pub shell: Option<String>,
    pub watch: bool,
    pub ready_port: Option<u16>,
    /// The platform to choose from a multi-platform image.
    pub platform: Option<Platform>,
    pub nix_arguments: Vec<String>,
    /// Options of the engine.
    pub engine_options: Vec<OsString>,
    /// The command and its arguments.
    pub command: Vec<OsString>,
}

impl RunOptions {
    /// Separates the options of strata from those of the engine, and both from the command.
    ///
    /// # Errors
    ///
    /// If an option lacks its value or contradicts another, or a word is not an option.
    pub fn parse(arguments: &RunArguments) -> Result<Self> {
        let (words, command) = arguments.split();
        let mut parsed_options = Self {
            engine: arguments.engine.map(EngineName::from),
            load: arguments.load,
            shell: arguments.shell.clone(),
            watch: arguments.watch,
            ready_port: arguments.ready_port,
            platform: arguments.source.platform.clone(),
            nix_arguments: Vec::new(),
            engine_options: Vec::new(),
            command,
        };
        let mut rest = words.into_iter();
        while let Some(word) = rest.next() {
            parsed_options.add(word, &mut rest)?;
        }
        options::check(&parsed_options.engine_options)?;
        ensure!(
            parsed_options.shell.is_none() || !options::has_option(&parsed_options.engine_options, "entrypoint"),
            "--entrypoint: --shell replaces the entrypoint; omit one of them"
        );
        parsed_options.check_watch()?;
        Ok(parsed_options)
    }

    fn check_watch(&self) -> Result<()> {
        if !self.watch {
            ensure!(self.ready_port.is_none(), "--ready-port: it is an option of --watch; omit it");
            return Ok(());
        }
        ensure!(self.shell.is_none(), "--shell: --watch passes no input on; omit one of them");
        ensure!(
            self.ready_port.is_none() || !options::has_option(&self.engine_options, "health-cmd"),
            "--ready-port: --health-cmd decides when the container is up; omit one of them"
        );
        ensure!(
            self.ready_port.is_none() || !options::is_in_host_network(&self.engine_options),
            "--ready-port: in the host's network, the old container has the port; use --health-cmd"
        );
        ensure!(
            !options::is_in_host_network(&self.engine_options) || !options::publishes(&self.engine_options),
            "--publish: a container in the host's network publishes no ports; omit one of them"
        );
        options::check_watch(&self.engine_options)
    }

    fn add(&mut self, word: OsString, rest: &mut impl Iterator<Item = OsString>) -> Result<()> {
        let Some((name, mut value)) = word.to_str().map(split_value) else {
            self.engine_options.push(word);
            return Ok(());
        };
        let mut value = |what: &str| {
            let next = || rest.next().map(|word| word.to_string_lossy().into_owned());
            value.take().or_else(next).with_context(|| format!("{name}: the value is missing; write {what}"))
        };
        match name {
            "--load" => self.load = true,
            "--watch" => self.watch = true,
            "--ready-port" => {
                let port = value("a port of the container")?;
                let fail = || format!("--ready-port {port}: not a port; write a number from 1 to 65535");
                self.ready_port = Some(port.parse().with_context(fail)?);
            }
            "--engine" => self.engine = Some(parse_engine(&value("docker or podman")?)?.into()),
            "--shell" => self.shell = Some(value("the path of a bash in the store")?),
            // The engine runs the loaded image, so it has no other to choose.
            "--platform" => {
                let text = value("a platform such as linux/arm64")?;
                self.platform = Some(parse_platform(&text).map_err(|error| anyhow!("--platform {text}: {error}"))?);
            }
            "--nix-arg" => self.nix_arguments.push(value("an argument of nix build")?),
            // The engine pulls nothing, and would ignore these flags.
            _ if is_source_flag(name) || name == "--jobs" => bail!("{name}: write it before the image"),
            _ => self.engine_options.push(word),
        }
        Ok(())
    }
}

/// Whether strata has this flag for opening the image.
fn is_source_flag(name: &str) -> bool {
    let command = SourceArguments::augment_args(clap::Command::new("source"));
    let is_flag = |long: &str| command.get_arguments().any(|argument| argument.get_long() == Some(long));
    name.strip_prefix("--").is_some_and(is_flag)
}

/// Splits a long option into its name and its value after `=`.
fn split_value(word: &str) -> (&str, Option<String>) {
    match word.split_once('=') {
        Some((name, value)) if word.starts_with("--") => (name, Some(value.to_owned())),
        _ => (word, None),
    }
}

fn parse_engine(name: &str) -> Result<EngineArgument> {
    EngineArgument::from_str(name, false).map_err(|_| anyhow!("--engine {name}: not an engine; write docker or podman"))
}

impl RunArguments {
    /// Returns the options, and the command after `--`, which is among the options if one precedes it.
    fn split(&self) -> (Vec<OsString>, Vec<OsString>) {
        let mut options = self.options.clone();
        let mut command = self.command.clone();
        if let Some(at) = options.iter().position(|option| option == "--") {
            command.splice(..0, options.drain(at..).skip(1));
        }
        (options, command)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    #[command(disable_help_flag = true)]
    struct Line {
        #[command(flatten)]
        run: RunArguments,
    }

    fn parsed(line: &str) -> Result<RunOptions> {
        RunOptions::parse(&Line::try_parse_from(["strata"].into_iter().chain(line.split(' ')))?.run)
    }

    #[test]
    fn options_of_the_engine_end_at_two_dashes() {
        let text = |words: &[OsString]| words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        for (line, options, command) in [
            ("image", "", ""),
            ("image -it -p 80:80", "-it -p 80:80", ""),
            ("image -- sh -c x -- y", "", "sh -c x -- y"),
            ("image -h name -- sh -c x -- --load", "-h name", "sh -c x -- --load"),
            ("--load image --network none --engine podman -e A=b", "--network none -e A=b", ""),
            ("image --engine=podman -it --load -- --engine", "-it", "--engine"),
            ("image --shell /b -e A=--load", "-e A=--load", ""),
            ("image --shell=/b --name=x -- -c y", "--name=x", "-c y"),
        ] {
            let parsed_options = parsed(line).unwrap();
            assert_eq!(
                (text(&parsed_options.engine_options).as_str(), text(&parsed_options.command).as_str()),
                (options, command),
                "{line}"
            );
            let before = line.split(" -- ").next().unwrap();
            assert_eq!(parsed_options.load, before.contains(" --load") || before.starts_with("--load"), "{line}");
            assert_eq!(parsed_options.engine.is_some(), line.contains("podman"), "{line}");
            assert_eq!(parsed_options.shell.as_deref(), line.contains("--shell").then_some("/b"), "{line}");
        }
    }

    #[test]
    fn the_platform_is_chosen_before_and_after_the_image() {
        for line in
            ["--platform linux/arm64 image -i", "image --platform linux/arm64", "image -i --platform=linux/arm64"]
        {
            let parsed_options = parsed(line).unwrap();
            assert_eq!(parsed_options.platform.unwrap().to_string(), "linux/arm64", "{line}");
            assert!(parsed_options.engine_options.iter().all(|option| option == "-i"), "{line}");
        }
    }

    #[test]
    fn options_without_values_and_contradictions_are_refused() {
        for (line, message) in [
            ("image -i --engine", "--engine: the value is missing; write docker or podman"),
            ("image -i --engine x", "--engine x: not an engine; write docker or podman"),
            ("image -i --shell", "--shell: the value is missing"),
            ("image -i --nix-arg", "--nix-arg: the value is missing"),
            ("image --shell /b --entrypoint x", "--entrypoint: --shell replaces the entrypoint; omit one of them"),
            ("image -i --ready-port 80", "--ready-port: it is an option of --watch; omit it"),
            ("image --watch --rm --ready-port x", "--ready-port x: not a port"),
            ("image --watch --ready-port 1 --health-cmd x", "--ready-port: --health-cmd decides"),
            ("image --watch --ready-port 1 --network host", "--ready-port: in the host's network"),
            (
                "image --watch -p 8080:80 --network host",
                "--publish: a container in the host's network publishes no ports",
            ),
            ("image --watch --net=host -p 80", "--publish: a container in the host's network publishes no ports"),
            ("image --watch --shell /b", "--shell: --watch passes no input on; omit one of them"),
            ("image --watch -it", "-i: --watch runs an old and a new container"),
            ("image -i --platform", "--platform: the value is missing; write a platform such as linux/arm64"),
            ("image -i --platform arm64", "--platform arm64: write it like linux/arm64"),
            ("image -i --creds u:p", "--creds: write it before the image"),
            ("image -i --tls-verify=false", "--tls-verify: write it before the image"),
            ("image -i --jobs 2", "--jobs: write it before the image"),
            ("image -i --via x", "--via: write it before the image"),
            ("image -i --daemon-host=x", "--daemon-host: write it before the image"),
            ("image -i --substituter x", "--substituter: write it before the image"),
            ("image sh", "sh: not an option of the engine"),
        ] {
            let error = parsed(line).unwrap_err().to_string();
            assert!(error.contains(message), "{line}: {error}");
        }
    }
}
