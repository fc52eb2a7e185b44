//! Images that leave an engine: `docker-daemon:`, `containerd:`, `containers-storage:`.
//!
//! Each engine writes an archive of an image; it is spooled to a nameless file, and read as any other.

use std::{fs::File, sync::Arc};

use super::{
    Opened, SourceError, scan,
    scheme::{Access, Scheme, Source},
};
use crate::{
    daemon::Daemon,
    engine::{self, Tool},
    oci::name,
};

/// `docker-daemon:NAME[:TAG]`
pub const DOCKER: Scheme = Scheme {
    name: "docker-daemon",
    syntax: "docker-daemon:NAME[:TAG]",
    about: "docker daemon",
    parse: |rest| parse(rest, Kind::Docker),
};

/// `containerd:NAME[:TAG]`
pub const CONTAINERD: Scheme = Scheme {
    name: "containerd",
    syntax: "containerd:NAME[:TAG]",
    about: "containerd, also on a Kubernetes node",
    parse: |rest| parse(rest, Kind::Containerd),
};

/// `containers-storage:NAME[:TAG]`
pub const PODMAN: Scheme = Scheme {
    name: "containers-storage",
    syntax: "containers-storage:NAME[:TAG]",
    about: "podman",
    parse: |rest| parse(rest, Kind::Podman),
};

#[derive(Clone, Copy, Debug)]
enum Kind {
    Docker,
    Containerd,
    Podman,
}

/// An image of an engine, by its name there.
#[derive(Debug)]
struct OfEngine {
    kind: Kind,
    name: String,
}

fn parse(rest: &str, kind: Kind) -> Result<Arc<dyn Source>, String> {
    if rest.is_empty() || rest.starts_with('-') {
        return Err("no image is given; write NAME:TAG after the colon".to_owned());
    }
    Ok(Arc::new(OfEngine { kind, name: rest.to_owned() }))
}

impl Source for OfEngine {
    fn open(&self, access: &Access) -> Result<Opened, SourceError> {
        scan::open_file(self.export(&access.engine)?, &self.name).map(Opened::Found)
    }
}

impl OfEngine {
    fn export(&self, options: &engine::Options) -> Result<File, SourceError> {
        let via = options.via.as_deref();
        let Self { kind, name } = self;
        Ok(match kind {
            Kind::Docker => Daemon::of_user(options)?.save(name)?,
            Kind::Podman => Tool::new("podman", via).spool(&["save", "--quiet", "--format", "oci-archive", name])?,
            Kind::Containerd => {
                // Of several nodes, the first.
                let command = engine::containerd_commands(via)?.swap_remove(0);
                let ctr = Tool::new("ctr", command.as_deref());
                let ctr = match &options.namespace {
                    Some(namespace) => ctr.with(&["-n", namespace]),
                    None => ctr,
                };
                // containerd does not know that no tag means the latest.
                ctr.spool(&["images", "export", "-", &name::full_name(&name::with_tag(name))])?
            }
        })
    }
}
