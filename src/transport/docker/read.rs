//! `docker-daemon:`: the daemon exports an image as an archive, which is read as any other archive.

use std::{path::Path, sync::Arc};

use super::Daemon;
use crate::{
    image::{OpenError, Opened},
    transport::{ReadOptions, ReadTransport, archive, read::image_name},
};

pub(super) fn parse(rest: &str) -> Result<Arc<dyn ReadTransport>, String> {
    Ok(Arc::new(DaemonSource(image_name(rest)?)))
}

/// An image of a docker daemon, by its name.
#[derive(Debug)]
struct DaemonSource(String);

impl ReadTransport for DaemonSource {
    fn open(&self, access: &ReadOptions) -> Result<Opened, OpenError> {
        let daemon = Daemon::from_options(&access.engine).map_err(OpenError::transport)?;
        let archive = daemon.save(&self.0).map_err(OpenError::transport)?;
        archive::read::open(archive, Path::new(&self.0)).map(Opened::Found)
    }
}
