//! Loads an image into podman's storage with podman's command, without the layers that the storage has.
//!
//! podman looks for a layer in its storage before it reads the archive (containers/image, `TryReusingBlob` of its
//! storage transport), so an OCI archive may lack existing layers. The same command reaches the storage of root or the
//! user on this machine, and with `CONTAINER_HOST`, `podman --remote` or `--via` that of another machine.

use std::{collections::HashSet, sync::Arc};

use serde::Deserialize;

use super::TRANSPORT;
use crate::{
    image::{Image, ManifestGraph},
    oci::{
        Digest,
        name::{self, TaggedName},
    },
    transport::{
        Loaded, Outcome, WriteError, WriteOptions, WriteTransport,
        engine::{EngineError, Tool},
        write::{name_for, one_image, parse_name},
    },
};

pub(super) fn parse(rest: &str) -> Result<Arc<dyn WriteTransport>, String> {
    Ok(Arc::new(Podman { name: parse_name(rest)? }))
}

const LOAD: &[&str] = &["load", "--quiet"];

/// The user's podman, and the name of the image if it differs from that of the source.
#[derive(Debug)]
struct Podman {
    name: Option<TaggedName>,
}

impl WriteTransport for Podman {
    fn write(&self, content: &ManifestGraph, options: &WriteOptions) -> Result<Outcome, WriteError> {
        let image = one_image(content)?;
        let name = name_for(self.name.as_ref(), image.reference.as_deref(), TRANSPORT.write.syntax)?;
        let name = name.ok_or_else(|| format!("the image has no name; write {}", TRANSPORT.write.syntax))?;
        let podman = Tool::new("podman", options.engine.via.as_deref());
        Ok(load(image, &name, &podman)?.into_outcome(image))
    }
}

/// Loads an image under a name.
///
/// # Errors
///
/// [`EngineError`]. The name then stands for the same image as before.
pub fn load(image: &Image, name: &TaggedName, podman: &Tool) -> Result<Loaded, EngineError> {
    let reference = local_name(name);
    let mut loaded = Loaded::new(Digest::sha256(&image.config), reference.clone());
    let diff_ids = diff_ids(podman)?;
    let seem = image.layers.iter().filter(|layer| diff_ids.contains(&layer.diff_id));
    let existing: HashSet<Digest> = seem.map(|layer| layer.descriptor.digest).collect();
    match loaded.feed(image, &reference, &existing, podman, LOAD) {
        Ok(_) => Ok(loaded),
        // An image may have been removed since the layers were listed, or the storage does not know that a compressed
        // blob is one of its layers.
        Err(EngineError::Failed { message, .. }) if !existing.is_empty() => {
            loaded.repaired = Some(message);
            loaded.feed(image, &reference, &HashSet::new(), podman, LOAD).map(|_| loaded)
        }
        Err(error) => Err(error),
    }
}

/// Returns podman's name for an image without a registry: `hello:latest` is `localhost/hello:latest`.
pub(crate) fn local_name(name: &TaggedName) -> String {
    match name::split_host(name.as_str()) {
        Some(_) => name.full(),
        None => format!("localhost/{name}"),
    }
}

/// Returns the diff_ids of the layers of all images in the storage.
fn diff_ids(podman: &Tool) -> Result<HashSet<Digest>, EngineError> {
    let ids = match podman.run(&["images", "--all", "--quiet", "--no-trunc"]) {
        // An incomplete image of a load that was killed or is still running makes the list of all images fail. Without
        // the list, every layer is sent.
        Err(EngineError::Failed { .. }) => return Ok(HashSet::new()),
        ids => ids?,
    };
    // A template such as {{json .RootFS.Layers}} would be changed by the shell on the other side of ssh.
    let mut arguments = vec!["image", "inspect", "--format", "json"];
    // podman prints what a remote service (CONTAINER_HOST) sends. Other lines could be options.
    let options = arguments.len();
    arguments.extend(ids.lines().filter(|id| id.parse::<Digest>().is_ok()));
    // An image that was removed after the list was made makes the command fail.
    let has_images = arguments.len() > options;
    let inspected = if has_images { podman.run(&arguments).unwrap_or_default() } else { String::new() };
    Ok(parse_diff_ids(&inspected))
}

/// Returns the diff_ids in the output of `podman image inspect`.
fn parse_diff_ids(inspected: &str) -> HashSet<Digest> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Inspected {
        #[serde(rename = "RootFS", default)]
        root_fs: RootFs,
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct RootFs {
        #[serde(default)]
        layers: Option<Vec<Digest>>,
    }
    let images: Vec<Inspected> = serde_json::from_str(inspected).unwrap_or_default();
    images.into_iter().flat_map(|image| image.root_fs.layers.unwrap_or_default()).collect()
}
