//! A load into containerd's image store, as Docker 29 has it.
//!
//! The store keeps blobs by their digests, and takes an archive without those it has. It does not refuse one that lacks
//! more: it names the image, and says that it could not be unpacked (moby, daemon/containerd/image_exporter.go). And no
//! answer of the daemon lists blobs: the diff_ids of its images tell what was unpacked, from blobs that may have been
//! compressed, or discarded since. So the archive comes under a name of its own; only when the daemon says that the
//! manifest is available, with every blob, does the image get its name:
//!
//! ```text
//! diff_ids of all images ──▶ archive without these, as strata-incoming:DIGITS ──▶ available? ──▶ name it, drop the other
//!                                     ▲                                              │ no
//!                                     └───────────── all of them, once ──────────────┘
//! ```

use std::collections::HashSet;

use super::stream;
use crate::{
    image::Image,
    oci::Digest,
    transport::{
        Loaded,
        docker::{Daemon, DaemonError},
    },
};

/// Others may load or remove the same image at the same time; more often than this it is no coincidence.
const ATTEMPTS: usize = 3;

pub(super) fn load(image: &Image, reference: Option<&str>, daemon: &Daemon) -> Result<Loaded, DaemonError> {
    let manifest = image.digest();
    let mut loaded = Loaded::new(manifest, reference.map_or_else(|| manifest.to_string(), str::to_owned));
    // Without a name it is no harm to have it, and docker lists it by its digest.
    let incoming = reference.map(|_| crate::transport::engine::loaded::incoming(&manifest));
    let known = daemon.image(&manifest.to_string())?;
    if known.is_some_and(|known| known.is_available(&manifest) == Some(true) && known.is_unpacked(&manifest)) {
        loaded.present = image.layers.len();
        match reference {
            Some(reference) if !daemon.tag(&manifest, reference)? => {}
            _ => {
                // A load that was killed may have left it when everything was there.
                clean_up(incoming.as_deref(), daemon);
                return Ok(loaded);
            }
        }
    }
    let diff_ids: HashSet<Digest> = daemon.chains()?.into_iter().flatten().collect();
    let seem = image.layers.iter().filter(|layer| diff_ids.contains(&layer.diff_id));
    let mut there: HashSet<Digest> = seem.map(|layer| layer.descriptor.digest).collect();
    let mut why = None;
    for _ in 0..ATTEMPTS {
        let message = stream(image, incoming.as_deref(), &there, daemon, &mut loaded);
        let complete = message.and_then(|message| Ok((check(&manifest, there.is_empty(), daemon)?, message)));
        let (found, message) = match complete {
            Ok(complete) => complete,
            Err(error) => {
                clean_up(incoming.as_deref(), daemon);
                return Err(error);
            }
        };
        let unpacking = message.into_iter().find(|line| line.starts_with("Error unpacking"));
        match (found, unpacking) {
            (Some(true), None) => {
                let named = reference.map_or(Ok(true), |reference| daemon.tag(&manifest, reference));
                clean_up(incoming.as_deref(), daemon);
                if named? {
                    return Ok(loaded);
                }
            }
            (Some(true), Some(error)) => {
                why = Some(error);
                break;
            }
            // Another load of the same image has dropped the name it came under.
            (None, _) => {}
            (Some(false), _) if there.is_empty() => break,
            (Some(false), error) => {
                let more = error.unwrap_or_else(|| "it has the files of some layers, but not their blobs".to_owned());
                loaded.repaired = Some(more);
                there.clear();
            }
        }
    }
    clean_up(incoming.as_deref(), daemon);
    let message = why.unwrap_or_else(|| "the image is not complete after all of it was sent".to_owned());
    Err(DaemonError::Refused { act: "loading into the docker daemon", message })
}

/// Whether the daemon has every blob of the manifest; nothing where it has not even the manifest.
fn check(manifest: &Digest, came_whole: bool, daemon: &Daemon) -> Result<Option<bool>, DaemonError> {
    let image = daemon.image(&manifest.to_string())?;
    // Docker 25 to 27 do not say it.
    Ok(image.map(|image| image.is_available(manifest).unwrap_or(came_whole)))
}

/// Drops the name that the image came under. Where this fails, so did what came before, or the same command drops it.
fn clean_up(incoming: Option<&str>, daemon: &Daemon) {
    if let Some(incoming) = incoming {
        let _ = daemon.remove(incoming);
    }
}
