//! Imports an image into containerd with its command `ctr`, without the blobs that containerd has.
//!
//! `ctr` is on every machine that runs containerd, and any command that forwards standard input and output reaches it
//! (`docker exec`, `ssh`, `k3s`, `minikube`). A client of containerd's API would need its socket. The load runs six
//! short commands, and two before them that find out how a given snapshotter works:
//!
//! ```text
//! content ls        the blobs of the namespace
//! images import     the archive without these, as strata-incoming:DIGITS; unpacked for the [`Snapshotter`]
//! images check      every blob there? if not, all of them are sent
//! images import     the documents alone, under the name: in one step it means the new image
//! images check      every blob still there?
//! images rm         drop the other name
//! ```
//!
//! The import holds a lease on what it writes, and from then on the temporary name keeps every blob of the manifest
//! from being collected. The third command detects blobs that were collected between the first and the second. CRI, the
//! kubelet's view of containerd, follows the events of the namespace `k8s.io` and labels the image as one of its own.
//! `images tag --force` would leave the name without an image for a moment: it deletes the name and creates it again
//! (containerd's cmd/ctr/commands/images/tag.go), whereas an import updates it (core/transfer/image/imagestore.go).

use std::{collections::HashSet, io, sync::Arc};

use super::{ContainerdError, TRANSPORT, snapshotter::Snapshotter};
use crate::{
    image::{Image, ManifestGraph},
    oci::{
        Digest,
        name::{TaggedName, full_name},
    },
    transport::{
        Loaded, Outcome, WriteError, WriteOptions, WriteTransport, archive,
        engine::{
            self, EngineError, Tool,
            incoming::{self, Received},
        },
        write::{name_for, one_image, parse_name},
    },
};

pub(super) fn parse(rest: &str) -> Result<Arc<dyn WriteTransport>, String> {
    Ok(Arc::new(Containerd { name: parse_name(rest)? }))
}

/// The name of the image if it differs from that of the source.
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
            let snapshotter = options.engine.snapshotter.as_deref();
            let outcome = load(image, &name, snapshotter, &tool)?.into_outcome(image);
            all = Some(match all {
                Some(before) => before.with_node(outcome),
                None => outcome,
            });
        }
        Ok(all.expect("there is at least one command"))
    }
}

/// Loads `image` as `name`, and unpacks it for `snapshotter`, or for the default one.
///
/// # Errors
///
/// [`ContainerdError`]. The name then stands for the same image as before.
pub fn load(
    image: &Image,
    name: &TaggedName,
    snapshotter: Option<&str>,
    ctr: &Tool,
) -> Result<Loaded, ContainerdError> {
    let snapshotter = Snapshotter::find(snapshotter, ctr)?;
    snapshotter.check_annotations(image.layers.iter().map(|layer| &layer.descriptor))?;
    let reference = name.full();
    let loaded = Loaded::new(image.digest(), reference.clone());
    let blobs = ctr.run(&["content", "ls", "-q"])?;
    let existing = blobs.lines().filter_map(|line| line.trim().parse().ok()).collect();
    let temporary = incoming::temporary_name(&image.digest());
    incoming::load(&Import { image, reference, temporary, snapshotter, ctr }, existing, loaded)
}

struct Import<'a> {
    image: &'a Image,
    reference: String,
    temporary: String,
    snapshotter: Snapshotter,
    ctr: &'a Tool,
}

impl incoming::Load for Import<'_> {
    type Error = ContainerdError;

    fn send(&self, existing: &HashSet<Digest>, loaded: &mut Loaded) -> Result<Received, ContainerdError> {
        let import = self.snapshotter.import();
        let imported = loaded.feed(self.image, &self.temporary, existing, self.ctr, &import);
        let state = match self.check(&full_name(&self.temporary)) {
            Ok(state) => state,
            Err(error) => return Err(imported.err().unwrap_or(error).into()),
        };
        // Unpacking an image that lacks blobs may fail, and an archive that cannot be read results in no image.
        Ok(match (imported, state) {
            (Ok(_), LoadState::Complete) => Received::Complete,
            (Err(error), _) if existing.is_empty() => return Err(error.into()),
            (_, LoadState::Incomplete(line)) => Received::Incomplete(line),
            (Err(error), _) => Received::Incomplete(error.to_string()),
            (Ok(_), LoadState::Absent) if existing.is_empty() => Received::Incomplete("no such image".to_owned()),
            (Ok(_), LoadState::Absent) => Received::Incomplete("it has not all of their blobs".to_owned()),
        })
    }

    fn set_name(&self) -> Result<Result<(), String>, ContainerdError> {
        let named = self.add_name().and_then(|_| self.check(&self.reference));
        Ok(match named {
            Ok(LoadState::Complete) => Ok(()),
            // Another load of the same image may have removed its temporary name.
            Ok(LoadState::Incomplete(line)) => Err(line),
            Ok(LoadState::Absent) => Err("no such image".to_owned()),
            Err(error) => Err(error.to_string()),
        })
    }

    fn remove_temporary_name(&self) {
        let _ = self.ctr.run(&["images", "rm", &full_name(&self.temporary)]);
    }

    fn incomplete(&self, reason: Option<String>) -> ContainerdError {
        ContainerdError::Incomplete { reference: self.reference.clone(), message: reason.unwrap_or_default() }
    }
}

impl Import<'_> {
    /// Gives the image, whose blobs are present, its name.
    fn add_name(&self) -> Result<String, EngineError> {
        let layers = self.image.layers.iter().map(|layer| layer.descriptor.digest).collect();
        self.ctr.feed(&self.snapshotter.import(), |out| {
            archive::write_without(self.image, Some(&self.reference), &layers, out).map(drop).map_err(io::Error::other)
        })
    }

    /// Parses `ctr images check`, which prints a line for each image: "REF TYPE DIGEST STATUS SIZE UNPACKED", with the
    /// status "complete (66/66)" or "incomplete (1/66)".
    fn check(&self, name: &str) -> Result<LoadState, EngineError> {
        let filter = format!("name=={name}");
        let message = self.ctr.run(&self.snapshotter.check(&filter))?;
        let Some(line) = message.lines().find(|line| line.starts_with(name)) else { return Ok(LoadState::Absent) };
        let complete = line.split_whitespace().nth(3) == Some("complete") && line.trim_end().ends_with("true");
        Ok(if complete { LoadState::Complete } else { LoadState::Incomplete(line.trim().to_owned()) })
    }
}

enum LoadState {
    Absent,
    Incomplete(String),
    Complete,
}
