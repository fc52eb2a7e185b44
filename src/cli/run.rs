//! `strata run IMAGE [ENGINE OPTIONS] [-- COMMAND ARGUMENTS]`

use std::{ffi::OsString, process::ExitCode};

use anyhow::{Context, Error, Result, anyhow};
use clap::{Args, ValueEnum};

use super::access::Access;
use crate::{
    image::Opened,
    run::{Engine, EngineName, Split, client::Container, options, shared::SharedImage, signals::Forwarding},
    terminal::note,
    transport::{Location, installable},
};

/// `strata run`
#[derive(Debug, Args)]
pub struct RunArguments {
    /// Any source of `copy`. The store paths of an image.json are mounted; other images are loaded.
    image: Location,
    /// The engine [default: docker, or podman if docker is not installed].
    #[arg(long, value_enum)]
    engine: Option<EngineArgument>,
    /// Load the whole image, as a copy to the engine does, and mount nothing.
    #[arg(long)]
    load: bool,
    /// Print help.
    #[arg(long, action = clap::ArgAction::Help)]
    help: (),
    /// Options of the engine's `run`.
    #[arg(value_name = "ENGINE OPTIONS", allow_hyphen_values = true, num_args = 0..)]
    options: Vec<OsString>,
    /// The command and its arguments, instead of the image's own.
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

impl RunArguments {
    /// The options, and the command after `--`, which is among the options if one precedes it.
    fn split(&self) -> (Vec<OsString>, Vec<OsString>) {
        let mut options = self.options.clone();
        let mut command = self.command.clone();
        if let Some(at) = options.iter().position(|option| option == "--") {
            command.splice(..0, options.drain(at..).skip(1));
        }
        (options, command)
    }
}

/// The options of strata itself, which may also follow the image.
#[derive(Debug)]
struct OwnOptions {
    engine: Option<EngineArgument>,
    load: bool,
    nix_arguments: Vec<String>,
}

impl OwnOptions {
    /// Those before the image, and those that are taken out of `options`.
    fn take(arguments: &RunArguments, options: &mut Vec<OsString>) -> Result<Self> {
        let mut own = Self { engine: arguments.engine, load: arguments.load, nix_arguments: Vec::new() };
        let mut others = Vec::new();
        let mut rest = std::mem::take(options).into_iter();
        while let Some(option) = rest.next() {
            match option.to_str() {
                Some("--load") => own.load = true,
                Some("--engine") => {
                    let name = rest.next().context("--engine: the name is missing; write docker or podman")?;
                    own.engine = Some(parse_engine(&name.to_string_lossy())?);
                }
                Some("--nix-arg") => {
                    let argument = rest.next().context("--nix-arg: the argument is missing")?;
                    own.nix_arguments.push(argument.to_string_lossy().into_owned());
                }
                Some(text) if text.starts_with("--nix-arg=") => own.nix_arguments.push(text[10..].to_owned()),
                Some(text) if text.starts_with("--engine=") => own.engine = Some(parse_engine(&text[9..])?),
                _ => others.push(option),
            }
        }
        *options = others;
        Ok(own)
    }
}

fn parse_engine(name: &str) -> Result<EngineArgument> {
    EngineArgument::from_str(name, false).map_err(|_| anyhow!("--engine {name}: not an engine; write docker or podman"))
}

pub fn run(arguments: &RunArguments) -> Result<ExitCode> {
    let forwarding = Forwarding::start()?;
    let (mut options, command) = arguments.split();
    let own = OwnOptions::take(arguments, &mut options)?;
    options::check(&options)?;
    installable::add_arguments(&own.nix_arguments);
    installable::check_arguments().map_err(Error::msg)?;
    let location = &arguments.image;
    let opened = location.open(&Access::default().source(&[location])?)?;
    let engine = Engine::choose(own.engine.map(EngineName::from))?;
    let split = split(location, own.load, &opened, &engine).with_context(|| format!("reading {location}"))?;
    let image = SharedImage::prepare(&engine, &split.image, split.image.reference.as_deref())?;
    let container =
        Container { engine: engine.name(), mounts: &split.mounts, image: &image, options: &options, command: &command };
    container.run(&forwarding).map(ExitCode::from)
}

/// What is mounted of the image, and what is loaded.
fn split(location: &Location, load: bool, opened: &Opened, engine: &Engine) -> Result<Split> {
    match opened {
        Opened::Recipe(recipe) if !load => match engine.cannot_mount()? {
            None => Split::from_recipe(recipe),
            Some(why) => {
                note!("{location}: loading the whole image: {why}");
                Ok(Split::whole(opened.image(None)?))
            }
        },
        _ => Ok(Split::whole(opened.image(None)?)),
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

    fn parsed(line: &str) -> (String, String, OwnOptions) {
        let arguments = Line::parse_from(["strata"].into_iter().chain(line.split(' '))).run;
        let (mut options, command) = arguments.split();
        let own = OwnOptions::take(&arguments, &mut options).unwrap();
        let text = |words: &[OsString]| words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        (text(&options), text(&command), own)
    }

    #[test]
    fn options_of_the_engine_end_at_two_dashes() {
        for (line, options, command) in [
            ("image", "", ""),
            ("image -it -p 80:80", "-it -p 80:80", ""),
            ("image -- sh -c x -- y", "", "sh -c x -- y"),
            ("image -h name -- sh -c x -- --load", "-h name", "sh -c x -- --load"),
            ("--load image --network none --engine podman -e A=b", "--network none -e A=b", ""),
            ("image --engine=podman -it --load -- --engine", "-it", "--engine"),
        ] {
            let (found, run, own) = parsed(line);
            assert_eq!((found.as_str(), run.as_str()), (options, command), "{line}");
            assert_eq!(own.load, line.split(" -- ").next().unwrap().contains("--load"), "{line}");
            assert_eq!(own.engine.is_some(), line.contains("podman"), "{line}");
        }
    }
}
