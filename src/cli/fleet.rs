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
    path::Path,
    process::ExitCode,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use super::{
    fleet_arguments::FleetArguments,
    outcome::{Output, Report},
    progress, template,
    transfer::{Copied, Transfer},
};
use crate::{
    image::ManifestGraph,
    terminal::{self, line, note},
    threads::{self, lock},
    transport::{Destination, Location, Sent, installable, progress::EvidenceCounts},
};
use anyhow::{Context, Error, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

/// Images on their way at once; each has four layers on its way.
const IMAGES: usize = 4;

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

    fn location(&self) -> Result<Location> {
        let image = self.image.as_ref().map_err(|error| anyhow::anyhow!("evaluation failed: {error}"))?;
        image.parse().map_err(anyhow::Error::msg)
    }

    fn destination(&self, template: Option<&str>, content: &ManifestGraph) -> Result<Destination> {
        let text = match (&self.destination, template) {
            (Some(destination), _) => destination.clone(),
            (None, None) => bail!("it has no destination; add one to the file, or give a template with --to"),
            (None, Some(template)) => template::fill(template, &self.attr, content.reference())?,
        };
        text.parse().map_err(anyhow::Error::msg).with_context(|| format!("the destination {text}"))
    }
}

/// Copies all, and goes on where one fails.
pub fn run(arguments: &FleetArguments, transfer: &Transfer<'_>, output: Output) -> Result<ExitCode> {
    let entries = read(arguments.fleet.as_deref().unwrap_or(Path::new("-")))?;
    // Only parsed: an image that cannot be read fails alone, later.
    entries.iter().for_each(|entry| drop(entry.location()));
    installable::check_arguments().map_err(Error::msg)?;
    let mut jobs = plan(&entries, arguments, transfer);
    let shared = transfer.options().shared.as_ref();
    if let Some(shared) = shared.filter(|_| jobs.iter().flatten().any(|job| job.foreign > 0)) {
        shared.send_only_own(true);
        send_own(&mut jobs, transfer);
        shared.send_only_own(false);
    }
    let done = Done::new(arguments.journal.as_deref(), output, transfer.options().cache_to.clone())?;
    let left = Mutex::new(jobs.into_iter());
    threads::run_in_parallel(IMAGES, &|| {
        while let Some(job) = take(&left) {
            let began = Instant::now();
            match job {
                Ok(job) => done.add(&job, transfer.copy(&job.image, &job.destination), began),
                Err((entry, error)) => done.add_failure(entry, &error),
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

/// The results of a fleet.
struct Done {
    started: Instant,
    output: Output,
    cache_to: Option<String>,
    journal: Mutex<Option<File>>,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    copied: usize,
    bytes: u64,
    evidence: EvidenceCounts,
    failed: Vec<String>,
}

impl Done {
    fn new(journal: Option<&Path>, output: Output, cache_to: Option<String>) -> Result<Self> {
        let open = |path: &Path| {
            let opened = OpenOptions::new().append(true).create(true).open(path);
            opened.with_context(|| format!("opening the journal {}", path.display()))
        };
        let journal = Mutex::new(journal.map(open).transpose()?);
        Ok(Self { started: Instant::now(), output, cache_to, journal, counts: Mutex::default() })
    }

    /// Prints and records the result of one image.
    fn add(&self, job: &Job<'_>, result: Result<Copied>, began: Instant) {
        let Copied { outcome, notes } = match result {
            Ok(copied) => copied,
            Err(error) => return self.add_failure(job.entry, &error),
        };
        let sent = job.sent + outcome.sent;
        let mut counts = lock(&self.counts);
        counts.copied += 1;
        counts.bytes += sent.bytes;
        let evidence = outcome.evidence();
        counts.evidence = counts.evidence.plus(evidence);
        let EvidenceCounts { trusted, verified, made } = evidence;
        let destination = &job.destination;
        let report = Report { outcome: &outcome, destination, cache_to: self.cache_to.as_deref(), notes: &notes };
        let attr = &job.entry.attr;
        if self.output.json {
            for mut event in report.events() {
                event["attr"] = json!(attr);
                let _ = writeln!(terminal::stderr().exact(), "{event}");
            }
        } else if !self.output.quiet {
            report.lines().iter().for_each(|line| note!("{line}"));
        }
        drop(counts);
        self.record(&json!({ "attr": attr, "destination": destination.to_string(), "digest": outcome.digest,
            "blobs": sent.blobs, "bytes": sent.bytes, "trusted": trusted, "verified": verified, "made": made,
            "seconds": began.elapsed().as_secs_f64() }));
    }

    fn add_failure(&self, entry: &Entry, error: &anyhow::Error) {
        let mut counts = lock(&self.counts);
        let (attr, error) = (&entry.attr, format!("{error:#}"));
        if self.output.json {
            let _ =
                writeln!(terminal::stderr().exact(), "{}", json!({ "event": "failed", "attr": attr, "error": error }));
        } else {
            note!("strata: {}: {}", line(attr), line(&error));
        }
        counts.failed.push(attr.clone());
        drop(counts);
        self.record(&json!({ "attr": attr, "error": error }));
    }

    fn record(&self, result: &Value) {
        if let Some(file) = &mut *lock(&self.journal)
            && let Err(error) = writeln!(file, "{result}")
        {
            note!("strata: writing the journal: {error}");
        }
    }

    fn finish(self) -> Result<ExitCode> {
        let Counts { copied, bytes, evidence, failed } =
            self.counts.into_inner().unwrap_or_else(PoisonError::into_inner);
        let seconds = self.started.elapsed().as_secs_f64();
        if self.output.json {
            let failed = failed.len();
            let EvidenceCounts { trusted, verified, made } = evidence;
            let _ = writeln!(
                terminal::stderr().exact(),
                "{}",
                json!({ "event": "finished", "images": copied, "bytes": bytes, "failed": failed,
                    "trusted": trusted, "verified": verified, "made": made })
            );
        } else {
            let evidence = progress::describe(evidence);
            note!("{copied} images, {bytes} bytes sent, {seconds:.1} s, {} failed{evidence}", failed.len());
        }
        ensure!(failed.is_empty(), "these images were not copied: {}", failed.join(", "));
        Ok(ExitCode::SUCCESS)
    }
}

/// An image of this part of the fleet, and its destination.
struct Job<'a> {
    entry: &'a Entry,
    image: Location,
    destination: Destination,
    /// The number of its blobs that another part sends.
    foreign: usize,
    /// What was sent of it before its turn.
    sent: Sent,
}

/// Sends what no other part does, of the images that have to wait for some: no two parts wait for each other then. An
/// image that fails here fails again in its turn, and is reported there.
fn send_own(jobs: &mut [Result<Job<'_>, (&Entry, anyhow::Error)>], transfer: &Transfer<'_>) {
    let waiting: Vec<&mut Job<'_>> = jobs.iter_mut().flatten().filter(|job| job.foreign > 0).collect();
    let waiting = Mutex::new(waiting.into_iter());
    threads::run_in_parallel(IMAGES, &|| {
        while let Some(job) = take(&waiting) {
            if let Ok(outcome) = transfer.write_blobs(&job.image, &job.destination) {
                job.sent = job.sent + outcome.sent;
            }
        }
    });
}

/// Opens all images, in their order. Returns those of this part, and the errors.
fn plan<'a>(
    entries: &'a [Entry],
    arguments: &FleetArguments,
    transfer: &Transfer<'_>,
) -> Vec<Result<Job<'a>, (&'a Entry, anyhow::Error)>> {
    let template = arguments.to.as_deref();
    let options = transfer.options();
    let job = |entry: &'a Entry| {
        let image = entry.location()?;
        let content = transfer.content(&image)?;
        let is_ours = arguments.shard.is_none_or(|shard| shard.has(&content));
        let destination = entry.destination(template, &content)?;
        ensure!(!destination.is_stdout(), "{destination}: a fleet cannot write to stdout");
        let foreign = match (&options.shared, destination.registry_reference()) {
            (Some(shared), Some(reference)) => shared.expect(&content, reference, options.compression, !is_ours),
            _ => 0,
        };
        Ok(is_ours.then_some(Job { entry, image, destination, foreign, sent: Sent::default() }))
    };
    let jobs = entries.iter().map(|entry| job(entry).map_err(|error| (entry, error)));
    jobs.filter_map(Result::transpose).collect()
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
}
