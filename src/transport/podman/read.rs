//! `containers-storage:`: podman exports an image as an archive, which is read as any other archive.

use std::{path::Path, sync::Arc};

use crate::{
    image::{OpenError, Opened},
    transport::{ReadOptions, ReadTransport, archive, engine::Tool, read::image_name},
};

pub(super) fn parse(rest: &str) -> Result<Arc<dyn ReadTransport>, String> {
    Ok(Arc::new(PodmanSource(image_name(rest)?)))
}

/// An image of podman, by its name.
#[derive(Debug)]
struct PodmanSource(String);

impl ReadTransport for PodmanSource {
    fn open(&self, access: &ReadOptions) -> Result<Opened, OpenError> {
        let podman = Tool::new("podman", access.engine.via.as_deref());
        let save = ["save", "--quiet", "--format", "oci-archive", &self.0];
        let archive = podman.spool(&save).map_err(OpenError::transport)?;
        archive::read::open(archive, Path::new(&self.0)).map(Opened::Found)
    }
}
