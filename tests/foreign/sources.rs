//! Sources as people write them: pipes, programs that stream, packages, and archives of which a part is missing.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Output,
};

use strata::internals::oci::Digest;

use crate::{
    choices::docker_archive,
    docker_archives::{fails, file, files, succeeds},
    images::{Image, tar, write_layout},
    run::{strata, text},
};

/// Runs the program with a file as its standard input.
fn piped(home: &Path, input: &Path, arguments: &[&str]) -> Output {
    strata(home).args(arguments).stdin(File::open(input).unwrap()).output().unwrap()
}

#[test]
fn the_standard_input_is_a_source() {
    let home = tempfile::tempdir().unwrap();
    let saved = home.path().join("saved.tar");
    let image = Image::new(&[tar(&[("one", b"1")])]);
    docker_archive(&saved, &[("one:a", &image)]);
    for (at, source) in ["-", "docker-archive:-", "oci-archive:-", "docker-archive:-:one:a"].iter().enumerate() {
        let out = home.path().join(format!("out{at}"));
        let output = piped(home.path(), &saved, &["copy", "-q", source, &format!("oci:{}", out.display())]);
        assert!(output.status.success(), "{source}: {}", text(&output));
        assert!(out.join("blobs/sha256").join(Digest::sha256(&image.blobs[1]).hex()).exists(), "{source}");
        assert!(piped(home.path(), &saved, &["verify", source]).status.success(), "{source}");
    }
    let output = piped(home.path(), Path::new("/dev/null"), &["inspect", "-"]);
    let messages = text(&output);
    assert!(!output.status.success() && messages.contains("the standard input is neither"), "{messages}");
}

#[test]
fn errors_name_programs_and_packages_given_as_images() {
    let home = tempfile::tempdir().unwrap();
    let script = |name: &str, text: &str| {
        let path = home.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let interpreter = "#!/nix/store/00000000000000000000000000000000-strata/bin/strata program";
    for (name, script_text, reason) in [
        // nixpkgs' streamLayeredImage is such a program.
        ("other", "#!/bin/sh\nexec true\n", "it is a program, not an image; if it writes an archive, run it instead: "),
        ("outside", "/etc\n", "its image is made when it runs"),
        (
            "now",
            "/nix/store/00000000000000000000000000000000-x\n--created\nnow\n",
            "its image is made when it runs; run it instead",
        ),
    ] {
        let stream = format!("{interpreter}\nstream\n{script_text}");
        let path = script(name, if name == "other" { script_text } else { &stream });
        fails(home.path(), &["inspect", &path], &[reason]);
    }
    // A stream of strata's leads to its image, here one that is gone.
    let gone = "/nix/store/00000000000000000000000000000000-image-x.json";
    let stream = script("stream", &format!("{interpreter}\nstream\n{gone}\n"));
    fails(home.path(), &["inspect", &stream], &[&format!("opening {gone}")]);

    let copies = script("copy", &format!("{interpreter}\ncopy\n{gone}\ndocker-daemon:\n"));
    fails(home.path(), &["inspect", &copies], &["it is a program that copies an image; run it"]);
    fs::create_dir_all(home.path().join("hello/bin")).unwrap();
    script("hello/bin/hello", "#!/bin/sh\n");
    let package = home.path().join("hello");
    fails(
        home.path(),
        &["inspect", package.to_str().unwrap()],
        &["it is a package with programs (hello), not an image; put it into one with buildImage"],
    );
    script("hello/bin/copy-to", "#!/bin/sh\n");
    fails(home.path(), &["inspect", package.to_str().unwrap()], &["a package with a program that copies an image"]);
}

/// Docker 29's `docker save` of two images, one of which it pulled for another platform only, can be so.
#[test]
fn an_incomplete_image_leaves_the_others_readable() {
    let home = tempfile::tempdir().unwrap();
    let whole = Image::new(&[tar(&[("one", b"1")])]);
    let broken = Image::new(&[tar(&[("two", b"2")])]);
    let saved = home.path().join("saved.tar");
    docker_archive(&saved, &[("broken:a", &broken), ("whole:b", &whole)]);
    let kept_files: Vec<(String, Vec<u8>)> =
        files(&fs::read(&saved).unwrap()).into_iter().filter(|(name, _)| name != "0/layer.tar").collect();
    assert!(file(&kept_files, "1/layer.tar").is_some());
    let kept_files: Vec<(&str, &[u8])> =
        kept_files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    fs::write(&saved, tar(&kept_files)).unwrap();
    let docker = saved.to_str().unwrap().to_owned();

    // The image as an OCI layout.
    let layout = home.path().join("layout");
    write_layout(&layout, &whole);
    let mut index: serde_json::Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    write_layout(&layout, &broken);
    let other: serde_json::Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let entries = index["manifests"].as_array_mut().unwrap();
    entries.push(other["manifests"][0].clone());
    for (entry, name) in entries.iter_mut().zip(["whole:b", "broken:a"]) {
        entry["annotations"] = serde_json::json!({ "io.containerd.image.name": format!("docker.io/library/{name}") });
    }
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
    fs::remove_file(layout.join("blobs/sha256").join(Digest::sha256(&broken.blobs[0]).hex())).unwrap();

    for (source, named) in [(docker.clone(), "docker-archive"), (layout.to_str().unwrap().to_owned(), "oci")] {
        let out = format!("oci:{}", home.path().join(named).display());
        succeeds(home.path(), &["copy", "-q", &format!("{named}:{source}:whole:b"), &out]);
        for command in ["inspect", "verify"] {
            fails(home.path(), &[command, &source], &["the image broken:a, one of several there", "it is missing"]);
        }
        let inspected = strata(home.path()).args(["inspect", &source]).output().unwrap();
        assert!(String::from_utf8_lossy(&inspected.stdout).contains("whole:b"));
    }
}

/// image-spec, layer.md: engines delete a file of a lower layer, and the file itself never arrives.
#[test]
fn files_that_engines_take_for_whiteouts_are_reported() {
    let home = tempfile::tempdir().unwrap();
    let image = Image::new(&[
        tar(&[("etc/passwd", b"root")]),
        tar(&[("etc/.wh.passwd", b"not empty"), (".wh..wh.plnk", b"x")]),
    ]);
    let layout = home.path().join("layout");
    write_layout(&layout, &image);
    let reason = "etc/.wh.passwd is not an empty file";
    fails(home.path(), &["verify", layout.to_str().unwrap()], &[reason]);
    let explained = succeeds(home.path(), &["explain", layout.to_str().unwrap()]);
    assert!(text(&explained).contains(&format!("layer 2: {reason}")), "{}", text(&explained));
}

/// Docker's grammar (distribution/reference), as for `docker-daemon:`; a layout takes a tag alone, as in skopeo.
#[test]
fn names_in_archives_are_those_that_engines_accept() {
    let home = tempfile::tempdir().unwrap();
    write_layout(&home.path().join("layout"), &Image::new(&[tar(&[("one", b"1")])]));
    let source = format!("oci:{}", home.path().join("layout").display());
    let path = home.path().join("out.tar");
    let hex = "0".repeat(64);
    for name in
        ["Upper:1", "x:", "x:1@sha256:abc", "-x:1", &hex, "sha256:abc", "a b:1", "n1:t&x=1", "n1%2fz:1", "foo..bar:1"]
    {
        for scheme in ["docker-archive", "oci-archive"] {
            if scheme == "oci-archive" && name == hex {
                continue;
            }
            let destination = format!("{scheme}:{}:{name}", path.display());
            fails(home.path(), &["copy", &source, &destination], &[]);
            assert!(!path.exists(), "{destination}");
        }
    }
    fails(home.path(), &["stream", &source, "--repo-tag", "Upper:1"], &["--repo-tag Upper:1"]);
    for (scheme, name, tag) in
        [("docker-archive", "app", "latest"), ("docker-archive", "app:v1", "v1"), ("oci-archive", "v1", "v1")]
    {
        succeeds(home.path(), &["copy", "-q", &source, &format!("{scheme}:{}:{name}", path.display())]);
        let written = files(&fs::read(&path).unwrap());
        let index: serde_json::Value = serde_json::from_slice(file(&written, "index.json").unwrap()).unwrap();
        assert_eq!(index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"], tag);
        fs::remove_file(&path).unwrap();
    }
}

/// `strata plan <(nix path-info --json --recursive …)`
#[test]
fn plan_reads_closures_and_recipes_from_pipes() {
    let home = tempfile::tempdir().unwrap();
    let closure = include_str!("../golden/path-info/2.26.json");
    let mut nodes: serde_json::Value = serde_json::from_str(include_str!("../golden/path-info/2.8.json")).unwrap();
    for node in nodes.as_array_mut().unwrap() {
        // In a recipe, references are places in the list.
        node["references"] = serde_json::json!([]);
    }
    let recipe =
        serde_json::json!({ "version": 2, "image-config": {}, "arch": "amd64", "layers": [], "closure": nodes });
    let pipe = home.path().join("pipe");
    let pipe_text = pipe.to_str().unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let input = home.path().join("input");
    let plan = |content: &str, source: &str| {
        fs::write(&input, content).unwrap();
        let mut child = strata(home.path());
        child.args(["plan", source]).stdin(File::open(&input).unwrap());
        let child = child.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
        if source == pipe_text {
            // Opening waits for the program to open it. The program may end without reading all.
            let _ = fs::write(&pipe, content);
        }
        child.wait_with_output().unwrap()
    };
    for content in [closure.to_owned(), format!("\n\t {closure}"), recipe.to_string()] {
        for source in [pipe_text, "-", input.to_str().unwrap()] {
            let output = plan(&content, source);
            let shown = text(&output);
            assert!(output.status.success(), "{source}: {shown}");
            assert!(shown.starts_with("3 store paths"), "{source}: {shown}");
            // The output ends with the argument of the cheapest strategy.
            let best = shown.trim_end().rsplit_once("makeContainerImage:\n\n").map(|(_, lines)| lines).unwrap();
            let lines: Vec<&str> = best.lines().collect();
            assert!(lines.len() == 2 && lines[0].starts_with("  layering = \""), "{shown}");
            assert!(lines[1].starts_with("  maxLayers = ") && lines[1].ends_with(';'), "{shown}");
        }
    }
    for source in [pipe_text, "-"] {
        let message = text(&plan("x", source));
        assert!(message.contains(&format!("{source} is neither a recipe (image.json) nor a closure")), "{message}");
    }
}
