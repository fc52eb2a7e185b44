//! An image in podman's storage, loaded by podman's own command without the layers that it has.
//!
//! podman looks for a layer in its storage before it looks into the archive (containers/image, `TryReusingBlob` of its
//! storage transport), so an OCI archive may lack what is there. The same command reaches the storage of this machine,
//! root's or the user's, and with `CONTAINER_HOST`, `podman --remote` or `--via` that of another.

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

/// The user's podman, and under which name, if another than the image's own.
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

/// Loads `image` as `name`.
///
/// # Errors
///
/// [`EngineError`]; then the name means what it meant before.
pub fn load(image: &Image, name: &TaggedName, podman: &Tool) -> Result<Loaded, EngineError> {
    let reference = local_name(name);
    let mut loaded = Loaded::new(Digest::of(&image.config), reference.clone());
    let diff_ids = diff_ids(podman)?;
    let seem = image.layers.iter().filter(|layer| diff_ids.contains(&layer.diff_id));
    let there: HashSet<Digest> = seem.map(|layer| layer.descriptor.digest).collect();
    match loaded.feed(image, &reference, &there, podman, LOAD) {
        Ok(_) => Ok(loaded),
        // An image may have gone since it was asked for, or the storage does not know that a compressed blob is a
        // layer of its.
        Err(EngineError::Failed { message, .. }) if !there.is_empty() => {
            loaded.repaired = Some(message);
            loaded.feed(image, &reference, &HashSet::new(), podman, LOAD).map(|_| loaded)
        }
        Err(error) => Err(error),
    }
}

/// As podman names what comes from no registry: `hello:latest` is `localhost/hello:latest`.
pub(crate) fn local_name(name: &TaggedName) -> String {
    match name::split_host(name.as_str()) {
        Some(_) => name.full(),
        None => format!("localhost/{name}"),
    }
}

/// The diff_ids of the layers of all its images.
fn diff_ids(podman: &Tool) -> Result<HashSet<Digest>, EngineError> {
    let ids = match podman.run(&["images", "--all", "--quiet", "--no-trunc"]) {
        // An image whose load was killed, or still runs, fails the list of all. Without the list every layer is sent.
        Err(EngineError::Failed { .. }) => return Ok(HashSet::new()),
        ids => ids?,
    };
    // A template such as {{json .RootFS.Layers}} would not survive the shell at the other end of ssh.
    let mut arguments = vec!["image", "inspect", "--format", "json"];
    arguments.extend(ids.lines());
    // An image that was removed since the list was made fails the command.
    let inspected = if ids.is_empty() { String::new() } else { podman.run(&arguments).unwrap_or_default() };
    Ok(parse_diff_ids(&inspected))
}

/// The diff_ids in the answer of `podman image inspect`.
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
