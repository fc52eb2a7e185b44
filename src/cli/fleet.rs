//! `strata copy --fleet FILE`: copies many images, and makes and sends every distinct blob once.
//!
//! Each line of FILE stands for an image:
//!
//! ```text
//! {"attr":"web","outputs":{"out":"/nix/store/…-image-web-detached.json"}}     as nix-eval-jobs writes it
//! /nix/store/…-image-web-detached.json docker://registry.example.com/web:v1   or a table; - is a template's destination
//! ```
//!
//! The registry is the only state: after a run that was killed, the next run sends what is missing. All images are
//! opened before the first is copied, so that every part of a fleet knows the home repository of each blob.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
    process::ExitCode,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use super::{
    fleet_arguments::FleetArguments,
    outcome::{CopyReport, OutputMode},
    progress, template,
    transfer::{Copied, CopySession},
};
use crate::{
    image::ManifestGraph,
    oci::Digest,
    report,
    terminal::{self, line, note},
    threads::{self, lock},
    transport::{Destination, Location, Sent, installable, progress::EvidenceCounts},
};
use anyhow::{Context, Error, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

/// The number of images that are copied at once. Each copies four layers at once.
const IMAGES: usize = 4;

/// The exit code if some images were not copied. An error of the whole command has another one.
const NOT_ALL: u8 = 1;

/// One image of the fleet.
#[derive(Debug, PartialEq, Eq)]
struct FleetEntry {
    attr: String,
    image: Result<String, String>,
    destination: Option<String>,
}

impl FleetEntry {
    fn parse(line: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct EvaluatedJob {
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
        let job: EvaluatedJob = serde_json::from_str(line).with_context(|| format!("parsing {line:?}"))?;
        let out = job.outputs.and_then(|mut outputs| outputs.remove("out").flatten());
        let image = match (job.error, job.image.or(out)) {
            (Some(error), _) => Err(format!("evaluation failed: {error}")),
            (None, Some(image)) => Ok(image),
            (None, None) if job.attr.is_some() => Err("it has neither outputs.out nor image".to_owned()),
            (None, None) => bail!("{line:?} has neither outputs.out nor image"),
        };
        let attr = job.attr.or_else(|| image.as_ref().ok().cloned()).unwrap_or_default();
        Ok(Self { attr, image, destination: job.destination })
    }

    fn location(&self) -> Result<Location> {
        self.image.as_ref().map_err(|error| Error::msg(error.clone()))?.parse().map_err(Error::msg)
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

/// Copies all images. After the error of one, the others continue.
pub fn run(arguments: &FleetArguments, transfer: &CopySession<'_>, output: OutputMode) -> Result<ExitCode> {
    let entries = read(arguments.fleet.as_deref().unwrap_or(Path::new("-")))?;
    // The location is only parsed here: the error of opening an image belongs to that image.
    entries.iter().for_each(|entry| drop(entry.location()));
    installable::check_arguments().map_err(Error::msg)?;
    // A journal that cannot be written is an error before anything is sent.
    let done = FleetResults::new(arguments.journal.as_deref(), output, transfer.options().cache_to.clone())?;
    let mut jobs = plan(&entries, arguments, transfer);
    let shared = transfer.options().shared.as_ref();
    if let Some(shared) = shared.filter(|_| jobs.iter().flatten().any(|job| job.foreign > 0)) {
        shared.send_only_own(true);
        send_own(&mut jobs, transfer);
        shared.send_only_own(false);
    }
    let remaining = Mutex::new(jobs.into_iter());
    threads::run_in_parallel(IMAGES, &|| {
        while let Some(job) = next_of(&remaining) {
            let start = Instant::now();
            match job {
                Ok(job) => done.add(&job, transfer.copy(&job.image, &job.destination), start),
                Err((entry, error)) => done.add_failure(entry, &error),
            }
        }
    });
    done.finish()
}

/// Returns the images in a file.
fn read(path: &Path) -> Result<Vec<FleetEntry>> {
    let mut text = String::new();
    let reading = || format!("reading the fleet in {}", path.display());
    match path.as_os_str() == "-" {
        true => io::stdin().read_to_string(&mut text).map(drop).with_context(reading)?,
        false => text = fs::read_to_string(path).with_context(reading)?,
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(FleetEntry::parse).collect::<Result<_>>().with_context(reading)
}

/// Returns the next element of an iterator that several threads share.
fn next_of<T>(remaining: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    lock(remaining).next()
}

/// Opens the journal for appending. A line that a killed run has not finished is ended.
fn open_journal(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    let mut last = [b'\n'];
    if file.metadata()?.is_file()
        && let Ok(mut existing) = File::open(path)
        && existing.seek(SeekFrom::End(-1)).is_ok()
    {
        existing.read_exact(&mut last)?;
    }
    if last != *b"\n" {
        file.write_all(b"\n")?;
    }
    Ok(file)
}

/// The results of a fleet.
struct FleetResults {
    started: Instant,
    output: OutputMode,
    cache_to: Option<String>,
    journal: Mutex<Option<File>>,
    counts: Mutex<FleetCounts>,
}

#[derive(Default)]
struct FleetCounts {
    copied: usize,
    bytes: u64,
    evidence: EvidenceCounts,
    failed: Vec<String>,
}

impl FleetResults {
    fn new(journal: Option<&Path>, output: OutputMode, cache_to: Option<String>) -> Result<Self> {
        let open = |path: &Path| open_journal(path).with_context(|| format!("opening the journal {}", path.display()));
        let journal = Mutex::new(journal.map(open).transpose()?);
        Ok(Self { started: Instant::now(), output, cache_to, journal, counts: Mutex::default() })
    }

    /// Prints and records the result of one image.
    fn add(&self, job: &CopyJob<'_>, result: Result<Copied>, start: Instant) {
        let Copied { mut outcome, notes } = match result {
            Ok(copied) => copied,
            Err(error) => return self.add_failure(job.entry, &error),
        };
        outcome.sent = job.sent + outcome.sent;
        let sent = outcome.sent;
        let mut counts = lock(&self.counts);
        counts.copied += 1;
        counts.bytes += sent.bytes;
        let evidence = outcome.evidence();
        counts.evidence = counts.evidence.plus(evidence);
        let EvidenceCounts { trusted, verified, made } = evidence;
        let destination = &job.destination;
        let report = CopyReport { outcome: &outcome, destination, cache_to: self.cache_to.as_deref(), notes: &notes };
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
            "seconds": start.elapsed().as_secs_f64() }));
    }

    fn add_failure(&self, entry: &FleetEntry, error: &anyhow::Error) {
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
            && let Err(error) = file.write_all(format!("{result}\n").as_bytes())
        {
            note!("strata: writing the journal: {error}");
        }
    }

    fn finish(self) -> Result<ExitCode> {
        let FleetCounts { copied, bytes, evidence, failed } =
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
            let sent = report::bytes(bytes);
            note!("{copied} images, {sent} sent, {seconds:.1} s, {} failed{evidence}", failed.len());
        }
        if failed.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        terminal::failed(&format_args!("these images were not copied: {}", line(&failed.join(", "))));
        Ok(ExitCode::from(NOT_ALL))
    }
}

/// An image of this part of the fleet, and its destination.
struct CopyJob<'a> {
    entry: &'a FleetEntry,
    image: Location,
    destination: Destination,
    /// The number of its blobs that another part sends.
    foreign: usize,
    /// The blobs that were sent before the turn of the image.
    sent: Sent,
}

/// Sends the blobs that no other part sends, for images that must wait for other parts, so that no two parts wait for
/// each other. The error of an image is reported later, in its turn.
fn send_own(jobs: &mut [Result<CopyJob<'_>, (&FleetEntry, anyhow::Error)>], transfer: &CopySession<'_>) {
    let waiting: Vec<&mut CopyJob<'_>> = jobs.iter_mut().flatten().filter(|job| job.foreign > 0).collect();
    let waiting = Mutex::new(waiting.into_iter());
    threads::run_in_parallel(IMAGES, &|| {
        while let Some(job) = next_of(&waiting) {
            if let Ok(outcome) = transfer.write_blobs(&job.image, &job.destination) {
                job.sent = job.sent + outcome.sent;
            }
        }
    });
}

/// Opens all images in order. Returns the images of this part, and the errors.
fn plan<'a>(
    entries: &'a [FleetEntry],
    arguments: &FleetArguments,
    transfer: &CopySession<'_>,
) -> Vec<Result<CopyJob<'a>, (&'a FleetEntry, anyhow::Error)>> {
    let template = arguments.to.as_deref();
    let options = transfer.options();
    let mut destinations: HashMap<String, (&str, Digest)> = HashMap::new();
    let mut job = |entry: &'a FleetEntry| {
        let image = entry.location()?;
        let content = transfer.content(&image)?;
        let is_ours = arguments.shard.is_none_or(|shard| shard.has(&content));
        let destination = entry.destination(template, &content)?;
        ensure!(!destination.is_stdout(), "{destination}: a fleet cannot write to stdout");
        transfer.check(&image, &destination)?;
        let name = destination.registry_reference().map_or_else(|| destination.to_string(), ToString::to_string);
        let (attr, digest) = *destinations.entry(name).or_insert((&entry.attr, content.digest()));
        ensure!(
            digest == content.digest(),
            "{destination} is the destination of another image, {attr}; give it another name"
        );
        // Other shards make the layers of their images.
        let content = if is_ours { transfer.with_also(&image, content)? } else { content };
        let foreign = match (&options.shared, destination.registry_reference()) {
            (Some(shared), Some(reference)) => shared.expect(&content, reference, options.compression, !is_ours),
            _ => 0,
        };
        Ok(is_ours.then_some(CopyJob { entry, image, destination, foreign, sent: Sent::default() }))
    };
    let jobs = entries.iter().map(|entry| job(entry).map_err(|error| (entry, error)));
    jobs.filter_map(Result::transpose).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_json_or_a_table() {
        let job = FleetEntry::parse(r#"{"attr":"web","drvPath":"x","outputs":{"out":"/nix/store/web.json"}}"#).unwrap();
        assert_eq!((job.attr.as_str(), job.image.as_deref()), ("web", Ok("/nix/store/web.json")));
        let row = FleetEntry::parse("/a.json docker://host/a:b").unwrap();
        assert_eq!(row.destination.as_deref(), Some("docker://host/a:b"));
        assert_eq!(FleetEntry::parse("/a.json -").unwrap().destination, None);
        assert_eq!(
            FleetEntry::parse(r#"{"attr":"x","error":"why"}"#).unwrap().image,
            Err("evaluation failed: why".to_owned())
        );
        for outputs in [r#"{"bin":"/nix/store/x"}"#, r#"{"out":null}"#] {
            let entry = FleetEntry::parse(&format!(r#"{{"attr":"x","outputs":{outputs}}}"#)).unwrap();
            assert_eq!(entry.image, Err("it has neither outputs.out nor image".to_owned()));
        }
        for wrong in ["a b c", "{}", "{"] {
            assert!(FleetEntry::parse(wrong).is_err(), "{wrong}");
        }
    }
}
