//! `containerd:`: containerd exports an image as an archive, which is read as any other archive.

use std::{path::Path, sync::Arc};

use crate::{
    image::{OpenError, Opened},
    oci::name,
    transport::{
        ReadOptions, ReadTransport, archive,
        engine::{self, Tool},
        read::image_name,
    },
};

pub(super) fn parse(rest: &str) -> Result<Arc<dyn ReadTransport>, String> {
    Ok(Arc::new(ContainerdSource(image_name(rest)?)))
}

/// An image of containerd, by its name.
#[derive(Debug)]
struct ContainerdSource(String);

impl ReadTransport for ContainerdSource {
    fn open(&self, access: &ReadOptions) -> Result<Opened, OpenError> {
        // If there are several nodes, the first one is used.
        let commands = engine::containerd_commands(access.engine.via.as_deref()).map_err(OpenError::transport)?;
        let ctr = Tool::new("ctr", commands.first().and_then(Option::as_deref));
        let ctr = match &access.engine.namespace {
            Some(namespace) => ctr.with(&["-n", namespace]),
            None => ctr,
        };
        // containerd does not add the tag `latest` to names without a tag.
        let name = name::full_name(&name::with_tag(&self.0));
        let archive = ctr.spool(&["images", "export", "-", &name]).map_err(OpenError::transport)?;
        archive::read::open(archive, Path::new(&self.0)).map(Opened::Found)
    }
}
