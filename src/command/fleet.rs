//! `strata copy --fleet FILE`: many images, every distinct blob made and sent once.
//!
//! A line of FILE is one image:
//!
//! ```text
//! {"attr":"web","outputs":{"out":"/nix/store/…-image-web-detached.json"}}     as nix-eval-jobs writes it
//! /nix/store/…-image-web-detached.json docker://registry.example.com/web:v1   or a table; - is a template's destination
//! ```
//!
//! The registry is the only state: a run that was killed is started again, and sends what is missing.

use std::{
    collections::HashMap,
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    path::PathBuf,
    process::ExitCode,
    str::FromStr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::Deserialize;
use serde_json::json;
use strata::{
    content::Content,
    sink::{Destination, WriteOptions, Written},
    source::{Access, Location},
};

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
    /// Append a JSON object to this file for each image.
    #[arg(long, value_name = "FILE", requires = "fleet")]
    journal: Option<PathBuf>,
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
    fn has(self, content: &Content) -> bool {
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
            (None, None) => bail!("neither outputs.out nor image is in {line:?}"),
        };
        let attr = job.attr.or_else(|| image.as_ref().ok().cloned()).unwrap_or_default();
        Ok(Self { attr, image, destination: job.destination })
    }

    fn destination(&self, template: Option<&str>, content: &Content) -> Result<Destination> {
        let text = match (&self.destination, template) {
            (Some(destination), _) => destination.clone(),
            (None, None) => bail!("it has no destination; give one in the file, or a template with --to"),
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
pub fn run(arguments: &FleetArguments, access: &Access, options: &WriteOptions, quiet: bool) -> Result<ExitCode> {
    let path = arguments.fleet.clone().unwrap_or_default();
    let mut text = String::new();
    let reading = || format!("reading the fleet in {}", path.display());
    match path.as_os_str() == "-" {
        true => io::stdin().read_to_string(&mut text).map(drop).with_context(reading)?,
        false => text = fs::read_to_string(&path).with_context(reading)?,
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let entries: Vec<Entry> = lines.map(Entry::parse).collect::<Result<_>>().with_context(reading)?;
    let journal = arguments.journal.as_ref().map(|path| {
        let opened = OpenOptions::new().append(true).create(true).open(path);
        opened.with_context(|| format!("opening the journal {}", path.display()))
    });
    let journal = Mutex::new(journal.transpose()?);
    let next = AtomicUsize::new(0);
    let done = Mutex::new((0usize, 0u64, Vec::new()));
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..IMAGES.min(entries.len()) {
            scope.spawn(|| {
                while let Some(entry) = entries.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let began = Instant::now();
                    let result = copy(entry, arguments, access, options);
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    let line = match result {
                        Ok(None) => continue,
                        Ok(Some((destination, written))) => {
                            let event = written.event.unwrap_or_default();
                            done.0 += 1;
                            done.1 += event["bytes"].as_u64().unwrap_or_default();
                            if !quiet {
                                written.says.iter().for_each(|line| eprintln!("{line}"));
                            }
                            json!({ "attr": entry.attr, "destination": destination, "digest": written.digest,
                                "blobs": event["blobs"], "bytes": event["bytes"], "seconds": began.elapsed().as_secs_f64() })
                        }
                        Err(error) => {
                            eprintln!("strata: {}: {error:#}", entry.attr);
                            done.2.push(entry.attr.clone());
                            json!({ "attr": entry.attr, "error": format!("{error:#}") })
                        }
                    };
                    drop(done);
                    if let Some(file) = &mut *journal.lock().unwrap_or_else(PoisonError::into_inner)
                        && let Err(error) = writeln!(file, "{line}")
                    {
                        eprintln!("strata: writing the journal: {error}");
                    }
                }
            });
        }
    });
    let (copied, bytes, failed) = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    let seconds = started.elapsed().as_secs_f64();
    eprintln!("{copied} images, {bytes} bytes sent, {seconds:.1} s, {} failed", failed.len());
    ensure!(failed.is_empty(), "these images were not copied: {}", failed.join(", "));
    Ok(ExitCode::SUCCESS)
}

/// One image; `None` when it is another shard's.
fn copy(
    entry: &Entry,
    arguments: &FleetArguments,
    access: &Access,
    options: &WriteOptions,
) -> Result<Option<(String, Written)>> {
    let image = entry.image.as_ref().map_err(|error| anyhow::anyhow!("it was not evaluated: {error}"))?;
    let location: Location = image.parse().map_err(anyhow::Error::msg)?;
    let content: Content = location.open(access)?.image(None)?.into();
    if arguments.shard.is_some_and(|shard| !shard.has(&content)) {
        return Ok(None);
    }
    let destination = entry.destination(arguments.to.as_deref(), &content)?;
    let written = destination.write(&content, options).map_err(anyhow::Error::from_boxed);
    Ok(Some((destination.to_string(), written.with_context(|| format!("copying to {destination}"))?)))
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
