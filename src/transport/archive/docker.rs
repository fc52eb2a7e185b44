//! Archives of docker before it wrote OCI layouts: manifest.json has the file names of config and layers. Such archives
//! have no OCI manifests, so this module makes them.

use std::{
    borrow::Cow,
    collections::HashMap,
    io::{self, Read},
    sync::Arc,
};

use super::contents::{ArchiveContents, digests};
use crate::{
    budget,
    image::{ManifestNode, OpenError, Store, top::UnlistedImage},
    layer::DetectedCompression,
    oci::{Descriptor, Digest, DockerManifest, ImageConfig, Manifest, Platform, descriptor::media_type, json, name},
};

/// An image of a manifest.json.
#[derive(Clone, Debug)]
pub(crate) struct Saved {
    /// All names in the form `name:tag`.
    names: Vec<String>,
    manifest: DockerManifest,
    contents: Arc<ArchiveContents>,
}

/// The blobs of one image, and its manifest.
#[derive(Debug)]
struct SavedBlobs {
    contents: Arc<ArchiveContents>,
    manifest: (Digest, Vec<u8>),
    /// The file names in the archive.
    files: HashMap<Digest, String>,
}

impl Store for SavedBlobs {
    fn open(&self, digest: &Digest) -> io::Result<Option<Box<dyn Read + Send>>> {
        if *digest == self.manifest.0 {
            return Ok(Some(Box::new(io::Cursor::new(self.manifest.1.clone()))));
        }
        self.files.get(digest).map(|name| self.contents.open(name)).transpose()
    }

    fn name(&self, digest: &Digest) -> String {
        self.files.get(digest).cloned().unwrap_or_else(|| digest.blob_name())
    }
}

/// Returns the images of a manifest.json.
pub(crate) fn images(contents: &Arc<ArchiveContents>) -> Result<Vec<Saved>, OpenError> {
    let manifests: Vec<DockerManifest> = contents.document("manifest.json")?;
    let limit = budget::GRAPH.parts;
    if manifests.len() as u64 > limit {
        let why = format!("it lists more than {limit} images, which is the limit");
        return Err(OpenError::Document { document: "manifest.json".to_owned(), why });
    }
    let saved = |manifest: DockerManifest| {
        let names = manifest.repo_tags.iter().flatten().map(|name| name::familiar(name).to_owned()).collect();
        Saved { names, manifest, contents: Arc::clone(contents) }
    };
    Ok(manifests.into_iter().map(saved).collect())
}

impl Saved {
    /// Returns the bytes of the config.
    pub(crate) fn config(&self) -> Result<Cow<'_, [u8]>, OpenError> {
        self.contents.text(&self.manifest.config)
    }
}

impl UnlistedImage for Saved {
    fn names(&self) -> &[String] {
        &self.names
    }

    fn platform(&self) -> Result<Platform, OpenError> {
        Ok(self.contents.document::<ImageConfig>(&self.manifest.config)?.platform())
    }

    fn files(&self) -> Vec<&str> {
        let DockerManifest { config, layers, .. } = &self.manifest;
        [config].into_iter().chain(layers).map(String::as_str).collect()
    }

    fn node(&self) -> Result<ManifestNode, OpenError> {
        let DockerManifest { config, layers, .. } = &self.manifest;
        let fail = |document: &str, why: String| OpenError::Document { document: document.to_owned(), why };
        let limit = budget::GRAPH.parts;
        if layers.len() as u64 > limit {
            let why = format!("{} layers exceed the limit of {limit}", layers.len());
            return Err(fail("manifest.json", why));
        }
        if config.is_empty() {
            return Err(fail("manifest.json", "an image of it names no config".to_owned()));
        }
        if let Some(at) = layers.iter().position(String::is_empty) {
            return Err(fail("manifest.json", format!("layer {} of an image has no file name", at + 1)));
        }
        let parsed: ImageConfig = self.contents.document(config)?;
        let text = self.contents.text(config)?;
        let diff_ids = &parsed.rootfs.diff_ids;
        if diff_ids.len() != layers.len() {
            let why = format!("it lists {} diff_ids, but there are {} layers", diff_ids.len(), layers.len());
            return Err(fail(config, why));
        }
        let config_digest = Digest::sha256(&text);
        let mut files = HashMap::from([(config_digest, config.clone())]);
        let mut descriptors = Vec::with_capacity(layers.len());
        for (name, diff_id) in layers.iter().zip(diff_ids) {
            let descriptor = describe(&self.contents, name, diff_id)?;
            files.insert(descriptor.digest, name.clone());
            descriptors.push(descriptor);
        }
        let config = Descriptor::new(media_type::CONFIG, config_digest, text.len() as u64);
        let manifest = json::to_vec(&Manifest::new(config, descriptors));
        let descriptor = Descriptor::new(media_type::MANIFEST, Digest::sha256(&manifest), manifest.len() as u64);
        let descriptor = Descriptor { platform: Some(parsed.platform()), ..descriptor };
        let manifest = (descriptor.digest, manifest);
        let store = SavedBlobs { contents: Arc::clone(&self.contents), manifest, files };
        Ok(ManifestNode { descriptor, store: Arc::new(store) })
    }
}

/// Returns the descriptor of a layer. The digest of an uncompressed tar is its diff_id, which is checked when the layer
/// is read. A compressed layer is hashed here.
fn describe(contents: &ArchiveContents, name: &str, diff_id: &Digest) -> Result<Descriptor, OpenError> {
    let fail = |why: String| OpenError::Document { document: name.to_owned(), why };
    let io_fail = |error: io::Error| fail(error.to_string());
    let size = contents.blob(name).ok_or_else(|| fail("it is missing".to_owned()))?.size;
    let mut reader = contents.open(name).map_err(io_fail)?;
    let mut start = Vec::new();
    (&mut reader).take(8).read_to_end(&mut start).map_err(io_fail)?;
    let media_type = match DetectedCompression::detect(&start) {
        DetectedCompression::Plain => return Ok(Descriptor::new(media_type::LAYER_TAR, *diff_id, size)),
        DetectedCompression::Gzip => media_type::LAYER_GZIP,
        DetectedCompression::Zstd => media_type::LAYER_ZSTD,
        DetectedCompression::Xz => return Err(fail("OCI does not allow layers compressed with xz".to_owned())),
    };
    let (digest, found) = digests(&start, &mut reader, size).map_err(io_fail)?;
    if found != *diff_id {
        return Err(fail(format!("its tar is {found}, but the diff_id in the image's config is {diff_id}")));
    }
    Ok(Descriptor::new(media_type, digest, size))
}
