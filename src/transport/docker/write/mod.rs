//! Loads an image into a docker daemon, without the layers that the daemon has.
//!
//! The layers that can be left out depend on the image store of the daemon:
//!
//! - docker's own store keeps chains: a layer counts only with all those below it. The longest beginning that an image
//!   of the daemon shares is left out ([moby pull request 18727](https://github.com/moby/moby/pull/18727)); an archive
//!   that lacks more is refused.
//! - containerd's store, Docker 29's default, keeps blobs: `containerd_store`.

mod containerd_store;

use std::{collections::HashSet, io, sync::Arc};

use super::{Daemon, DaemonError, TRANSPORT};
use crate::{
    image::{Image, ManifestGraph},
    layer::{ChunkReader, Counted},
    oci::{Digest, name::TaggedName},
    transport::{
        Loaded, Outcome, WriteError, WriteOptions, WriteTransport, archive,
        write::{name_for, one_image, parse_name},
    },
};

pub(super) fn parse(rest: &str) -> Result<Arc<dyn WriteTransport>, String> {
    Ok(Arc::new(DockerDaemon { name: parse_name(rest)? }))
}

/// The user's daemon, and the name of the image if it differs from that of the source.
#[derive(Debug)]
struct DockerDaemon {
    name: Option<TaggedName>,
}

impl WriteTransport for DockerDaemon {
    fn write(&self, content: &ManifestGraph, options: &WriteOptions) -> Result<Outcome, WriteError> {
        let image = one_image(content)?;
        let name = name_for(self.name.as_ref(), image.reference.as_deref(), TRANSPORT.write.syntax)?;
        let daemon = Daemon::from_options(&options.engine)?;
        Ok(load(image, name.as_ref(), &daemon)?.into_outcome(image))
    }
}

/// Loads an image, and tags it.
///
/// # Errors
///
/// [`DaemonError`]. The name then stands for the same image as before.
pub fn load(image: &Image, name: Option<&TaggedName>, daemon: &Daemon) -> Result<Loaded, DaemonError> {
    let reference = name.map(TaggedName::as_str);
    if daemon.info()?.has_containerd_store() {
        return containerd_store::load(image, reference, daemon);
    }
    let there = image.lowest(longest_common(image, &daemon.chains()?));
    let id = Digest::sha256(&image.config);
    let mut loaded = Loaded::new(id, reference.map_or_else(|| id.to_string(), str::to_owned));
    let send = |there: &HashSet<Digest>, loaded: &mut Loaded| {
        let image = archive::for_docker(image, there)?;
        stream(&image, reference, there, daemon, loaded)
    };
    match send(&there, &mut loaded) {
        Ok(_) => Ok(loaded),
        // An image may have been removed since its layers were listed.
        Err(DaemonError::Refused { message, .. }) if !there.is_empty() => {
            loaded.repaired = Some(message);
            send(&HashSet::new(), &mut loaded).map(|_| loaded)
        }
        Err(error) => Err(error),
    }
}

/// Returns the number of layers, from the base on, that the image shares with an existing image.
fn longest_common(image: &Image, chains: &[Vec<Digest>]) -> usize {
    let common = |chain: &Vec<Digest>| {
        image.layers.iter().zip(chain).take_while(|(layer, diff_id)| layer.diff_id == **diff_id).count()
    };
    chains.iter().map(common).max().unwrap_or(0)
}

/// Sends the image as `reference` without the layers `there`. Returns the messages of the daemon.
fn stream(
    image: &Image,
    reference: Option<&str>,
    there: &HashSet<Digest>,
    daemon: &Daemon,
    loaded: &mut Loaded,
) -> Result<Vec<String>, DaemonError> {
    let (image, reference, without) = (image.clone(), reference.map(str::to_owned), there.clone());
    loaded.leave_out(&image, there);
    let archive = ChunkReader::new(move |out| {
        archive::write_without(&image, reference.as_deref(), &without, out).map(drop).map_err(io::Error::other)
    });
    let mut archive = Counted::new(archive);
    let message = daemon.load(&mut archive);
    loaded.bytes += archive.bytes;
    message
}
