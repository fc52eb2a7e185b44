//! Small images, made byte by byte.

use std::{fs, io::Write, path::Path};

use serde_json::{Value, json};
use strata::internals::oci::{Digest, descriptor::media_type};

/// A tar with these files.
pub fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, *bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

/// An image of linux/amd64.
#[derive(Clone)]
pub struct Image {
    /// Config and layers.
    pub blobs: Vec<Vec<u8>>,
    pub manifest: Vec<u8>,
}

impl Image {
    /// Layers are uncompressed tars.
    pub fn new(layers: &[Vec<u8>]) -> Self {
        let ids: Vec<Digest> = layers.iter().map(|layer| Digest::sha256(layer)).collect();
        Self::with_ids(&ids, media_type::LAYER_TAR, layers.to_vec())
    }

    /// Compressed layers are cheaper to check.
    pub fn with_gzip(layers: &[Vec<u8>]) -> Self {
        let ids: Vec<Digest> = layers.iter().map(|layer| Digest::sha256(layer)).collect();
        let gzip = |layer: &Vec<u8>| {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            writer.write_all(layer).unwrap();
            writer.finish().unwrap()
        };
        Self::with_ids(&ids, media_type::LAYER_GZIP, layers.iter().map(gzip).collect())
    }

    pub fn with_ids(ids: &[Digest], kind: &str, layers: Vec<Vec<u8>>) -> Self {
        let config = json!({ "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": ids } });
        let config = config.to_string().into_bytes();
        let layer = |layer: &Vec<u8>| descriptor(kind, layer);
        let manifest = json!({ "schemaVersion": 2, "mediaType": media_type::MANIFEST,
            "config": descriptor(media_type::CONFIG, &config), "layers": layers.iter().map(layer).collect::<Vec<_>>() });
        let blobs = layers.into_iter().chain([config]).collect();
        Self { blobs, manifest: manifest.to_string().into_bytes() }
    }

    /// Sets the user of the config. Layers are uncompressed tars.
    pub fn with_user(mut self, user: &str) -> Self {
        let mut config: Value = serde_json::from_slice(&self.blobs.pop().unwrap()).unwrap();
        config["config"] = json!({ "User": user });
        let config = config.to_string().into_bytes();
        let mut manifest: Value = serde_json::from_slice(&self.manifest).unwrap();
        manifest["config"] = descriptor(media_type::CONFIG, &config);
        self.blobs.push(config);
        self.manifest = manifest.to_string().into_bytes();
        self
    }

    pub fn digest(&self) -> Digest {
        Digest::sha256(&self.manifest)
    }
}

pub fn descriptor(kind: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": kind, "digest": Digest::sha256(bytes), "size": bytes.len() })
}

/// Writes an image with these layers as an OCI layout.
pub fn write_layout(directory: &Path, image: &Image) {
    let blobs = directory.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    for blob in image.blobs.iter().chain([&image.manifest]) {
        fs::write(blobs.join(Digest::sha256(blob).hex()), blob).unwrap();
    }
    let index = json!({ "schemaVersion": 2, "manifests": [descriptor(media_type::MANIFEST, &image.manifest)] });
    fs::write(directory.join("index.json"), index.to_string()).unwrap();
    fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

/// A database that this SQL makes.
pub fn sqlite(sql: &str) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let database = rusqlite::Connection::open(&path).unwrap();
    database.execute_batch(sql).unwrap();
    database.close().unwrap();
    fs::read(path).unwrap()
}
