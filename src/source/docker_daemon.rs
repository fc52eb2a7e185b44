//! `docker-daemon:`: the daemon writes an archive of an image, which is read as any other archive.

use std::sync::Arc;

use super::{
    Opened, SourceError, scan,
    scheme::{Access, Scheme, Source, image_name},
};
use crate::daemon::Daemon;

/// `docker-daemon:NAME[:TAG]`
pub const SCHEME: Scheme = Scheme {
    name: "docker-daemon",
    syntax: "docker-daemon:NAME[:TAG]",
    about: "docker daemon",
    parse: |rest| Ok(Arc::new(DaemonSource(image_name(rest)?))),
};

/// An image of a docker daemon, by its name there.
#[derive(Debug)]
struct DaemonSource(String);

impl Source for DaemonSource {
    fn open(&self, access: &Access) -> Result<Opened, SourceError> {
        let daemon = Daemon::of_user(&access.engine).map_err(SourceError::transport)?;
        let archive = daemon.save(&self.0).map_err(SourceError::transport)?;
        scan::open_file(archive, &self.0).map(Opened::Found)
    }
}
