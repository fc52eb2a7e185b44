//! Referrers and signature tags that were written without the key: they must neither count, nor hide those that do.

use crate::{
    images::{Image, descriptor, tar},
    policies::Signed,
    registry::Pages,
    run::{limited_strata, text},
};
use serde_json::json;
use strata::internals::{
    attest::{BUNDLE, Bundle, Statement, simple, statement::predicate},
    oci::{Digest, descriptor::media_type},
};

fn image(content: &[u8]) -> Image {
    Image::new(&[tar(&[("file", content)])])
}

/// A registry with the image `v1`, which is signed if `is_signed`.
fn registry(is_signed: bool) -> (Signed, Digest) {
    let signed = Signed::new();
    let image = image(b"1");
    signed.registry.put_image("v1", &image);
    if is_signed {
        signed.sign(&image.digest());
    }
    (signed, image.digest())
}

type Attack = fn(&Signed, &Digest);

/// The referrers that an attacker without the key can attach to an image.
const ATTACKS: [(&str, Attack); 14] = [
    ("a bundle of the key for another image", |signed, digest| {
        let other = Statement::signature(&Digest::sha256(b"other"));
        signed.registry.attach(digest, BUNDLE, &Bundle::sign(&other, &signed.key).unwrap().to_vec());
    }),
    ("a bundle of another key", |signed, digest| {
        let (other, _) = Signed::make_key(&signed.home, "other");
        let bundle = Bundle::sign(&Statement::signature(digest), &other).unwrap();
        signed.registry.attach(digest, BUNDLE, &bundle.to_vec());
    }),
    ("a bundle of 5 MB", |signed, digest| signed.registry.attach(digest, BUNDLE, &vec![b'x'; 5_000_000])),
    ("a bundle that is not JSON", |signed, digest| signed.registry.attach(digest, BUNDLE, b"\x1b[2J")),
    ("deeply nested JSON", |signed, digest| signed.registry.attach(digest, BUNDLE, "[".repeat(100_000).as_bytes())),
    ("a bundle whose blob is missing", |signed, digest| {
        signed.registry.attach_layer(digest, BUNDLE, &descriptor(BUNDLE, b"missing"));
    }),
    ("a bundle whose blob has another digest", |signed, digest| {
        let promised = descriptor(BUNDLE, b"promised");
        let name = promised["digest"].as_str().unwrap().to_owned();
        signed.registry.edit(|contents| drop(contents.blobs.insert(name, b"sent".to_vec())));
        signed.registry.attach_layer(digest, BUNDLE, &promised);
    }),
    ("a layer with an unsupported digest", |signed, digest| {
        let layer = json!({ "mediaType": BUNDLE, "digest": format!("sha384:{}", "1".repeat(96)), "size": 5 });
        signed.registry.attach_layer(digest, BUNDLE, &layer);
    }),
    ("a referrer that is missing", |signed, digest| {
        let mut entry = descriptor(media_type::MANIFEST, b"missing");
        entry["artifactType"] = BUNDLE.into();
        signed.registry.list(digest, entry);
    }),
    ("a referrer with an unsupported digest", |signed, digest| {
        let entry = json!({ "mediaType": media_type::MANIFEST, "digest": format!("sha384:{}", "2".repeat(96)), "size": 5,
            "artifactType": BUNDLE });
        signed.registry.list(digest, entry);
    }),
    ("a referrer of negative size", |signed, digest| {
        let entry = json!({ "mediaType": media_type::MANIFEST, "digest": "md5:0", "size": -1, "artifactType": BUNDLE });
        signed.registry.list(digest, entry);
    }),
    ("entries that are not descriptors", |signed, digest| {
        for entry in [json!(null), json!([]), json!("x"), json!({}), json!(1)] {
            signed.registry.list(digest, entry);
        }
    }),
    ("a signature in a manifest that is an index too", |signed, digest| {
        let bundle = Bundle::sign(&Statement::signature(digest), &signed.key).unwrap().to_vec();
        signed.registry.put_blob(&bundle);
        signed.registry.put_blob(b"{}");
        let manifest = json!({ "schemaVersion": 2, "mediaType": media_type::MANIFEST, "artifactType": BUNDLE,
            "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"), "layers": [descriptor(BUNDLE, &bundle)],
            "manifests": [], "subject": descriptor(media_type::MANIFEST, b"x") });
        let manifest = manifest.to_string().into_bytes();
        signed.registry.put_blob(&manifest);
        let mut entry = descriptor(media_type::MANIFEST, &manifest);
        entry["artifactType"] = BUNDLE.into();
        signed.registry.list(digest, entry);
    }),
    ("a signature tag that is not a manifest", |signed, digest| {
        signed.registry.put_tag(&simple::tag(digest), b"[1, 2");
    }),
];

#[test]
fn attached_documents_do_not_break_the_verification_of_a_signed_image() {
    for (what, attack) in ATTACKS {
        let (signed, digest) = registry(true);
        attack(&signed, &digest);
        let (succeeded, output) = signed.verify("v1", &["--verbose"]);
        assert!(succeeded, "{what}: {output}");
        assert!(!output.contains('\x1b'), "{what}: {output:?}");
    }
}

#[test]
fn attached_documents_do_not_replace_a_signature() {
    for (what, attack) in ATTACKS {
        let (signed, digest) = registry(false);
        attack(&signed, &digest);
        let (succeeded, output) = signed.verify("v1", &["--verbose"]);
        assert!(!succeeded && output.contains("is not signed with this key"), "{what}: {output}");
        assert!(output.contains("strata: skipped "), "{what} is not reported: {output}");
    }
}

#[test]
fn referrers_that_are_ignored_are_counted() {
    let (signed, digest) = registry(true);
    ATTACKS[..11].iter().for_each(|(_, attack)| attack(&signed, &digest));
    let (succeeded, output) = signed.verify("v1", &[]);
    assert!(succeeded && output.contains("skipped 11 "), "{output}");
}

#[test]
fn a_registry_without_the_referrers_api_hides_nothing_either() {
    let (signed, digest) = registry(true);
    // The list under the fallback tag has a malformed first entry.
    signed.registry.edit(|contents| {
        let mut entries = contents.referrers.remove(&digest.to_string()).unwrap();
        entries.insert(0, json!({ "mediaType": media_type::MANIFEST, "digest": "sha384:0", "size": 5 }));
        let index = json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": entries });
        let bytes = index.to_string().into_bytes();
        let name = Digest::sha256(&bytes).to_string();
        contents.tags.insert(digest.to_string().replace(':', "-"), name.clone());
        contents.blobs.insert(name, bytes);
    });
    let (succeeded, output) = signed.verify("v1", &[]);
    assert!(succeeded && output.contains("skipped 1 "), "{output}");
}

#[test]
fn statements_of_other_kinds_and_subjects_are_not_signatures() {
    let digest = image(b"1").digest();
    let hex = digest.hex();
    let statement = |subject: serde_json::Value| {
        let text = json!({ "_type": "https://in-toto.io/Statement/v1", "subject": subject,
            "predicateType": predicate::SIGNATURE, "predicate": {} });
        Statement::parse(text.to_string().as_bytes()).unwrap()
    };
    for statement in [
        Statement::new("", &digest, predicate::PROVENANCE, json!({})),
        statement(json!([])),
        statement(json!([{ "digest": {} }])),
        statement(json!([{ "digest": { "sha256": hex.to_uppercase() } }])),
        statement(json!([{ "digest": { "sha512": hex } }])),
        statement(json!([{ "digest": { "sha256": &hex[..63] } }])),
    ] {
        let (signed, digest) = registry(false);
        signed.attest(&digest, &statement);
        let (succeeded, output) = signed.verify("v1", &[]);
        assert!(!succeeded && output.contains("is not signed with this key"), "{statement:?}: {output}");
    }
}

/// Puts a signature under the image's signature tag, with malformed layers before it.
fn sign_tag(signed: &Signed, digest: &Digest, repository: &str) {
    let payload = simple::payload(repository, digest);
    let layer = simple::layer(&payload, &signed.key.sign(&payload).unwrap());
    signed.registry.put_blob(&payload);
    let config = descriptor(media_type::CONFIG, b"{}");
    let malformed = json!({ "mediaType": simple::MEDIA_TYPE, "digest": "sha384:0", "size": 5 });
    let large = vec![b'x'; 5_000_000];
    signed.registry.put_blob(&large);
    let manifest = json!({ "schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config,
        "layers": [malformed, descriptor(simple::MEDIA_TYPE, &large), layer] });
    signed.registry.put_tag(&simple::tag(digest), manifest.to_string().as_bytes());
}

#[test]
fn each_signature_of_a_tag_is_judged_by_itself() {
    let (signed, digest) = registry(false);
    sign_tag(&signed, &digest, &format!("127.0.0.1:{}/app", signed.registry.port));
    let (succeeded, output) = signed.verify("v1", &[]);
    assert!(succeeded, "{output}");
}

#[test]
fn a_signature_under_a_tag_is_for_one_repository() {
    let (signed, digest) = registry(false);
    sign_tag(&signed, &digest, "registry.example.com/staging");
    let (succeeded, output) = signed.verify("v1", &["--verbose"]);
    assert!(!succeeded && output.contains("--signed-as registry.example.com/staging accepts it"), "{output}");
    for (accepted, expected) in
        [("registry.example.com/staging", true), ("any", true), ("registry.example.com/other", false)]
    {
        let (succeeded, output) = signed.verify("v1", &["--signed-as", accepted]);
        assert_eq!(succeeded, expected, "{accepted}: {output}");
    }
}

/// Lists of referrers without end: the registry and each line of `pages` say how.
#[test]
fn an_endless_list_of_referrers_is_an_error() {
    let (signed, digest) = registry(true);
    let list = format!("/v2/app/referrers/{digest}");
    let (first, second) = (list.clone(), list.clone());
    let number = |path: &str| path.split_once("?n=").map_or(0, |(_, number)| number.parse::<u64>().unwrap());
    let large: Vec<serde_json::Value> = (0..9000)
        .map(|number| {
            let mut entry = descriptor(media_type::MANIFEST, format!("{number}").as_bytes());
            entry["annotations"] = json!({ "x": "x".repeat(200) });
            entry
        })
        .collect();
    let other = crate::registry::Registry::start();
    let elsewhere = format!("http://127.0.0.1:{}/v2/app/referrers/{digest}", other.port);
    let cases: [(&str, Pages, &str); 6] = [
        ("a page that leads to itself", Box::new(move |_| (vec![], first.clone())), "was read before"),
        ("itself, relatively", Box::new(|_| (vec![], String::new())), "was read before"),
        ("two pages", Box::new(move |path| (vec![], format!("{second}?n={}", 1 - number(path)))), "was read before"),
        (
            "empty pages",
            Box::new(move |path| (vec![], format!("?n={}", number(path) + 1))),
            "bytes, which is the limit",
        ),
        (
            "full pages",
            Box::new(move |path| (large.clone(), format!("?n={}", number(path) + 1))),
            "entries, which is the limit",
        ),
        ("another host", Box::new(move |_| (vec![], elsewhere.clone())), "another host"),
    ];
    for (what, pages, why) in cases {
        signed.registry.edit(|contents| contents.pages = Some(pages));
        let mut command = limited_strata(signed.home.path(), 400, 100);
        command.args(["verify", &signed.registry.reference("v1"), "--key"]).arg(&signed.public);
        let output = command.output().unwrap();
        let messages = text(&output);
        assert!(
            matches!(output.status.code(), Some(1 | 2)) && messages.contains(why),
            "{what}: {:?} {messages}",
            output.status
        );
    }
}
