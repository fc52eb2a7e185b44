use super::{
    patches::{Patches, cves, header},
    *,
};
use crate::{
    attest::sbom::About,
    closure::{Derivation, StorePath},
};

const IMAGE: &str = "pkg:oci/app@sha256%3A00";

fn vex() -> Vex {
    Vex { product: Some(IMAGE.to_owned()), author: "x".to_owned(), created: Timestamp::EPOCH, statements: Vec::new() }
}

#[test]
fn numbers_are_found_in_names_and_headers() {
    let found = |text: &str| cves(text).into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(found("CVE-2024-1234.patch"), "CVE-2024-1234");
    assert_eq!(found("fix_cve_2023_45678-and-CVE-2023-0001.diff"), "CVE-2023-0001 CVE-2023-45678");
    for text in ["CVE-2024-123", "CVE-24-12345", "XCVE-2024-1234", "CVE-2024", "CVE-", "cve"] {
        assert_eq!(found(text), "", "{text}");
    }
    let patch = "From: x\nSubject: fix CVE-2024-1111\n---\n file | 2 +-\n\ndiff --git a/f b/f\n--- a/f\n+++ b/f\n+CVE-2024-2222\n";
    assert_eq!(found(header(patch)), "CVE-2024-1111");
    assert_eq!(header("--- a\n+++ b\n"), "");
}

#[test]
fn patches_of_derivations_are_listed() {
    let store = format!("/nix/store/{}", "a".repeat(32));
    let derivation = |key: &str, value: &str| {
        let text = format!(r#"Derive([],[],[],"s","b",[],[("{key}","{}")])"#, value.replace('"', "\\\""));
        Derivation::parse(text.as_bytes()).unwrap()
    };
    let names =
        |derivation: &Derivation| read(list(derivation).iter().map(String::as_str)).into_keys().collect::<Vec<_>>();
    let plain = derivation("patches", &format!("{store}-CVE-2024-1234.patch {store}-source/b.patch"));
    assert_eq!(names(&plain), ["CVE-2024-1234.patch", "b.patch"]);
    let structured = derivation("__json", &format!(r#"{{"patches":["{store}-a.patch"]}}"#));
    assert_eq!(names(&structured), ["a.patch"]);
    assert!(names(&derivation("name", "x")).is_empty());
}

#[test]
fn statements_of_teams_need_what_the_specification_requires() {
    let parsed = |statement: &str| {
        let document = format!(
            r#"{{"@context":"{CONTEXT}","@id":"x","author":"x","timestamp":"2026-01-01T00:00:00Z","version":1,
                "statements":[{{"vulnerability":{{"name":"CVE-2024-1"}},{statement}}}]}}"#
        );
        Document::parse(document.as_bytes())
    };
    for wrong in [
        r#""status":"not_affected""#,
        r#""status":"not_affected","justification":"it_is_fine""#,
        r#""status":"affected""#,
        r#""status":"harmless""#,
        r#""status":"fixed","unknown":1"#,
    ] {
        assert!(parsed(wrong).is_err(), "{wrong}");
    }
    let mut vex = vex();
    assert!(vex.is_empty());
    let document = parsed(r#""status":"not_affected","justification":"vulnerable_code_not_present""#).unwrap();
    vex.merge(&document);
    // The same document again adds nothing.
    vex.merge(&document);
    assert_eq!(vex.openvex()["statements"].as_array().unwrap().len(), 1);
    let statement = &vex.openvex()["statements"][0];
    assert_eq!(statement["products"][0]["@id"], IMAGE);
    assert_eq!(statement["timestamp"], "2026-01-01T00:00:00Z");
    assert_eq!(vex.cyclonedx()["vulnerabilities"][0]["analysis"]["justification"], "code_not_present");
    assert!(Document::parse(br#"{"@context":"https://openvex.dev/ns","statements":[]}"#).is_err());
}

#[test]
fn patches_fix_vulnerabilities() {
    let path = StorePath::parse(&format!("/nix/store/{}-openssl-3.0.1", "a".repeat(32))).unwrap();
    let patches = Patches::from([
        ("CVE-2024-1234.patch".to_owned(), "Subject: CVE-2024-1234 and CVE-2024-5678\n".to_owned()),
        ("other.patch".to_owned(), String::new()),
    ]);
    let found = Package::new(&path, patches, None).statements(Some(IMAGE));
    let lines: Vec<String> = found
        .iter()
        .map(|one| format!("{} {}", one.vulnerability.name, one.status_notes.as_deref().unwrap()))
        .collect();
    assert_eq!(
        lines,
        ["CVE-2024-1234 patch CVE-2024-1234.patch", "CVE-2024-5678 patch CVE-2024-1234.patch, by its header"]
    );
    assert_eq!(found[0].packages(), [format!("pkg:nix/openssl@3.0.1?outputhash={}", "a".repeat(32))]);
}

#[test]
fn known_vulnerabilities_affect_packages() {
    let path = StorePath::parse(&format!("/nix/store/{}-old-1.0", "a".repeat(32))).unwrap();
    let cpe = "cpe:2.3:a:x:old:1.0:*:*:*:*:*:*:*";
    let about = About {
        cpe: Some(cpe.to_owned()),
        purl: Some("pkg:github/x/old@1.0".to_owned()),
        known_vulnerabilities: vec!["CVE-2024-1111: overflow".to_owned(), "end of life".to_owned()],
        ..About::default()
    };
    let patches =
        Patches::from(["CVE-2024-1111.patch", "CVE-2024-2222.patch"].map(|name| (name.to_owned(), String::new())));
    let mut vex = vex();
    vex.add(&Package::new(&path, patches.clone(), Some(&about)));
    // Another output of the same package.
    vex.add(&Package::new(&path, patches, Some(&about)));
    let document = vex.openvex();
    let statements = document["statements"].as_array().unwrap();
    let lines: Vec<String> =
        statements.iter().map(|one| format!("{} {}", one["vulnerability"]["name"], one["status"])).collect();
    assert_eq!(lines, [r#""CVE-2024-1111" "affected""#, r#""CVE-2024-2222" "fixed""#]);
    assert!(statements[0]["action_statement"].as_str().unwrap().ends_with("CVE-2024-1111: overflow"));
    let package = &statements[0]["products"][1];
    assert_eq!(package["identifiers"], json!({ "purl": "pkg:github/x/old@1.0", "cpe23": cpe }));
    assert_eq!(vex.cyclonedx()["components"][0]["cpe"], cpe);
}
