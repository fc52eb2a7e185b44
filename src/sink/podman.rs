//! An image in podman's storage, loaded by podman's own command without the layers that it has.
//!
//! podman looks for a layer in its storage before it looks into the archive (containers/image, `TryReusingBlob` of its
//! storage transport), so an OCI archive may lack what is there. The same command reaches the storage of this machine,
//! root's or the user's, and with `CONTAINER_HOST`, `podman --remote` or `--via` that of another.

use std::collections::HashSet;

use super::{
    loaded::Loaded,
    scheme::{Holds, Scheme, Sink, WriteError, WriteOptions, Written, one_image, with_tag},
};
use crate::{
    blobs::ImageBlobs,
    content::Content,
    engine::{EngineError, Tool},
    oci::{Digest, name},
};

/// `containers-storage:NAME:TAG`
pub const SCHEME: Scheme = Scheme {
    name: "containers-storage",
    syntax: "containers-storage:NAME:TAG",
    about: "podman",
    holds: Holds::Image,
    parse: |rest| Ok(std::sync::Arc::new(Podman { name: with_tag(rest) })),
};

const LOAD: &[&str] = &["load", "--quiet"];

/// The user's podman, and under which name, if another than the image's own.
#[derive(Debug)]
struct Podman {
    name: Option<String>,
}

impl Sink for Podman {
    fn write(&self, content: &Content, options: &WriteOptions) -> Result<Written, WriteError> {
        let image = one_image(content)?;
        let name = self.name.as_deref().or(image.reference.as_deref());
        let name = name.ok_or("the image has no name; write containers-storage:NAME:TAG")?;
        let podman = Tool::new("podman", options.engine.via.as_deref());
        Ok(load(image, name, &podman)?.written(image))
    }
}

/// Loads `image` as `reference`.
///
/// # Errors
///
/// [`EngineError`]; then the name means what it meant before.
pub fn load(image: &ImageBlobs, reference: &str, podman: &Tool) -> Result<Loaded, EngineError> {
    let reference = local_name(reference);
    let mut loaded = Loaded::new(Digest::of(&image.config), reference.clone());
    let diff_ids = diff_ids(podman)?;
    let seem = image.layers.iter().filter(|layer| diff_ids.contains(&layer.diff_id));
    let there: HashSet<Digest> = seem.map(|layer| layer.descriptor.digest).collect();
    match loaded.feed(image, &reference, &there, podman, LOAD) {
        Ok(_) => Ok(loaded),
        // An image may have gone since it was asked for, or the storage does not know that a compressed blob is a
        // layer of its.
        Err(EngineError::Failed { said, .. }) if !there.is_empty() => {
            loaded.repaired = Some(said);
            loaded.feed(image, &reference, &HashSet::new(), podman, LOAD).map(|_| loaded)
        }
        Err(error) => Err(error),
    }
}

/// As podman names what comes from no registry: `hello:latest` is `localhost/hello:latest`.
fn local_name(reference: &str) -> String {
    match name::split_host(reference) {
        Some(_) => name::full_name(reference),
        None => format!("localhost/{reference}"),
    }
}

/// The diff_ids of the layers of all its images.
fn diff_ids(podman: &Tool) -> Result<HashSet<Digest>, EngineError> {
    let ids = match podman.run(&["images", "--all", "--quiet", "--no-trunc"]) {
        // An image whose load was killed, or still runs, fails the list of all. Without the list every layer is sent.
        Err(EngineError::Failed { .. }) => return Ok(HashSet::new()),
        ids => ids?,
    };
    let mut arguments = vec!["image", "inspect", "--format", "{{json .RootFS.Layers}}"];
    arguments.extend(ids.lines());
    // One that is gone since it was listed fails all.
    let layers = if ids.is_empty() { String::new() } else { podman.run(&arguments).unwrap_or_default() };
    let of_image = |line: &str| serde_json::from_str::<Vec<Digest>>(line).unwrap_or_default();
    Ok(layers.lines().flat_map(of_image).collect())
}
