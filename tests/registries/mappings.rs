//! Attacks on the mapping from uncompressed layers to compressed blobs: a registry accepts any list of layers in a
//! manifest, so an account that can push one tag can list a blob of its own for the diff_id of a layer of another image.

use std::fs;

use super::{
    mapping_scene::{Claim, HOST, Scene, TARGET, compress, counts, event, layer, layer_of, lock},
    store::layout,
};
use serde_json::{Value, json};
use strata::internals::{
    layer::{chunked::annotation, compress::Compression},
    oci::{Digest, descriptor::media_type},
};

const COMPRESSIONS: [Compression; 2] = [Compression::Gzip, Compression::Zstd];

#[test]
fn other_tags_of_the_repository_are_not_read() {
    for compression in COMPRESSIONS {
        // Big enough for a search to be worth it.
        let scene = Scene::with_layer(layer_of(1, 1_500_000));
        let evil = compress(&layer(2), compression);
        scene.claim("app", "pr-1", &[Claim::new(&scene.layer, evil, compression)]);
        let event = scene.push(compression, &["--sign-key", "key.pem"]);
        scene.check_layer("a tag that is not named");
        assert_eq!(counts(&event), [0, 0, 1]);
        let request_lines = scene.world.take_request_lines();
        assert!(
            !request_lines.iter().any(|line| line.contains("/tags/") || line.contains("pr-1")),
            "{request_lines:#?}"
        );
    }
}

#[test]
fn a_named_tag_cannot_replace_a_layer() {
    for compression in COMPRESSIONS {
        let original = layer(1);
        let honest = compress(&original, compression);
        let endless = compress(&vec![0; 16 << 20], compression);
        let longer = [&original[..], b"and more"].concat();
        let claims = [
            ("another layer", compress(&layer(2), compression), None),
            ("an endless layer", endless, None),
            ("a longer layer", compress(&longer, compression), None),
            ("a shorter layer", compress(&original[..100_000], compression), None),
            ("the layer twice", [&honest[..], &honest].concat(), None),
            ("garbage after the layer", [&honest[..], b"garbage"].concat(), None),
            ("a truncated blob", honest[..honest.len() - 20].to_vec(), None),
            ("no compressed blob", b"garbage".to_vec(), None),
            ("an uncompressed blob", original.clone(), None),
            ("a size that is too small", honest.clone(), Some(honest.len() - 1)),
            ("a size that is too large", honest.clone(), Some(4 << 40)),
            ("no size", honest.clone(), Some(0)),
            ("a size that no blob can have", honest.clone(), Some(usize::MAX >> 1)),
        ];
        let scene = Scene::new();
        for (at, (what, blob, size)) in claims.into_iter().enumerate() {
            // The tag that is written, another tag, another repository, an index: all of them for the first claim.
            let places = [
                ("app prod", vec![]),
                ("app pr", vec!["--cache-from", "pr"]),
                ("other pr", vec!["--cache-from", "other:pr"]),
                ("app index", vec!["--cache-from", "index"]),
            ];
            let of_claim = |(number, _): &(usize, _)| at == 0 || number % 4 == at % 4;
            for (_, (place, more)) in places.into_iter().enumerate().filter(of_claim) {
                // The blob of the push before is no longer there: every push has to decide anew.
                lock(&scene.store.blobs).clear();
                lock(&scene.store.manifests).clear();
                let (repository, tag) = place.split_once(' ').unwrap();
                let claim = Claim { size, ..Claim::new(&original, blob.clone(), compression) };
                let digest = scene.claim(repository, tag, &[claim]);
                if tag == "index" {
                    let platform = json!({ "architecture": "amd64", "os": "linux" });
                    let child =
                        json!({ "mediaType": media_type::MANIFEST, "digest": digest, "size": 1, "platform": platform });
                    let index = json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": [child] });
                    scene.put_manifest(repository, tag, media_type::INDEX, &index);
                }
                let event = scene.push(compression, &[&more[..], &["--sign-key", "key.pem"]].concat());
                let what = format!("{at}: {what} in {place}, {compression:?}");
                scene.check_layer(&what);
                assert_eq!(counts(&event), [0, 0, 1], "{what}");
                // A manifest with such a size is not read.
                let claims = if size == Some(usize::MAX >> 1) { 0 } else { 1 };
                let warnings = event["warnings"].as_array().unwrap();
                assert!(
                    warnings.len() == claims
                        && warnings.iter().all(|warning| warning.as_str().unwrap().contains("is not used")),
                    "{what}: {event}"
                );
            }
        }
    }
}

/// Writes an index of these images to the tag of the push.
fn put_index(scene: &Scene, children: &[Digest]) {
    let child = |digest| json!({ "mediaType": media_type::MANIFEST, "digest": digest, "size": 1 });
    let children: Vec<Value> = children.iter().map(child).collect();
    let index = json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": children });
    scene.put_manifest("app", "prod", media_type::INDEX, &index);
}

#[test]
fn a_document_that_cannot_be_read_does_not_stop_a_push() {
    let (scene, other) = (Scene::new(), Scene::new());
    for scene in [&scene, &other] {
        let filler = "x".repeat(9 << 20);
        let big = json!({ "schemaVersion": 2, "mediaType": media_type::MANIFEST, "annotations": { "filler": filler } });
        let child = scene.put_manifest("app", "big", media_type::MANIFEST, &big);
        put_index(scene, &[child]);
    }
    for (scene, more) in [(&scene, &[][..]), (&other, &["--cache-from", "big"])] {
        let event = scene.push(Compression::Gzip, more);
        scene.check_layer("a child that is too large");
        let warnings = event["warnings"].as_array().unwrap();
        assert!(
            !warnings.is_empty()
                && warnings.iter().all(|warning| warning.as_str().unwrap().contains("its layers are not used")),
            "{event}"
        );
    }
}

#[test]
fn the_first_hundred_documents_of_a_tag_are_read() {
    let scene = Scene::new();
    let mut children: Vec<Digest> = (0..150)
        .map(|at| {
            let digest = Digest::sha256(format!("layer {at}").as_bytes());
            let claim = Claim { diff_id: digest, ..Claim::new(&scene.layer, Vec::new(), Compression::Gzip) };
            scene.claim("app", &format!("image-{at}"), &[claim])
        })
        .collect();
    let blob = compress(&scene.layer, Compression::Gzip);
    children[50] = scene.claim("app", "old", &[Claim::new(&scene.layer, blob, Compression::Gzip)]);
    put_index(&scene, &children);
    assert_eq!(counts(&scene.push(Compression::Gzip, &[])), [0, 1, 0]);
    let request_lines = scene.world.take_request_lines();
    let read = request_lines.iter().filter(|line| line.starts_with(&format!("GET {HOST}/v2/app/manifests/"))).count();
    assert_eq!(read, 100);
}

/// A tag that lists many blobs for one layer costs no more than two downloads.
#[test]
fn a_tag_cannot_make_a_push_download_many_blobs() {
    let scene = Scene::new();
    let claim = |seed| Claim::new(&scene.layer, compress(&layer(seed), Compression::Gzip), Compression::Gzip);
    let claims: Vec<Claim> = (2..12).map(claim).collect();
    let blobs: Vec<Digest> = claims.iter().map(|claim| Digest::sha256(&claim.blob)).collect();
    scene.claim("app", "prod", &claims);
    assert_eq!(counts(&scene.push(Compression::Gzip, &[])), [0, 0, 1]);
    scene.check_layer("ten blobs");
    let request_lines = scene.world.take_request_lines();
    let get = |digest: &&Digest| request_lines.contains(&format!("GET {HOST}/v2/app/blobs/{digest}"));
    assert_eq!(blobs.iter().filter(get).count(), 2);
}

#[test]
fn an_unsigned_blob_that_is_the_layer_is_verified_and_not_sent_again() {
    for compression in COMPRESSIONS {
        for (repository, name) in [("app", "old"), ("other", "other:old")] {
            let scene = Scene::new();
            let blob = compress(&scene.layer, compression);
            let annotations = json!({ "org.opencontainers.image.title": "x", annotation::TAR_SPLIT: "1:2:3" });
            let claim = Claim { annotations, ..Claim::new(&scene.layer, blob.clone(), compression) };
            scene.claim(repository, "old", &[claim]);
            let event = scene.push(compression, &["--cache-from", name]);
            assert_eq!(counts(&event), [0, 1, 0]);
            assert!(event["bytes"].as_u64().unwrap() < 1000, "no more than the config: {event}");
            scene.check_layer(name);
            assert_eq!(scene.pushed()["digest"], Digest::sha256(&blob).to_string());
            assert!(scene.downloaded(&Digest::sha256(&blob)));
            // The next push from this machine knows it.
            let result =
                scene.world.run(&["copy", &scene.image, TARGET, "--json", "--compression", compression.name()]);
            assert_eq!(counts(&self::event(&result.success())), [1, 0, 0]);
        }
    }
}

/// Readers of zstd:chunked take files from the table of contents, which no diff_id covers.
#[test]
fn the_table_of_contents_of_an_unsigned_image_is_not_used() {
    // The correct blob of the layer.
    let honest = Scene::new();
    assert_eq!(counts(&honest.push(Compression::ZstdChunked, &[])), [0, 0, 1]);
    let expected = honest.pushed();
    let digest = expected["digest"].as_str().unwrap().to_owned();
    let blob = lock(&honest.store.blobs)[&("app".to_owned(), digest)].clone();
    let mut annotations = expected["annotations"].clone();
    assert!(annotations[annotation::CHECKSUM].is_string(), "{expected}");
    annotations[annotation::CHECKSUM] = json!(Digest::sha256(b"another table"));

    let scene = Scene::new();
    let claim = |blob: &[u8]| Claim {
        annotations: annotations.clone(),
        ..Claim::new(&scene.layer, blob.to_vec(), Compression::ZstdChunked)
    };
    // The right blob, with other annotations: it is made, found equal, and not sent.
    scene.claim("app", "prod", &[claim(&blob)]);
    let event = scene.push(Compression::ZstdChunked, &["--sign-key", "key.pem"]);
    assert_eq!((counts(&event), &event["blobs"]), ([0, 0, 1], &json!(0)), "{event}");
    assert_eq!(scene.pushed(), expected);
    // Another blob: a new one is sent.
    scene.claim("app", "prod", &[claim(&compress(&layer(2), Compression::ZstdChunked))]);
    let event = scene.push(Compression::ZstdChunked, &["--sign-key", "key.pem"]);
    assert_eq!(counts(&event), [0, 0, 1], "{event}");
    assert_eq!(scene.pushed(), expected);
    // Zstandard without a table: a blob that has one is not even downloaded, and none is found by its footer.
    for annotations in [annotations.clone(), json!({})] {
        scene.claim("app", "prod", &[Claim { annotations, ..claim(&blob) }]);
        assert_eq!(counts(&scene.push(Compression::Zstd, &[])), [0, 0, 1]);
        scene.check_layer("zstd");
    }
}

#[test]
fn a_signed_image_is_trusted_and_not_downloaded() {
    for compression in [Compression::Gzip, Compression::Zstd, Compression::ZstdChunked] {
        for sign in [&["--sign-key", "key.pem"][..], &["--sign-key", "key.pem", "--sign-tag"]] {
            let scene = Scene::new();
            assert_eq!(counts(&scene.push(compression, sign)), [0, 0, 1]);
            let pushed = scene.pushed();
            let digest: Digest = pushed["digest"].as_str().unwrap().parse().unwrap();
            for keys in [&["--cache-key", "key.pub"][..], &["--sign-key", "key.pem"]] {
                let event = scene.push(compression, keys);
                assert_eq!(counts(&event), [1, 0, 0], "{compression:?} {keys:?}");
                assert_eq!(event["blobs"], 0);
                assert!(!scene.downloaded(&digest));
                assert_eq!(scene.pushed(), pushed);
            }
            // Signed, but by a key that is not trusted here.
            for keys in [&[][..], &["--cache-key", "other.pub"], &["--sign-key", "other.pem"]] {
                let event = scene.push(compression, keys);
                let made = u64::from(compression == Compression::ZstdChunked);
                assert_eq!(counts(&event), [0, 1 - made, made], "{keys:?}");
                assert_eq!(scene.pushed(), pushed);
            }
        }
    }
}

/// The signature of one image does not make another one trusted.
#[test]
fn a_signature_copied_from_another_image_is_not_trusted() {
    let scene = Scene::new();
    scene.push(Compression::Gzip, &["--sign-key", "key.pem", "--sign-tag"]);
    let (_, signed) = lock(&scene.store.manifests)[&("app".to_owned(), "prod".to_owned())].clone();
    let signed = Digest::sha256(&signed);
    let evil = Claim::new(&scene.layer, compress(&layer(2), Compression::Gzip), Compression::Gzip);
    let forged = scene.claim("app", "prod", &[evil]);
    // The bundle as a referrer, and the tag of the signatures, both for the other image.
    let manifests: Vec<_> = lock(&scene.store.manifests).clone().into_iter().collect();
    for ((repository, version), (kind, bytes)) in manifests {
        let replaced = String::from_utf8(bytes).unwrap().replace(&signed.to_string(), &forged.to_string());
        let version = version.replace(&signed.hex(), &forged.hex());
        let version =
            if version.starts_with("sha256:") { Digest::sha256(replaced.as_bytes()).to_string() } else { version };
        lock(&scene.store.manifests).entry((repository, version)).or_insert((kind, replaced.into_bytes()));
    }
    let event = scene.push(Compression::Gzip, &["--sign-key", "key.pem"]);
    assert_eq!(counts(&event), [0, 0, 1], "{event}");
    scene.check_layer("a replayed signature");
}

#[test]
fn signed_known_layers_are_trusted_and_those_of_another_key_verified() {
    let scene = Scene::new();
    scene.push(Compression::Gzip, &["--cache-to", "caches:layers", "--sign-key", "key.pem"]);
    lock(&scene.store.manifests).remove(&("app".to_owned(), "prod".to_owned()));
    let push = |keys: &[&str]| scene.push(Compression::Gzip, &[&["--cache-from", "caches:layers"], keys].concat());
    assert_eq!(counts(&push(&["--cache-key", "key.pub"])), [1, 0, 0]);
    lock(&scene.store.manifests).remove(&("app".to_owned(), "prod".to_owned()));
    assert_eq!(counts(&push(&["--cache-key", "other.pub"])), [0, 1, 0]);
    scene.check_layer("known layers of another key");
}

/// A signature vouches for the whole document: what it listed before is dropped unless that was signed, too.
#[test]
fn known_layers_of_others_are_not_signed() {
    let scene = Scene::new();
    let (other, evil) = (layer(3), compress(&layer(2), Compression::Gzip));
    let poisoned = scene.claim("app", "layers", &[Claim::new(&other, evil.clone(), Compression::Gzip)]);
    let (kind, bytes) = lock(&scene.store.manifests)[&("app".to_owned(), poisoned.to_string())].clone();
    let mut document: Value = serde_json::from_slice(&bytes).unwrap();
    document["artifactType"] = json!("application/vnd.strata.layers.v1");
    scene.put_manifest("app", "layers", &kind, &document);
    let lists_evil = || {
        let (_, bytes) = lock(&scene.store.manifests)[&("app".to_owned(), "layers".to_owned())].clone();
        String::from_utf8(bytes).unwrap().contains(&Digest::sha256(&evil).hex())
    };
    // Without a key, no mapping is trusted.
    scene.push(Compression::Gzip, &["--cache-to", "layers"]);
    assert!(lists_evil());
    scene.push(Compression::Gzip, &["--cache-to", "layers", "--sign-key", "key.pem"]);
    assert!(!lists_evil());
    // Mappings that a trusted key signed are kept.
    let (_, before) = lock(&scene.store.manifests)[&("app".to_owned(), "layers".to_owned())].clone();
    let image = layout(&scene.world, "another", &other);
    let to = format!("docker://{HOST}/app:another");
    scene.world.run(&["copy", &image, &to, "--cache-to", "layers", "--sign-key", "key.pem"]).success();
    let (_, after) = lock(&scene.store.manifests)[&("app".to_owned(), "layers".to_owned())].clone();
    let layers = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap()["layers"].as_array().unwrap().len();
    assert_eq!((layers(&before), layers(&after)), (1, 2));
}

#[test]
fn trust_tags_accepts_unsigned_mappings_and_does_not_sign_them() {
    let scene = Scene::new();
    let other = compress(&layer(2), Compression::Gzip);
    scene.claim("app", "old", &[Claim::new(&scene.layer, other.clone(), Compression::Gzip)]);
    let trusting = ["--cache-from", "old", "--trust-tags"];
    assert_eq!(counts(&scene.push(Compression::Gzip, &trusting)), [1, 0, 0]);
    assert_eq!(scene.pushed()["digest"], Digest::sha256(&other).to_string());
    // Only digest and size: never a size that the registry contradicts.
    let lying = Claim { size: Some(7), ..Claim::new(&scene.layer, other, Compression::Gzip) };
    scene.claim("app", "prod", &[]);
    scene.claim("app", "old", &[lying]);
    assert_eq!(counts(&scene.push(Compression::Gzip, &trusting)), [0, 0, 1]);
    scene.check_layer("a lying size");
    for signing in [&["--sign-key", "key.pem"][..], &["--sign-with", "cat"], &["--sign-tag"], &["--provenance"]] {
        let arguments = [&["copy", &scene.image, TARGET], &trusting[..], signing].concat();
        scene.world.run(&arguments).failure("cannot be used with");
    }
    let image = &scene.image;
    scene
        .world
        .run(&["copy", image, "oci:out:t", "--trust-tags"])
        .failure("--trust-tags is for destinations that are registries");
    scene
        .world
        .run(&["copy", image, "oci:out:t", "--cache-key", "key.pub"])
        .failure("--cache-key is for destinations that are registries");
}

#[test]
fn the_last_line_counts_trusted_verified_and_made_layers() {
    let scene = Scene::new();
    let line = |more: &[&str]| {
        let _ = fs::remove_dir_all(scene.world.path("home/.cache"));
        let result = scene.world.run(&[&["copy", &scene.image, TARGET], more].concat()).success();
        result.err.lines().last().unwrap_or_default().to_owned()
    };
    assert!(line(&[]).ends_with("; compressed layers: 0 trusted, 0 verified, 1 made"));
    assert!(line(&[]).ends_with("; compressed layers: 0 trusted, 1 verified, 0 made"));
    let other = format!("docker://{HOST}/app:other");
    let result = scene.world.run(&["copy", &scene.image, &other, "--compression", "zstd"]).success();
    assert!(result.err.trim_end().ends_with("; compressed layers: 0 trusted, 0 verified, 1 made"), "{}", result.err);
}
