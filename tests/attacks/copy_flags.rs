//! Every flag of `strata copy`, with every kind of destination and with `--fleet`: it changes what is requested, written or
//! printed, or the copy is refused with a message that names it. The flags are read from `strata copy --help`, which clap
//! generates from its definition; a flag without an entry in [`flags`] fails the test.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt::Write as _,
    fs,
    io::Write as _,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
    thread,
};

use crate::{
    images::tar,
    store::{Store, image, layout},
    world::{Answer, World, on_loopback},
};
use serde_json::json;
use strata::internals::oci::{Digest, descriptor::media_type};

/// Destinations; those of a fleet are a line's own, or come from `--to`.
const KINDS: [&str; 11] = [
    "registry",
    "docker-daemon",
    "containerd",
    "containers-storage",
    "oci",
    "oci-archive",
    "docker-archive",
    "dir",
    "fleet to registry",
    "fleet --to registry",
    "fleet to oci",
];

/// Where the registry of the destination is.
#[derive(Clone, Copy, PartialEq)]
enum Host {
    Open,
    /// It requires credentials, and accepts all.
    Locked,
    /// It is on loopback, without TLS.
    Loopback,
    /// It fails the first request of each path.
    Flaky,
    /// Its CA is in `certificates` only.
    Untrusted,
}

/// A flag of the table.
struct Flag {
    name: &'static str,
    arguments: Vec<&'static str>,
    /// Flags that the flag needs, which the run for comparison has too.
    base: Vec<&'static str>,
    source: &'static str,
    host: Host,
    /// Kinds of destination for which the flag holds without having to do anything, and why.
    vacuous: (&'static [&'static str], &'static str),
}

fn flag(name: &'static str, arguments: &[&'static str]) -> Flag {
    let arguments = [name].iter().chain(arguments).copied().collect();
    let source = "docker://in.example.com/app:1";
    Flag { name, arguments, base: Vec::new(), source, host: Host::Open, vacuous: (&[], "") }
}

impl Flag {
    fn with(self, base: &[&'static str]) -> Self {
        Self { base: base.to_vec(), ..self }
    }

    fn from(self, source: &'static str) -> Self {
        Self { source, ..self }
    }

    fn at(self, host: Host) -> Self {
        Self { host, ..self }
    }

    fn vacuous(self, kinds: &'static [&'static str], why: &'static str) -> Self {
        Self { vacuous: (kinds, why), ..self }
    }
}

const MULTI: &str = "docker://in.example.com/multi:1";
const LAYOUT: &str = "oci:layout:t";
const FILES: &[&str] = &["oci", "oci-archive", "docker-archive", "dir", "fleet to oci"];
const PUSHES: &[&str] = &["registry", "fleet to registry", "fleet --to registry"];
const NO_PUSHES: &[&str] = &[
    "docker-daemon",
    "containerd",
    "containers-storage",
    "oci",
    "oci-archive",
    "docker-archive",
    "dir",
    "fleet to oci",
];

/// The table. Values are chosen so that the flag makes a difference.
fn flags() -> Vec<Flag> {
    let mut flags = vec![
        flag("--additional-tag", &["extra"]),
        flag("--all", &[]).from(MULTI),
        flag("--platform", &["linux/arm64"]).from(MULTI),
        flag("--compression", &["zstd"]),
        flag("--dest-compress-format", &["zstd"]),
        flag("--preserve-digests", &[]).vacuous(NO_PUSHES, "only pushes compress layers"),
        flag("--compression-level", &["9"]),
        flag("--dest-compress-level", &["9"]),
        flag("--mount-from", &["other/repository"]),
        flag("--cache-from", &["other"]),
        flag("--cache-to", &["cache"]),
        flag("--cache-key", &["no-such-key"]),
        flag("--trust-tags", &[]).vacuous(PUSHES, "tests/registries/mappings.rs has images to trust"),
        flag("--verify-key", &["key.pub"]),
        flag("--signed-as", &["any"])
            .with(&["--verify-key", "key.pub"])
            .vacuous(&KINDS, "tests/attacks/referrers.rs has signatures of other repositories"),
        flag("--quiet", &[]).vacuous(FILES, "nothing is printed"),
        flag("--json", &[]),
        flag("--referrers", &[]).with(&["--preserve-digests"]).from("docker://in.example.com/signed:1"),
        flag("--fleet", &["fleet"])
            .vacuous(&["fleet to registry", "fleet --to registry", "fleet to oci"], "it is a fleet"),
        flag("--to", &["docker://out.example.com/ID/other:1"])
            .vacuous(&["fleet to registry", "fleet to oci"], "the line's own destination comes first"),
        flag("--shard", &["1/1000000"]),
        flag("--shard-wait", &["1"]).with(&["--shard", "1/1"]).vacuous(
            &["fleet to registry", "fleet --to registry", "fleet to oci"],
            "tests/image/fleet.sh has several parts",
        ),
        flag("--journal", &["ID.journal"]),
        flag("--sbom", &["cyclonedx"]),
        flag("--provenance", &[]),
        flag("--builder-id", &["urn:x"]).with(&["--provenance"]),
        flag("--flake", &["urn:x"]).with(&["--provenance"]),
        flag("--revision", &["abc"]).with(&["--provenance"]),
        flag("--derivation", &["/nix/store/x.drv"]).with(&["--provenance"]),
        flag("--nix-version", &["2.0"]).with(&["--provenance"]),
        flag("--sign-key", &["key"]),
        flag("--sign-with", &["cat"]),
        flag("--sign-tag", &[]).with(&["--sign-with", "cat"]),
        flag("--via", &["false"]),
        flag("--dest-via", &["false"]),
        flag("--namespace", &["other"]),
        flag("--dest-namespace", &["other"]),
        flag("--dest-daemon-host", &["tcp://127.0.0.1:1"]),
        flag("--src-via", &["false"]).from("containerd:app:1"),
        flag("--src-namespace", &["other"]).from("containerd:app:1"),
        flag("--src-daemon-host", &["tcp://127.0.0.1:1"]).from("docker-daemon:app:1"),
        flag("--retry-times", &["0"]).from(LAYOUT).at(Host::Flaky),
        flag("--substituter", &["http://cache.example.com"]).from("image.json"),
        // Without a flake reference, there is nothing to build.
        flag("--nix-arg", &["--impure"]),
        flag("--header", &["X-A: b"]).with(&["--substituter", "http://cache.example.com"]).from("image.json"),
        flag("--digestfile", &["ID.digest"]),
        flag("--format", &["v2s2"]),
        flag("--override-arch", &["arm64"]).from(MULTI),
        flag("--override-os", &["windows"]).from(MULTI),
        flag("--override-variant", &["v9"]).from(MULTI),
        flag("--insecure-policy", &[]).vacuous(&KINDS, "strata has no signature policy"),
        flag("--debug", &[]).vacuous(&KINDS, "accepted for skopeo's sake"),
        flag("--help", &[]),
    ];
    let side = |name: &'static str, arguments: &[&'static str], base: &[&'static str], host: Host| {
        let bare = flag(name, arguments).with(base).from(LAYOUT).at(host);
        let leak = |prefix: &str, text: &str| -> &'static str { text.replacen("--", prefix, 1).leak() };
        let prefixed = |prefix: &'static str| {
            let arguments: Vec<_> = arguments.iter().map(|text| leak(prefix, text)).collect();
            let base: Vec<_> = base.iter().map(|text| leak(prefix, text)).collect();
            flag(leak(prefix, name), &arguments).with(&base).at(host)
        };
        let source = match host {
            Host::Untrusted => "docker://in.example.com/app:1",
            Host::Locked => "docker://locked.example.com/app:1",
            _ => "docker://LOOPBACK/app:1",
        };
        [bare, prefixed("--dest-").from(LAYOUT), prefixed("--src-").from(source)]
    };
    flags.extend(side("--creds", &["u:p"], &[], Host::Locked));
    flags.extend(side("--username", &["u", "--password", "p"], &[], Host::Locked));
    flags.extend(side("--password", &["p", "--username", "u"], &[], Host::Locked));
    flags.extend(side("--password-stdin", &["--username", "u"], &[], Host::Locked));
    flags.extend(side("--registry-token", &["t"], &[], Host::Locked));
    flags.extend(side("--no-creds", &[], &["--authfile", "auth.json"], Host::Locked));
    flags.extend(side("--authfile", &["auth.json"], &[], Host::Locked));
    flags.extend(side("--cert-dir", &["certificates"], &[], Host::Untrusted));
    flags.extend(side("--tls-verify=true", &[], &[], Host::Loopback));
    flags
}

/// The flags that the help lists, and their aliases.
fn listed() -> BTreeSet<String> {
    let world = World::new();
    let help = world.run(&["copy", "--help"]).good().out;
    let mut found = BTreeSet::new();
    for line in help.lines() {
        let option = line.trim_start();
        let is_option = line.starts_with("  ") && option.starts_with('-');
        let words = option.split([' ', ',', '[', ']', '=']).filter(|word| word.starts_with("--"));
        // Help texts name other flags; an option's own name is the first, and aliases are in brackets.
        let count = if is_option { 1 } else { 0 };
        found.extend(words.take(count).map(str::to_owned));
        for alias in option.split("[alias: ").skip(1).filter_map(|rest| rest.split(']').next()) {
            found.insert(alias.to_owned());
        }
    }
    found.remove("--password-stdin,");
    found
}

/// A machine, its registries and engines.
struct Bench {
    world: World,
    /// Paths that the flaky registry has failed.
    failed: Arc<Mutex<HashSet<String>>>,
    /// Requests to the docker daemon.
    daemon: Arc<Mutex<Vec<String>>>,
    loopback: String,
    count: usize,
    baselines: BTreeMap<String, Outcome>,
}

#[derive(Clone, Debug, PartialEq)]
struct Outcome {
    succeeded: bool,
    printed: String,
    /// Requests, files, and commands of engines.
    effects: String,
}

fn put_index(store: &Store) {
    let mut manifests = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let (manifest, blobs) = image(architecture.as_bytes());
        let config = String::from_utf8(blobs[0].clone()).unwrap().replace("amd64", architecture).into_bytes();
        let old = Digest::of(&blobs[0]).to_string();
        let manifest = String::from_utf8(manifest).unwrap().replace(&old, &Digest::of(&config).to_string());
        for blob in [config, blobs[1].clone()] {
            let key = ("multi".to_owned(), Digest::of(&blob).to_string());
            store.blobs.lock().unwrap().insert(key, blob);
        }
        let digest = Digest::of(manifest.as_bytes());
        manifests.push(json!({ "mediaType": media_type::MANIFEST, "digest": digest, "size": manifest.len(),
            "platform": { "architecture": architecture, "os": "linux" } }));
        put_manifest(store, "multi", &digest.to_string(), media_type::MANIFEST, manifest.as_bytes());
    }
    let index = json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": manifests }).to_string();
    for version in ["1".to_owned(), Digest::of(index.as_bytes()).to_string()] {
        put_manifest(store, "multi", &version, media_type::INDEX, index.as_bytes());
    }
}

fn put_manifest(store: &Store, name: &str, version: &str, kind: &str, bytes: &[u8]) {
    let key = (name.to_owned(), version.to_owned());
    store.manifests.lock().unwrap().insert(key, (kind.to_owned(), bytes.to_vec()));
}

/// An image with a referrer.
fn put_signed(store: &Store, layer: &[u8]) {
    store.keep("signed", "1", layer);
    let (subject, _) = image(layer);
    let empty = Digest::of(b"{}").to_string();
    store.blobs.lock().unwrap().insert(("signed".to_owned(), empty.clone()), b"{}".to_vec());
    let referrer = json!({ "schemaVersion": 2, "mediaType": media_type::MANIFEST, "artifactType": "text/x", "annotations": {},
        "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2 },
        "layers": [],
        "subject": { "mediaType": media_type::MANIFEST, "digest": Digest::of(&subject), "size": subject.len() } });
    let bytes = referrer.to_string();
    put_manifest(store, "signed", &Digest::of(bytes.as_bytes()).to_string(), media_type::MANIFEST, bytes.as_bytes());
}

impl Bench {
    fn new() -> Self {
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
            *"images check"*) for name; do :; done; echo "${name#name==} type sha256:0 complete (1/1) 1 true" ;; esac"#;
        world.program("ctr", &format!("{record} {ctr}"));
        let pair = rcgen::KeyPair::generate().unwrap();
        world.file("key", pair.serialize_pem());
        world.file("key.pub", pair.public_key_pem());
        world.file("auth.json", r#"{"auths":{"locked.example.com":{"auth":"dTpw"}}}"#);
        world.file("certificates/ca.crt", fs::read(world.path("authority.pem")).unwrap());
        let other = rcgen::generate_simple_self_signed(vec!["other.example.com".to_owned()]).unwrap();
        world.file("other.pem", other.cert.pem());
        let digest = Digest::of(&layer);
        let recipe = json!({ "version": 2, "image-config": {}, "arch": "amd64", "layers": [{ "digest": digest, "size": 1,
            "diff_ids": digest, "mediatype": media_type::LAYER_TAR, "History": {},
            "paths": [{ "path": "/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-missing" }] }] });
        world.file("image.json", recipe.to_string());
        Self { world, failed, daemon, loopback, count: 0, baselines: BTreeMap::new() }
    }

    /// Runs a copy to a destination of this kind that no other run has.
    fn run(&mut self, kind: &str, source: &str, host: Host, flags: &[&str]) -> Outcome {
        self.count += 1;
        let id = format!("run{}x", self.count);
        let registry = match host {
            Host::Open => "out.example.com",
            Host::Locked => "locked.example.com",
            Host::Flaky => "flaky.example.com",
            Host::Untrusted => "out.example.com",
            Host::Loopback => &self.loopback,
        };
        let source = source.replace("LOOPBACK", &self.loopback);
        let registry = format!("docker://{registry}/{id}/app:1");
        let directory = self.world.path(&id);
        let file = |scheme: &str| format!("{scheme}:{}/out", directory.display());
        fs::create_dir(&directory).unwrap();
        let flags: Vec<String> = flags.iter().map(|flag| flag.replace("ID", &id)).collect();
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
        let _ = fs::remove_file(self.world.path("engines"));
        self.failed.lock().unwrap().clear();
        self.daemon.lock().unwrap().clear();
        self.world.seen();
        let mut command = self.world.command(&arguments);
        if host == Host::Untrusted {
            command.env("SSL_CERT_FILE", self.world.path("other.pem"));
        }
        command.env("XDG_CACHE_HOME", directory.join("cache")).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // The child may have ended without reading it.
        let _ = child.stdin.take().unwrap().write_all(b"p\n");
        let output = child.wait_with_output().unwrap();
        let mut effects: Vec<String> = self.world.seen().iter().map(describe_request).collect();
        effects.append(&mut self.daemon.lock().unwrap());
        effects.extend(fs::read_to_string(self.world.path("engines")));
        effects.sort();
        for name in [format!("{id}/out"), format!("{id}.journal"), format!("{id}.digest")] {
            describe_files(&self.world.path(&name), &mut effects);
        }
        let printed =
            format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let strip = |text: String| normalise(&text.replace(&id, "ID"));
        Outcome { succeeded: output.status.success(), printed: strip(printed), effects: strip(effects.join("\n")) }
    }

    /// What is wrong with a flag, a line each.
    fn check(&mut self, flag: &Flag) -> Vec<String> {
        let mut problems = Vec::new();
        for kind in KINDS {
            let key = format!("{kind} {} {} {:?}", flag.source, flag.host as u8, flag.base);
            let baseline = match self.baselines.get(&key) {
                Some(baseline) => baseline.clone(),
                None => {
                    let baseline = self.run(kind, flag.source, flag.host, &flag.base);
                    self.baselines.insert(key, baseline.clone());
                    baseline
                }
            };
            let flags: Vec<&str> = flag.base.iter().chain(&flag.arguments).copied().collect();
            let outcome = self.run(kind, flag.source, flag.host, &flags);
            let is_vacuous = flag.vacuous.0.contains(&kind);
            // An error that a flag of the base causes is a refusal of both.
            let is_refused = !baseline.succeeded && flag.base.iter().any(|flag| baseline.printed.contains(flag));
            if outcome == baseline && !is_vacuous && !is_refused {
                problems.push(format!("{} has no effect for {kind}: {outcome:?}", flag.name));
            }
            // An error that the flag causes names it, or is about what the flag asks for.
            let own = |flag: &str| {
                flag.replace("--dest-compress-format", "--compression")
                    .replace("--dest-compress-level", "--compression-level")
            };
            let names = |text: &str| flags.iter().any(|flag| flag.starts_with("--") && text.contains(&own(flag)));
            let asked = [
                "no-such-key",
                "not signed",
                "no image matches",
                "127.0.0.1:1",
                "https://127.0.0.1",
                "false",
                "503",
                "401",
                "tls",
                "TLS",
                "certificates",
            ];
            let explains = |text: &str| names(text) || asked.iter().any(|cause| text.contains(cause));
            if baseline.succeeded && !outcome.succeeded && !explains(&outcome.printed) {
                problems.push(format!("{} to {kind} fails without naming the flag: {}", flag.name, outcome.printed));
            }
        }
        problems
    }
}

fn describe_request(request: &crate::world::Request) -> String {
    let headers: Vec<&str> = ["authorization", "x-a"].iter().filter_map(|name| request.header(name)).collect();
    let body =
        if request.path().contains("/manifests/") { Digest::of(&request.body).to_string() } else { String::new() };
    format!("{} {}{} {headers:?} {body}", request.method, request.host, request.target)
}

fn describe_files(path: &Path, into: &mut Vec<String>) {
    if path.is_dir() {
        let mut entries: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        entries.iter().for_each(|entry| describe_files(entry, into));
    } else if let Ok(bytes) = fs::read(path) {
        into.push(format!("{} {}", path.display(), Digest::of(&bytes)));
    }
}

/// Without durations and the numbers of uploads.
fn normalise(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        for (at, word) in words.iter().enumerate() {
            let is_duration =
                word.parse::<f64>().is_ok() && words.get(at + 1).is_some_and(|unit| unit.starts_with('s'));
            let word = if is_duration { "DURATION" } else { word };
            let (before, number) = word.split_once("/upload-").unwrap_or((word, ""));
            let _ = write!(out, "{before}{} ", number.trim_start_matches(|digit: char| digit.is_ascii_digit()));
        }
        out.push('\n');
    }
    out
}

#[test]
fn every_flag_of_copy_has_an_entry() {
    let flags: BTreeSet<String> = flags().iter().map(|flag| flag.name.split('=').next().unwrap().to_owned()).collect();
    assert_eq!(flags, listed());
}

#[test]
fn every_flag_of_copy_has_an_effect_or_is_refused() {
    let flags = Mutex::new(flags());
    let problems = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut bench = Bench::new();
                while let Some(flag) = { flags.lock().unwrap().pop() } {
                    let found = bench.check(&flag);
                    problems.lock().unwrap().extend(found);
                }
            });
        }
    });
    let problems = problems.into_inner().unwrap();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// The runs that flags are compared with are the same each time, or every flag would seem to have an effect.
#[test]
fn copies_without_the_flag_are_alike() {
    let mut bench = Bench::new();
    for kind in KINDS {
        let source = "docker://in.example.com/app:1";
        let (one, other) = (bench.run(kind, source, Host::Open, &[]), bench.run(kind, source, Host::Open, &[]));
        assert_eq!(one, other, "{kind}");
        assert!(one.succeeded, "{kind}: {}", one.printed);
    }
}
