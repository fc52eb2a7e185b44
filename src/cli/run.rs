//! `strata run IMAGE [ENGINE OPTIONS] [-- COMMAND ARGUMENTS]`, and `strata compose-mounts IMAGE`

use std::{
    io::Write,
    process::ExitCode,
    sync::{Arc, Once},
};

use anyhow::{Context, Error, Result, bail};
use clap::Args;
use serde_json::json;

use super::{
    run_options::{EngineArgument, RunArguments, RunOptions},
    source::{ImageArguments, SourceArguments},
};
use crate::{
    image::Opened,
    oci::Platform,
    run::{
        Engine, EngineName, Split,
        client::{self, Container},
        engine::StoreMounts,
        options, owners,
        ready::Readiness,
        relay::{Published, Relay},
        shared::SharedImage,
        shell::Shell,
        signals::Forwarding,
        sources::Sources,
        watch::{BuiltImage, WatchSettings, WatchedContainers},
    },
    terminal::{self, note},
    transport::{Location, installable},
};

pub fn run(arguments: &RunArguments) -> Result<ExitCode> {
    let forwarding = Forwarding::start()?;
    let mut options = RunOptions::parse(arguments)?;
    installable::add_arguments(&options.nix_arguments);
    installable::check_arguments().map_err(Error::msg)?;
    let location = &arguments.image;
    if options.watch {
        return watch(location, arguments.source.source.clone(), options, &forwarding);
    }
    let opened = &arguments.source.source.open(&[location])?[0];
    let engine = Engine::choose(options.engine)?;
    let mounts = || (!options.load).then(|| engine.mounts()).transpose();
    let mut split = split(location, options.platform.as_ref(), opened, mounts)?;
    if !split.mounts.is_empty() && options::restarts(&options.engine_options) {
        bail!(
            "--restart: the engine may start the container again when nothing keeps its mounted store paths from garbage \
             collection; add --load, which copies them"
        );
    }
    if let Some(program) = &options.shell {
        let shell = Shell::find(program, &engine, &mut split, opened)?;
        options.engine_options.extend(shell.engine_options());
        options.command = shell.command(&options.command);
    }
    let image = share(&engine, &split, opened)?;
    let container = Container {
        engine: engine.name(),
        mounts: &split.mounts,
        image: &image,
        options: &options.engine_options,
        command: &options.command,
        has_input: true,
    };
    container.start(&forwarding)?.wait().map(ExitCode::from)
}

/// Runs a container after each change of the sources.
fn watch(
    location: &Location,
    source: SourceArguments,
    options: RunOptions,
    forwarding: &Forwarding,
) -> Result<ExitCode> {
    let sources = Sources::open(installable::local_sources(&location.to_string())?)?;
    let engine = Arc::new(Engine::choose(options.engine)?);
    let (engine_options, published) = options::take_published(&options.engine_options)?;
    // The result is the same for all builds.
    let mounts = engine.mounts()?;
    if let StoreMounts::Impossible(why) = &mounts {
        check_ports(&published, options.ready_port, why)?;
    }
    let mounts = Some(mounts).filter(|_| !options.load);
    let relays = published.iter().map(Relay::start).collect::<Result<Vec<_>>>()?;
    let readiness = match options.ready_port {
        Some(port) => Readiness::Port(port),
        None if options::has_option(&engine_options, "health-cmd") => Readiness::Health,
        None => Readiness::Image(published.iter().map(|port| port.container).collect()),
    };
    let platform = options.platform;
    let (own_engine, location) = (Arc::clone(&engine), location.clone());
    let build = move || {
        let opened = &source.open(&[&location])?[0];
        let split = split(&location, platform.as_ref(), opened, || Ok(mounts.clone()))?;
        let image = share(&own_engine, &split, opened)?;
        Ok(BuiltImage { mounts: split.mounts, digest: split.image.digest(), image })
    };
    let settings = WatchSettings { engine, options: engine_options, command: options.command, readiness, relays };
    WatchedContainers::new(settings, Arc::new(build), forwarding).run(sources).map(ExitCode::from)
}

/// Refuses options that require the network of the container to be on this machine.
fn check_ports(published: &[Published], ready_port: Option<u16>, why: &str) -> Result<()> {
    let option = match (published.first(), ready_port) {
        (Some(port), _) => format!("--publish {}:{}", port.host, port.container),
        (None, Some(port)) => format!("--ready-port {port}"),
        (None, None) => return Ok(()),
    };
    bail!(
        "{option}: --watch needs an engine on this machine: {why}; use --health-cmd, or let the engine choose the port"
    )
}

/// Splits the image into mounted and loaded parts. Without `mounts`, everything is loaded.
pub fn split(
    location: &Location,
    platform: Option<&Platform>,
    opened: &Opened,
    mounts: impl FnOnce() -> Result<Option<StoreMounts>>,
) -> Result<Split> {
    let reading = || format!("reading {location}");
    // This reports an image of another platform, also for a recipe, which is opened separately.
    let image = opened.image(platform).with_context(reading)?;
    let Opened::Recipe(recipe) = opened else { return Ok(Split::whole(image)) };
    let users = match mounts()? {
        None => return Ok(Split::whole(image)),
        Some(StoreMounts::Impossible(why)) => {
            note!("{location}: loading the whole image: {why}");
            return Ok(Split::whole(image));
        }
        Some(StoreMounts::Possible { users }) => users,
    };
    let split = Split::from_recipe(recipe).with_context(reading)?;
    if let Some(difference) = owners::difference(&split.mounts, users) {
        // With --watch, the note is printed only once.
        static NOTE: Once = Once::new();
        NOTE.call_once(|| note!("{location}: {difference}"));
    }
    Ok(split)
}

/// Loads the image. A missing store path is named in the error, since engines report only the layer.
pub fn share(engine: &Engine, split: &Split, opened: &Opened) -> Result<SharedImage> {
    SharedImage::prepare(engine, &split.image, split.image.reference.as_deref()).map_err(|error| {
        let Opened::Recipe(recipe) = opened else { return error };
        let mut paths = recipe.layers.iter().flat_map(|layer| &layer.paths).map(|path| &path.path);
        match paths.find(|path| path.symlink_metadata().is_err()) {
            Some(gone) => {
                let gone = gone.display();
                error.context(format!("{gone} is not in the store any more; {}", client::remedy(&gone)))
            }
            None => error,
        }
    })
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
    #[command(flatten)]
    source: ImageArguments,
}

pub fn compose(arguments: &ComposeArguments) -> Result<ExitCode> {
    let location = &arguments.image;
    let opened = &arguments.source.source.open(&[location])?[0];
    let engine = Engine::choose(arguments.engine.map(EngineName::from))?;
    let split = split(location, arguments.source.platform.as_ref(), opened, || engine.mounts().map(Some))?;
    let image = share(&engine, &split, opened)?;
    let mount = |path| json!({ "type": "bind", "source": path, "target": path, "read_only": true });
    let volumes: Vec<_> = split.mounts.iter().map(|path| mount(path.as_str())).collect();
    let service = json!({ "image": image.name(), "pull_policy": "never", "volumes": volumes });
    let document = json!({ "services": { &arguments.service: service } });
    let mut out = terminal::stdout();
    serde_json::to_writer_pretty(out.exact(), &document).context("writing the compose file")?;
    writeln!(out)?;
    Ok(ExitCode::SUCCESS)
}
