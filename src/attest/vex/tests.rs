use std::{fs, os::unix::fs::symlink, path::Path};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::{
    patches::{Patches, cves, header, read_header},
    statement::Status,
    *,
};
use crate::{
    attest::sbom::About,
    closure::{Derivation, StorePath},
};

const IMAGE: &str = "pkg:oci/app@sha256%3A00";

fn vex() -> Vex {
    Vex {
        product: Some(IMAGE.to_owned()),
        author: "x".to_owned(),
        created: Timestamp::EPOCH,
        statements: Vec::new(),
        last: HashMap::new(),
    }
}

/// Returns the document of a team with these statements.
fn parse(statements: &str) -> Result<Document, VexError> {
    let document =
        format!(r#"{{"@context":"{CONTEXT}","timestamp":"2026-01-01T00:00:00Z","statements":[{statements}]}}"#);
    Document::parse(document.as_bytes())
}

/// Returns a statement with the status `fixed`.
fn fixed(vulnerability: &str, products: &str) -> String {
    format!(r#"{{"vulnerability":{{"name":"{vulnerability}"}},"status":"fixed","products":[{products}]}}"#)
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
    let path = StorePath::parse(&format!("{store}-tool-1.0")).unwrap();
    let derivation = |key: &str, value: &str| {
        let text = format!(
            r#"Derive([("out","{path}","","")],[],[],"s","b",[],[("{key}","{}")])"#,
            value.replace('"', "\\\"")
        );
        Derivation::parse(text.as_bytes()).unwrap()
    };
    let names = |derivation: &Derivation| {
        let listed = list(derivation, &path).unwrap();
        read(&path, listed.iter().map(String::as_str)).into_keys().collect::<Vec<_>>()
    };
    let plain = derivation("patches", &format!("{store}-CVE-2024-1234.patch {store}-source/b.patch"));
    assert_eq!(names(&plain), ["CVE-2024-1234.patch", "b.patch"]);
    let structured = derivation("__json", &format!(r#"{{"patches":["{store}-a.patch"]}}"#));
    assert_eq!(names(&structured), ["a.patch"]);
    assert!(names(&derivation("name", "x")).is_empty());
}

#[test]
fn derivations_with_other_outputs_have_no_patches_of_the_path() {
    let path = |name: &str| StorePath::parse(&format!("/nix/store/{}-{name}", "a".repeat(32))).unwrap();
    let derivation = |output: &str| {
        let text = format!(
            r#"Derive([("dev","{}","",""),("out","{output}","","")],[],[],"s","b",[],[("patches","{}")])"#,
            path("tool-1.0-dev"),
            path("CVE-2024-1234.patch")
        );
        Derivation::parse(text.as_bytes()).unwrap()
    };
    let tool = path("tool-1.0");
    assert_eq!(list(&derivation(tool.as_str()), &tool).unwrap().len(), 1);
    assert_eq!(list(&derivation(tool.as_str()), &path("tool-1.0-dev")).unwrap().len(), 1);
    // The path of a content-addressed output is not in the derivation.
    for other in [path("other-1.0").as_str(), ""] {
        assert_eq!(list(&derivation(other), &tool), None, "{other}");
    }
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
    assert_eq!(
        found[0].packages_in(Some(IMAGE)).into_keys().collect::<Vec<_>>(),
        [format!("pkg:nix/openssl@3.0.1?outputhash={}", "a".repeat(32))]
    );
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

#[test]
fn statements_about_other_images_are_not_applied_to_the_image() {
    let product = |image: &str, package: &str| {
        fixed("CVE-2024-1", &format!(r#"{{"@id":"{image}","subcomponents":[{{"@id":"{package}"}}]}}"#))
    };
    let other = "pkg:oci/other@sha256%3A11";
    let mut vex = vex();
    let packages = ["pkg:nix/x@1", "pkg:nix/y@1", "pkg:nix/z@1", "pkg:nix/x@1"];
    let images = [other, IMAGE, "pkg:oci/app?repository_url=example.com%2Fapp", IMAGE];
    let statements: Vec<String> = images.iter().zip(packages).map(|(image, package)| product(image, package)).collect();
    vex.merge(&parse(&statements.join(",")).unwrap());
    vex.merge(&parse(&fixed("CVE-2024-2", &format!(r#"{{"@id":"{other}"}}"#))).unwrap());
    // OpenVEX documents name the image of each statement.
    assert_eq!(vex.openvex()["statements"].as_array().unwrap().len(), 5);
    let document = vex.cyclonedx();
    let affects: Vec<&Value> =
        document["vulnerabilities"].as_array().unwrap().iter().map(|one| &one["affects"]).collect();
    assert_eq!(affects, [&json!([{ "ref": "pkg:nix/y@1" }]), &json!([{ "ref": "pkg:nix/x@1" }])]);
    assert_eq!(document["components"].as_array().unwrap().len(), 2);
}

#[test]
fn images_are_recognized_by_digest_or_name() {
    let image = "pkg:oci/app@sha256%3A00?repository_url=example.com%2Fteam%2Fapp";
    for same in [
        image,
        "pkg:oci/app@sha256:00",
        "pkg:oci/app@sha256%3a00?repository_url=mirror.example.com%2Fapp",
        "pkg:docker/team/app@sha256:00",
        "pkg:oci/App",
        "pkg:oci/app?repository_url=example.com/team/app",
    ] {
        assert!(product::is_same_image(same, image), "{same}");
    }
    for other in [
        "pkg:oci/app@sha256%3A01",
        "pkg:oci/other",
        "pkg:oci/app?repository_url=example.com/other/app",
        "pkg:oci/app?tag=1",
        "pkg:docker/app",
        "pkg:nix/app",
        "app",
        "",
    ] {
        assert!(!product::is_same_image(other, image), "{other}");
    }
}

#[test]
fn statements_are_not_duplicates_of_others_about_other_products_or_times() {
    let effective = |statements: &[(&str, &str)]| {
        let statement = |(status, time): &(&str, &str)| {
            format!(
                r#"{{"vulnerability":{{"name":"CVE-2024-1"}},"status":"{status}","timestamp":"{time}T00:00:00Z",
                    "action_statement":"update","justification":"component_not_present","products":[{{"@id":"pkg:nix/x@1"}}]}}"#
            )
        };
        let document = parse(&statements.iter().map(statement).collect::<Vec<_>>().join(",")).unwrap();
        let mut vex = vex();
        vex.merge(&document);
        vex.merge(&parse(&statement(statements.last().unwrap())).unwrap());
        vex.statements.iter().map(|one| one.status).collect::<Vec<_>>()
    };
    let expected = [Status::Affected, Status::NotAffected, Status::Affected];
    let years = [("affected", "2023-01-01"), ("not_affected", "2024-01-01"), ("affected", "2025-01-01")];
    assert_eq!(effective(&years), expected);
    // At the same time, the last statement is the effective one.
    assert_eq!(effective(&years.map(|(status, _)| (status, "2024-01-01"))), expected);
}

/// Comparing each statement with all others takes minutes.
#[test]
fn many_statements_about_one_vulnerability_are_merged() {
    let count = 8000;
    let statements: Vec<String> =
        (0..count).map(|at| fixed("CVE-2024-1", &format!(r#"{{"@id":"pkg:nix/x@{at}"}}"#))).collect();
    let document = parse(&statements.join(",")).unwrap();
    let mut vex = vex();
    vex.merge(&document);
    vex.merge(&document);
    assert_eq!(vex.statements.len(), count);
}

#[test]
fn names_of_images_are_encoded_in_package_urls() {
    let digest = Digest::sha256(b"");
    let version = format!("sha256%3A{}", digest.hex());
    for (name, expected) in [
        (Some("localhost:5000/Team/App:1"), "app"),
        (Some("victim@sha256%3Aaaa?x=1:t"), "victim%40sha256%253aaaa%3Fx%3D1"),
        (Some("a#b&c:t"), "a%23b%26c"),
        (Some(":t"), "image"),
        (None, "image"),
    ] {
        assert_eq!(product::image_purl(name, &digest, None), format!("pkg:oci/{expected}@{version}"));
    }
    let reference: Reference = "example.com:5000/team/app:1".parse().unwrap();
    assert_eq!(
        product::image_purl(Some("other:1"), &digest, Some(&reference)),
        format!("pkg:oci/app@{version}?repository_url=example.com%3A5000%2Fteam%2Fapp")
    );
}

#[test]
fn documents_with_empty_values_or_invalid_times_are_refused() {
    let statement = |fields: &str| parse(&format!(r#"{{"vulnerability":{{"name":"CVE-2024-1"}},{fields}}}"#));
    for (fields, expected) in [
        (r#""status":"not_affected","impact_statement":"""#, "CVE-2024-1: impact_statement is empty"),
        (r#""status":"affected","action_statement":" ""#, "CVE-2024-1: action_statement is empty"),
        (r#""status":"fixed","products":[{}]"#, "a product or subcomponent has no identifier"),
        (r#""status":"fixed","products":[{"@id":""}]"#, "a product or subcomponent has no identifier"),
        (r#""status":"fixed","products":[{"@id":"pkg:oci/app","subcomponents":[{}]}]"#, "has no identifier"),
        (r#""status":"fixed","timestamp":"yesterday""#, r#"timestamp is "yesterday""#),
        (r#""status":"fixed","timestamp":"2024-01-31""#, "write it like 2024-01-31T00:00:00Z"),
        (r#""status":"fixed","last_updated":"2024-02-31T00:00:00Z""#, "last_updated is"),
        (r#""status":"fixed","action_statement_timestamp":"""#, "action_statement_timestamp is"),
    ] {
        let error = statement(fields).unwrap_err().to_string();
        assert!(error.contains(expected), "{fields}: {error}");
    }
    let error = parse(r#"{"vulnerability":{"name":""},"status":"fixed"}"#).unwrap_err().to_string();
    assert!(error.contains("statement 1: vulnerability.name is empty"), "{error}");
    let document = format!(r#"{{"@context":"{CONTEXT}","timestamp":"now","statements":[]}}"#);
    assert!(Document::parse(document.as_bytes()).is_err());
    statement(
        r#""status":"fixed","timestamp":"2024-01-31T10:00:00.123456+01:00","products":[{"hashes":{"md5":"00"}}]"#,
    )
    .unwrap();
}

#[test]
fn cyclonedx_omits_packages_without_a_package_url() {
    let mut vex = vex();
    vex.merge(&parse(&fixed("CVE-2024-1", r#"{"identifiers":{"cpe23":"cpe:2.3:a:x:x:1:*:*:*:*:*:*:*"}}"#)).unwrap());
    vex.merge(&parse(&fixed("CVE-2024-2", r#"{"@id":"https://example.com/x"},{"@id":"pkg:nix/x@1"}"#)).unwrap());
    assert_eq!(vex.openvex()["statements"].as_array().unwrap().len(), 2);
    let document = vex.cyclonedx();
    assert_eq!(document["vulnerabilities"].as_array().unwrap().len(), 1);
    assert_eq!(document["vulnerabilities"][0]["affects"], json!([{ "ref": "pkg:nix/x@1" }]));
    assert_eq!(document["vulnerabilities"][0]["analysis"]["lastUpdated"], "2026-01-01T00:00:00Z");
}

#[test]
fn patches_are_read_only_from_regular_files_of_the_store() {
    let top = tempfile::tempdir().unwrap();
    let store = top.path().join("store");
    let patch = |name: &str| store.join(format!("{}-{name}", "a".repeat(32)));
    fs::create_dir_all(patch("source")).unwrap();
    for file in [patch("plain.patch"), patch("source").join("below.patch"), top.path().join("outside.patch")] {
        fs::write(file, "Subject: CVE-2024-1111\n--- a/x\n").unwrap();
    }
    symlink(patch("plain.patch"), patch("link.patch")).unwrap();
    symlink(top.path().join("outside.patch"), patch("leaving.patch")).unwrap();
    symlink("/dev/zero", patch("device.patch")).unwrap();
    mknodat(CWD, patch("pipe.patch"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    for file in [patch("plain.patch"), patch("link.patch"), patch("source").join("below.patch")] {
        assert_eq!(read_header(&store, &file).unwrap(), "Subject: CVE-2024-1111\n\n", "{}", file.display());
    }
    for file in [
        top.path().join("outside.patch"),
        store.join("../outside.patch"),
        patch("leaving.patch"),
        patch("device.patch"),
        patch("pipe.patch"),
        patch("source"),
        patch("missing.patch"),
        "x.patch".into(),
        "".into(),
    ] {
        assert!(read_header(&store, Path::new(&file)).is_err(), "{}", file.display());
    }
}

#[test]
fn patches_with_the_same_name_have_all_headers() {
    let top = tempfile::tempdir().unwrap();
    let path = StorePath::parse(&format!("{}/{}-tool-1.0", top.path().display(), "a".repeat(32))).unwrap();
    let files: Vec<String> = ["1111", "2222"]
        .iter()
        .map(|number| {
            let directory = top.path().join(number);
            fs::create_dir(&directory).unwrap();
            fs::write(directory.join("fix.patch"), format!("Subject: CVE-2024-{number}")).unwrap();
            directory.join("fix.patch").display().to_string()
        })
        .collect();
    let patches = read(&path, files.iter().map(String::as_str));
    assert_eq!(patches["fix.patch"], "Subject: CVE-2024-1111\nSubject: CVE-2024-2222\n");
}

#[test]
fn patches_that_revert_fixes_fix_nothing() {
    let path = StorePath::parse(&format!("/nix/store/{}-tool-1.0", "a".repeat(32))).unwrap();
    let found = |patches: &[(&str, &str)]| {
        let patches = patches.iter().map(|(name, header)| ((*name).to_owned(), (*header).to_owned())).collect();
        let statements = Package::new(&path, patches, None).statements(None);
        statements.into_iter().map(|one| one.vulnerability.name).collect::<Vec<_>>().join(" ")
    };
    for patches in [
        &[("revert-fix-of-CVE-2024-2222.patch", "")][..],
        &[("Revert_CVE-2024-2222.patch", "Subject: CVE-2024-3333")],
        &[("a.patch", "Subject: [PATCH] Revert \"fix CVE-2024-2222\"\n\nThis reverts commit 0.\n")],
        &[("CVE-2024-2222.patch", "Subject: revert CVE-2024-2222")],
        &[("CVE-2024-2222.patch", ""), ("z-reverts-CVE-2024-2222.patch", "")],
    ] {
        assert_eq!(found(patches), "", "{patches:?}");
    }
    assert_eq!(found(&[("CVE-2024-2222-irreverted.patch", "")]), "CVE-2024-2222");
    assert_eq!(found(&[("CVE-2024-2222.patch", "This reverts a commit.\nIt has CVE-2024-3333.")]), "CVE-2024-2222");
}
