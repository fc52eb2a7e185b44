//! Small images, made byte by byte.

use serde_json::{Value, json};
use strata::oci::{Digest, media_type};

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
        let ids: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
        let config = json!({ "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": ids } });
        let config = config.to_string().into_bytes();
        let layer = |layer: &Vec<u8>| descriptor(media_type::LAYER_TAR, layer);
        let manifest = json!({ "schemaVersion": 2, "mediaType": media_type::MANIFEST,
            "config": descriptor(media_type::CONFIG, &config), "layers": layers.iter().map(layer).collect::<Vec<_>>() });
        let blobs = layers.iter().cloned().chain([config]).collect();
        Self { blobs, manifest: manifest.to_string().into_bytes() }
    }

    pub fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }
}

pub fn descriptor(kind: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": kind, "digest": Digest::of(bytes), "size": bytes.len() })
}
