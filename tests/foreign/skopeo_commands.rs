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
    manifest["config"]["digest"] = Digest::of(&image.blobs[1]).to_string().into();
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
        (&["--raw", "--format", "{{json .config.Labels}}"], "{\"a\":\"1\"}\n".to_owned()),
    ] {
        let output = succeeds(home.path(), &[&["inspect", path], arguments].concat());
        assert_eq!(String::from_utf8(output.stdout).unwrap(), printed, "{arguments:?}");
    }
    fails(home.path(), &["inspect", path, "--format", "{{.Nothing}}"], &["there is no field Nothing"]);
    // As skopeo-nix2container says it.
    let line = ["skopeo", "inspect", "--format", "{{.Digest}}", &format!("oci:{path}")];
    let output = strata(home.path()).args(line).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{digest}\n"));
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
    fails(home.path(), &["list-tags", &format!("{host}/other")], &[&format!("there is no repository {host}/other")]);
    fails(home.path(), &["skopeo", "delete", &format!("docker://{host}/app:a")], &["deletes nothing from registries"]);
}

#[test]
fn lists_of_tags_end() {
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
