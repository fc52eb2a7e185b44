//! `kill -9` at any moment of a copy: the destination is the old or the new, and the same command again completes it.
//! `dev/kills` does it a hundred times for each sink; here it is a few.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use super::hostile::tar;
use rustix::process::{Pid, Signal, kill_process};
use strata::internals::{
    image::{ManifestGraph, rehash},
    oci::{
        Descriptor, Digest, Index, Manifest, Platform,
        descriptor::{annotation, media_type},
    },
    transport::{Location, ReadOptions},
};

const LAYERS: usize = 6;
const LAYER: usize = 300_000;

/// A generator of pseudo-random numbers with a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// A layout with an image of some layers, called `tag`.
fn layout(path: &Path, tag: &str, random: &mut Random) -> Digest {
    fs::create_dir_all(path.join("blobs/sha256")).unwrap();
    fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let put = |kind: &str, bytes: &[u8]| {
        let digest = Digest::sha256(bytes);
        fs::write(path.join(digest.blob_name()), bytes).unwrap();
        Descriptor::new(kind, digest, bytes.len() as u64)
    };
    let mut layer = || {
        let bytes: Vec<u8> = (0..LAYER).map(|_| random.below(256) as u8).collect();
        put(media_type::LAYER_TAR, &tar(&[("file", &bytes)]))
    };
    let layers: Vec<Descriptor> = (0..LAYERS).map(|_| layer()).collect();
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.digest).collect();
    let config = serde_json::json!({ "architecture": "amd64", "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": diff_ids } });
    let config = put(media_type::CONFIG, &serde_json::to_vec(&config).unwrap());
    let manifest = put(media_type::MANIFEST, &serde_json::to_vec(&Manifest::new(config, layers)).unwrap());
    let digest = manifest.digest;
    let annotations = [(annotation::REF_NAME.to_owned(), tag.to_owned())].into();
    let platform = Some(Platform::linux("amd64", None));
    let index = Index::new(vec![Descriptor { annotations, platform, ..manifest }]);
    fs::write(path.join("index.json"), serde_json::to_vec(&index).unwrap()).unwrap();
    digest
}

fn start(from: &Path, to: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strata"));
    command.args(["copy", "--quiet", &format!("oci:{}", from.display()), to]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn copy(from: &Path, to: &str) {
    assert!(start(from, to).wait().unwrap().success(), "copying to {to}");
}

/// Bytes of everything in a directory; what vanishes meanwhile has none.
fn size(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let one = |path: &Path| match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => size(path),
        Ok(found) => found.len() + 1,
        Err(_) => 0,
    };
    entries.map(|entry| one(&entry.path())).sum()
}

/// Waits until so much was written in `directory`, or the copy has ended; whether it still runs.
fn wait_for(child: &mut Child, directory: &Path, bytes: u64) -> bool {
    while child.try_wait().unwrap().is_none() {
        if size(directory) >= bytes {
            return true;
        }
        thread::yield_now();
    }
    false
}

/// The digest of what a name leads to, whose every blob is right.
fn whole(location: &str) -> Digest {
    let opened = location.parse::<Location>().unwrap().open(&ReadOptions::default()).unwrap();
    let report = rehash::rehash(&opened).unwrap();
    assert_eq!(report.problems, Vec::<String>::new(), "{location}");
    let content: ManifestGraph = opened.content().unwrap();
    content.digest()
}

fn unfinished(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(unfinished(&entry.path()));
        }
        if name.starts_with(".strata-") {
            found.push(name);
        }
    }
    found
}

#[test]
fn a_killed_copy_leaves_the_old_or_new_image_and_can_be_repeated() {
    let kills: usize = std::env::var("STRATA_KILLS").map_or(4, |kills| kills.parse().unwrap());
    let top = tempfile::tempdir().unwrap();
    let mut random = Random(kills as u64);
    let (one, two) = (top.path().join("one"), top.path().join("two"));
    let digests = [layout(&one, "t", &mut random), layout(&two, "t", &mut random)];
    for scheme in ["oci", "oci-archive", "docker-archive", "dir"] {
        let mut interrupted = 0;
        for round in 0..kills {
            // The old is another image, or nothing.
            let directory = top.path().join(format!("{scheme}-{round}"));
            fs::create_dir(&directory).unwrap();
            let place = format!("{scheme}:{}", directory.join("it").display());
            let to = if scheme == "oci" { format!("{place}:t") } else { place.clone() };
            let has_old = round % 2 == 0;
            if has_old {
                copy(&one, &to);
            }
            let before = size(&directory);
            let most = (LAYERS * LAYER) as u64 * 11 / 10;
            let mut child = start(&two, &to);
            if wait_for(&mut child, &directory, before + random.below(most)) {
                interrupted += 1;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            let is_there = match scheme {
                "oci" => directory.join("it/index.json").exists(),
                _ => directory.join("it").exists(),
            };
            assert!(is_there || !has_old, "{scheme}: the old is gone");
            if is_there {
                let found = whole(&place);
                assert!(found == digests[1] || has_old && found == digests[0], "{scheme}: neither the old nor the new");
            }
            copy(&two, &to);
            assert_eq!(whole(&place), digests[1]);
            assert_eq!(unfinished(&directory), Vec::<String>::new());
            fs::remove_dir_all(&directory).unwrap();
        }
        println!("{scheme}: {interrupted} of {kills} copies were killed on their way");
    }
}

#[test]
fn the_next_copy_removes_temporary_files_of_killed_ones_at_every_destination() {
    let top = tempfile::tempdir().unwrap();
    let from = top.path().join("from");
    layout(&from, "t", &mut Random(1));
    for (scheme, written) in [
        ("oci", ["it", "it/blobs/sha256"].as_slice()),
        ("oci-archive", &[""]),
        ("docker-archive", &[""]),
        ("dir", &[""]),
    ] {
        let directory = top.path().join(scheme);
        for place in written {
            fs::create_dir_all(directory.join(place)).unwrap();
            fs::write(directory.join(place).join(".strata-1-1.tmp"), "left by one that was killed").unwrap();
        }
        copy(&from, &format!("{scheme}:{}", directory.join("it").display()));
        assert_eq!(unfinished(&directory), Vec::<String>::new(), "{scheme}");
    }
}

#[test]
fn a_running_copy_is_not_disturbed() {
    let top = tempfile::tempdir().unwrap();
    let mut random = Random(1);
    let (one, two) = (top.path().join("one"), top.path().join("two"));
    let digests = [layout(&one, "a", &mut random), layout(&two, "b", &mut random)];
    let target = top.path().join("target");
    for round in 0..4 {
        let mut first = start(&one, &format!("oci:{}:a", target.display()));
        let paused = wait_for(&mut first, &target, (LAYER * round) as u64 + 1);
        let pid = Pid::from_child(&first);
        if paused {
            kill_process(pid, Signal::STOP).unwrap();
        }
        // It sweeps, and finds what the other one has begun.
        copy(&two, &format!("oci:{}:b", target.display()));
        if paused {
            kill_process(pid, Signal::CONT).unwrap();
        }
        assert!(first.wait().unwrap().success());
        for (tag, digest) in ["a", "b"].iter().zip(digests) {
            assert_eq!(whole(&format!("oci:{}:{tag}", target.display())), digest);
        }
        assert_eq!(unfinished(&target), Vec::<String>::new());
        fs::remove_dir_all(&target).unwrap();
    }
}

#[test]
fn a_closed_stdout_is_success_and_a_broken_pipe_is_an_error() {
    let top = tempfile::tempdir().unwrap();
    let from = top.path().join("one");
    layout(&from, "t", &mut Random(1));
    let copy = |to: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strata"));
        command.args(["copy", "--quiet", &format!("oci:{}", from.display()), to]);
        command
    };
    // The standard output is closed early, as by `| head -c 1`.
    let mut child = copy("oci-archive:-").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    std::io::Read::read_exact(&mut child.stdout.take().unwrap(), &mut [0]).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // The destination is a named pipe.
    let pipe = top.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let child = copy(&format!("oci-archive:{}", pipe.display())).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut reader = fs::File::open(&pipe).unwrap();
    std::io::Read::read_exact(&mut reader, &mut [0]).unwrap();
    drop(reader);
    let output = child.unwrap().wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Broken pipe"));
}
