//! A machine with registries and engines, on which commands are run and compared.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Write as _},
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
};

use super::{
    images::{put_index, put_signed},
    table::Host,
};
use crate::{
    images::tar,
    store::{Store, layout},
    world::{Answer, World, on_loopback},
};
use serde_json::json;
use strata::internals::oci::{Digest, descriptor::media_type};

/// The name of each run.
const RUN: &str = "the-run";

/// A machine, its registries and engines.
pub struct Bench {
    pub world: World,
    /// Paths that the flaky registry has failed.
    failed: Arc<Mutex<HashSet<String>>>,
    /// Requests to the docker daemon.
    daemon: Arc<Mutex<Vec<String>>>,
    pub loopback: String,
    /// What is pushed.
    output: Arc<Store>,
    baselines: BTreeMap<String, Outcome>,
    /// The layer of `oci:kept:t`. Caches of layers have it before each run.
    kept: Digest,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub succeeded: bool,
    pub printed: String,
    /// Requests, files, and commands of engines.
    pub effects: String,
}

impl Bench {
    pub fn new() -> Self {
        let mut world = World::new();
        let file: Vec<u8> = (0..60_000_u32).flat_map(|at| (at * at % 977).to_string().into_bytes()).collect();
        let layer = tar(&[("file", &file)]);
        let input = Arc::new(Store { referrers: true, ..Store::default() });
        for name in ["app", "multi"] {
            input.keep(name, "1", &layer);
        }
        put_index(&input);
        put_signed(&input, &layer);
        layout(&world, "layout", &layer);
        let kept = tar(&[("kept", b"1")]);
        layout(&world, "kept", &kept);
        let output = Arc::new(Store { referrers: true, ..Store::default() });
        let failed = Arc::<Mutex<HashSet<String>>>::default();
        let locked = Arc::clone(&input);
        world.host("in.example.com", move |request| input.answer(request));
        {
            let output = Arc::clone(&output);
            world.host("out.example.com", move |request| output.answer(request));
        }
        {
            let output = Arc::clone(&output);
            world.host("locked.example.com", move |request| match request.header("authorization") {
                Some(_) if request.path().starts_with("/v2/app/") => locked.answer(request),
                Some(_) => output.answer(request),
                None => Answer::new(401).with("www-authenticate", "Basic"),
            });
        }
        {
            let (output, failed) = (Arc::clone(&output), Arc::clone(&failed));
            world.host("flaky.example.com", move |request| {
                let is_first = failed.lock().unwrap().insert(format!("{} {}", request.method, request.path()));
                if is_first { Answer::new(503) } else { output.answer(request) }
            });
        }
        world.host("cache.example.com", |_| Answer::new(404));
        let loopback = {
            let output = Arc::clone(&output);
            output.keep("app", "1", &layer);
            on_loopback(move |request| output.answer(request))
        };
        let daemon = Arc::<Mutex<Vec<String>>>::default();
        let requests = Arc::clone(&daemon);
        let docker = on_loopback(move |request| {
            requests.lock().unwrap().push(format!("{} {}", request.method, request.target));
            match request.path() {
                "/info" => Answer::json(200, json!({})),
                "/images/json" => Answer::json(200, json!([])),
                "/images/load" => Answer::json(200, json!({ "stream": "Loaded" })),
                _ => Answer::json(404, json!({ "message": "no such image" })),
            }
        });
        world.set("DOCKER_HOST", format!("tcp://{docker}"));
        let record = r#"{ printf '%s' "${0##*/}"; printf ' [%s]' "$@"; echo; } >>"${0%/*}/../engines"; "#;
        world.program("podman", &format!("{record} [ \"$1\" = load ] && cat >/dev/null; exit 0"));
        let ctr = r#"case "$*" in *"images import"*) cat >/dev/null ;;
            *"plugins ls"*) echo "io.containerd.snapshotter.v1 native linux/amd64 ok" ;;
            *"images check"*) for name; do :; done; echo "${name#name==} type sha256:0 complete (1/1) 1 true" ;; esac"#;
        world.program("ctr", &format!("{record} {ctr}"));
        let pair = rcgen::KeyPair::generate().unwrap();
        world.file("key", pair.serialize_pem());
        world.file("key.pub", pair.public_key_pem());
        let statement = json!({ "vulnerability": { "name": "CVE-2024-1111" }, "status": "fixed" });
        let team = json!({ "@context": "https://openvex.dev/ns/v0.2.0", "@id": "urn:x", "author": "x",
            "timestamp": "2026-01-01T00:00:00Z", "version": 1, "statements": [statement] });
        world.file("team.json", team.to_string());
        world.file("auth.json", r#"{"auths":{"locked.example.com":{"auth":"dTpw"}}}"#);
        world.file("certificates/ca.crt", fs::read(world.path("authority.pem")).unwrap());
        let other = rcgen::generate_simple_self_signed(vec!["other.example.com".to_owned()]).unwrap();
        world.file("other.pem", other.cert.pem());
        let digest = Digest::sha256(&layer);
        let recipe = json!({ "version": 2, "image-config": {}, "arch": "amd64", "layers": [{ "digest": digest, "size": 1,
            "diff_ids": digest, "mediatype": media_type::LAYER_TAR, "History": {},
            "paths": [{ "path": "/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-missing" }] }] });
        world.file("image.json", recipe.to_string());
        let mut thin = recipe;
        let path = "/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-missing";
        thin["nixNode"] = json!({ "closure": path, "directories": [path], "files": [] });
        world.file("thin.json", thin.to_string());
        world.program("nix", "exit 1");
        Self { world, failed, daemon, loopback, output, baselines: BTreeMap::new(), kept: Digest::sha256(&kept) }
    }

    /// Runs a copy to a destination of this kind that no other run has.
    pub fn run(&mut self, kind: &str, source: &str, host: Host, flags: &[&str]) -> Outcome {
        let id = self.begin();
        let registry = match host {
            Host::Open => "out.example.com",
            Host::Locked => "locked.example.com",
            Host::Flaky => "flaky.example.com",
            Host::Untrusted => "out.example.com",
            Host::Loopback => &self.loopback,
        };
        let source = source.replace("LOOPBACK", &self.loopback);
        let registry = format!("docker://{registry}/{id}/app:1");
        let directory = self.world.path(id);
        let file = |scheme: &str| format!("{scheme}:{}/out", directory.display());
        let flags: Vec<String> = flags.iter().map(|flag| flag.replace("ID", id)).collect();
        if kind == "erofs-cache" {
            let hex = self.kept.hex();
            self.world.file(&format!("{id}/out/sha256/{}/{hex}.erofs", &hex[..2]), "");
        }
        let fleet = |line: String| {
            self.world.file("fleet", format!("{source} {line}\n"));
            ["--fleet".to_owned(), "fleet".to_owned()].to_vec()
        };
        let places = match kind {
            "registry" => vec![source, registry],
            "docker-daemon" | "containerd" | "containers-storage" => vec![source, format!("{kind}:app:1")],
            "fleet to registry" => fleet(registry),
            "fleet to oci" => fleet(file("oci")),
            "fleet --to registry" => [fleet("-".to_owned()), vec!["--to".to_owned(), registry]].concat(),
            _ => vec![source, file(kind)],
        };
        let arguments: Vec<&str> =
            ["copy"].into_iter().chain(places.iter().chain(&flags).map(String::as_str)).collect();
        self.run_arguments(id, host, &arguments)
    }

    /// The outcome of a run without the flag under test, which must be the same each time: every flag would seem to have an
    /// effect on a run that differs from itself.
    pub fn baseline(&mut self, key: String, run: impl Fn(&mut Self) -> Outcome) -> Outcome {
        if let Some(baseline) = self.baselines.get(&key) {
            return baseline.clone();
        }
        let (one, other) = (run(self), run(self));
        assert_eq!(one, other, "two equal runs differ: {key}");
        self.baselines.insert(key, one.clone());
        one
    }

    /// The name of a run, which its files, its cache and its repositories have; those of the run before are removed. All runs have
    /// the same name: provenance has the names of destinations, and its digest would differ.
    pub fn begin(&self) -> &'static str {
        for entry in fs::read_dir(self.world.path("")).unwrap() {
            let path = entry.unwrap().path();
            match path.file_name().unwrap().to_str().is_some_and(|name| name.starts_with(RUN)) {
                true if path.is_dir() => fs::remove_dir_all(path).unwrap(),
                true => fs::remove_file(path).unwrap(),
                false => {}
            }
        }
        self.output.blobs.lock().unwrap().retain(|(name, _), _| !name.starts_with(RUN));
        self.output.manifests.lock().unwrap().retain(|(name, _), _| !name.starts_with(RUN));
        fs::create_dir(self.world.path(RUN)).unwrap();
        RUN
    }

    /// Runs the program; a server is ended when it has printed its first reference.
    pub fn run_arguments(&mut self, id: &str, host: Host, arguments: &[&str]) -> Outcome {
        let directory = self.world.path(id);
        let _ = fs::remove_file(self.world.path("engines"));
        self.failed.lock().unwrap().clear();
        self.daemon.lock().unwrap().clear();
        self.world.take_requests();
        let mut command = self.world.command(arguments);
        if host == Host::Untrusted {
            command.env("SSL_CERT_FILE", self.world.path("other.pem"));
        }
        command.env("XDG_CACHE_HOME", directory.join("cache")).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // The child may have ended without reading it.
        let _ = child.stdin.take().unwrap().write_all(b"p\n");
        let mut first = String::new();
        if arguments[0] == "serve" {
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
            let _ = child.kill();
        }
        let output = child.wait_with_output().unwrap();
        let mut effects: Vec<String> = self.world.take_requests().iter().map(describe_request).collect();
        effects.append(&mut self.daemon.lock().unwrap());
        effects.extend(fs::read_to_string(self.world.path("engines")));
        // Numbers of uploads differ between runs, and with them the order.
        effects = effects.iter().map(|effect| normalise(effect)).collect();
        effects.sort();
        for name in [format!("{id}/out"), format!("{id}.journal"), format!("{id}.digest")] {
            describe_files(&self.world.path(&name), &mut effects);
        }
        let printed =
            format!("{first}{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let strip = |text: String| normalise(&text.replace(id, "ID"));
        let succeeded = output.status.success() || !first.is_empty();
        Outcome { succeeded, printed: strip(printed), effects: strip(effects.join("\n")) }
    }
}

fn describe_request(request: &crate::world::Request) -> String {
    let headers: Vec<&str> = ["authorization", "x-a"].iter().filter_map(|name| request.header(name)).collect();
    let body =
        if request.path().contains("/manifests/") { Digest::sha256(&request.body).to_string() } else { String::new() };
    format!("{} {}{} {headers:?} {body}", request.method, request.host, request.target)
}

fn describe_files(path: &Path, into: &mut Vec<String>) {
    if path.is_dir() {
        let mut entries: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        entries.iter().for_each(|entry| describe_files(entry, into));
    } else if let Ok(bytes) = fs::read(path) {
        into.push(format!("{} {}", path.display(), Digest::sha256(&bytes)));
    }
}

/// Without durations, the numbers of uploads, the ports of servers and the labels of containers.
fn normalise(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        for (at, word) in words.iter().enumerate() {
            let is_duration =
                word.parse::<f64>().is_ok() && words.get(at + 1).is_some_and(|unit| unit.starts_with('s'));
            let word = match word {
                _ if is_duration => "DURATION",
                word if word.starts_with("[strata.run=") => "[strata.run=RUN]",
                word => word,
            };
            let (before, number) = word.split_once("/upload-").unwrap_or((word, ""));
            let before = match before.strip_prefix("127.0.0.1:").and_then(|rest| rest.split_once('/')) {
                Some((port, rest)) if port.parse::<u16>().is_ok() => format!("127.0.0.1:PORT/{rest}"),
                _ => before.to_owned(),
            };
            let _ = write!(out, "{before}{} ", number.trim_start_matches(|digit: char| digit.is_ascii_digit()));
        }
        out.push('\n');
    }
    out
}
