//! `strata run --watch`: starts a new container after each change of a flake's sources.
//!
//! ```text
//! sources change ──▶ nix build ──▶ small image ──▶ new container ──▶ up? ──▶ the old one is stopped
//! │                              └── it ended, or its health check failed: the old one stays
//! └── failed: the old one stays
//! ```
//!
//! One thread handles the events in order. Other threads wait for the sources, a build, each client and each new
//! container.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{
    Engine,
    client::Container,
    engine,
    ready::{self, Readiness},
    relay::Relay,
    shared::SharedImage,
    signals::Forwarding,
    sources::Sources,
};
use crate::{closure::StorePath, files, oci::Digest, terminal::note};

/// The time in which containers must end after a signal. It is that of `docker stop`.
const GRACE: Duration = Duration::from_secs(10);
/// The interval in which a container is stopped whose client runs.
const INTERVAL: Duration = Duration::from_millis(100);

/// An image that is ready to run.
pub struct BuiltImage {
    /// The mounted store paths.
    pub mounts: Vec<StorePath>,
    /// The digest of the loaded image.
    pub digest: Digest,
    /// The loaded image.
    pub image: SharedImage,
}

/// Builds the image from the current sources.
pub type BuildFunction = dyn Fn() -> Result<BuiltImage> + Send + Sync;

/// The settings of all containers.
pub struct WatchSettings {
    pub engine: Arc<Engine>,
    /// Options of the engine.
    pub options: Vec<OsString>,
    /// The command and its arguments, which replace those of the image.
    pub command: Vec<OsString>,
    /// The condition for replacing the old container.
    pub readiness: Readiness,
    /// Ports that switch from one container to the next.
    pub relays: Vec<Relay>,
}

enum Event {
    Changed(Result<()>),
    Built(Result<BuiltImage>),
    Up(u64, Result<String, String>),
    Ended(u64, Result<u8>),
    Signal(i32),
}

/// A container that runs or is being stopped.
struct Generation {
    label: String,
    image: SharedImage,
    /// Whether nothing waits any more until the container is up.
    is_over: Arc<AtomicBool>,
    /// Whether the client has ended.
    has_ended: Arc<AtomicBool>,
}

/// The containers of one command.
pub struct WatchedContainers {
    settings: WatchSettings,
    build: Arc<BuildFunction>,
    forwarding: Forwarding,
    sender: Sender<Event>,
    events: Receiver<Event>,
    generations: BTreeMap<u64, Generation>,
    /// The number of the container that is up.
    current: Option<u64>,
    /// The number of the container that will replace it.
    next: Option<u64>,
    count: u64,
    newest: Option<(Digest, Vec<StorePath>)>,
    is_building: bool,
    has_changed: bool,
    /// The signal that ends the command, and the time at which containers are killed.
    end: Option<(i32, Instant)>,
    status: Option<u8>,
}

impl WatchedContainers {
    /// Prepares the first container.
    pub fn new(settings: WatchSettings, build: Arc<BuildFunction>, forwarding: &Forwarding) -> Self {
        let (sender, events) = mpsc::channel();
        Self {
            settings,
            build,
            forwarding: forwarding.clone(),
            sender,
            events,
            generations: BTreeMap::new(),
            current: None,
            next: None,
            count: 0,
            newest: None,
            is_building: false,
            has_changed: false,
            end: None,
            status: None,
        }
    }

    /// Runs containers until a signal. Returns the exit status of the last one.
    ///
    /// # Errors
    ///
    /// If the first build fails, or the sources cannot be watched.
    pub fn run(mut self, mut sources: Sources) -> Result<u8> {
        let sender = self.sender.clone();
        self.forwarding.set_end(move |signal| drop(sender.send(Event::Signal(signal))));
        self.spawn(move |sender| {
            loop {
                let changed = sources.wait();
                let has_failed = changed.is_err();
                if sender.send(Event::Changed(changed)).is_err() || has_failed {
                    return;
                }
            }
        })?;
        self.start_build()?;
        loop {
            if let Some((signal, _)) = self.end
                && self.generations.is_empty()
            {
                files::remove_unfinished();
                let by_signal = u8::try_from(128 + signal).unwrap_or(u8::MAX);
                return Ok(self.status.unwrap_or(by_signal));
            }
            match self.next_event()? {
                Some(event) => self.handle(event)?,
                None => self.generations.values().for_each(|generation| self.end("kill", generation)),
            }
        }
    }

    /// Returns the next event, or `None` if containers must be killed.
    fn next_event(&mut self) -> Result<Option<Event>> {
        let Some((signal, deadline)) = self.end else { return self.events.recv().map(Some).context("watching") };
        match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(event) => Ok(Some(event)),
            Err(RecvTimeoutError::Timeout) => {
                self.end = Some((signal, Instant::now() + GRACE));
                Ok(None)
            }
            Err(error) => Err(error).context("watching"),
        }
    }

    fn handle(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Changed(changed) => {
                changed?;
                match self.is_building {
                    true => self.has_changed = true,
                    false => self.start_build()?,
                }
            }
            Event::Built(built) => self.handle_built(built)?,
            Event::Up(number, Ok(id)) if self.next == Some(number) => self.replace(number, &id),
            Event::Up(number, Err(why)) if self.next == Some(number) => {
                note!("strata: the new container is not up: {why}; {}", self.remainder());
                self.discard_next();
            }
            Event::Up(..) => {}
            Event::Ended(number, status) => self.handle_ended(number, status?),
            Event::Signal(signal) => self.handle_signal(signal),
        }
        Ok(())
    }

    fn start_build(&mut self) -> Result<()> {
        if self.end.is_some() {
            return Ok(());
        }
        (self.is_building, self.has_changed) = (true, false);
        let build = Arc::clone(&self.build);
        self.spawn(move |sender| drop(sender.send(Event::Built(build()))))
    }

    fn handle_built(&mut self, built: Result<BuiltImage>) -> Result<()> {
        self.is_building = false;
        if self.end.is_some() {
            return Ok(());
        }
        let is_first = self.count == 0;
        let started = built.and_then(|built| self.start(built));
        match started {
            Err(error) if is_first => return Err(error),
            Err(error) => note!("strata: {error:#}; {}", self.remainder()),
            Ok(()) => {}
        }
        if self.has_changed { self.start_build() } else { Ok(()) }
    }

    /// Starts a container, unless one of this image runs.
    fn start(&mut self, built: BuiltImage) -> Result<()> {
        let newest = (built.digest, built.mounts);
        if self.newest.as_ref() == Some(&newest) && (self.next.is_some() || self.current.is_some()) {
            return Ok(());
        }
        self.discard_next();
        let container = Container {
            engine: self.settings.engine.name(),
            mounts: &newest.1,
            image: &built.image,
            options: &self.settings.options,
            command: &self.settings.command,
            has_input: false,
        };
        // An image whose container did not start is tried again after the next build.
        self.newest = None;
        let running = container.start(&self.forwarding)?;
        self.newest = Some(newest);
        self.count += 1;
        let (number, label) = (self.count, running.label());
        let (is_over, has_ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let client_has_ended = Arc::clone(&has_ended);
        self.spawn(move |sender| {
            let status = running.wait();
            client_has_ended.store(true, Ordering::Relaxed);
            drop(sender.send(Event::Ended(number, status)));
        })?;
        let (own_label, own_is_over) = (label.clone(), Arc::clone(&is_over));
        let (name, readiness) = (self.settings.engine.name(), self.settings.readiness.clone());
        self.spawn(move |sender| {
            let up = ready::wait(name, &own_label, &readiness, &own_is_over);
            drop(sender.send(Event::Up(number, up)));
        })?;
        self.generations.insert(number, Generation { label, image: built.image, is_over, has_ended });
        self.next = Some(number);
        Ok(())
    }

    /// Replaces the old container, since the new one is up.
    fn replace(&mut self, number: u64, id: &str) {
        let name = self.settings.engine.name();
        for relay in &self.settings.relays {
            match engine::published(name, id, relay.container) {
                Some(target) => relay.set_target(target),
                None => note!("strata: the engine does not publish port {} of the new container", relay.container),
            }
        }
        self.next = None;
        match self.current.replace(number) {
            Some(old) => {
                note!("strata: the new container is up; the old one is stopped");
                self.stop(old);
            }
            None => note!("strata: the container is up"),
        }
    }

    fn handle_ended(&mut self, number: u64, status: u8) {
        if let Some(generation) = self.generations.remove(&number) {
            generation.is_over.store(true, Ordering::Relaxed);
        }
        if self.next == Some(number) {
            self.next = None;
            note!("strata: the new container ended with status {status} before it was up; {}", self.remainder());
        } else if self.current == Some(number) {
            self.current = None;
            self.status = Some(status);
            if self.end.is_none() {
                note!("strata: the container ended with status {status}; {}", self.remainder());
            }
        }
        // The image of the container that has ended is no longer locked.
        if let Some(generation) = self.generations.values().last() {
            generation.image.remove_older(&self.settings.engine);
        }
    }

    /// Handles a signal, which the clients have received already. A second signal kills them.
    fn handle_signal(&mut self, signal: i32) {
        let deadline = if self.end.is_some() { Instant::now() } else { Instant::now() + GRACE };
        self.end = Some((signal, deadline));
    }

    /// Describes what continues without the new container.
    fn remainder(&self) -> &'static str {
        if self.current.is_some() { "the old one goes on" } else { "waiting for changes" }
    }

    fn discard_next(&mut self) {
        if let Some(number) = self.next.take() {
            self.stop(number);
        }
    }

    fn stop(&self, number: u64) {
        let Some(generation) = self.generations.get(&number) else { return };
        generation.is_over.store(true, Ordering::Relaxed);
        self.end("stop", generation);
    }

    /// Stops or kills a container, without waiting for it. The client may not have created or started the container yet, and
    /// the effect of the command is visible when the client ends, so the command is repeated until then.
    fn end(&self, command: &'static str, generation: &Generation) {
        let (name, label) = (self.settings.engine.name(), generation.label.clone());
        let has_ended = Arc::clone(&generation.has_ended);
        let _ = thread::Builder::new().spawn(move || {
            while !has_ended.load(Ordering::Relaxed) {
                if let Some(id) = engine::container(name, &label) {
                    engine::answer(name, &[command, &id]);
                }
                thread::sleep(INTERVAL);
            }
        });
    }

    fn spawn(&self, work: impl FnOnce(&Sender<Event>) + Send + 'static) -> Result<()> {
        let sender = self.sender.clone();
        thread::Builder::new().spawn(move || work(&sender)).map(drop).context("starting a thread")
    }
}
