//! `strata copy --fleet FILE`: many images, every distinct blob made and sent once.
//!
//! A line of FILE is one image:
//!
//! ```text
//! {"attr":"web","outputs":{"out":"/nix/store/…-image-web-detached.json"}}     as nix-eval-jobs writes it
//! /nix/store/…-image-web-detached.json docker://registry.example.com/web:v1   or a table; - is a template's destination
//! ```
//!
//! The registry is the only state: a run that was killed is started again, and sends what is missing. All images are looked
//! at before the first is copied, so that every part of a fleet knows where a blob of several images belongs.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::terminal::{line, note};
use crate::{
    image::ManifestGraph,
    oci::Reference,
    threads::{self, lock},
    transport::{Destination, Location, ReadOptions, WriteOptions, Written, registry::shared::Shared},
};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

/// Images on their way at once; each has four layers on its way.
const IMAGES: usize = 4;

/// Flags of a copy of many images.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Many images")]
pub struct FleetArguments {
    /// Copy the images listed in FILE, one per line: JSON from nix-eval-jobs, or IMAGE DESTINATION; - reads stdin.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["image", "destination"])]
    pub fleet: Option<PathBuf>,
    /// Destination of each image, such as docker://HOST/{name}:{tag}; {attr} is nix-eval-jobs' name for it.
    #[arg(long, value_name = "TEMPLATE", requires = "fleet")]
    to: Option<String>,
    /// Copy one part of the fleet, such as 1/2 or 2/2; images are assigned to parts by digest.
    #[arg(long, value_name = "PART/PARTS", requires = "fleet")]
    shard: Option<Shard>,
    /// Wait this long for layers that other parts upload, counted from the last one that appeared.
    #[arg(long, value_name = "SECONDS", requires = "shard", default_value_t = 20)]
    shard_wait: u64,
    /// Append a JSON object to this file for each image.
    #[arg(long, value_name = "FILE", requires = "fleet")]
    journal: Option<PathBuf>,
}

impl FleetArguments {
    /// The registry host that `--to` names before its first placeholder: the one host that credentials given by hand are
    /// for. Destinations of the file may be in other registries, for which credentials are stored.
    pub fn registry_host(&self) -> Option<String> {
        let fixed = self.to.as_deref()?.strip_prefix("docker://")?.split('{').next()?;
        let (path, _) = fixed.rsplit_once('/')?;
        Some(format!("{path}/x").parse::<Reference>().ok()?.host)
    }

    /// What the pushes of a fleet share.
    pub fn shared(&self) -> Option<Arc<Shared>> {
        let patience = Duration::from_secs(if self.shard.is_some() { self.shard_wait } else { 0 });
        self.fleet.as_ref().map(|_| Arc::new(Shared::new(patience)))
    }
}

/// A part of a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shard {
    part: u64,
    parts: u64,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(part, parts)| Some((part.parse().ok()?, parts.parse().ok()?)));
        match numbers {
            Some((part, parts)) if (1..=parts).contains(&part) => Ok(Self { part, parts }),
            _ => Err("write it like 1/2".to_owned()),
        }
    }
}

impl Shard {
    fn has(self, content: &ManifestGraph) -> bool {
        let hex = content.digest().hex();
        let number = u64::from_str_radix(&hex[..15], 16).unwrap_or_default();
        number % self.parts == self.part - 1
    }
}

/// One image of the fleet.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    attr: String,
    image: Result<String, String>,
    destination: Option<String>,
}

impl Entry {
    fn parse(line: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Job {
            attr: Option<String>,
            outputs: Option<HashMap<String, Option<String>>>,
            error: Option<String>,
            image: Option<String>,
            destination: Option<String>,
        }
        if !line.starts_with('{') {
            let mut words = line.split_whitespace();
            let (Some(image), destination, None) = (words.next(), words.next(), words.next()) else {
                bail!("write IMAGE DESTINATION, not {line:?}");
            };
            let destination = destination.filter(|destination| *destination != "-").map(str::to_owned);
            return Ok(Self { attr: image.to_owned(), image: Ok(image.to_owned()), destination });
        }
        let job: Job = serde_json::from_str(line).with_context(|| format!("parsing {line:?}"))?;
        let out = job.outputs.and_then(|mut outputs| outputs.remove("out").flatten());
        let image = match (job.error, job.image.or(out)) {
            (Some(error), _) => Err(error),
            (None, Some(image)) => Ok(image),
            (None, None) => bail!("{line:?} has neither outputs.out nor image"),
        };
        let attr = job.attr.or_else(|| image.as_ref().ok().cloned()).unwrap_or_default();
        Ok(Self { attr, image, destination: job.destination })
    }

    fn open(&self, access: &ReadOptions) -> Result<ManifestGraph> {
        let image = self.image.as_ref().map_err(|error| anyhow::anyhow!("evaluation failed: {error}"))?;
        let location: Location = image.parse().map_err(anyhow::Error::msg)?;
        Ok(location.open(access)?.image(None)?.into())
    }

    fn destination(&self, template: Option<&str>, content: &ManifestGraph) -> Result<Destination> {
        let text = match (&self.destination, template) {
            (Some(destination), _) => destination.clone(),
            (None, None) => bail!("it has no destination; add one to the file, or give a template with --to"),
            (None, Some(template)) => {
                let reference = content.reference().unwrap_or_default();
                let (name, tag) = reference.rsplit_once(':').unwrap_or((reference, "latest"));
                let needs_name = template.contains("{name}") || template.contains("{tag}");
                ensure!(!name.is_empty() || !needs_name, "the image has no name");
                template.replace("{name}", name).replace("{tag}", tag).replace("{attr}", &self.attr)
            }
        };
        text.parse().map_err(anyhow::Error::msg).with_context(|| format!("the destination {text}"))
    }
}

/// Copies all, and goes on where one fails.
pub fn run(arguments: &FleetArguments, access: &ReadOptions, options: &WriteOptions, quiet: bool) -> Result<ExitCode> {
    let entries = read(arguments.fleet.as_deref().unwrap_or(Path::new("-")))?;
    let mut jobs = look(&entries, arguments, access, options);
    if let Some(shared) = options.shared.as_ref().filter(|_| jobs.iter().flatten().any(|job| job.foreign > 0)) {
        shared.send_only_own(true);
        send_own(&mut jobs, access, options);
        shared.send_only_own(false);
    }
    let done = Done::new(arguments.journal.as_deref(), quiet)?;
    let left = Mutex::new(jobs.into_iter());
    threads::run_in_parallel(IMAGES, &|| {
        while let Some(job) = take(&left) {
            let began = Instant::now();
            match job {
                Ok(job) => done.add(job.entry, copy(&job, access, options), job.sent, began),
                Err((entry, error)) => done.add(entry, Err(error), Sent::default(), began),
            }
        }
    });
    done.finish()
}

/// The images that a file lists.
fn read(path: &Path) -> Result<Vec<Entry>> {
    let mut text = String::new();
    let reading = || format!("reading the fleet in {}", path.display());
    match path.as_os_str() == "-" {
        true => io::stdin().read_to_string(&mut text).map(drop).with_context(reading)?,
        false => text = fs::read_to_string(path).with_context(reading)?,
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(Entry::parse).collect::<Result<_>>().with_context(reading)
}

/// The next one, of what several threads do.
fn take<T>(left: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    lock(left).next()
}

/// What became of the images.
struct Done {
    started: Instant,
    quiet: bool,
    journal: Mutex<Option<File>>,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    copied: usize,
    bytes: u64,
    failed: Vec<String>,
}

impl Done {
    fn new(journal: Option<&Path>, quiet: bool) -> Result<Self> {
        let open = |path: &Path| {
            let opened = OpenOptions::new().append(true).create(true).open(path);
            opened.with_context(|| format!("opening the journal {}", path.display()))
        };
        let journal = Mutex::new(journal.map(open).transpose()?);
        Ok(Self { started: Instant::now(), quiet, journal, counts: Mutex::default() })
    }

    /// Says and notes what became of one, of which `before` was sent already.
    fn add(&self, entry: &Entry, result: Result<(String, Written)>, before: Sent, began: Instant) {
        let mut counts = lock(&self.counts);
        let line = match result {
            Ok((destination, written)) => {
                let sent = before.and(written.event.as_ref());
                counts.copied += 1;
                counts.bytes += sent.bytes;
                if !self.quiet {
                    written.says.iter().for_each(|line| note!("{line}"));
                }
                json!({ "attr": entry.attr, "destination": destination, "digest": written.digest,
                    "blobs": sent.blobs, "bytes": sent.bytes, "seconds": began.elapsed().as_secs_f64() })
            }
            Err(error) => {
                note!("strata: {}: {}", entry.attr, line(&format!("{error:#}")));
                counts.failed.push(entry.attr.clone());
                json!({ "attr": entry.attr, "error": format!("{error:#}") })
            }
        };
        drop(counts);
        if let Some(file) = &mut *lock(&self.journal)
            && let Err(error) = writeln!(file, "{line}")
        {
            note!("strata: writing the journal: {error}");
        }
    }

    fn finish(self) -> Result<ExitCode> {
        let Counts { copied, bytes, failed } = self.counts.into_inner().unwrap_or_else(PoisonError::into_inner);
        let seconds = self.started.elapsed().as_secs_f64();
        note!("{copied} images, {bytes} bytes sent, {seconds:.1} s, {} failed", failed.len());
        ensure!(failed.is_empty(), "these images were not copied: {}", failed.join(", "));
        Ok(ExitCode::SUCCESS)
    }
}

/// An image of ours, and where it goes.
struct Job<'a> {
    entry: &'a Entry,
    destination: Destination,
    /// How many of its blobs another part sends.
    foreign: usize,
    /// What was sent of it before its turn.
    sent: Sent,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    blobs: u64,
    bytes: u64,
}

impl Sent {
    /// With what a push says that it sent.
    fn and(self, event: Option<&Value>) -> Self {
        let number = |name: &str| event.and_then(|event| event[name].as_u64()).unwrap_or_default();
        Self { blobs: self.blobs + number("blobs"), bytes: self.bytes + number("bytes") }
    }
}

/// Sends what no other part does, of the images that have to wait for some: no two parts wait for each other then. What
/// fails here fails again in its turn, and is reported there.
fn send_own(jobs: &mut [Result<Job<'_>, (&Entry, anyhow::Error)>], access: &ReadOptions, options: &WriteOptions) {
    let waiting: Vec<&mut Job<'_>> = jobs.iter_mut().flatten().filter(|job| job.foreign > 0).collect();
    let waiting = Mutex::new(waiting.into_iter());
    threads::run_in_parallel(IMAGES, &|| {
        while let Some(job) = take(&waiting) {
            if let Ok((_, written)) = copy(job, access, options) {
                job.sent = job.sent.and(written.event.as_ref());
            }
        }
    });
}

/// Looks at all images, in their order; keeps those of our part, and what is wrong with which.
fn look<'a>(
    entries: &'a [Entry],
    arguments: &FleetArguments,
    access: &ReadOptions,
    options: &WriteOptions,
) -> Vec<Result<Job<'a>, (&'a Entry, anyhow::Error)>> {
    let template = arguments.to.as_deref();
    let job = |entry: &'a Entry| {
        let content = entry.open(access)?;
        let is_ours = arguments.shard.is_none_or(|shard| shard.has(&content));
        let destination = entry.destination(template, &content)?;
        let text = destination.to_string();
        let reference = text.strip_prefix("docker://").and_then(|text| text.parse::<Reference>().ok());
        let foreign = match (&options.shared, reference) {
            (Some(shared), Some(reference)) => shared.expect(&content, &reference, options.compression, !is_ours),
            _ => 0,
        };
        Ok(is_ours.then_some(Job { entry, destination, foreign, sent: Sent::default() }))
    };
    let jobs = entries.iter().map(|entry| job(entry).map_err(|error| (entry, error)));
    jobs.filter_map(Result::transpose).collect()
}

fn copy(job: &Job<'_>, access: &ReadOptions, options: &WriteOptions) -> Result<(String, Written)> {
    // Opened again: what is known of a thousand images is too much to keep.
    let content = job.entry.open(access)?;
    let destination = &job.destination;
    let written = destination.write(&content, options).map_err(anyhow::Error::from_boxed);
    Ok((destination.to_string(), written.with_context(|| format!("copying to {destination}"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_json_or_a_table() {
        let job = Entry::parse(r#"{"attr":"web","drvPath":"x","outputs":{"out":"/nix/store/web.json"}}"#).unwrap();
        assert_eq!((job.attr.as_str(), job.image.as_deref()), ("web", Ok("/nix/store/web.json")));
        let row = Entry::parse("/a.json docker://host/a:b").unwrap();
        assert_eq!(row.destination.as_deref(), Some("docker://host/a:b"));
        assert_eq!(Entry::parse("/a.json -").unwrap().destination, None);
        assert_eq!(Entry::parse(r#"{"attr":"x","error":"why"}"#).unwrap().image, Err("why".to_owned()));
        for wrong in ["a b c", "{}", "{"] {
            assert!(Entry::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn shards_are_parts() {
        assert_eq!("2/2".parse(), Ok(Shard { part: 2, parts: 2 }));
        for wrong in ["0/2", "3/2", "1", "1/0", "a/b"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
