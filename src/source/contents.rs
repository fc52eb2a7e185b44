//! What an archive or a layout holds, and the images it lists.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    path::PathBuf,
};

use flate2::write::MultiGzDecoder;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::SourceError;
use crate::oci::{Descriptor, Digest, ImageConfig, Index, Manifest, Sha256Writer, media_type};

/// The first bytes of gzip.
pub(super) const GZIP: [u8; 2] = [0x1f, 0x8b];
/// The first bytes of a zstd frame.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Documents bigger than this (in bytes) are kept as blobs only; registries refuse
/// manifests over 4 MiB too.
const DOCUMENT_LIMIT: u64 = 4 * 1024 * 1024;
/// All documents together may take this much memory, in bytes.
const DOCUMENTS_LIMIT: usize = 32 * 1024 * 1024;

/// Everything in an archive or a layout, by name: `index.json`, `blobs/sha256/…`.
#[derive(Debug, Default)]
pub struct Contents {
    /// The directory, where it is a layout.
    pub root: Option<PathBuf>,
    /// JSON files, in order of their names.
    documents: BTreeMap<String, Vec<u8>>,
    kept: usize,
    /// Every other file, and documents again.
    pub blobs: BTreeMap<String, Blob>,
}

/// A file of an archive or a layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Bytes.
    pub size: u64,
    /// Its digest and that of its decompressed bytes, where asked for.
    pub digests: Option<(Digest, Digest)>,
}

/// An image of an archive or a layout.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Under which name, where it has one.
    pub reference: Option<String>,
    /// Its manifest; made up from manifest.json where a docker archive has none.
    pub manifest: Option<Manifest>,
    /// Its config blob's name.
    pub config_name: String,
    /// Its config.
    pub config: ImageConfig,
    /// Its layers' names, base first.
    pub layers: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerManifest {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Contents {
    /// Takes one file in: reads all of it, keeps it if it is a document.
    pub(super) fn add(&mut self, name: String, size: u64, reader: &mut dyn Read, hash: bool) -> io::Result<()> {
        let mut start = Vec::new();
        reader.take(DOCUMENT_LIMIT.min(size).min(512)).read_to_end(&mut start)?;
        let is_document = size <= DOCUMENT_LIMIT && matches!(start.trim_ascii_start().first(), Some(b'{' | b'['));
        if is_document && self.kept + size as usize <= DOCUMENTS_LIMIT {
            reader.take(size - start.len() as u64).read_to_end(&mut start)?;
            self.kept += start.len();
            self.documents.insert(name.clone(), start.clone());
        }
        let digests = match hash {
            true => Some(digests(&start, reader)?),
            false => None,
        };
        self.blobs.insert(name, Blob { size, digests });
        Ok(())
    }

    /// A document's bytes, where it is one.
    pub fn raw(&self, name: &str) -> Option<&[u8]> {
        self.documents.get(name).map(Vec::as_slice)
    }

    /// The manifests that index.json lists.
    ///
    /// # Errors
    ///
    /// [`SourceError::Document`] when there is no index.json, or it is malformed.
    pub fn index(&self) -> Result<Index, SourceError> {
        self.document("index.json")
    }

    /// Its images: those of index.json, or else of docker's manifest.json.
    ///
    /// # Errors
    ///
    /// [`SourceError::Document`] when one is missing or malformed.
    pub fn images(&self) -> Result<Vec<Listed>, SourceError> {
        if self.documents.contains_key("index.json") {
            self.index()?.manifests.iter().map(|descriptor| self.oci_image(descriptor)).collect()
        } else {
            let manifests: Vec<DockerManifest> = self.document("manifest.json")?;
            manifests.into_iter().map(|manifest| self.docker_image(manifest)).collect()
        }
    }

    /// The image that a descriptor of index.json is about.
    ///
    /// # Errors
    ///
    /// [`SourceError::Document`] when its manifest or config is missing or malformed.
    pub fn oci_image(&self, descriptor: &Descriptor) -> Result<Listed, SourceError> {
        let name = descriptor.digest.blob_name();
        if descriptor.media_type == media_type::INDEX {
            let why = "it is an index inside an index, which strata does not read yet".to_owned();
            return Err(SourceError::Document { document: name, why });
        }
        let manifest: Manifest = self.document(&name)?;
        let config_name = manifest.config.digest.blob_name();
        Ok(Listed {
            reference: descriptor.annotations.get("org.opencontainers.image.ref.name").cloned(),
            config: self.document(&config_name)?,
            config_name,
            layers: manifest.layers.iter().map(|layer| layer.digest.blob_name()).collect(),
            manifest: Some(manifest),
        })
    }

    fn docker_image(&self, manifest: DockerManifest) -> Result<Listed, SourceError> {
        Ok(Listed {
            reference: manifest.repo_tags.unwrap_or_default().into_iter().next(),
            manifest: None,
            config: self.document(&manifest.config)?,
            config_name: manifest.config,
            layers: manifest.layers,
        })
    }

    fn document<T: DeserializeOwned>(&self, name: &str) -> Result<T, SourceError> {
        let fail = |why: String| SourceError::Document { document: name.to_owned(), why };
        let text = self.documents.get(name).ok_or_else(|| fail("it is missing, or no JSON".to_owned()))?;
        serde_json::from_slice(text).map_err(|error| fail(error.to_string()))
    }
}

/// The digests of `start` and what follows it, as it is and decompressed.
fn digests(start: &[u8], reader: &mut dyn Read) -> io::Result<(Digest, Digest)> {
    let mut raw = Sha256Writer::new(io::sink());
    let mut plain: Box<dyn Decoder> = if start.starts_with(&GZIP) {
        Box::new(MultiGzDecoder::new(Sha256Writer::new(io::sink())))
    } else if start.starts_with(&ZSTD) {
        Box::new(zstd::stream::write::Decoder::new(Sha256Writer::new(io::sink()))?)
    } else {
        raw.write_all(start)?;
        io::copy(reader, &mut raw)?;
        let (_, digest, _) = raw.finish();
        return Ok((digest, digest));
    };
    let mut chunk = vec![0; 128 * 1024];
    let mut bytes = start;
    loop {
        raw.write_all(bytes)?;
        plain.write_all(bytes)?;
        match reader.read(&mut chunk)? {
            0 => break,
            read => bytes = &chunk[..read],
        }
    }
    let (_, digest, _) = raw.finish();
    Ok((digest, plain.diff_id()?))
}

/// Decompresses what is written, to be hashed.
trait Decoder: Write {
    fn diff_id(self: Box<Self>) -> io::Result<Digest>;
}

impl Decoder for MultiGzDecoder<Sha256Writer<io::Sink>> {
    fn diff_id(self: Box<Self>) -> io::Result<Digest> {
        Ok(self.finish()?.finish().1)
    }
}

impl Decoder for zstd::stream::write::Decoder<'static, Sha256Writer<io::Sink>> {
    fn diff_id(mut self: Box<Self>) -> io::Result<Digest> {
        self.flush()?;
        Ok(self.into_inner().finish().1)
    }
}
