//! Images of the registry that flags are tried with.

use crate::store::{Store, image};
use serde_json::json;
use strata::internals::oci::{Digest, descriptor::media_type};

pub fn put_index(store: &Store) {
    let mut manifests = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let (manifest, blobs) = image(architecture.as_bytes());
        let config = String::from_utf8(blobs[0].clone()).unwrap().replace("amd64", architecture).into_bytes();
        let old = Digest::sha256(&blobs[0]).to_string();
        let manifest = String::from_utf8(manifest).unwrap().replace(&old, &Digest::sha256(&config).to_string());
        for blob in [config, blobs[1].clone()] {
            let key = ("multi".to_owned(), Digest::sha256(&blob).to_string());
            store.blobs.lock().unwrap().insert(key, blob);
        }
        let digest = Digest::sha256(manifest.as_bytes());
        manifests.push(json!({ "mediaType": media_type::MANIFEST, "digest": digest, "size": manifest.len(),
            "platform": { "architecture": architecture, "os": "linux" } }));
        put_manifest(store, "multi", &digest.to_string(), media_type::MANIFEST, manifest.as_bytes());
    }
    let index = json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": manifests }).to_string();
    for version in ["1".to_owned(), Digest::sha256(index.as_bytes()).to_string()] {
        put_manifest(store, "multi", &version, media_type::INDEX, index.as_bytes());
    }
}

fn put_manifest(store: &Store, name: &str, version: &str, kind: &str, bytes: &[u8]) {
    let key = (name.to_owned(), version.to_owned());
    store.manifests.lock().unwrap().insert(key, (kind.to_owned(), bytes.to_vec()));
}

/// An image with a referrer.
pub fn put_signed(store: &Store, layer: &[u8]) {
    store.keep("signed", "1", layer);
    let (subject, _) = image(layer);
    let empty = Digest::sha256(b"{}").to_string();
    store.blobs.lock().unwrap().insert(("signed".to_owned(), empty.clone()), b"{}".to_vec());
    let referrer = json!({ "schemaVersion": 2, "mediaType": media_type::MANIFEST, "artifactType": "text/x", "annotations": {},
        "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2 },
        "layers": [],
        "subject": { "mediaType": media_type::MANIFEST, "digest": Digest::sha256(&subject), "size": subject.len() } });
    let bytes = referrer.to_string();
    put_manifest(
        store,
        "signed",
        &Digest::sha256(bytes.as_bytes()).to_string(),
        media_type::MANIFEST,
        bytes.as_bytes(),
    );
}
