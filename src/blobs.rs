//! An image as its blobs: what every source gives, and every sink takes.
//!
//! Manifest and config are bytes, so that an image that is only moved keeps its
//! digest; layers are written on demand, and checked while they are.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Read, Write},
    path::PathBuf,
    sync::Arc,
};

use crate::{
    closure::Graph,
    image::{Compressed, Image, ImageError},
    layer::ChunkReader,
    oci::{Descriptor, Digest, ImageConfig, Manifest, Platform, Sha256Writer, Timestamp, json, media_type},
};

/// One image of one platform, ready to be moved.
#[derive(Clone, Debug)]
pub struct ImageBlobs {
    /// `name:tag`, where it has a name.
    pub reference: Option<String>,
    /// The machine it is for.
    pub platform: Platform,
    /// The manifest's media type.
    pub media_type: String,
    /// The manifest.
    pub manifest: Vec<u8>,
    /// The config's media type.
    pub config_media_type: String,
    /// The config.
    pub config: Vec<u8>,
    /// The layers, base first.
    pub layers: Vec<LayerBlob>,
    /// The store paths of its layers and their references, where that is known.
    pub closure: Option<Arc<Graph>>,
    /// Whether the manifest must stay as it is: its digest is what people know the image by.
    pub as_is: bool,
}

/// One layer's blob.
#[derive(Clone)]
pub struct LayerBlob {
    /// What the manifest says of it.
    pub descriptor: Descriptor,
    /// Digest of the uncompressed tar.
    pub diff_id: Digest,
    /// What it compresses to, by the names of compressions, where its recipe says.
    pub compressed: BTreeMap<String, Compressed>,
    /// The store paths it is made from, where it is known.
    pub paths: Vec<PathBuf>,
    /// The file that is the blob, where there is one.
    pub file: Option<PathBuf>,
    /// The registry (host and repository) that has the blob, where it comes from one.
    pub origin: Option<(String, String)>,
    write: Arc<WriteBlob>,
}

/// Writes a blob; errors are the blob's own, or those of what it is written to.
type WriteBlob = dyn Fn(&mut dyn Write) -> Result<(), ImageError> + Send + Sync;

impl fmt::Debug for LayerBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LayerBlob").field(&self.descriptor.digest).finish()
    }
}

impl ImageBlobs {
    /// The blobs of a recipe.
    pub fn of(image: &Image) -> Self {
        let manifest = image.manifest();
        let layer = |(at, layer): (usize, &crate::image::Layer)| LayerBlob {
            descriptor: manifest.layers[at].clone(),
            diff_id: layer.diff_id,
            compressed: layer.compressed.clone(),
            paths: layer.paths.iter().map(|path| path.path.clone()).collect(),
            file: layer.blob.clone(),
            origin: layer.origin.as_deref().and_then(|origin| {
                origin.split_once('/').map(|(host, repository)| (host.to_owned(), repository.to_owned()))
            }),
            write: {
                let (layer, closure) = (layer.clone(), image.closure.clone());
                Arc::new(move |out| layer.write(at + 1, closure.as_deref(), out))
            },
        };
        Self {
            reference: image.reference(),
            platform: image.platform(),
            media_type: media_type::MANIFEST.to_owned(),
            config_media_type: manifest.config.media_type.clone(),
            layers: image.layers.iter().enumerate().map(layer).collect(),
            manifest: json::to_vec(&manifest),
            config: image.config_blob(),
            closure: image.closure.clone(),
            as_is: false,
        }
    }

    /// The manifest's digest: what the image is known by.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    /// The config's descriptor.
    pub fn config_descriptor(&self) -> Descriptor {
        Descriptor::new(&self.config_media_type, Digest::of(&self.config), self.config.len() as u64)
    }

    /// What an index says of the image, without a name.
    pub fn descriptor(&self) -> Descriptor {
        let descriptor = Descriptor::new(&self.media_type, self.digest(), self.manifest.len() as u64);
        Descriptor { platform: Some(self.platform.clone()), ..descriptor }
    }

    /// The parsed config.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn parse_config(&self) -> serde_json::Result<ImageConfig> {
        serde_json::from_slice(&self.config)
    }

    /// The same image, made at another time, and so with another digest.
    ///
    /// # Errors
    ///
    /// When its config or manifest is none.
    pub fn with_created(self, created: Timestamp) -> serde_json::Result<Self> {
        let mut config = self.parse_config()?;
        let before = config.created.replace(created);
        config.history.iter_mut().filter(|step| step.created == before).for_each(|step| step.created = Some(created));
        let manifest: Manifest = serde_json::from_slice(&self.manifest)?;
        let with_config = Self { config: json::to_vec(&config), ..self };
        let manifest = Manifest { config: with_config.config_descriptor(), ..manifest };
        Ok(Self { manifest: json::to_vec(&manifest), ..with_config })
    }

    /// The manifest of the image with these layers instead of its own.
    pub fn manifest_with(&self, layers: Vec<Descriptor>) -> serde_json::Result<Vec<u8>> {
        let manifest: Manifest = serde_json::from_slice(&self.manifest)?;
        Ok(json::to_vec(&Manifest { layers, ..manifest }))
    }
}

impl LayerBlob {
    /// A blob that `open` opens; it is checked against the descriptor while it is read.
    pub fn new(
        descriptor: Descriptor,
        diff_id: Digest,
        open: impl Fn() -> io::Result<Box<dyn Read + Send>> + Send + Sync + 'static,
    ) -> Self {
        let Descriptor { digest, size, .. } = descriptor;
        let write = move |out: &mut dyn Write| {
            let fail = |source| ImageError::Blob { digest, source };
            // One byte more than there should be is enough to know that there is too much.
            let mut blob = open().map_err(fail)?.take(size.saturating_add(1));
            let mut out = Sha256Writer::new(out);
            io::copy(&mut blob, &mut out).map_err(fail)?;
            let (_, found, length) = out.finish();
            if found == digest && length == size {
                return Ok(());
            }
            let what = format!("it is {found}, {length} bytes, not {digest}, {size} bytes");
            Err(fail(io::Error::new(io::ErrorKind::InvalidData, what)))
        };
        let write: Arc<WriteBlob> = Arc::new(write);
        Self { descriptor, diff_id, compressed: BTreeMap::new(), paths: Vec::new(), file: None, origin: None, write }
    }

    /// The same blob, which is this file.
    pub fn with_file(self, file: PathBuf) -> Self {
        Self { file: Some(file), ..self }
    }

    /// The same blob, which this repository of a registry has.
    pub fn with_origin(self, host: &str, repository: &str) -> Self {
        Self { origin: Some((host.to_owned(), repository.to_owned())), ..self }
    }

    /// Writes the blob to `out`.
    ///
    /// # Errors
    ///
    /// When it is not what the descriptor says, after everything was written;
    /// when it cannot be read or `out` fails.
    pub fn write(&self, out: &mut dyn Write) -> Result<(), ImageError> {
        (self.write)(out)
    }

    /// The blob as a stream, made while it is read.
    pub fn read(&self) -> ChunkReader {
        let layer = self.clone();
        ChunkReader::new(move |out| layer.write(out).map_err(io::Error::other))
    }
}
