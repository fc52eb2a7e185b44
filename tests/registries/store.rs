//! The content of a registry, its responses (distribution-spec, spec.md, "Endpoints"), and its token server.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::world::{Answer, Request, World};
use serde_json::{Value, json};
use strata::internals::oci::{Digest, descriptor::media_type};

/// The media type and the bytes of a manifest.
type Manifest = (String, Vec<u8>);

#[derive(Default)]
pub struct Store {
    pub blobs: Mutex<HashMap<(String, String), Vec<u8>>>,
    pub manifests: Mutex<HashMap<(String, String), Manifest>>,
    pub uploads: Mutex<HashMap<String, Vec<u8>>>,
    pub count: AtomicUsize,
    /// Whether it lists referrers.
    pub referrers: bool,
    /// Whether it takes blobs over from other repositories.
    pub mounts: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    pub fn answer(&self, request: &Request) -> Answer {
        let path = request.path().to_owned();
        if path == "/v2/" {
            return Answer::json(200, json!({}));
        }
        let rest = path.strip_prefix("/v2/").unwrap_or(&path);
        let method = request.method.as_str();
        for kind in ["/blobs/uploads/", "/manifests/", "/blobs/", "/referrers/", "/tags/"] {
            let Some((name, last)) = rest.rsplit_once(kind) else { continue };
            return match (kind, method) {
                ("/blobs/uploads/", "POST") => self.open(name, request),
                ("/blobs/uploads/", _) => self.upload(name, last, request),
                ("/manifests/", "PUT") => self.put(name, last, request),
                ("/manifests/", _) => match lock(&self.manifests).get(&(name.to_owned(), last.to_owned())) {
                    Some((kind, bytes)) => Answer::new(200).with("content-type", kind).body(bytes.clone()),
                    None => Answer::error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
                },
                ("/blobs/", _) => match lock(&self.blobs).get(&(name.to_owned(), last.to_owned())) {
                    Some(bytes) => Answer::new(200).body(bytes.clone()),
                    None => Answer::error(404, "BLOB_UNKNOWN", "blob unknown"),
                },
                ("/tags/", _) => self.tags(name),
                (_, _) if self.referrers => self.list(name, last),
                _ => Answer::new(404),
            };
        }
        Answer::new(404)
    }

    fn open(&self, name: &str, request: &Request) -> Answer {
        if let ([digest], [from]) = (&request.query("mount")[..], &request.query("from")[..]) {
            let mut blobs = lock(&self.blobs);
            let found = blobs.get(&(from.clone(), digest.clone())).cloned();
            if let Some(bytes) = found.filter(|_| self.mounts) {
                blobs.insert((name.to_owned(), digest.clone()), bytes);
                return Answer::new(201).with("location", &format!("/v2/{name}/blobs/{digest}"));
            }
        }
        let id = format!("upload-{}", self.count.fetch_add(1, Ordering::Relaxed));
        lock(&self.uploads).insert(id.clone(), Vec::new());
        Answer::new(202).with("location", &format!("/v2/{name}/blobs/uploads/{id}?_state=a%2Fb")).with("range", "0-0")
    }

    fn upload(&self, name: &str, id: &str, request: &Request) -> Answer {
        let mut uploads = lock(&self.uploads);
        let Some(upload) = uploads.get_mut(id) else {
            return Answer::error(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown");
        };
        let here = format!("/v2/{name}/blobs/uploads/{id}?_state=next");
        let range = |upload: &Vec<u8>| format!("0-{}", upload.len().saturating_sub(1));
        match request.method.as_str() {
            "PATCH" => {
                upload.extend_from_slice(&request.body);
                Answer::new(202).with("location", &here).with("range", &range(upload))
            }
            "GET" => Answer::new(204).with("location", &here).with("range", &range(upload)),
            "DELETE" => {
                uploads.remove(id);
                Answer::new(204)
            }
            "PUT" => {
                upload.extend_from_slice(&request.body);
                let digest = Digest::sha256(upload).to_string();
                if request.query("digest") != [digest.clone()] {
                    return Answer::error(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
                }
                let bytes = uploads.remove(id).unwrap();
                lock(&self.blobs).insert((name.to_owned(), digest.clone()), bytes);
                Answer::new(201).with("docker-content-digest", &digest)
            }
            _ => Answer::new(405),
        }
    }

    fn put(&self, name: &str, version: &str, request: &Request) -> Answer {
        let digest = Digest::sha256(&request.body).to_string();
        let kind = request.header("content-type").unwrap().to_owned();
        let document: Value = serde_json::from_slice(&request.body).unwrap();
        let of = |value: &Value| value["digest"].as_str().unwrap_or_default().to_owned();
        let mut wanted: Vec<String> = document["layers"].as_array().into_iter().flatten().map(of).collect();
        wanted.extend(document.get("config").map(of));
        let blobs = lock(&self.blobs);
        if let Some(gone) = wanted.iter().find(|digest| !blobs.contains_key(&(name.to_owned(), (*digest).clone()))) {
            return Answer::error(404, "MANIFEST_BLOB_UNKNOWN", gone);
        }
        let mut manifests = lock(&self.manifests);
        for version in [version, &digest] {
            manifests.insert((name.to_owned(), version.to_owned()), (kind.clone(), request.body.clone()));
        }
        let answer = Answer::new(201).with("docker-content-digest", &digest);
        match document["subject"]["digest"].as_str() {
            Some(subject) if self.referrers => answer.with("oci-subject", subject),
            _ => answer,
        }
    }

    fn tags(&self, name: &str) -> Answer {
        let manifests = lock(&self.manifests);
        let is_tag = |(repository, version): &&(String, String)| repository == name && !version.contains(':');
        let tags: Vec<&String> = manifests.keys().filter(is_tag).map(|(_, tag)| tag).collect();
        Answer::json(200, json!({ "name": name, "tags": tags }))
    }

    fn list(&self, name: &str, subject: &str) -> Answer {
        let mut found = BTreeMap::new();
        for ((repository, version), (kind, bytes)) in lock(&self.manifests).iter() {
            let document: Value = serde_json::from_slice(bytes).unwrap();
            if repository == name && version.starts_with("sha256:") && document["subject"]["digest"] == subject {
                let artifact_type = document.get("artifactType").unwrap_or(&document["config"]["mediaType"]);
                let descriptor = json!({ "mediaType": kind, "digest": version, "size": bytes.len(),
                    "artifactType": artifact_type, "annotations": document.get("annotations") });
                found.insert(version.clone(), descriptor);
            }
        }
        let all: Vec<Value> = found.into_values().collect();
        let index = json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": all });
        Answer::new(200).with("content-type", media_type::INDEX).body(index.to_string())
    }

    pub fn has_tag(&self, name: &str, tag: &str) -> bool {
        lock(&self.manifests).contains_key(&(name.to_owned(), tag.to_owned()))
    }

    /// An image of one layer, kept as `name:tag`; its layer's digest.
    pub fn keep(&self, name: &str, tag: &str, layer: &[u8]) -> String {
        let (documents, blobs) = image(layer);
        for blob in blobs {
            let digest = Digest::sha256(&blob).to_string();
            lock(&self.blobs).insert((name.to_owned(), digest), blob);
        }
        for version in [tag.to_owned(), Digest::sha256(&documents).to_string()] {
            let kept = (media_type::MANIFEST.to_owned(), documents.clone());
            lock(&self.manifests).insert((name.to_owned(), version), kept);
        }
        Digest::sha256(layer).to_string()
    }
}

/// The manifest of an image, and its blobs.
pub fn image(layer: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let digest = Digest::sha256(layer);
    let config = json!({ "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [digest] } });
    let config = config.to_string().into_bytes();
    let manifest = json!({ "schemaVersion": 2, "mediaType": media_type::MANIFEST,
        "config": { "mediaType": media_type::CONFIG, "digest": Digest::sha256(&config), "size": config.len() },
        "layers": [{ "mediaType": media_type::LAYER_TAR, "digest": digest, "size": layer.len() }] });
    (manifest.to_string().into_bytes(), vec![config, layer.to_vec()])
}

/// An OCI layout of one image in the directory of the world: `oci:NAME:t`.
pub fn layout(world: &World, name: &str, layer: &[u8]) -> String {
    let (manifest, blobs) = image(layer);
    let descriptor = json!({ "mediaType": media_type::MANIFEST, "digest": Digest::sha256(&manifest), "size": manifest.len(),
        "annotations": { "org.opencontainers.image.ref.name": "t" } });
    world.file(&format!("{name}/oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#);
    world.file(&format!("{name}/index.json"), json!({ "schemaVersion": 2, "manifests": [descriptor] }).to_string());
    for blob in blobs.iter().chain([&manifest]) {
        world.file(&format!("{name}/blobs/sha256/{}", Digest::sha256(blob).hex()), blob);
    }
    format!("oci:{name}:t")
}

/// A layer that is too big to be sent whole at once.
pub fn big() -> Vec<u8> {
    let mut bytes = vec![0; 6 << 20];
    bytes.iter_mut().enumerate().for_each(|(at, byte)| *byte = (at % 251) as u8);
    bytes
}

/// The token server of a registry, and the scopes of its tokens.
pub struct Tokens {
    pub realm: String,
    pub service: String,
    /// `user:password` that is required.
    pub login: Option<String>,
    /// The keys of the token in the response.
    pub names: &'static [&'static str],
    given: Mutex<HashMap<String, HashSet<String>>>,
    registry: String,
}

impl Tokens {
    pub fn new(registry: &str, realm: &str, service: &str, login: Option<&str>) -> Arc<Self> {
        Arc::new(Self {
            realm: realm.to_owned(),
            service: service.to_owned(),
            login: login.map(str::to_owned),
            names: &["token", "access_token"],
            given: Mutex::default(),
            registry: registry.to_owned(),
        })
    }

    /// The answer of the realm. Its tokens are for the registry's eyes.
    pub fn give(&self, request: &Request) -> Answer {
        if let Some(login) = &self.login
            && request.basic().as_ref() != Some(login)
        {
            return Answer::json(401, json!({ "details": "incorrect username or password" }));
        }
        let scopes = request.query("scope");
        self.grant(scopes.iter().flat_map(|scope| scope.split(' ').map(str::to_owned)).collect())
    }

    /// A token for these scopes.
    pub fn grant(&self, scopes: HashSet<String>) -> Answer {
        let mut given = lock(&self.given);
        let token = format!("token-for-{}-{}", self.registry, given.len());
        given.insert(token.clone(), scopes);
        let named = self.names.iter().map(|name| ((*name).to_owned(), Value::from(token.clone())));
        let mut answer: serde_json::Map<String, Value> = named.collect();
        answer.insert("expires_in".to_owned(), 300.into());
        Answer::json(200, Value::Object(answer))
    }

    /// Makes the token of a request worthless.
    pub fn expire(&self, request: &Request) {
        request.bearer().and_then(|token| lock(&self.given).get_mut(token).map(HashSet::clear));
    }

    /// A challenge if the token does not allow the request.
    pub fn check(&self, request: &Request) -> Option<Answer> {
        let name = request.path().strip_prefix("/v2/").unwrap_or_default();
        let name =
            ["/blobs/", "/manifests/", "/referrers/"].iter().find_map(|kind| name.split_once(kind)).map(|cut| cut.0);
        let action = if matches!(request.method.as_str(), "GET" | "HEAD") { "pull" } else { "push" };
        let given = lock(&self.given);
        let scopes = request.bearer().and_then(|token| given.get(token));
        let allowed = |name: &str, action: &str| {
            scopes.is_some_and(|scopes| {
                scopes.iter().filter_map(|scope| scope.rsplit_once(':')).any(|(what, actions)| {
                    what == format!("repository:{name}") && actions.split(',').any(|own| own == action)
                })
            })
        };
        let from = request.query("from");
        match name {
            None if scopes.is_some() => None,
            Some(name) if allowed(name, action) && from.iter().all(|from| allowed(from, "pull")) => None,
            _ => {
                let scope = name.map_or_else(String::new, |name| format!(r#",scope="repository:{name}:{action}""#));
                let challenge = format!(r#"Bearer realm="{}",service="{}"{scope}"#, self.realm, self.service);
                Some(Answer::error(401, "UNAUTHORIZED", "authentication required").with("www-authenticate", &challenge))
            }
        }
    }
}

/// A registry whose tokens come from `realm_host`, and which keeps what it is sent. Its secrets are watched.
pub fn with_tokens(
    world: &World,
    host: &'static str,
    realm_host: &'static str,
    tokens: &Arc<Tokens>,
    store: &Arc<Store>,
) {
    let (tokens_of_host, kept) = (Arc::clone(tokens), Arc::clone(store));
    let realm_path = tokens.realm.split_once(realm_host).unwrap().1.split('?').next().unwrap().to_owned();
    if host == realm_host {
        world.host(host, move |request| match request.path() {
            path if path == realm_path => tokens_of_host.give(request),
            _ => tokens_of_host.check(request).unwrap_or_else(|| kept.answer(request)),
        });
    } else {
        world.host(host, move |request| tokens_of_host.check(request).unwrap_or_else(|| kept.answer(request)));
        let tokens = Arc::clone(tokens);
        world.host(
            realm_host,
            move |request| if request.path() == realm_path { tokens.give(request) } else { Answer::new(404) },
        );
    }
    world.secret(&format!("token-for-{}", tokens.registry), &[host]);
    if let Some((_, password)) = tokens.login.as_deref().and_then(|login| login.split_once(':')) {
        world.secret(password, &[realm_host]);
    }
}
