//! Recipes and layouts that name files of the user: `serve` and `copy` must not disclose a byte of them.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use strata::internals::oci::{Digest, descriptor::media_type};

use crate::{
    images::{Image, descriptor},
    run::{strata, text},
};

const SECRET: &str = "-----BEGIN SECRET KEY-----";
/// No blob has this digest.
const NO_DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// A home directory with a secret, and a directory of a stranger's image.
struct Home {
    top: tempfile::TempDir,
    secret: PathBuf,
    image: PathBuf,
}

impl Home {
    fn new() -> Self {
        let top = tempfile::tempdir().unwrap();
        let (keys, image) = (top.path().join(".ssh"), top.path().join("downloads/image"));
        fs::create_dir_all(&keys).unwrap();
        fs::create_dir_all(&image).unwrap();
        let secret = keys.join("id_rsa");
        fs::write(&secret, format!("{SECRET}\n{}\n", "k".repeat(300))).unwrap();
        Self { top, secret, image }
    }

    fn path(&self) -> &Path {
        self.top.path()
    }

    fn secret_size(&self) -> u64 {
        fs::metadata(&self.secret).unwrap().len()
    }

    /// A recipe with one layer, in the stranger's directory.
    fn recipe(&self, size: u64, layer: Value) -> PathBuf {
        let mut own = json!({ "digest": NO_DIGEST, "size": size, "diff_ids": NO_DIGEST,
            "mediatype": media_type::LAYER_TAR, "History": {} });
        own.as_object_mut().unwrap().extend(layer.as_object().unwrap().clone());
        let path = self.image.join("image.json");
        let recipe = json!({ "version": 1, "image-config": {}, "arch": "amd64", "layers": [own] });
        fs::write(&path, recipe.to_string()).unwrap();
        path
    }

    /// An OCI layout or a `dir:` whose only layer `place` makes.
    fn directory(&self, is_layout: bool, size: u64, place: impl FnOnce(&Path)) -> String {
        let config = json!({ "architecture": "amd64", "os": "linux",
            "rootfs": { "type": "layers", "diff_ids": [NO_DIGEST] } });
        let config = config.to_string().into_bytes();
        let manifest = json!({ "schemaVersion": 2, "mediaType": media_type::MANIFEST,
            "config": descriptor(media_type::CONFIG, &config),
            "layers": [{ "mediaType": media_type::LAYER_TAR, "digest": NO_DIGEST, "size": size }] });
        let manifest = manifest.to_string().into_bytes();
        let blobs = if is_layout { self.image.join("blobs/sha256") } else { self.image.clone() };
        fs::create_dir_all(&blobs).unwrap();
        fs::write(blobs.join(Digest::of(&config).hex()), &config).unwrap();
        place(&blobs.join(&NO_DIGEST[7..]));
        if !is_layout {
            fs::write(self.image.join("manifest.json"), &manifest).unwrap();
            return format!("dir:{}", self.image.display());
        }
        fs::write(blobs.join(Digest::of(&manifest).hex()), &manifest).unwrap();
        fs::write(self.image.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let index = json!({ "schemaVersion": 2, "manifests": [descriptor(media_type::MANIFEST, &manifest)] });
        fs::write(self.image.join("index.json"), index.to_string()).unwrap();
        format!("oci:{}", self.image.display())
    }
}

/// What a client of `strata serve` gets, whole and by ranges; empty where the image is refused.
fn served(home: &Home, image: &str) -> Vec<u8> {
    let mut serve = strata(home.path());
    serve.args(["serve", &format!("app:v1={image}"), "--listen", "127.0.0.1:0"]);
    let mut child = serve.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let mut got = Vec::new();
    if let Some(address) = line.split('/').next().filter(|address| address.contains(':')) {
        for range in ["", "Range: bytes=0-327\r\n", "Range: bytes=0-10,12-300\r\n", "Range: bytes=0-3500\r\n"] {
            got.extend(request(address.trim(), range));
        }
    }
    stop(&mut child);
    got
}

fn stop(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn request(address: &str, header: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let text = format!("GET /v2/app/blobs/{NO_DIGEST} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n");
    stream.write_all(text.as_bytes()).unwrap();
    let mut got = Vec::new();
    // A broken connection is an answer too.
    drop(stream.read_to_end(&mut got));
    got
}

/// What a registry gets that records everything and has nothing.
fn uploaded(home: &Home, image: &str, arguments: &[&str]) -> (Vec<u8>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let got = Arc::<Mutex<Vec<u8>>>::default();
    let recorded = Arc::clone(&got);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let recorded = Arc::clone(&recorded);
            thread::spawn(move || record(stream, &recorded));
        }
    });
    let mut copy = strata(home.path());
    copy.args(["copy", "-q", image, &format!("docker://127.0.0.1:{port}/x:v1"), "--retry-times", "0"]).args(arguments);
    let output = copy.output().unwrap();
    assert!(!output.status.success(), "{}", text(&output));
    let got = got.lock().unwrap().clone();
    (got, text(&output))
}

fn record(mut stream: TcpStream, recorded: &Mutex<Vec<u8>>) {
    // A client whose body broke off waits for an answer.
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut pending = Vec::new();
    let mut buffer = [0; 65536];
    while let Ok(read) = stream.read(&mut buffer).map(|read| &buffer[..read]) {
        if read.is_empty() {
            return;
        }
        recorded.lock().unwrap().extend_from_slice(read);
        pending.extend_from_slice(read);
        while let Some(end) = pending.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&pending[..end]).into_owned();
            if head.starts_with("PATCH") || head.starts_with("PUT") {
                break;
            }
            pending.drain(..end + 4);
            let answer: &[u8] = match head.starts_with("POST") {
                true => b"HTTP/1.1 202 Accepted\r\nLocation: /v2/x/blobs/uploads/1\r\nContent-Length: 0\r\n\r\n",
                false => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            };
            if stream.write_all(answer).is_err() {
                return;
            }
        }
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The decompressed bodies of all uploads.
fn bodies(recorded: &[u8]) -> Vec<u8> {
    let mut bodies = Vec::new();
    for at in (0..recorded.len()).filter(|at| recorded[*at..].starts_with(b"PATCH ")) {
        let head = recorded[at..].windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let mut rest = &recorded[at + head + 4..];
        let mut body = Vec::new();
        while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
            let size = std::str::from_utf8(&rest[..end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
            let Some(size) = size.filter(|size| rest.len() >= end + 2 + size) else { break };
            body.extend_from_slice(&rest[end + 2..end + 2 + size]);
            rest = rest.get(end + size + 4..).unwrap_or_default();
        }
        match body.starts_with(&[0x1f, 0x8b]) {
            // It breaks off.
            true => drop(flate2::read::MultiGzDecoder::new(body.as_slice()).read_to_end(&mut bodies)),
            false => bodies.extend(body),
        }
    }
    bodies
}

/// Neither command discloses the secret: no byte of the layer leaves.
fn nothing_leaves(home: &Home, image: &str) {
    let got = served(home, image);
    assert!(!contains(&got, SECRET), "served: {image}");
    for arguments in [&[][..], &["--compression", "none"]] {
        let (got, said) = uploaded(home, image, arguments);
        assert_eq!(bodies(&got), b"", "uploaded: {image}: {said}");
    }
}

#[test]
fn recipes_name_no_files_of_the_user() {
    let home = Home::new();
    let size = home.secret_size();
    let secret = home.secret.to_str().unwrap();
    let directory = home.secret.parent().unwrap().to_str().unwrap();
    let store = "/nix/store/00000000000000000000000000000000-x";
    for (size, layer) in [
        (2000, json!({ "layer-path": secret })),
        (size, json!({ "layer-path": secret })),
        (size, json!({ "layer-path": "../../.ssh/id_rsa" })),
        (size, json!({ "layer-path": format!("{store}/../../..{secret}") })),
        (size, json!({ "layer-path": "/proc/self/environ" })),
        (size, json!({ "layer-path": format!("/proc/self/root{secret}") })),
        (9000, json!({ "paths": [{ "path": directory }] })),
        (9000, json!({ "paths": [{ "path": secret }] })),
        (9000, json!({ "paths": [{ "path": "../../.ssh" }] })),
        (9000, json!({ "paths": [{ "path": format!("{store}/../../..{directory}") }] })),
    ] {
        let path = home.recipe(size, layer.clone());
        nothing_leaves(&home, path.to_str().unwrap());
        let (_, said) = uploaded(&home, path.to_str().unwrap(), &[]);
        assert!(said.contains("neither a store path nor a file in the recipe's directory"), "{layer}: {said}");
    }
}

#[test]
fn recipes_in_the_home_directory_cannot_read_other_files() {
    let mut home = Home::new();
    home.image = home.path().to_owned();
    for layer in [
        json!({ "layer-path": ".ssh/id_rsa" }),
        json!({ "layer-path": home.secret }),
        json!({ "paths": [{ "path": ".ssh" }] }),
        json!({ "paths": [{ "path": home.secret.parent() }] }),
    ] {
        for size in [home.secret_size(), 9000] {
            let path = home.recipe(size, layer.clone());
            nothing_leaves(&home, path.to_str().unwrap());
        }
    }
}

#[test]
fn links_next_to_a_recipe_are_not_followed() {
    let home = Home::new();
    symlink(&home.secret, home.image.join("file")).unwrap();
    symlink(home.secret.parent().unwrap(), home.image.join("directory")).unwrap();
    for layer in [
        json!({ "layer-path": "file" }),
        json!({ "layer-path": "directory/id_rsa" }),
        json!({ "layer-path": home.image.join("file") }),
        json!({ "paths": [{ "path": "directory/id_rsa" }] }),
        json!({ "paths": [{ "path": "directory" }] }),
    ] {
        let path = home.recipe(home.secret_size(), layer);
        nothing_leaves(&home, path.to_str().unwrap());
    }
}

#[test]
fn attachments_of_a_recipe_are_store_paths() {
    let home = Home::new();
    let path = home.recipe(1, json!({ "paths": [] }));
    let mut recipe: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let file = json!({ "artifactType": "text/plain", "mediaType": "text/plain", "path": home.secret });
    recipe["attachments"] = json!([file]);
    fs::write(&path, recipe.to_string()).unwrap();
    let (got, said) = uploaded(&home, path.to_str().unwrap(), &[]);
    assert!(!contains(&got, SECRET) && said.contains("an attachment names"), "{said}");
}

#[test]
fn links_in_a_layout_are_not_followed() {
    for is_layout in [true, false] {
        let home = Home::new();
        let size = home.secret_size();
        for place in [
            |home: &Home, blob: &Path| symlink(&home.secret, blob).unwrap(),
            |home: &Home, blob: &Path| {
                let up = "../".repeat(blob.components().count());
                symlink(format!("{up}{}", home.secret.display()), blob).unwrap();
            },
            |_: &Home, blob: &Path| symlink("/proc/self/environ", blob).unwrap(),
            // A hard link cannot be told from a file; its digest can.
            |home: &Home, blob: &Path| fs::hard_link(&home.secret, blob).unwrap(),
        ] {
            for size in [size, 2000] {
                let image = home.directory(is_layout, size, |blob| {
                    drop(fs::remove_file(blob));
                    place(&home, blob);
                });
                nothing_leaves(&home, &image);
            }
        }
        fs::remove_dir_all(&home.image).unwrap();
        fs::create_dir(&home.image).unwrap();
        // A directory on the way is a link.
        if is_layout {
            let outside = home.path().join("outside");
            fs::create_dir(&outside).unwrap();
            let image = home.directory(true, size, |blob| fs::copy(&home.secret, blob).map(drop).unwrap());
            fs::rename(home.image.join("blobs/sha256"), outside.join("sha256")).unwrap();
            symlink(outside.join("sha256"), home.image.join("blobs/sha256")).unwrap();
            let (_, said) = uploaded(&home, &image, &[]);
            assert!(said.contains("which may be any file"), "{said}");
            nothing_leaves(&home, &image);
        }
    }
}

#[test]
fn pipes_and_devices_in_a_layout_do_not_hang_a_copy() {
    for device in [false, true] {
        let home = Home::new();
        let image = home.directory(true, 10, |blob| match device {
            true => symlink("/dev/zero", blob).unwrap(),
            false => make_pipe(blob),
        });
        let (_, said) = uploaded(&home, &image, &[]);
        assert!(said.contains("it is a pipe") || said.contains("which may be any file"), "{said}");
        for document in ["index.json", "oci-layout"] {
            let path = home.image.join(document);
            fs::remove_file(&path).unwrap();
            make_pipe(&path);
        }
        let (_, said) = uploaded(&home, &image, &[]);
        assert!(said.contains("it is a pipe"), "{said}");
    }
}

fn make_pipe(path: &Path) {
    let status = std::process::Command::new("mkfifo").arg(path).status().unwrap();
    assert!(status.success());
}

#[test]
fn links_of_a_layout_into_the_store_are_followed() {
    let home = Home::new();
    let layer = b"layer".to_vec();
    let own = Image::new(std::slice::from_ref(&layer));
    let blobs = home.image.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let store = home.path().join("00000000000000000000000000000000-blobs");
    fs::create_dir(&store).unwrap();
    for bytes in own.blobs.iter().chain([&own.manifest]) {
        let name = Digest::of(bytes).hex();
        fs::write(store.join(&name), bytes).unwrap();
        symlink(store.join(&name), blobs.join(&name)).unwrap();
    }
    fs::write(home.image.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let index = json!({ "schemaVersion": 2, "manifests": [descriptor(media_type::MANIFEST, &own.manifest)] });
    fs::write(home.image.join("index.json"), index.to_string()).unwrap();
    let out = home.path().join("out");
    let image = format!("oci:{}", home.image.display());
    let output = strata(home.path()).args(["copy", "-q", &image, &format!("oci:{}", out.display())]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(fs::read(out.join("blobs/sha256").join(Digest::of(&layer).hex())).unwrap(), layer);
}
