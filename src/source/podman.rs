//! `containers-storage:`: podman writes an archive of an image, which is read as any other archive.

use std::sync::Arc;

use super::{
    Opened, SourceError, scan,
    scheme::{Access, Scheme, Source, image_name},
};
use crate::engine::Tool;

/// `containers-storage:NAME[:TAG]`
pub const SCHEME: Scheme = Scheme {
    name: "containers-storage",
    syntax: "containers-storage:NAME[:TAG]",
    about: "podman",
    parse: |rest| Ok(Arc::new(PodmanSource(image_name(rest)?))),
};

/// An image of podman, by its name there.
#[derive(Debug)]
struct PodmanSource(String);

impl Source for PodmanSource {
    fn open(&self, access: &Access) -> Result<Opened, SourceError> {
        let podman = Tool::new("podman", access.engine.via.as_deref());
        let save = ["save", "--quiet", "--format", "oci-archive", &self.0];
        let archive = podman.spool(&save).map_err(SourceError::transport)?;
        scan::open_file(archive, &self.0).map(Opened::Found)
    }
}
