//! Referrers of an image, listed by the registry or under the fallback tag (distribution-spec, spec.md, "Listing
//! Referrers" and "Referrers Tag Schema"; sigstore/cosign#4641: artifactType and annotations are missing there).

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::{
    store::Store,
    world::{Answer, on_loopback},
};
use serde_json::{Value, json};
use strata::internals::{
    oci::{Digest, descriptor::media_type},
    transport::registry::{Client, Options},
};

fn client(host: &str) -> Client {
    Client::new(&format!("{host}/app:1").parse().unwrap(), &Options::default()).unwrap()
}

/// A signature of the image with this digest, whose config and layer are the registry's empty blob.
fn signature(store: &Store, subject: &Digest, name: &str) -> Vec<u8> {
    let empty = Digest::sha256(b"{}");
    store.blobs.lock().unwrap().insert(("app".to_owned(), empty.to_string()), b"{}".to_vec());
    let blob = json!({ "mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2 });
    let manifest = json!({ "schemaVersion": 2, "mediaType": media_type::MANIFEST, "artifactType": "application/x-signature",
        "config": blob, "layers": [blob], "annotations": { "signer": name },
        "subject": { "mediaType": media_type::MANIFEST, "digest": subject, "size": 1 } });
    manifest.to_string().into_bytes()
}

#[test]
fn the_fallback_tag_is_not_written_if_the_registry_has_the_referrers_api() {
    let store = Arc::new(Store { referrers: true, ..Store::default() });
    let served_store = Arc::clone(&store);
    let client = client(&on_loopback(move |request| served_store.answer(request)));
    let subject = Digest::sha256(b"image");
    let manifest = signature(&store, &subject, "a");
    client.put_manifest(&Digest::sha256(&manifest).to_string(), media_type::MANIFEST, &manifest).unwrap();
    assert!(!store.has_tag("app", &subject.to_string().replace(':', "-")));
    let listed = client.list_referrers(&subject).unwrap().descriptors;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].artifact_type.as_deref(), Some("application/x-signature"));
}

#[test]
fn the_fallback_tag_lists_the_referrers() {
    let store = Arc::new(Store::default());
    let served_store = Arc::clone(&store);
    let client = client(&on_loopback(move |request| served_store.answer(request)));
    let subject = Digest::sha256(b"image");
    assert!(client.list_referrers(&subject).unwrap().descriptors.is_empty());
    let manifest = signature(&store, &subject, "a");
    client.put_manifest("sig", media_type::MANIFEST, &manifest).unwrap();
    // Again is no second time.
    client.put_manifest("sig", media_type::MANIFEST, &manifest).unwrap();
    let tag = (String::from("app"), subject.to_string().replace(':', "-"));
    let index: Value = serde_json::from_slice(&store.manifests.lock().unwrap()[&tag].1).unwrap();
    let expected = json!([{ "mediaType": media_type::MANIFEST, "digest": Digest::sha256(&manifest), "size": manifest.len(),
        "artifactType": "application/x-signature", "annotations": { "signer": "a" } }]);
    assert_eq!(index["manifests"], expected);
    assert_eq!(client.list_referrers(&subject).unwrap().descriptors.len(), 1);
}

/// Two that read the tag before either wrote: the second writes over the first, which sees it and writes again.
#[test]
fn concurrent_writers_of_the_fallback_tag_keep_all_referrers() {
    let store = Arc::new(Store::default());
    let subject = Digest::sha256(b"image");
    let tag = subject.to_string().replace(':', "-");
    let (served_store, path, reads) = (Arc::clone(&store), format!("/v2/app/manifests/{tag}"), AtomicUsize::new(0));
    let both_read = std::sync::Barrier::new(2);
    let host = on_loopback(move |request| {
        if request.path() == path && request.method == "GET" && reads.fetch_add(1, Ordering::SeqCst) < 2 {
            // Neither client receives the list before both have requested it.
            let answer = served_store.answer(request);
            both_read.wait();
            return answer;
        }
        served_store.answer(request)
    });
    let signatures = ["a", "b"].map(|name| signature(&store, &subject, name));
    std::thread::scope(|scope| {
        for manifest in &signatures {
            let client = client(&host);
            let version = Digest::sha256(manifest).to_string();
            scope.spawn(move || client.put_manifest(&version, media_type::MANIFEST, manifest).unwrap());
        }
    });
    let listed = client(&host).list_referrers(&subject).unwrap().descriptors;
    assert_eq!(listed.len(), 2, "{listed:?}");
}

#[test]
fn pages_are_read_to_the_end() {
    let subject = Digest::sha256(b"image");
    let page = |name: &str| {
        let manifest =
            json!({ "mediaType": media_type::MANIFEST, "digest": Digest::sha256(name.as_bytes()), "size": 1 });
        json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": [manifest] }).to_string()
    };
    let client = client(&on_loopback(move |request| {
        let answer = Answer::new(200).with("content-type", media_type::INDEX);
        match &request.query("last")[..] {
            [] => answer.with("link", r#"<?last=a>; rel="next""#).body(page("a")),
            _ => answer.body(page("b")),
        }
    }));
    assert_eq!(client.list_referrers(&subject).unwrap().descriptors.len(), 2);
}
