//! A load into containerd's image store, the default of Docker 29.
//!
//! The store keeps blobs by their digests, and accepts an archive without those that it has. If more blobs are missing, it
//! does not refuse the archive: it names the image, and reports that it could not be unpacked (moby,
//! daemon/containerd/image_exporter.go). No response of the daemon lists blobs. The diff_ids of its images show which
//! layers were unpacked, but their blobs may have been compressed, or discarded since. The archive is therefore loaded
//! under a temporary name ([`incoming`]), until the daemon reports that the manifest is available with every blob.

use std::collections::HashSet;

use super::stream;
use crate::{
    image::Image,
    oci::Digest,
    transport::{
        Loaded,
        docker::{Daemon, DaemonError},
        engine::incoming::{self, Received},
    },
};

const INCOMPLETE: &str = "the image is not complete after all of it was sent";

pub(super) fn load(image: &Image, reference: Option<&str>, daemon: &Daemon) -> Result<Loaded, DaemonError> {
    let manifest = image.digest();
    let mut loaded = Loaded::new(manifest, reference.map_or_else(|| manifest.to_string(), str::to_owned));
    // An incomplete image without a name hides no other, and docker lists it by its digest.
    let temporary = reference.map(|_| incoming::temporary_name(&manifest));
    let load = DaemonLoad { image, manifest, reference, temporary, daemon };
    let present = daemon.image(&manifest.to_string())?;
    if present.is_some_and(|present| present.is_available(&manifest) == Some(true) && present.is_unpacked(&manifest)) {
        loaded.present = image.layers.len();
        match reference {
            Some(reference) if !daemon.tag(&manifest, reference)? => {}
            _ => {
                // A load that was killed at its end may have left it.
                incoming::Load::remove_temporary_name(&load);
                return Ok(loaded);
            }
        }
    }
    let diff_ids: HashSet<Digest> = daemon.chains()?.into_iter().flatten().collect();
    let unpacked = image.layers.iter().filter(|layer| diff_ids.contains(&layer.diff_id));
    let existing = unpacked.map(|layer| layer.descriptor.digest).collect();
    incoming::load(&load, existing, loaded)
}

struct DaemonLoad<'a> {
    image: &'a Image,
    manifest: Digest,
    reference: Option<&'a str>,
    temporary: Option<String>,
    daemon: &'a Daemon,
}

impl incoming::Load for DaemonLoad<'_> {
    type Error = DaemonError;

    fn send(&self, existing: &HashSet<Digest>, loaded: &mut Loaded) -> Result<Received, DaemonError> {
        let messages = stream(self.image, self.temporary.as_deref(), existing, self.daemon, loaded)?;
        let is_complete = check(&self.manifest, existing.is_empty(), self.daemon)?;
        let unpacking = messages.into_iter().find(|line| line.starts_with("Error unpacking"));
        Ok(match (is_complete, unpacking) {
            (Some(true), None) => Received::Complete,
            (Some(true), Some(error)) => Received::Unusable(error),
            (None, _) => Received::Removed,
            (Some(false), _) if existing.is_empty() => Received::Unusable(INCOMPLETE.to_owned()),
            (Some(false), error) => Received::Incomplete(
                error.unwrap_or_else(|| "it has the files of some layers, but not their blobs".to_owned()),
            ),
        })
    }

    fn set_name(&self) -> Result<Result<(), String>, DaemonError> {
        let is_named = self.reference.map_or(Ok(true), |reference| self.daemon.tag(&self.manifest, reference))?;
        Ok(if is_named { Ok(()) } else { Err(INCOMPLETE.to_owned()) })
    }

    fn remove_temporary_name(&self) {
        if let Some(temporary) = &self.temporary {
            let _ = self.daemon.remove(temporary);
        }
    }

    fn incomplete(&self, reason: Option<String>) -> DaemonError {
        let message = reason.unwrap_or_else(|| INCOMPLETE.to_owned());
        DaemonError::Refused { act: "loading into the docker daemon", message }
    }
}

/// Whether the daemon has every blob of the manifest, or `None` if it does not have the manifest.
fn check(manifest: &Digest, is_full_archive: bool, daemon: &Daemon) -> Result<Option<bool>, DaemonError> {
    let image = daemon.image(&manifest.to_string())?;
    // Docker 25 to 27 do not report it.
    Ok(image.map(|image| image.is_available(manifest).unwrap_or(is_full_archive)))
}
