//! A registry with claims about the compressed blobs of layers, for the tests of mappings.

use std::{
    fs,
    io::Write,
    sync::{Arc, MutexGuard, PoisonError},
};

use super::{
    attach::with_keys,
    store::{Store, layout},
    world::{ProcessResult, World},
};
use serde_json::{Value, json};
use strata::internals::{
    layer::{DetectedCompression, compress::Compression},
    oci::{Digest, descriptor::media_type},
};

pub const HOST: &str = "registry.example.com";
pub const TARGET: &str = "docker://registry.example.com/app:prod";

/// Returns a tar with a file that compresses badly.
pub fn layer(seed: u8) -> Vec<u8> {
    layer_of(seed, 150_000)
}

pub fn layer_of(seed: u8, size: usize) -> Vec<u8> {
    let mut state = u64::from(seed) + 1;
    let mut bytes = vec![0; size];
    for byte in &mut bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *byte = (state >> 56) as u8;
    }
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1);
    header.set_device_major(0).unwrap();
    header.set_device_minor(0).unwrap();
    tar.append_data(&mut header, "file", &bytes[..]).unwrap();
    tar.into_inner().unwrap()
}

pub fn compress(bytes: &[u8], compression: Compression) -> Vec<u8> {
    // The level differs from that of a push, so that a blob that is made again differs.
    let mut writer = compression.writer(Vec::new(), 1, Some(1)).unwrap();
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap().0
}

pub fn lock<T>(mutex: &std::sync::Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A machine with keys and an empty cache, an image with the layer, and a registry.
pub struct Scene {
    pub world: World,
    pub store: Arc<Store>,
    pub layer: Vec<u8>,
    pub image: String,
}

/// The entry of a manifest for a layer.
pub struct Claim {
    pub diff_id: Digest,
    pub blob: Vec<u8>,
    pub size: Option<usize>,
    pub media_type: &'static str,
    pub annotations: Value,
}

impl Claim {
    pub fn new(layer: &[u8], blob: Vec<u8>, compression: Compression) -> Self {
        let media_type = compression.media_type();
        Self { diff_id: Digest::sha256(layer), blob, size: None, media_type, annotations: json!({}) }
    }
}

impl Scene {
    pub fn new() -> Self {
        Self::with_layer(layer(1))
    }

    pub fn with_layer(layer: Vec<u8>) -> Self {
        let world = with_keys();
        let store = Arc::new(Store { referrers: true, mounts: true, ..Store::default() });
        let served_store = Arc::clone(&store);
        world.host(HOST, move |request| served_store.answer(request));
        let image = layout(&world, "image", &layer);
        Self { world, store, layer, image }
    }

    pub fn put_blob(&self, repository: &str, blob: &[u8]) -> Digest {
        let digest = Digest::sha256(blob);
        lock(&self.store.blobs).insert((repository.to_owned(), digest.to_string()), blob.to_owned());
        digest
    }

    pub fn put_manifest(&self, repository: &str, version: &str, kind: &str, document: &Value) -> Digest {
        let bytes = document.to_string().into_bytes();
        let digest = Digest::sha256(&bytes);
        for version in [version.to_owned(), digest.to_string()] {
            lock(&self.store.manifests).insert((repository.to_owned(), version), (kind.to_owned(), bytes.clone()));
        }
        digest
    }

    /// Pushes an image with these claims, as any account with write access can.
    pub fn claim(&self, repository: &str, tag: &str, claims: &[Claim]) -> Digest {
        let diff_ids: Vec<&Digest> = claims.iter().map(|claim| &claim.diff_id).collect();
        let config = json!({ "architecture": "amd64", "os": "linux", "config": {},
            "rootfs": { "type": "layers", "diff_ids": diff_ids } });
        let config = config.to_string().into_bytes();
        let config_digest = self.put_blob(repository, &config);
        let layers: Vec<Value> = claims
            .iter()
            .map(|claim| {
                json!({ "mediaType": claim.media_type, "digest": self.put_blob(repository, &claim.blob),
                    "size": claim.size.unwrap_or(claim.blob.len()), "annotations": claim.annotations,
                    "urls": ["https://attacker.example.com/layer"] })
            })
            .collect();
        let manifest = json!({ "schemaVersion": 2, "mediaType": media_type::MANIFEST, "layers": layers,
            "config": { "mediaType": media_type::CONFIG, "digest": config_digest, "size": config.len() } });
        self.put_manifest(repository, tag, media_type::MANIFEST, &manifest)
    }

    /// Pushes the image from a machine without a cache. Returns the last event.
    #[track_caller]
    pub fn push(&self, compression: Compression, more: &[&str]) -> Value {
        let _ = fs::remove_dir_all(self.world.path("home/.cache"));
        self.world.take_requests();
        let arguments = ["copy", &self.image, TARGET, "--json", "--compression", compression.name()];
        event(&self.world.run(&[&arguments[..], more].concat()).success())
    }

    /// Returns the layer's descriptor in the pushed image.
    pub fn pushed(&self) -> Value {
        let manifests = lock(&self.store.manifests);
        let (_, bytes) = &manifests[&("app".to_owned(), "prod".to_owned())];
        serde_json::from_slice::<Value>(bytes).unwrap()["layers"][0].clone()
    }

    /// Checks that the image has its own layer with the correct size, and only the digest of a claim.
    #[track_caller]
    pub fn check_layer(&self, what: &str) {
        let descriptor = self.pushed();
        let digest = descriptor["digest"].as_str().unwrap().to_owned();
        let blob = lock(&self.store.blobs)[&("app".to_owned(), digest)].clone();
        assert_eq!(descriptor["size"], blob.len(), "{what}");
        let packing = DetectedCompression::from_media_type(descriptor["mediaType"].as_str().unwrap());
        let mut plain = Vec::new();
        std::io::copy(&mut packing.reader(&blob[..], blob.len() as u64).unwrap(), &mut plain).unwrap();
        assert!(plain == self.layer, "{what}: the image has another layer");
        let fields: Vec<&String> = descriptor.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["digest", "mediaType", "size"], "{what}");
    }

    /// Whether the blob was downloaded since the start of the last push.
    pub fn downloaded(&self, digest: &Digest) -> bool {
        self.world
            .take_request_lines()
            .iter()
            .any(|line| line.starts_with("GET ") && line.ends_with(&format!("/blobs/{digest}")))
    }
}

#[track_caller]
pub fn event(result: &ProcessResult) -> Value {
    let line = result.err.lines().find(|line| line.contains(r#""event":"pushed""#));
    serde_json::from_str(line.unwrap_or_else(|| panic!("no event: {}", result.err))).unwrap()
}

/// Returns the numbers of trusted, verified and made layers.
pub fn counts(event: &Value) -> [u64; 3] {
    ["trusted", "verified", "made"].map(|name| event[name].as_u64().unwrap())
}
