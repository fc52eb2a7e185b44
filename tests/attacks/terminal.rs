//! Terminal escapes in images, registries and engines' outputs: none reaches what people read.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use crate::{
    images::{Image, descriptor, tar, write_layout},
    run::{strata, text},
};
use serde_json::json;
use strata::internals::oci::{Digest, descriptor::media_type};

/// Clears the screen, sets the title, in 7 and 8 bits; reorders text; forges a line.
const HOSTILE: &str = "a\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}2J\u{202e}\u{2066}\u{200f}\u{61c}\r\u{8}b\u{2028}\u{2029}";

/// Fails if the output has characters that change a terminal.
fn check(what: &str, output: &Output) {
    let text = text(output);
    let is_hostile = |letter: char| {
        let reorders =
            matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        letter.is_control() && !matches!(letter, '\n' | '\t') || reorders || matches!(letter, '\u{2028}' | '\u{2029}')
    };
    assert!(!text.contains(is_hostile), "{what}: {text:?}");
    assert!(!text.is_empty(), "{what} prints nothing");
}

fn run(home: &Path, arguments: &[&str]) -> Output {
    let output = strata(home).args(arguments).output().unwrap();
    check(&arguments.join(" "), &output);
    output
}

/// An image whose every text is hostile.
fn image(version: &str) -> Image {
    let status = format!("Package: x{HOSTILE}\nVersion: {version}\n\nPackage: y\nVersion: {version}\n\n");
    let layer = tar(&[("var/lib/dpkg/status", status.as_bytes()), (&format!("file{HOSTILE}"), b"x")]);
    let config = json!({
        "architecture": "amd64", "os": "linux", "variant": HOSTILE, "author": HOSTILE,
        "config": { "Env": [format!("A={HOSTILE}{version}")], "Cmd": [HOSTILE], "Entrypoint": [HOSTILE],
            "Labels": { HOSTILE: HOSTILE }, "User": HOSTILE, "WorkingDir": format!("/{HOSTILE}") },
        "history": [ { "created_by": format!("{HOSTILE}{version}"), "comment": HOSTILE } ],
        "rootfs": { "type": "layers", "diff_ids": [Digest::sha256(&layer)] },
    });
    let config = config.to_string().into_bytes();
    let manifest = json!({ "schemaVersion": 2, "mediaType": media_type::MANIFEST,
        "config": descriptor(media_type::CONFIG, &config), "layers": [descriptor(media_type::LAYER_TAR, &layer)],
        "annotations": { HOSTILE: HOSTILE, "org.opencontainers.image.title": HOSTILE } });
    Image { blobs: vec![layer, config], manifest: manifest.to_string().into_bytes() }
}

/// A layout with the image, under a hostile name.
fn layout(home: &Path, version: &str) -> String {
    let directory = home.join(version);
    let image = image(version);
    write_layout(&directory, &image);
    let mut entry = descriptor(media_type::MANIFEST, &image.manifest);
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": HOSTILE, "io.containerd.image.name": HOSTILE });
    fs::write(directory.join("index.json"), json!({ "schemaVersion": 2, "manifests": [entry] }).to_string()).unwrap();
    format!("oci:{}", directory.display())
}

#[test]
fn texts_of_images_are_escaped() {
    let home = tempfile::tempdir().unwrap();
    let (one, two) = (&layout(home.path(), "1"), &layout(home.path(), "2"));
    let target = format!("oci:{}", home.path().join("target").display());
    // Differences end with 1, as those of diff do.
    for (succeeds, arguments) in [
        (true, &["inspect", one] as &[&str]),
        (true, &["explain", one]),
        (false, &["diff", one, two]),
        (false, &["sbom", "diff", one, two]),
        (true, &["verify", one]),
        (true, &["copy", one, &target]),
        (false, &["copy", &format!("{one}:missing"), &target]),
        (false, &["copy", one, "docker-daemon:x:1", "--dest-daemon-host", "unix:///nonexistent"]),
    ] {
        let output = run(home.path(), arguments);
        assert_eq!(output.status.success(), succeeds, "{arguments:?}: {}", text(&output));
    }
    let explained = run(home.path(), &["explain", one]);
    assert!(text(&explained).contains("\\u{1b}[2J"), "{}", text(&explained));
}

#[test]
fn errors_about_hostile_documents_are_escaped() {
    let home = tempfile::tempdir().unwrap();
    let intact = image("1");
    for (what, from, to) in [
        ("media type of a layer", media_type::LAYER_TAR, format!("application/{HOSTILE}")),
        ("media type of a config", media_type::CONFIG, format!("application/{HOSTILE}")),
        ("digest", "sha256:", HOSTILE.to_owned()),
        ("key", "schemaVersion", HOSTILE.to_owned()),
    ] {
        let encoded = json!(to).to_string();
        let manifest = String::from_utf8(intact.manifest.clone()).unwrap();
        let manifest = manifest.replace(from, encoded.trim_matches('"')).into_bytes();
        let directory = home.path().join(what);
        write_layout(&directory, &Image { manifest, ..intact.clone() });
        let source = format!("oci:{}", directory.display());
        for command in ["inspect", "verify", "explain", "sbom"] {
            let output = strata(home.path()).args([command, &source]).output().unwrap();
            // JSON is printed as it is.
            if !(command == "sbom" && output.status.success()) {
                check(&format!("{command}: {what}"), &output);
            }
        }
    }
}

#[test]
fn output_of_engines_is_escaped() {
    let home = tempfile::tempdir().unwrap();
    let image = layout(home.path(), "1");
    let program = home.path().join("engine");
    fs::write(&program, "printf '\\033[2J\\302\\2332J\\r\\a engine failed' >&2; exit 1\n").unwrap();
    let via = format!("sh {}", program.display());
    for destination in ["containers-storage:localhost/x:1", "containerd:localhost/x:1"] {
        let output = run(home.path(), &["copy", &image, destination, "--via", &via]);
        assert!(!output.status.success());
        assert!(text(&output).contains("engine failed"), "{destination}: {}", text(&output));
    }
}

#[test]
fn json_stays_exact() {
    let home = tempfile::tempdir().unwrap();
    let image = layout(home.path(), "1");
    let output = strata(home.path()).args(["inspect", "--json", &image]).output().unwrap();
    let inspected: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(inspected[0]["config"]["config"]["Cmd"][0], HOSTILE);
}

/// `script` of util-linux runs the program with a terminal.
#[test]
fn documents_on_a_terminal_are_escaped() {
    let home = tempfile::tempdir().unwrap();
    let image = layout(home.path(), "1");
    for form in ["--json", "--config", "--raw"] {
        let program = strata(home.path());
        let line = format!("{} inspect {form} {image}", program.get_program().to_str().unwrap());
        let mut command = std::process::Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).env("HOME", home.path()).stdin(std::process::Stdio::null());
        let mut output = command.output().unwrap();
        // The terminal writes CR LF at line ends.
        output.stdout = String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n").into_bytes();
        check(form, &output);
        assert!(output.status.success() && text(&output).contains("\\u202e"), "{form}: {}", text(&output));
    }
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// The program prints through `terminal.rs` alone. The library prints archives, and the access log, which escapes.
#[test]
fn nothing_prints_around_the_escaping_writer() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let exact = ["terminal.rs", "transport/archive/write.rs", "serve/access_log.rs"];
    // Whether the standard output still has a reader, a wrapper's own functions, and an archive on the standard output.
    let others = ["has_no_reader(&io::stdout())", "terminal::stdout()", "terminal::stderr()", "archive::stdout()"];
    let mut checked = 0;
    for file in sources(&src) {
        let name = file.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
        if exact.contains(&name.as_str()) {
            continue;
        }
        checked += 1;
        for (number, line) in fs::read_to_string(&file).unwrap().lines().enumerate() {
            let code = line.trim_start();
            let prints =
                ["println!", "eprint!", "print!(", "dbg!(", "stdout()", "stderr()", "io::stdout", "io::stderr"];
            let code =
                others.iter().fold(code.to_owned(), |code, other| code.replace(other, "")).replace("is_stdout()", "");
            let is_print = prints.iter().any(|print| code.contains(print));
            assert!(code.starts_with("//") || !is_print, "src/{name}:{}: {code}", number + 1);
        }
    }
    assert!(checked > 100);
}
