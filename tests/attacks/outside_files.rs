//! Recipes and layouts that name files of the user: `serve` and `copy` must not disclose a byte of them.

mod layouts;

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
    images::{Image, descriptor, tar, write_layout},
    run::{strata, text},
};

const SECRET: &str = "-----BEGIN SECRET KEY-----";
/// A digest that no blob has.
const NO_DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// A home directory with a secret, and a directory with a hostile image.
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

    /// The digest of the secret, with which a blob of it passes the check of its digest.
    fn secret_digest(&self) -> String {
        Digest::sha256(&fs::read(&self.secret).unwrap()).to_string()
    }

    fn secret_size(&self) -> u64 {
        fs::metadata(&self.secret).unwrap().len()
    }

    /// Writes a recipe with one layer to the directory of the hostile image.
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
    fn directory(&self, is_layout: bool, digest: &str, size: u64, place: impl FnOnce(&Path)) -> String {
        let config = json!({ "architecture": "amd64", "os": "linux",
            "rootfs": { "type": "layers", "diff_ids": [digest] } });
        let config = config.to_string().into_bytes();
        let manifest = json!({ "schemaVersion": 2, "mediaType": media_type::MANIFEST,
            "config": descriptor(media_type::CONFIG, &config),
            "layers": [{ "mediaType": media_type::LAYER_TAR, "digest": digest, "size": size }] });
        let manifest = manifest.to_string().into_bytes();
        let blobs = if is_layout { self.image.join("blobs/sha256") } else { self.image.clone() };
        fs::create_dir_all(&blobs).unwrap();
        fs::write(blobs.join(Digest::sha256(&config).hex()), &config).unwrap();
        place(&blobs.join(&digest[7..]));
        if !is_layout {
            fs::write(self.image.join("manifest.json"), &manifest).unwrap();
            return format!("dir:{}", self.image.display());
        }
        fs::write(blobs.join(Digest::sha256(&manifest).hex()), &manifest).unwrap();
        fs::write(self.image.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let index = json!({ "schemaVersion": 2, "manifests": [descriptor(media_type::MANIFEST, &manifest)] });
        fs::write(self.image.join("index.json"), index.to_string()).unwrap();
        format!("oci:{}", self.image.display())
    }
}

/// Returns the bytes that `strata serve` sends for whole blobs and ranges. They are empty if the image is refused.
fn served(home: &Home, image: &str, digest: &str) -> Vec<u8> {
    let mut serve = strata(home.path());
    serve.args(["serve", &format!("app:v1={image}"), "--listen", "127.0.0.1:0"]);
    let mut child = serve.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let mut received = Vec::new();
    if let Some(address) = line.split('/').next().filter(|address| address.contains(':')) {
        for range in ["", "Range: bytes=0-327\r\n", "Range: bytes=0-10,12-300\r\n", "Range: bytes=0-3500\r\n"] {
            received.extend(request(address.trim(), digest, range));
        }
    }
    stop(&mut child);
    received
}

fn stop(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn request(address: &str, digest: &str, header: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let text = format!("GET /v2/app/blobs/{digest} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n");
    stream.write_all(text.as_bytes()).unwrap();
    let mut received = Vec::new();
    // A broken connection is an answer too.
    drop(stream.read_to_end(&mut received));
    received
}

/// Returns the bytes that an empty registry receives.
fn uploaded(home: &Home, image: &str, arguments: &[&str]) -> (Vec<u8>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let received = Arc::<Mutex<Vec<u8>>>::default();
    let recorded = Arc::clone(&received);
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
    let received = received.lock().unwrap().clone();
    (received, text(&output))
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
    for at in (0..recorded.len())
        .filter(|at| [b"PATCH ".as_slice(), b"PUT /"].iter().any(|method| recorded[*at..].starts_with(method)))
    {
        let head = recorded[at..].windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let headers = String::from_utf8_lossy(&recorded[at..at + head]).to_ascii_lowercase();
        let mut rest = &recorded[at + head + 4..];
        let mut body = Vec::new();
        if headers.contains("transfer-encoding: chunked") {
            while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
                let size = std::str::from_utf8(&rest[..end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
                let Some(size) = size.filter(|size| rest.len() >= end + 2 + size) else { break };
                body.extend_from_slice(&rest[end + 2..end + 2 + size]);
                rest = rest.get(end + size + 4..).unwrap_or_default();
            }
        } else {
            body.extend_from_slice(rest);
        }
        match body.starts_with(&[0x1f, 0x8b]) {
            // It breaks off.
            true => drop(flate2::read::MultiGzDecoder::new(body.as_slice()).read_to_end(&mut bodies)),
            false => bodies.extend(body),
        }
    }
    bodies
}

/// Checks that neither command sends a byte of the layer.
fn nothing_leaves(home: &Home, image: &str) {
    for digest in [NO_DIGEST, &home.secret_digest()] {
        let received = served(home, image, digest);
        assert!(!contains(&received, SECRET), "served: {image}");
    }
    for arguments in [&[][..], &["--compression", "none"]] {
        let (received, output) = uploaded(home, image, arguments);
        assert_eq!(bodies(&received), b"", "uploaded: {image}: {output}");
    }
}

/// The functions above see what an image that is allowed gives away; otherwise the tests below could not fail.
#[test]
fn layers_of_an_allowed_image_are_seen() {
    let home = Home::new();
    let layer = tar(&[("file", SECRET.as_bytes())]);
    let directory = home.path().join("allowed");
    write_layout(&directory, &Image::new(std::slice::from_ref(&layer)));
    let image = format!("oci:{}", directory.display());
    assert!(contains(&served(&home, &image, &Digest::sha256(&layer).to_string()), SECRET));
    for arguments in [&[][..], &["--compression", "none"]] {
        let (received, output) = uploaded(&home, &image, arguments);
        assert!(contains(&bodies(&received), SECRET), "{arguments:?}: {output}");
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
        let (_, output) = uploaded(&home, path.to_str().unwrap(), &[]);
        assert!(output.contains("neither a store path nor a file in the recipe's directory"), "{layer}: {output}");
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
        for digest in [NO_DIGEST, &home.secret_digest()] {
            let mut layer = layer.clone();
            (layer["digest"], layer["diff_ids"]) = (digest.into(), digest.into());
            let path = home.recipe(home.secret_size(), layer);
            nothing_leaves(&home, path.to_str().unwrap());
        }
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
    let (received, output) = uploaded(&home, path.to_str().unwrap(), &[]);
    assert!(!contains(&received, SECRET) && output.contains("an attachment names"), "{output}");
}

/// Private stores, and temporary directories of other users, can have such names.
#[test]
fn directories_outside_the_store_with_the_name_of_a_store_path_are_refused() {
    for place in [
        ".private/0123456789abcdfghijklmnpqrsvwxyz-wallet",
        ".local/share/nix/root/nix/store/0123456789abcdfghijklmnpqrsvwxyz-wallet",
        "nix/store/0123456789abcdfghijklmnpqrsvwxyz-a/nix/store/0123456789abcdfghijklmnpqrsvwxyz-wallet",
    ] {
        let mut home = Home::new();
        let private = home.path().join(place);
        fs::create_dir_all(&private).unwrap();
        home.secret = private.join("key");
        fs::write(&home.secret, format!("{SECRET}\n{}\n", "k".repeat(300))).unwrap();
        for layer in [
            json!({ "paths": [{ "path": private }] }),
            json!({ "paths": [{ "path": home.secret }] }),
            json!({ "paths": [{ "path": format!("/nix/store/..{}", private.display()) }] }),
            json!({ "layer-path": home.secret }),
        ] {
            let path = home.recipe(9000, layer.clone());
            nothing_leaves(&home, path.to_str().unwrap());
            let (_, output) = uploaded(&home, path.to_str().unwrap(), &[]);
            assert!(output.contains("neither a store path nor a file in the recipe's directory"), "{layer}: {output}");
        }
        let path = home.recipe(1, json!({ "paths": [] }));
        let mut recipe: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let file = json!({ "artifactType": "text/plain", "mediaType": "text/plain", "path": home.secret });
        recipe["attachments"] = json!([file]);
        fs::write(&path, recipe.to_string()).unwrap();
        let (received, output) = uploaded(&home, path.to_str().unwrap(), &[]);
        assert!(!contains(&received, SECRET) && output.contains("an attachment names"), "{output}");
        assert!(output.contains("NIX_STORE_DIR sets another one"), "{output}");
    }
}
