//! `strata run IMAGE [ENGINE OPTIONS] [-- COMMAND ARGUMENTS]`, and `strata compose-mounts IMAGE`

use std::{io::Write, process::ExitCode};

use anyhow::{Context, Error, Result};
use clap::Args;
use serde_json::json;

use super::{
    access::Access,
    run_options::{EngineArgument, RunArguments, RunOptions},
};
use crate::{
    image::Opened,
    run::{Engine, EngineName, Split, client::Container, shared::SharedImage, shell::Shell, signals::Forwarding},
    terminal::{self, note},
    transport::{Location, installable},
};

pub fn run(arguments: &RunArguments) -> Result<ExitCode> {
    let forwarding = Forwarding::start()?;
    let mut options = RunOptions::parse(arguments)?;
    installable::add_arguments(&options.nix_arguments);
    installable::check_arguments().map_err(Error::msg)?;
    let location = &arguments.image;
    let opened = location.open(&Access::default().source(&[location])?)?;
    let engine = Engine::choose(options.engine)?;
    let mut split = split(location, options.load, &opened, &engine)?;
    if let Some(program) = &options.shell {
        let shell = Shell::find(program, &engine, &mut split, &opened)?;
        options.engine_options.extend(shell.engine_options());
        options.command = shell.command(&options.command);
    }
    let image = SharedImage::prepare(&engine, &split.image, split.image.reference.as_deref())?;
    let container = Container {
        engine: engine.name(),
        mounts: &split.mounts,
        image: &image,
        options: &options.engine_options,
        command: &options.command,
    };
    container.run(&forwarding).map(ExitCode::from)
}

/// What is mounted of the image, and what is loaded.
pub fn split(location: &Location, load: bool, opened: &Opened, engine: &Engine) -> Result<Split> {
    let split = match opened {
        Opened::Recipe(recipe) if !load => match engine.cannot_mount()? {
            None => Split::from_recipe(recipe),
            Some(why) => {
                note!("{location}: loading the whole image: {why}");
                Ok(Split::whole(opened.image(None)?))
            }
        },
        _ => Ok(Split::whole(opened.image(None)?)),
    };
    split.with_context(|| format!("reading {location}"))
}

/// `strata compose-mounts`
#[derive(Debug, Args)]
pub struct ComposeArguments {
    /// Any source of `copy`. The store paths of an image.json are mounted; other images are loaded.
    image: Location,
    /// The service of the compose file.
    #[arg(long, value_name = "NAME")]
    service: String,
    /// The engine [default: docker, or podman if docker is not installed].
    #[arg(long, value_enum)]
    engine: Option<EngineArgument>,
}

pub fn compose(arguments: &ComposeArguments) -> Result<ExitCode> {
    let location = &arguments.image;
    let opened = location.open(&Access::default().source(&[location])?)?;
    let engine = Engine::choose(arguments.engine.map(EngineName::from))?;
    let split = split(location, false, &opened, &engine)?;
    let image = SharedImage::prepare(&engine, &split.image, split.image.reference.as_deref())?;
    let mount = |path| json!({ "type": "bind", "source": path, "target": path, "read_only": true });
    let volumes: Vec<_> = split.mounts.iter().map(|path| mount(path.as_str())).collect();
    let service = json!({ "image": image.name(), "pull_policy": "never", "volumes": volumes });
    let document = json!({ "services": { &arguments.service: service } });
    let mut out = terminal::stdout();
    serde_json::to_writer_pretty(out.exact(), &document).context("writing the compose file")?;
    writeln!(out)?;
    Ok(ExitCode::SUCCESS)
}
