//! Images that a policy forbids, in the forms that an earlier check overlooked.

use std::{fs, path::PathBuf};

use crate::{
    images::{Image, descriptor, tar},
    registry::Registry,
    run::{strata, text},
};
use serde_json::{Value, json};
use strata::internals::{
    attest::{BUNDLE, Bundle, SigningKey, Statement, statement::predicate},
    oci::{Digest, descriptor::media_type},
};

const GCC: &str = "/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-gcc-13.2.0";
const HELLO: &str = "/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-hello-2.12";

/// A signing key and a registry.
pub struct Signed {
    pub registry: Registry,
    pub home: tempfile::TempDir,
    pub key: SigningKey,
    pub public: PathBuf,
}

impl Signed {
    pub fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let (key, public) = Self::make_key(&home, "key");
        Self { registry: Registry::start(), home, key, public }
    }

    pub fn make_key(home: &tempfile::TempDir, name: &str) -> (SigningKey, PathBuf) {
        let pair = rcgen::KeyPair::generate().unwrap();
        let (private, public) = (home.path().join(name), home.path().join(format!("{name}.pub")));
        fs::write(&private, pair.serialize_pem()).unwrap();
        fs::write(&public, pair.public_key_pem()).unwrap();
        (SigningKey::open(&private, || None).unwrap(), public)
    }

    pub fn attest(&self, digest: &Digest, statement: &Statement) {
        self.registry.attach(digest, BUNDLE, &Bundle::sign(statement, &self.key).unwrap().to_vec());
    }

    pub fn sign(&self, digest: &Digest) {
        self.attest(digest, &Statement::signature(digest));
    }

    pub fn attest_sbom(&self, digest: &Digest, sbom: Value) {
        self.attest(digest, &Statement::new("", digest, predicate::CYCLONEDX, sbom));
    }

    /// Runs `strata verify`; whether it succeeded, and its output.
    pub fn verify(&self, tag: &str, arguments: &[&str]) -> (bool, String) {
        let mut command = strata(self.home.path());
        command.args(["verify", &self.registry.reference(tag), "--retry-times", "0", "--key"]).arg(&self.public);
        let output = command.args(arguments).output().unwrap();
        (output.status.success(), text(&output))
    }

    fn verify_policy(&self, tag: &str, policy: &str) -> (bool, String) {
        let path = self.home.path().join("policy.json");
        fs::write(&path, policy).unwrap();
        self.verify(tag, &["--policy", path.to_str().unwrap()])
    }
}

fn component(path: &str) -> Value {
    json!({ "name": "x", "properties": [ { "name": "nix:store_path", "value": path } ] })
}

fn sbom(components: &[Value]) -> Value {
    json!({ "bomFormat": "CycloneDX", "components": components })
}

fn image(content: &[u8]) -> Image {
    Image::new(&[tar(&[("file", content)])])
}

#[test]
fn every_form_of_a_pattern_finds_a_forbidden_package() {
    let signed = Signed::new();
    let image = image(b"1");
    let digest = image.digest();
    signed.registry.put_image("v1", &image);
    signed.sign(&digest);
    signed.attest_sbom(&digest, sbom(&[component(HELLO), component(GCC)]));
    for pattern in ["gcc", "gcc-13.2.0", "gcc-*", GCC, &GCC["/nix/store/".len()..], "/nix/store/*-gcc-*"] {
        let (succeeded, output) = signed.verify_policy("v1", &json!({ "forbiddenPaths": [pattern] }).to_string());
        assert!(!succeeded && output.contains(GCC), "{pattern}: {output}");
    }
    let (succeeded, output) = signed.verify_policy("v1", r#"{ "forbiddenPaths": ["clang"] }"#);
    assert!(succeeded, "{output}");
}

#[test]
fn patterns_and_policies_that_always_pass_are_refused() {
    let signed = Signed::new();
    let image = image(b"1");
    signed.registry.put_image("v1", &image);
    signed.sign(&image.digest());
    signed.attest_sbom(&image.digest(), sbom(&[component(GCC)]));
    let patterns = ["gcc-[0-9]*", ".*-gcc-[0-9].*", "gcc-.*", "(gcc|clang)", "/usr/bin/gcc", "gcc-1?.2.0", ""];
    let policies = patterns.map(|pattern| json!({ "forbiddenPaths": [pattern] }).to_string());
    let empty = ["{}", r#"{ "sbom": false }"#, r#"{ "forbiddenPaths": [] }"#, r#"{ "sbom": true, "sbom": false }"#];
    let others = ["[]", "null", "[false, null, []]", r#"{ "sboms": true }"#];
    for policy in policies.iter().map(String::as_str).chain(empty).chain(others) {
        let (succeeded, output) = signed.verify_policy("v1", policy);
        assert!(!succeeded && output.contains("is not a policy"), "{policy}: {output}");
    }
}

#[test]
fn an_sbom_that_hides_or_omits_store_paths_fails() {
    let nested = json!({ "name": "outer", "components": [ { "name": "inner", "components": [component(GCC)] } ] });
    let evidence = json!({ "name": "x", "evidence": { "occurrences": [ { "location": format!("{GCC}/bin/gcc") } ] } });
    let sboms = [
        (sbom(&[component(HELLO), nested]), GCC),
        (sbom(&[component(HELLO), evidence]), GCC),
        (sbom(&[json!({ "name": "gcc" })]), "its signed SBOM lists no store paths"),
        (sbom(&[]), "its signed SBOM lists no store paths"),
        (json!({}), "it has no signed SBOM"),
        (Value::Null, "it has no signed SBOM"),
    ];
    for (number, (sbom, why)) in sboms.into_iter().enumerate() {
        let signed = Signed::new();
        let image = image(&[number as u8]);
        signed.registry.put_image("v1", &image);
        signed.sign(&image.digest());
        signed.attest_sbom(&image.digest(), sbom.clone());
        let (succeeded, output) = signed.verify_policy("v1", r#"{ "forbiddenPaths": ["gcc"] }"#);
        assert!(!succeeded && output.contains(why), "{sbom}: {output}");
    }
}

/// An index of two images, and an attestation as BuildKit lists one.
fn index(images: &[&Image], registry: &Registry) -> Vec<u8> {
    let mut entries = Vec::new();
    for (image, architecture) in images.iter().zip(["amd64", "arm64"]) {
        registry.put_image(architecture, image);
        let mut entry = descriptor(media_type::MANIFEST, &image.manifest);
        entry["platform"] = json!({ "os": "linux", "architecture": architecture });
        entries.push(entry);
    }
    let layer = b"{}";
    let config = json!({ "architecture": "unknown", "os": "unknown",
        "rootfs": { "type": "layers", "diff_ids": [Digest::sha256(layer)] } });
    let config = config.to_string().into_bytes();
    let attestation = json!({ "schemaVersion": 2, "mediaType": media_type::MANIFEST, "layers": [descriptor("application/vnd.in-toto+json", layer)],
        "config": descriptor(media_type::CONFIG, &config) });
    let attestation = attestation.to_string().into_bytes();
    registry.put_blob(layer);
    registry.put_blob(&config);
    registry.put_blob(&attestation);
    let mut entry = descriptor(media_type::MANIFEST, &attestation);
    entry["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
    entry["annotations"] = json!({ "vnd.docker.reference.type": "attestation-manifest" });
    entries.push(entry);
    json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": entries }).to_string().into_bytes()
}

#[test]
fn each_image_of_an_index_is_judged_by_its_own_attestations() {
    let signed = Signed::new();
    let (one, two) = (image(b"1"), image(b"2"));
    let bytes = index(&[&one, &two], &signed.registry);
    let root = Digest::sha256(&bytes);
    signed.registry.put_tag("v1", &bytes);
    signed.sign(&root);
    let policy = r#"{ "sbom": true, "forbiddenPaths": ["gcc"] }"#;
    // An SBOM of the index does not describe its images.
    signed.attest_sbom(&root, sbom(&[component(HELLO)]));
    signed.attest_sbom(&one.digest(), sbom(&[component(HELLO)]));
    let (succeeded, output) = signed.verify_policy("v1", policy);
    assert!(!succeeded && output.contains("linux/arm64") && output.contains("no signed SBOM"), "{output}");
    signed.attest_sbom(&two.digest(), sbom(&[component(HELLO), component(GCC)]));
    let (succeeded, output) = signed.verify_policy("v1", policy);
    assert!(!succeeded && output.contains("linux/arm64") && output.contains(GCC), "{output}");
    assert!(!output.contains("linux/amd64"), "{output}");
}

#[test]
fn an_index_whose_images_all_meet_the_policy_passes() {
    let signed = Signed::new();
    let (one, two) = (image(b"1"), image(b"2"));
    let bytes = index(&[&one, &two], &signed.registry);
    signed.registry.put_tag("v1", &bytes);
    signed.sign(&Digest::sha256(&bytes));
    for image in [&one, &two] {
        signed.attest_sbom(&image.digest(), sbom(&[component(HELLO)]));
    }
    let (succeeded, output) = signed.verify_policy("v1", r#"{ "sbom": true, "forbiddenPaths": ["gcc"] }"#);
    assert!(succeeded, "{output}");
}

/// podman unpacks layers of any media type, so every manifest that an engine can choose is checked.
#[test]
fn an_image_whose_layers_have_the_media_type_of_statements_is_checked() {
    let mark = json!({ "vnd.docker.reference.type": "attestation-manifest" });
    let unknown = json!({ "os": "unknown", "architecture": "unknown" });
    let arm = json!({ "os": "linux", "architecture": "arm64" });
    for listed in [
        vec![(Some(&arm), None)],
        vec![(Some(&arm), Some(&mark))],
        vec![(Some(&unknown), None)],
        vec![(None, Some(&mark))],
        vec![(Some(&unknown), Some(&mark)), (Some(&arm), None)],
        vec![(Some(&arm), None), (Some(&unknown), Some(&mark))],
    ] {
        let signed = Signed::new();
        let signed_image = image(b"good");
        let layer = tar(&[("evil", b"evil")]);
        let hidden = Image::with_ids(&[Digest::sha256(&layer)], "application/vnd.in-toto+json", vec![layer]);
        signed.registry.put_image("good", &signed_image);
        signed.registry.put_image("hidden", &hidden);
        let mut entries = vec![descriptor(media_type::MANIFEST, &signed_image.manifest)];
        entries[0]["platform"] = json!({ "os": "linux", "architecture": "amd64" });
        for (platform, annotations) in &listed {
            let mut entry = descriptor(media_type::MANIFEST, &hidden.manifest);
            for (key, value) in [("platform", platform), ("annotations", annotations)] {
                if let Some(value) = value {
                    entry[key] = (*value).clone();
                }
            }
            entries.push(entry);
        }
        let index = json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": entries }).to_string();
        signed.registry.put_tag("v1", index.as_bytes());
        signed.sign(&Digest::sha256(index.as_bytes()));
        signed.attest_sbom(&signed_image.digest(), sbom(&[component(HELLO)]));
        let (succeeded, output) = signed.verify_policy("v1", r#"{ "sbom": true }"#);
        assert!(!succeeded && output.contains("no signed SBOM"), "{listed:?}: {output}");
        assert!(output.contains(&hidden.digest().to_string()), "{listed:?}: {output}");
    }
}
