//! The name of an image is data: it never becomes a command, an option or another name on the machine of an engine that
//! `--via` reaches through a shell.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::{
    images::{Image, descriptor, tar},
    run::{strata, text},
    sshd::{Node, add_command},
};
use serde_json::json;
use strata::internals::oci::{Digest, descriptor::media_type};

/// Commands, options and names that a shell or an engine reads as something else; `MARK` is a file that must not appear.
const NAMES: [&str; 17] = [
    "x$(touch MARK)y/z:1",
    "x`touch MARK`:1",
    "x;touch MARK;:1",
    "x|touch MARK:1",
    "x&touch MARK&:1",
    "x\ntouch MARK\n:1",
    "x>MARK:1",
    "x:1 $(touch MARK)",
    "x:$(touch MARK)",
    "'$(touch MARK)':1",
    "\"$(touch MARK)\":1",
    "a b:1",
    "-x:1",
    "--help",
    "x:1@sha256:0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "{a,b}:1",
];

/// Notes its arguments, and answers as `ctr images check` does after an import.
const CTR: &str = r#"{ printf 'ctr'; printf ' [%s]' "$@"; echo; } >>"${0%/*}/../log"
case "$*" in
*"images import"*) cat >/dev/null ;;
*"plugins ls"*) echo "io.containerd.snapshotter.v1 native linux/amd64 ok" ;;
*"images check"*) name=${*: -1}; echo "${name#name==} type sha256:0 complete (1/1) 1 true" ;;
esac"#;
const RECORDER: &str = r#"{ printf '%s' "${0##*/}"; printf ' [%s]' "$@"; echo; } >>"${0%/*}/../log""#;

fn image() -> Image {
    Image::new(&[tar(&[("file", b"content")])])
}

/// A layout whose one image has this name, by the annotation of containerd's or of the specification.
fn layout(path: &Path, annotation: &str, name: &str) {
    let image = image();
    let blobs = path.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    for blob in image.blobs.iter().chain([&image.manifest]) {
        fs::write(blobs.join(Digest::sha256(blob).hex()), blob).unwrap();
    }
    let mut manifest = descriptor(media_type::MANIFEST, &image.manifest);
    manifest["annotations"] = json!({ annotation: name });
    fs::write(path.join("index.json"), json!({ "schemaVersion": 2, "manifests": [manifest] }).to_string()).unwrap();
    fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

/// An archive as `docker save` writes it.
fn docker_archive(path: &Path, name: &str) {
    let image = image();
    let manifest = json!([{ "Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"] }]).to_string();
    let files: [(&str, &[u8]); 3] =
        [("manifest.json", manifest.as_bytes()), ("config.json", &image.blobs[1]), ("layer.tar", &image.blobs[0])];
    fs::write(path, tar(&files)).unwrap();
}

struct Machine {
    top: tempfile::TempDir,
    node: Node,
}

impl Machine {
    fn start() -> Option<Self> {
        let top = tempfile::tempdir().unwrap();
        let node = Node::start(top.path())?;
        node.add_command("ctr", CTR);
        for name in ["podman", "docker"] {
            node.add_command(name, RECORDER);
        }
        // libmachine's native client joins its arguments with blanks.
        add_command(
            &top.path().join("here"),
            "minikube",
            &format!("while [[ $1 != -- ]]; do shift; done; shift; exec {} \"$*\"", node.ssh),
        );
        Some(Self { top, node })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.top.path().join(name)
    }

    /// Whether the copy succeeded, and what it printed.
    fn copy(&self, source: &str, destination: &str, via: &str) -> (bool, String) {
        self.copy_with(source, destination, via, &[])
    }

    fn copy_with(&self, source: &str, destination: &str, via: &str, flags: &[&str]) -> (bool, String) {
        let mut command = strata(self.top.path());
        let path = format!("{}:{}", self.path("here").display(), env::var("PATH").unwrap());
        command.args(["copy", source, destination, "--via", via]).args(flags).env("PATH", path);
        let output = command.output().unwrap();
        (output.status.success(), text(&output))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

#[test]
fn names_from_archives_are_not_commands_on_the_node() {
    let Some(machine) = Machine::start() else { return };
    let mark = machine.path("MARK");
    let ssh = &machine.node.ssh;
    let engines = [
        ("containerd:", format!("{ssh} sudo ctr -n k8s.io")),
        ("containerd:", "minikube".to_owned()),
        ("containerd:", "minikube:other".to_owned()),
        ("containers-storage:", format!("{ssh} podman")),
        ("docker-daemon:", format!("{ssh} docker")),
    ];
    for (place, name) in NAMES.iter().enumerate() {
        let name = name.replace("MARK", mark.to_str().unwrap());
        let sources = [
            ("oci:containerd", "io.containerd.image.name"),
            ("oci:specification", "org.opencontainers.image.ref.name"),
            ("docker-archive:docker", ""),
        ]
        .map(|(source, annotation)| {
            let (scheme, kind) = source.split_once(':').unwrap();
            let path = machine.path(&format!("{kind}{place}"));
            if annotation.is_empty() {
                docker_archive(&path, &name)
            } else {
                layout(&path, annotation, &name)
            };
            format!("{scheme}:{}", path.display())
        });
        // Each name from one kind of archive to each engine; the kinds take turns.
        let source = &sources[place % sources.len()];
        for (destination, via) in &engines {
            let (succeeded, text) = machine.copy(source, destination, via);
            assert!(!succeeded, "{name:?} to {destination} through {via}: {text}");
            // docker stores an image without a name too, by its ID: the copy reaches the command that plays docker, and
            // ends with it.
            let reasons = match *destination {
                "docker-daemon:" => ["the name of the image", "asking the docker daemon"],
                _ => ["the name of the image", "has no name"],
            };
            assert!(reasons.iter().any(|reason| text.contains(reason)), "{name:?} to {destination}: {text}");
        }
    }
    assert!(!mark.exists(), "a command of a name ran");
    let log = machine.log();
    let is_dial = |line: &str| line == "docker [system] [dial-stdio]";
    assert!(!log.is_empty() && log.lines().all(is_dial), "a command ran on the node: {log}");
}

#[test]
fn names_given_by_hand_are_checked_before_anything_is_sent() {
    let Some(machine) = Machine::start() else { return };
    layout(&machine.path("layout"), "io.containerd.image.name", "x:1");
    let source = format!("oci:{}", machine.path("layout").display());
    for (scheme, command) in [("docker-daemon", "docker"), ("containerd", "ctr"), ("containers-storage", "podman")] {
        let via = format!("{} {command}", machine.node.ssh);
        for name in
            ["Upper:1", "x:", "-x:1", "a b:1", "n1:t&x=1", "n1%2fz:1", "sha256:abc", "x:$(id)", NAMES[14], NAMES[15]]
        {
            let (succeeded, text) = machine.copy(&source, &format!("{scheme}:{name}"), &via);
            assert!(!succeeded, "{scheme}:{name}: {text}");
            assert!(text.contains(&format!("{name:?}")), "{scheme}:{name}: {text}");
        }
    }
    for source in ["containerd:x;id", "containers-storage:x$(id)", "docker-daemon:-x", "docker-daemon:../../info"] {
        let (succeeded, text) = machine.copy(source, "oci:never", "false");
        assert!(!succeeded && text.contains("is not an image reference"), "{source}: {text}");
    }
    assert_eq!(machine.log(), "", "a command ran on the node");
    // The log has the commands of other names.
    machine.copy(&source, "containers-storage:x:1", &format!("{} podman", machine.node.ssh));
    assert!(machine.log().starts_with("podman [images]"), "{}", machine.log());
}

#[test]
fn arguments_arrive_whole_through_a_shell_and_without_one() {
    let Some(machine) = Machine::start() else { return };
    layout(&machine.path("layout"), "io.containerd.image.name", "host.io:5000/a__b/c.d:V_1.x-2");
    let source = format!("oci:{}", machine.path("layout").display());
    let ctr = machine.node.bin.join("ctr");
    let mut logs = Vec::new();
    for via in
        [format!("{} -n k8s.io", ctr.display()), format!("{} ctr -n k8s.io", machine.node.ssh), "minikube".to_owned()]
    {
        let (succeeded, text) = machine.copy(&source, "containerd:", &via);
        assert!(succeeded, "{via}: {text}");
        logs.push(machine.log());
        fs::remove_file(machine.path("log")).unwrap();
    }
    assert!(
        logs[0].contains("ctr [-n] [k8s.io] [images] [check] [name==host.io:5000/a__b/c.d:V_1.x-2]\n"),
        "{}",
        logs[0]
    );
    assert_eq!(logs[0], logs[1]);
    assert_eq!(logs[0], logs[2]);
}

#[test]
fn a_snapshotter_is_one_that_the_node_lists() {
    let Some(machine) = Machine::start() else { return };
    layout(&machine.path("layout"), "io.containerd.image.name", "x:1");
    let source = format!("oci:{}", machine.path("layout").display());
    let via = format!("{} ctr -n k8s.io", machine.node.ssh);
    let mark = machine.path("MARK");
    let command = format!("$(touch {})", mark.display());
    for name in ["", "-x", "--local", "nativ", "native ", "NATIVE", "ok", "linux/amd64", "native,native", &command] {
        let flag = format!("--snapshotter={name}");
        let (succeeded, text) = machine.copy_with(&source, "containerd:", &via, &[&flag]);
        assert!(!succeeded && text.contains("no usable snapshotter of this name"), "{name:?}: {text}");
    }
    assert!(!mark.exists(), "a command of a name ran");
    assert!(!machine.log().contains("import"), "{}", machine.log());
    let (succeeded, text) = machine.copy_with(&source, "containerd:", &via, &["--snapshotter", "native"]);
    assert!(succeeded, "{text}");
    let log = machine.log();
    assert!(log.contains("[images] [import] [--snapshotter=native] [-]\n"), "{log}");
    assert!(log.contains("[images] [check] [--snapshotter=native] [name==docker.io/library/x:1]\n"), "{log}");
}

/// podman keeps its images in a directory of the test.
#[test]
fn podman_behind_ssh_gets_no_layer_twice() {
    let found =
        env::split_paths(&env::var_os("PATH").unwrap()).map(|path| path.join("podman")).find(|path| path.exists());
    let Some(podman) = found else { return eprintln!("skipped: there is no podman") };
    let Some(machine) = Machine::start() else { return };
    let at = machine.top.path().display();
    let options = format!("--root {at}/storage --runroot {at}/run --storage-driver vfs");
    machine.node.add_command("podman", &format!("exec {} {options} \"$@\"", podman.display()));
    layout(&machine.path("layout"), "io.containerd.image.name", "x:1");
    let source = format!("oci:{}", machine.path("layout").display());
    let via = format!("{} podman", machine.node.ssh);
    for (name, present) in [("one:1", 0), ("two:1", 1)] {
        let (succeeded, text) = machine.copy(&source, &format!("containers-storage:{name}"), &via);
        assert!(succeeded, "{text}");
        assert!(text.contains(&format!("{present} of 1 layers")), "{name}: {text}");
    }
}
