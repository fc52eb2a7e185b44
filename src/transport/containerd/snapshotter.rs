//! The snapshotter for which an image is unpacked: `--snapshotter NAME`.
//!
//! ```text
//! plugins ls                         is the snapshotter there?
//! images import --snapshotter NAME   of an archive without images: does containerd unpack for it?
//! ```
//!
//! `ctr images import` hands the archive to containerd's transfer service, which unpacks only for the snapshotters of `unpack_config` in
//! its configuration; the default is overlayfs alone (containerd, plugins/transfer/plugin.go). With others, it fails after it has read
//! the whole archive: "no unpack platforms defined" (core/transfer/local/import.go, core/unpack/unpacker.go). There, `--local` unpacks
//! through the client (client/image.go, `Unpack`). The transfer service comes first, because `unpack_config` also chooses the differ of a
//! snapshotter, and because only the transfer service passes the annotations of layers on to it, which nix-snapshotter needs.
//!
//! Both record the snapshot as `containerd.io/gc.ref.snapshot.NAME` on the config, so that it stays as long as the image. An image may
//! be unpacked for several snapshotters. `ctr run` and CRI look for the snapshot of their own snapshotter, and unpack the image if it
//! has none (internal/cri/opts/container.go, `WithNewSnapshot`).
//!
//! The client creates the image under its temporary name before it unpacks it, and CRI then adds a name of its own, `sha256:CONFIG`. If
//! unpacking fails, because the program of a proxy plug-in does not run or the disk is full, this name stays, with complete blobs.

use std::io;

use super::ContainerdError;
use crate::{
    image::nix_node::ANNOTATION,
    oci::Descriptor,
    transport::{
        archive,
        engine::{EngineError, Tool},
    },
};

/// The type of plug-ins that are snapshotters.
const PLUGIN: &str = "io.containerd.snapshotter.v1";
/// A part of the error of a transfer service that does not unpack for a snapshotter.
const NOT_CONFIGURED: &str = "no unpack platforms defined";

/// The snapshotter, as arguments of `ctr`.
#[derive(Debug, Default)]
pub struct Snapshotter {
    /// `--snapshotter=NAME`, except for the default one.
    flag: Option<String>,
    /// Whether the client unpacks, instead of the transfer service.
    is_local: bool,
}

impl Snapshotter {
    /// Returns the snapshotter `name`, or the default one.
    ///
    /// # Errors
    ///
    /// [`ContainerdError::UnknownSnapshotter`], and errors of `ctr`.
    pub fn find(name: Option<&str>, ctr: &Tool) -> Result<Self, ContainerdError> {
        let Some(name) = name else { return Ok(Self::default()) };
        let plugins = ctr.run(&["plugins", "ls", &format!("type=={PLUGIN}")])?;
        let existing: Vec<&str> = plugins.lines().filter_map(usable).collect();
        if !existing.contains(&name) {
            let choices = match existing.is_empty() {
                true => String::new(),
                false => format!("choose one of {}, or ", existing.join(", ")),
            };
            return Err(ContainerdError::UnknownSnapshotter { name: name.to_owned(), choices });
        }
        let configured = Self { flag: Some(format!("--snapshotter={name}")), is_local: false };
        let write_empty = |out: &mut dyn io::Write| archive::write_all(&[], out).map(drop).map_err(io::Error::other);
        let is_local = match ctr.feed(&configured.import(), write_empty) {
            Err(EngineError::Failed { message, .. }) => message.contains(NOT_CONFIGURED),
            // An import of no image may fail in other ways, which mean nothing.
            _ => false,
        };
        Ok(Self { is_local, ..configured })
    }

    /// Checks that the snapshotter receives the annotations of layers, if nix-snapshotter needs them.
    ///
    /// # Errors
    ///
    /// [`ContainerdError::NotConfigured`].
    pub fn check_annotations<'a>(
        &self,
        mut layers: impl Iterator<Item = &'a Descriptor>,
    ) -> Result<(), ContainerdError> {
        let name = self.flag.as_deref().and_then(|flag| flag.strip_prefix("--snapshotter="));
        match name.filter(|_| self.is_local && layers.any(|layer| layer.annotations.contains_key(ANNOTATION))) {
            Some(name) => Err(ContainerdError::NotConfigured { name: name.to_owned() }),
            None => Ok(()),
        }
    }

    /// Returns the command that imports an archive from its standard input.
    pub fn import(&self) -> Vec<&str> {
        let local = self.is_local.then_some("--local");
        ["images", "import"].into_iter().chain(self.flag.as_deref()).chain(local).chain(["-"]).collect()
    }

    /// Returns the command that checks whether images are complete and unpacked.
    pub fn check<'a>(&'a self, filter: &'a str) -> Vec<&'a str> {
        ["images", "check"].into_iter().chain(self.flag.as_deref()).chain([filter]).collect()
    }
}

/// Parses a line of `ctr plugins ls`, "TYPE ID PLATFORMS STATUS". Returns the name of a snapshotter that is loaded.
fn usable(line: &str) -> Option<&str> {
    let words: Vec<&str> = line.split_whitespace().collect();
    (words.first() == Some(&PLUGIN) && words.last() == Some(&"ok")).then(|| words.get(1).copied()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;

    #[test]
    fn snapshotters_that_are_not_loaded_are_not_listed() {
        let listed = "TYPE    ID    PLATFORMS    STATUS    \n\
                      io.containerd.snapshotter.v1    native       linux/amd64    ok    \n\
                      io.containerd.snapshotter.v1    zfs          linux/amd64    skip    \n\
                      io.containerd.snapshotter.v1    nix          -              ok    \n\
                      io.containerd.content.v1        content      -              ok    \n";
        assert_eq!(listed.lines().filter_map(usable).collect::<Vec<_>>(), ["native", "nix"]);
    }

    #[test]
    fn images_for_nix_nodes_need_a_snapshotter_of_the_transfer_service() {
        let mut layer = Descriptor::new("x", Digest::sha256(b"x"), 1);
        let nix = |is_local| Snapshotter { flag: Some("--snapshotter=nix".to_owned()), is_local };
        nix(true).check_annotations([&layer].into_iter()).unwrap();
        layer.annotations.insert(ANNOTATION.to_owned(), "/nix/store/x".to_owned());
        nix(false).check_annotations([&layer].into_iter()).unwrap();
        let error = nix(true).check_annotations([&layer].into_iter()).unwrap_err().to_string();
        assert!(error.contains("`snapshotter = \"nix\"` to containerd's configuration"), "{error}");
    }

    #[test]
    fn commands_name_the_snapshotter_and_the_client() {
        assert_eq!(Snapshotter::default().import().join(" "), "images import -");
        assert_eq!(Snapshotter::default().check("name==x").join(" "), "images check name==x");
        let native = Snapshotter { flag: Some("--snapshotter=native".to_owned()), is_local: true };
        assert_eq!(native.import().join(" "), "images import --snapshotter=native --local -");
        assert_eq!(native.check("name==x").join(" "), "images check --snapshotter=native name==x");
    }
}
