//! A registry on loopback that serves what a test puts into it, valid or not.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use crate::images::{Image, descriptor};
use serde_json::{Value, json};
use strata::internals::oci::{Digest, descriptor::media_type};

#[derive(Default)]
pub struct Contents {
    /// By digest.
    pub blobs: HashMap<String, Vec<u8>>,
    pub tags: HashMap<String, String>,
    /// The Content-Type of manifests, by digest, where it is not their own.
    pub types: HashMap<String, String>,
    /// Entries of the referrers API, by subject; without the subject's key the API does not exist for it.
    pub referrers: HashMap<String, Vec<Value>>,
    /// Pages of the referrers API, instead of `referrers`.
    pub pages: Option<Pages>,
}

/// The entries of the page at a path, and the target of its `Link`.
pub type Pages = Box<dyn Fn(&str) -> (Vec<Value>, String) + Send>;

pub struct Registry {
    pub port: u16,
    contents: Arc<Mutex<Contents>>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Registry {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (contents, stopped) = (Arc::<Mutex<Contents>>::default(), Arc::<AtomicBool>::default());
        let (shared, stop) = (Arc::clone(&contents), Arc::clone(&stopped));
        let accept = move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&shared);
                thread::spawn(move || answer(&stream, &shared));
            }
        };
        Self { port, contents, stopped, thread: Some(thread::spawn(accept)) }
    }

    pub fn edit(&self, change: impl FnOnce(&mut Contents)) {
        change(&mut self.contents.lock().unwrap());
    }

    pub fn put_blob(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::sha256(bytes);
        self.edit(|contents| drop(contents.blobs.insert(digest.to_string(), bytes.to_vec())));
        digest
    }

    pub fn put_image(&self, tag: &str, image: &Image) {
        for blob in &image.blobs {
            self.put_blob(blob);
        }
        self.put_tag(tag, &image.manifest);
        self.edit(|contents| {
            contents.referrers.entry(image.digest().to_string()).or_default();
        });
    }

    pub fn put_tag(&self, tag: &str, manifest: &[u8]) {
        let digest = self.put_blob(manifest);
        self.edit(|contents| drop(contents.tags.insert(tag.to_owned(), digest.to_string())));
    }

    /// Lists a referrer of `subject` with this layer descriptor.
    pub fn attach_layer(&self, subject: &Digest, kind: &str, layer: &Value) {
        let config = descriptor("application/vnd.oci.empty.v1+json", b"{}");
        self.put_blob(b"{}");
        let manifest = json!({ "schemaVersion": 2, "mediaType": media_type::MANIFEST, "artifactType": kind,
            "config": config, "layers": [layer],
            "subject": { "mediaType": media_type::MANIFEST, "digest": subject, "size": 1 } });
        let manifest = manifest.to_string().into_bytes();
        self.put_blob(&manifest);
        let mut entry = descriptor(media_type::MANIFEST, &manifest);
        entry["artifactType"] = kind.into();
        self.list(subject, entry);
    }

    pub fn attach(&self, subject: &Digest, kind: &str, bytes: &[u8]) {
        self.put_blob(bytes);
        self.attach_layer(subject, kind, &descriptor(kind, bytes));
    }

    /// Adds an entry to the list of referrers.
    pub fn list(&self, subject: &Digest, entry: Value) {
        self.edit(|contents| contents.referrers.entry(subject.to_string()).or_default().push(entry));
    }

    pub fn reference(&self, tag: &str) -> String {
        format!("docker://127.0.0.1:{}/app:{tag}", self.port)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        self.thread.take().map(JoinHandle::join);
    }
}

fn answer(stream: &TcpStream, contents: &Mutex<Contents>) {
    let mut lines = BufReader::new(stream).lines();
    let Some(Ok(request)) = lines.next() else { return };
    // The headers; requests that only read have no body.
    for line in lines.by_ref() {
        if line.is_err() || line.is_ok_and(|line| line.is_empty()) {
            break;
        }
    }
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let contents = contents.lock().unwrap();
    let (mut status, mut kind, mut body) = contents.get(path);
    if path.contains("/referrers/")
        && let Some(pages) = &contents.pages
    {
        let (entries, next) = pages(path);
        status = "200 OK";
        kind = format!("{}\r\nLink: <{next}>; rel=\"next\"", media_type::INDEX);
        body = index(&entries);
    }
    drop(contents);
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let body = if method == "HEAD" { Vec::new() } else { body };
    // The client may have closed the connection.
    drop((&*stream).write_all(&[head.as_bytes(), &body].concat()));
}

fn index(entries: &[Value]) -> Vec<u8> {
    json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": entries }).to_string().into_bytes()
}

impl Contents {
    fn get(&self, path: &str) -> (&'static str, String, Vec<u8>) {
        let octets = || "application/octet-stream".to_owned();
        let missing = || ("404 Not Found", octets(), b"{}".to_vec());
        let parts: Vec<&str> = path.split('?').next().unwrap_or_default().rsplitn(3, '/').collect();
        match parts.as_slice() {
            ["" | "v2", ..] => ("200 OK", octets(), b"{}".to_vec()),
            [version, "manifests", _] => {
                let digest = self.tags.get(*version).map_or(*version, String::as_str);
                let Some(bytes) = self.blobs.get(digest) else { return missing() };
                let document: Value = serde_json::from_slice(bytes).unwrap_or_default();
                let kind = self.types.get(digest).map(String::as_str).or(document["mediaType"].as_str());
                let kind = kind.unwrap_or(media_type::MANIFEST).to_owned();
                ("200 OK", kind, bytes.clone())
            }
            [digest, "blobs", _] => {
                self.blobs.get(*digest).map_or_else(missing, |bytes| ("200 OK", octets(), bytes.clone()))
            }
            [digest, "referrers", _] => {
                let Some(entries) = self.referrers.get(*digest) else { return missing() };
                ("200 OK", media_type::INDEX.to_owned(), index(entries))
            }
            _ => missing(),
        }
    }
}
