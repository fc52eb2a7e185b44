//! An image in containerd, imported by its command `ctr` without the blobs that it has.
//!
//! `ctr` is on every machine that runs containerd, and anything that forwards standard input and output reaches it
//! (`docker exec`, `ssh`, `k3s`, `minikube`); a client of containerd's own would need its socket. Six short commands:
//!
//! ```text
//! content ls        the blobs of the namespace
//! images import     the archive without these, as strata-incoming:DIGITS; unpacked for the snapshotter
//! images check      every blob there? if not, all of them are sent
//! images import     the documents alone, under the name: in one step it means the new image
//! images check      every blob still there?
//! images rm         drop the other name
//! ```
//!
//! The import holds a lease on what it writes, and from then on the first name keeps every blob of the manifest from
//! being collected. What was collected between the first command and the second is missed by the third. CRI, the
//! kubelet's view of containerd, follows the events of the namespace `k8s.io` and labels the image as one of its own.
//! `images tag --force` would leave the name without an image for a moment: it deletes it and creates it again
//! (containerd's cmd/ctr/commands/images/tag.go), where an import updates it (core/transfer/image/imagestore.go).

use std::{collections::HashSet, io, sync::Arc};

use super::TRANSPORT;
use crate::{
    image::{Image, ManifestGraph},
    oci::{
        Digest,
        name::{TaggedName, full_name},
    },
    transport::{
        Loaded, Outcome, WriteError, WriteOptions, WriteTransport, archive,
        engine::{self, EngineError, Tool, loaded},
        write::{name_for, one_image, parse_name},
    },
};

pub(super) fn parse(rest: &str) -> Result<Arc<dyn WriteTransport>, String> {
    Ok(Arc::new(Containerd { name: parse_name(rest)? }))
}

const IMPORT: &[&str] = &["images", "import", "-"];
/// Others may load or remove the same image at the same time; more often than this it is no coincidence.
const ATTEMPTS: usize = 3;

/// Under which name, if another than the image's own.
#[derive(Debug)]
struct Containerd {
    name: Option<TaggedName>,
}

impl WriteTransport for Containerd {
    fn write(&self, content: &ManifestGraph, options: &WriteOptions) -> Result<Outcome, WriteError> {
        let image = one_image(content)?;
        let name = name_for(self.name.as_ref(), image.reference.as_deref(), TRANSPORT.write.syntax)?;
        let name = name.ok_or_else(|| format!("the image has no name; write {}", TRANSPORT.write.syntax))?;
        let mut all: Option<Outcome> = None;
        for via in engine::containerd_commands(options.engine.via.as_deref())? {
            let tool = Tool::new("ctr", via.as_deref());
            let tool = match &options.engine.namespace {
                Some(namespace) => tool.with(&["-n", namespace]),
                None => tool,
            };
            let outcome = load(image, &name, &tool)?.into_outcome(image);
            all = Some(match all {
                Some(before) => before.with_node(outcome),
                None => outcome,
            });
        }
        Ok(all.expect("there is at least one command"))
    }
}

/// Why containerd did not take an image.
#[derive(Debug, thiserror::Error)]
pub enum ContainerdError {
    /// Its command failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// It took the image, and has not all of it.
    #[error("{reference} is not complete in containerd after sending all of it; `ctr images check` prints: {message}")]
    Incomplete {
        /// The image.
        reference: String,
        /// The output of the command.
        message: String,
    },
}

/// Loads `image` as `name`.
///
/// # Errors
///
/// [`ContainerdError`]; then the name means what it meant before.
pub fn load(image: &Image, name: &TaggedName, ctr: &Tool) -> Result<Loaded, ContainerdError> {
    let reference = name.full();
    let mut loaded = Loaded::new(image.digest(), reference.clone());
    let blobs = ctr.run(&["content", "ls", "-q"])?;
    let mut there: HashSet<Digest> = blobs.lines().filter_map(|line| line.trim().parse().ok()).collect();
    let incoming = loaded::incoming(&image.digest());
    let incoming_name = full_name(&incoming);
    let clean_up = || ctr.run(&["images", "rm", &incoming_name]);
    let mut message = String::new();
    for _ in 0..ATTEMPTS {
        let imported = loaded.feed(image, &incoming, &there, ctr, IMPORT);
        // One that lacks blobs may fail to be unpacked, and one that could not be read at all is not there.
        let state = match check(&incoming_name, ctr) {
            Ok(state) => state,
            Err(error) => return Err(imported.err().unwrap_or(error).into()),
        };
        match (imported, state) {
            (Ok(_), State::Complete) => {
                let named = add_name(image, &reference, ctr).and_then(|_| check(&reference, ctr));
                let _ = clean_up();
                match named {
                    Ok(State::Complete) => return Ok(loaded),
                    // Another load of the same image may have dropped the name it came under.
                    Ok(State::Incomplete(line)) => message = line,
                    Ok(State::Absent) => message = "no such image".to_owned(),
                    Err(error) => message = error.to_string(),
                }
                there.clear();
            }
            (imported, state) if !there.is_empty() => {
                let why = match (imported, state) {
                    (_, State::Incomplete(message)) => message,
                    (Err(error), _) => error.to_string(),
                    (Ok(_), _) => "it has not all of their blobs".to_owned(),
                };
                loaded.repaired = Some(why);
                there.clear();
            }
            (Err(error), _) => {
                let _ = clean_up();
                return Err(error.into());
            }
            (Ok(_), State::Incomplete(line)) => message = line,
            (Ok(_), _) => message = "no such image".to_owned(),
        }
    }
    let _ = clean_up();
    Err(ContainerdError::Incomplete { reference, message })
}

/// Gives the image, whose blobs are there, its name.
fn add_name(image: &Image, reference: &str, ctr: &Tool) -> Result<String, EngineError> {
    let layers = image.layers.iter().map(|layer| layer.descriptor.digest).collect();
    ctr.feed(IMPORT, |out| {
        archive::write_without(image, Some(reference), &layers, out).map(drop).map_err(io::Error::other)
    })
}

enum State {
    Absent,
    Incomplete(String),
    Complete,
}

/// `ctr images check`: a line for each image, "REF TYPE DIGEST STATUS SIZE UNPACKED", where the status is
/// "complete (66/66)" or "incomplete (1/66)".
fn check(name: &str, ctr: &Tool) -> Result<State, EngineError> {
    let message = ctr.run(&["images", "check", &format!("name=={name}")])?;
    let Some(line) = message.lines().find(|line| line.starts_with(name)) else { return Ok(State::Absent) };
    let complete = line.split_whitespace().nth(3) == Some("complete") && line.trim_end().ends_with("true");
    Ok(if complete { State::Complete } else { State::Incomplete(line.trim().to_owned()) })
}
