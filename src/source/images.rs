//! The images that an archive or a directory lists, and the one that is meant.

use std::{collections::HashSet, io::Read, sync::Arc};

use serde::Deserialize;

use super::{
    SourceError,
    contents::{Contents, digests},
};
use crate::{
    blobs::{ImageBlobs, LayerBlob},
    layer::Packing,
    oci::{Descriptor, Digest, ImageConfig, Index, Manifest, Platform, annotation, json, media_type},
};

/// An image with more layers than this is refused; docker and podman run no more than 127.
const LAYERS_LIMIT: usize = 1000;
/// Images of one archive, layout or index.
const IMAGES_LIMIT: usize = 1000;

/// An image of an archive or a directory.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Under which names (`name:tag`, or a tag alone in a layout), where it has some.
    pub names: Vec<String>,
    /// Its manifest; made up from manifest.json where a docker archive has none.
    pub manifest: Option<Manifest>,
    /// Its manifest's name, where it has one.
    pub manifest_name: Option<String>,
    /// The machine it is for, as the index or the config says.
    pub platform: Platform,
    /// Its config blob's name.
    pub config_name: String,
    /// Its config.
    pub config: ImageConfig,
    /// Its layers' names, base first.
    pub layers: Vec<String>,
}

/// Which image of several is meant.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Of this name, without a tag.
    pub name: Option<String>,
    /// Of this tag.
    pub tag: Option<String>,
    /// For this machine, where there are several machines to choose from.
    pub platform: Option<Platform>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerManifest {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Contents {
    /// The manifests that index.json lists.
    ///
    /// # Errors
    ///
    /// [`SourceError::Document`] when there is no index.json, or it is malformed.
    pub fn index(&self) -> Result<Index, SourceError> {
        self.document("index.json")
    }

    /// Its images: those of index.json and of the indexes it lists, else of docker's manifest.json, or the one whose
    /// manifest manifest.json is.
    ///
    /// # Errors
    ///
    /// [`SourceError::Document`] when one is missing or malformed.
    pub fn images(&self) -> Result<Vec<Listed>, SourceError> {
        if self.raw("index.json").is_some() {
            self.images_of(self.index()?)
        } else if self.raw("manifest.json").is_some_and(|text| text.trim_ascii_start().starts_with(b"[")) {
            let manifests: Vec<DockerManifest> = self.document("manifest.json")?;
            check_images(manifests.len(), "manifest.json")?;
            manifests.into_iter().map(|manifest| self.docker_image(manifest)).collect()
        } else if let Ok(index) = self.document("manifest.json") {
            self.images_of(index)
        } else {
            Ok(vec![self.oci_image("manifest.json", None)?])
        }
    }

    /// The images of an index, and of the indexes it lists, however deep.
    fn images_of(&self, index: Index) -> Result<Vec<Listed>, SourceError> {
        let mut images = Vec::new();
        let mut seen = HashSet::new();
        let mut left = index.manifests;
        left.reverse();
        while let Some(descriptor) = left.pop() {
            check_images(images.len() + seen.len(), "index.json")?;
            match descriptor.media_type.as_str() {
                media_type::INDEX | media_type::DOCKER_INDEX => {
                    if seen.insert(descriptor.digest) {
                        let inner: Index = self.document_of(&descriptor.digest)?;
                        left.extend(inner.manifests.into_iter().rev());
                    }
                }
                _ => images.push(self.oci_image(&descriptor.digest.blob_name(), Some(&descriptor))?),
            }
        }
        Ok(images)
    }

    fn oci_image(&self, name: &str, descriptor: Option<&Descriptor>) -> Result<Listed, SourceError> {
        let fail = |why: String| SourceError::Document { document: name.to_owned(), why };
        let manifest: Manifest = match descriptor {
            Some(descriptor) => self.document_of(&descriptor.digest)?,
            None => self.document(name)?,
        };
        check_layers(manifest.layers.len()).map_err(fail)?;
        let config_name = manifest.config.digest.blob_name();
        // An artifact's config may be anything.
        let config: ImageConfig = match manifest.config.media_type.as_str() {
            media_type::CONFIG | media_type::DOCKER_CONFIG => self.document_of(&manifest.config.digest)?,
            _ => ImageConfig::default(),
        };
        let annotated = |key| descriptor.and_then(|descriptor| descriptor.annotations.get(key));
        let short = |name: &String| {
            name.strip_prefix("docker.io/library/").or(name.strip_prefix("docker.io/")).unwrap_or(name).to_owned()
        };
        Ok(Listed {
            names: annotated(annotation::IMAGE_NAME)
                .map(short)
                .or(annotated(annotation::REF_NAME).cloned())
                .into_iter()
                .collect(),
            platform: descriptor
                .and_then(|descriptor| descriptor.platform.clone())
                .unwrap_or_else(|| config.platform()),
            config,
            config_name,
            layers: manifest.layers.iter().map(|layer| layer.digest.blob_name()).collect(),
            manifest: Some(manifest),
            manifest_name: Some(name.to_owned()),
        })
    }

    fn docker_image(&self, manifest: DockerManifest) -> Result<Listed, SourceError> {
        let fail = |why: String| SourceError::Document { document: "manifest.json".to_owned(), why };
        check_layers(manifest.layers.len()).map_err(fail)?;
        let config: ImageConfig = self.document(&manifest.config)?;
        Ok(Listed {
            names: manifest.repo_tags.unwrap_or_default(),
            manifest: None,
            manifest_name: None,
            platform: config.platform(),
            config,
            config_name: manifest.config,
            layers: manifest.layers,
        })
    }

    /// The one image that is meant.
    ///
    /// # Errors
    ///
    /// [`SourceError::Choice`] when none or several are.
    pub fn choose(&self, choice: &Choice) -> Result<Listed, SourceError> {
        let mut images = self.images()?;
        let all: Vec<String> = images.iter().map(Listed::to_string).collect();
        let named = |image: &Listed| match (&choice.name, &choice.tag) {
            (None, None) => true,
            (name, tag) => image.names.iter().any(|full| {
                let (own, own_tag) = full.rsplit_once(':').unwrap_or((full, full));
                name.as_ref().is_none_or(|name| own == name) && tag.as_ref().is_none_or(|tag| own_tag == tag)
            }),
        };
        images.retain(named);
        if images.len() > 1
            && let Some(platform) = &choice.platform
        {
            images.retain(|image| platform.is_met_by(&image.platform));
        }
        // The same image under several names is one.
        images.dedup_by(|one, two| one.manifest_name.is_some() && one.manifest_name == two.manifest_name);
        match images.len() {
            0 => Err(SourceError::Choice { why: "none of its images is meant", all: all.join(", ") }),
            1 => Ok(images.remove(0)),
            // As docker and dockerTools do: the first.
            _ if choice.name.is_none() && images.iter().all(|image| image.manifest.is_none()) => Ok(images.remove(0)),
            _ => Err(SourceError::Choice { why: "several of its images are meant", all: all.join(", ") }),
        }
    }

    /// The blobs of an image, as it is.
    ///
    /// # Errors
    ///
    /// When a blob is missing, or what the image says of its blobs does not fit together.
    pub fn blobs_of(self: &Arc<Self>, image: &Listed) -> Result<ImageBlobs, SourceError> {
        let fail = |document: &str, why: String| SourceError::Document { document: document.to_owned(), why };
        let diff_ids = &image.config.rootfs.diff_ids;
        // What is no image (an artifact) has no diff_ids.
        if !diff_ids.is_empty() && diff_ids.len() != image.layers.len() {
            let why = format!("it lists {} diff_ids, but there are {} layers", diff_ids.len(), image.layers.len());
            return Err(fail(&image.config_name, why));
        }
        let config = self.raw(&image.config_name).unwrap_or_default().to_vec();
        let mut layers = Vec::with_capacity(image.layers.len());
        for (at, name) in image.layers.iter().enumerate() {
            let descriptor = match &image.manifest {
                Some(manifest) => {
                    if self.blob(name).is_none() {
                        return Err(fail(name, "it is missing".to_owned()));
                    }
                    manifest.layers[at].clone()
                }
                None => self.describe(name, diff_ids.get(at))?,
            };
            let contents = Arc::clone(self);
            let diff_id = diff_ids.get(at).copied().unwrap_or(descriptor.digest);
            let blob = name.clone();
            let layer = LayerBlob::new(descriptor, diff_id, move || contents.open(&blob));
            layers.push(match self.file(name) {
                Some(file) => layer.with_file(file.to_owned()),
                None => layer,
            });
        }
        let descriptors = layers.iter().map(|layer| layer.descriptor.clone()).collect();
        let (manifest, config_media_type) = match &image.manifest {
            Some(manifest) => {
                (self.raw(image.manifest_name.as_deref().unwrap_or_default()), &manifest.config.media_type)
            }
            None => (None, &media_type::CONFIG.to_owned()),
        };
        let made_up = || {
            let config = Descriptor::new(media_type::CONFIG, Digest::of(&config), config.len() as u64);
            json::to_vec(&Manifest::new(config, descriptors))
        };
        Ok(ImageBlobs {
            reference: image.names.iter().find(|name| name.contains(':')).cloned(),
            platform: image.platform.clone(),
            media_type: image
                .manifest
                .as_ref()
                .and_then(|manifest| manifest.media_type.clone())
                .unwrap_or_else(|| media_type::MANIFEST.to_owned()),
            manifest: manifest.map_or_else(made_up, <[u8]>::to_vec),
            config_media_type: config_media_type.clone(),
            config,
            layers,
            closure: None,
            as_is: true,
        })
    }

    /// The descriptor of a layer that no manifest describes. A plain tar is what its diff_id says, or fails when it
    /// is read; a compressed one is hashed here.
    fn describe(&self, name: &str, diff_id: Option<&Digest>) -> Result<Descriptor, SourceError> {
        let fail = |why: String| SourceError::Document { document: name.to_owned(), why };
        let io_fail = |error: std::io::Error| fail(error.to_string());
        let blob = self.blob(name).ok_or_else(|| fail("it is missing".to_owned()))?;
        let mut reader = self.open(name).map_err(io_fail)?;
        let mut start = Vec::new();
        (&mut reader).take(8).read_to_end(&mut start).map_err(io_fail)?;
        let media_type = match Packing::of(&start) {
            Packing::Plain => media_type::LAYER_TAR,
            Packing::Gzip => media_type::LAYER_GZIP,
            Packing::Zstd => media_type::LAYER_ZSTD,
            Packing::Xz => return Err(fail("layers compressed with xz are none that OCI knows".to_owned())),
        };
        let digest = match diff_id {
            Some(diff_id) if media_type == media_type::LAYER_TAR => *diff_id,
            _ => digests(&start, &mut reader).map_err(io_fail)?.0,
        };
        Ok(Descriptor::new(media_type, digest, blob.size))
    }
}

impl std::fmt::Display for Listed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.names.first().map_or("(no name)", String::as_str);
        write!(f, "{name} for {}", self.platform)
    }
}

fn check_images(count: usize, document: &str) -> Result<(), SourceError> {
    if count <= IMAGES_LIMIT {
        return Ok(());
    }
    let why = format!("more than {IMAGES_LIMIT} images are listed");
    Err(SourceError::Document { document: document.to_owned(), why })
}

fn check_layers(count: usize) -> Result<(), String> {
    if count <= LAYERS_LIMIT {
        Ok(())
    } else {
        Err(format!("{count} layers are more than the {LAYERS_LIMIT} that strata reads"))
    }
}
