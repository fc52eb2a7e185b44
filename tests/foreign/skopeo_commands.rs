//! Commands that people know from skopeo: `inspect --format`, `list-tags`.

use serde_json::json;
use strata::internals::oci::Digest;

use crate::{
    docker_archives::{fails, succeeds},
    images::{Image, tar, write_layout},
    run::strata,
    world::{Answer, Request, on_loopback},
};

#[test]
fn inspect_fills_templates_with_skopeo_s_fields() {
    let home = tempfile::tempdir().unwrap();
    let layout = home.path().join("layout");
    let mut image = Image::new(&[tar(&[("one", b"1")])]);
    let mut config: serde_json::Value = serde_json::from_slice(&image.blobs[1]).unwrap();
    config["config"] = json!({ "Labels": { "a": "1" }, "Env": ["X=1", "Y=2"] });
    config["created"] = "2021-02-03T04:05:06Z".into();
    image.blobs[1] = config.to_string().into_bytes();
    let mut manifest: serde_json::Value = serde_json::from_slice(&image.manifest).unwrap();
    manifest["config"]["digest"] = Digest::sha256(&image.blobs[1]).to_string().into();
    manifest["config"]["size"] = image.blobs[1].len().into();
    image.manifest = manifest.to_string().into_bytes();
    write_layout(&layout, &image);
    let path = layout.to_str().unwrap();
    let digest = image.digest();
    for (arguments, printed) in [
        (&["--format", "{{.Digest}}"][..], format!("{digest}\n")),
        (&["--format", "{{.Name}}|{{.Labels}}|{{.Env}}"], "|map[a:1]|[X=1 Y=2]\n".to_owned()),
        (
            &["--format", "{{.Created}} {{.Os}}/{{.Architecture}}"],
            "2021-02-03 04:05:06 +0000 UTC linux/amd64\n".to_owned(),
        ),
        (&["--config", "--format", "{{json .config.Labels}}"], "{\"a\":\"1\"}\n".to_owned()),
    ] {
        let output = succeeds(home.path(), &[&["inspect", path], arguments].concat());
        assert_eq!(String::from_utf8(output.stdout).unwrap(), printed, "{arguments:?}");
    }
    fails(home.path(), &["inspect", path, "--format", "{{.Nothing}}"], &["there is no field Nothing"]);
    // These are the messages of skopeo-nix2container.
    let line = ["skopeo", "inspect", "--format", "{{.Digest}}", &format!("oci:{path}")];
    let output = strata(home.path()).args(line).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{digest}\n"));
    // Byte for byte, as skopeo's options of these names.
    let source = format!("oci:{path}");
    for (arguments, printed) in [
        (&["inspect", &source, "--raw"][..], &image.manifest),
        (&["inspect", &source, "--config"], &image.blobs[1]),
        (&["skopeo", "inspect", "--raw", &source], &image.manifest),
        (&["skopeo", "inspect", "--raw", "--config", &source], &image.blobs[1]),
    ] {
        assert_eq!(&succeeds(home.path(), arguments).stdout, printed, "{arguments:?}");
    }
}

/// skopeo's cmd/skopeo/inspect/output.go, printed with four spaces.
#[test]
fn skopeo_inspect_prints_json() {
    let home = tempfile::tempdir().unwrap();
    let layout = home.path().join("layout");
    let image = Image::new(&[tar(&[("one", b"1")])]);
    write_layout(&layout, &image);
    let source = format!("oci:{}", layout.display());
    let printed = String::from_utf8(succeeds(home.path(), &["skopeo", "inspect", &source]).stdout).unwrap();
    assert!(
        printed.starts_with(&format!("{{\n    \"Digest\": \"{}\",\n    \"RepoTags\": [],\n", image.digest())),
        "{printed}"
    );
    let fields: serde_json::Value = serde_json::from_str(&printed).unwrap();
    let size = image.blobs[0].len();
    let layer = Digest::sha256(&image.blobs[0]);
    assert_eq!(fields["Layers"], json!([layer]));
    let data = json!([{ "MIMEType": "application/vnd.oci.image.layer.v1.tar", "Digest": layer, "Size": size, "Annotations": null }]);
    assert_eq!(fields["LayersData"], data);
    assert_eq!(
        (&fields["Architecture"], &fields["Os"], &fields["Env"]),
        (&json!("amd64"), &json!("linux"), &json!(null))
    );
    let printed = String::from_utf8(succeeds(home.path(), &["skopeo", "inspect", "--config", &source]).stdout).unwrap();
    assert!(printed.starts_with("{\n    \"architecture\": \"amd64\",\n    \"os\": \"linux\",\n"), "{printed}");
}

#[test]
fn skopeo_accepts_flags_without_effect() {
    let home = tempfile::tempdir().unwrap();
    write_layout(&home.path().join("layout"), &Image::new(&[tar(&[("one", b"1")])]));
    let [source, out] = ["layout", "out"].map(|name| format!("oci:{}", home.path().join(name).display()));
    let flags = ["--src-tls-verify=false", "--dest-creds", "u:p", "--src-authfile", "none.json", "--retry-times", "3"];
    succeeds(home.path(), &[&["skopeo", "copy", "-q"][..], &flags, &[&source, &out]].concat());
    succeeds(
        home.path(),
        &["skopeo", "inspect", "--tls-verify=false", "--authfile", "none.json", "--no-tags", &source],
    );
    fails(
        home.path(),
        &["copy", "-q", "--src-tls-verify=false", &source, &out],
        &["--src-tls-verify is for images in registries"],
    );
    fails(home.path(), &["inspect", "--authfile", "none.json", &source], &["--authfile is for images in registries"]);
}

/// cmd/skopeo/main.go: 2 if there is no such image, and 1 for every other error, that of usage too.
#[test]
fn commands_of_skopeo_exit_with_its_codes() {
    let home = tempfile::tempdir().unwrap();
    write_layout(&home.path().join("layout"), &Image::new(&[tar(&[("one", b"1")])]));
    let layout = format!("oci:{}", home.path().join("layout").display());
    let host = on_loopback(|request: &Request| match request.path() {
        "/v2/" => Answer::new(200),
        _ => Answer::error(404, "MANIFEST_UNKNOWN", "no such manifest"),
    });
    for (arguments, code) in [
        (&["inspect", &layout][..], 0),
        (&["inspect", &format!("{layout}:other")], 2),
        (&["inspect", &format!("docker://{host}/app:v1")], 2),
        (&["inspect", "oci:missing"], 1),
        (&["inspect", "--no-such-flag", &layout], 1),
        (&["copy", &layout], 1),
        (&["--no-such-flag"], 1),
    ] {
        let status = strata(home.path()).arg("skopeo").args(arguments).output().unwrap().status;
        assert_eq!(status.code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn list_tags_reads_every_page() {
    let home = tempfile::tempdir().unwrap();
    let host = on_loopback(|request: &Request| match (request.path(), request.query("last").as_slice()) {
        ("/v2/app/tags/list", []) => Answer::json(200, json!({ "name": "app", "tags": ["a", "b"] }))
            .with("link", "</v2/app/tags/list?last=b>; rel=\"next\""),
        ("/v2/app/tags/list", _) => Answer::json(200, json!({ "name": "app", "tags": ["c"] })),
        ("/v2/", _) => Answer::new(200),
        _ => Answer::error(404, "NAME_UNKNOWN", "there is no such repository"),
    });
    let output = succeeds(home.path(), &["skopeo", "list-tags", &format!("docker://{host}/app")]);
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed, json!({ "Repository": format!("{host}/app"), "Tags": ["a", "b", "c"] }));
    // None of these references is an image of Docker Hub.
    std::fs::write(home.path().join("saved.tar"), "").unwrap();
    let file = home.path().join("saved.tar").display().to_string();
    for (source, reason) in [
        ("docker-archive:saved.tar", "docker-archive: is not a registry; write docker://"),
        ("oci:layout", "oci: is not a registry"),
        ("docker://quay.io", "names a registry without a repository"),
        (&file, "it is a file, not an image of a registry"),
    ] {
        fails(home.path(), &["list-tags", source], &[reason]);
    }
    fails(home.path(), &["list-tags", &format!("{host}/other")], &[&format!("there is no repository {host}/other")]);
    fails(home.path(), &["skopeo", "delete", &format!("docker://{host}/app:a")], &["deletes nothing from registries"]);
}

#[test]
fn an_endless_list_of_tags_is_an_error() {
    let home = tempfile::tempdir().unwrap();
    // Pages close to the limit of one document, so that the list ends after some.
    let padding = "x".repeat(4_000_000);
    for (link, message) in [
        ("</v2/app/tags/list>", "was read before"),
        ("<http://other.example.com/v2/app/tags/list?n=2>", "another host"),
        ("", "bytes, which is the limit"),
    ] {
        let padding = padding.clone();
        let host = on_loopback(move |request: &Request| match request.path() {
            "/v2/app/tags/list" => {
                let number = request.query("n").first().map_or(0, |number| number.parse::<u64>().unwrap());
                let link = match link {
                    "" => format!("</v2/app/tags/list?n={}>", number + 1),
                    link => link.to_owned(),
                };
                Answer::json(200, json!({ "name": "app", "tags": [], "padding": &padding }))
                    .with("link", &format!("{link}; rel=\"next\""))
            }
            _ => Answer::new(200),
        });
        fails(home.path(), &["list-tags", &format!("{host}/app")], &["listing the tags", message]);
    }
}
