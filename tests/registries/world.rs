//! A network of simulated servers: strata runs as a program, and all requests go through a proxy of the test. The server
//! behind the proxy responds for `registry-1.docker.io` and all other hosts, with certificates of a CA that strata trusts.
//!
//! ```text
//! strata ── CONNECT ghcr.io:443 ──▶ World ── TLS as ghcr.io ──▶ the function that plays ghcr.io
//! ```
//!
//! Every request and all output are searched for secrets. Each test fails if a secret reaches a host that it does not belong
//! to, or the output.

#[path = "messages.rs"]
mod messages;
#[path = "proxy.rs"]
mod proxy;

use std::{
    collections::HashMap,
    fs,
    io::{self, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use data_encoding::BASE64;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
    sign::{CertifiedKey, SingleCertAndKey},
};

pub use messages::{Answer, Request};
use messages::{body, head};

type Play = dyn Fn(&Request) -> Answer + Send + Sync;

/// The servers, and a machine with strata on it.
pub struct World {
    inner: Arc<Inner>,
    pub folder: tempfile::TempDir,
    variables: Vec<(String, String)>,
    port: u16,
}

#[derive(Default)]
struct Inner {
    hosts: Mutex<HashMap<String, Arc<Play>>>,
    /// Secrets, and the hosts that may see them.
    secrets: Mutex<Vec<(String, Vec<String>)>>,
    requests: Mutex<Vec<Request>>,
    leaks: Mutex<Vec<String>>,
    configs: Mutex<HashMap<String, Arc<ServerConfig>>>,
    /// The hosts that a client certificate was presented to.
    presented: Mutex<Vec<String>>,
    /// The credentials and SOCKS targets that the proxy received.
    proxied: Mutex<Vec<String>>,
    authority: Mutex<Option<Issuer<'static, KeyPair>>>,
    root: Mutex<Option<CertificateDer<'static>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = parameters.self_signed(&key).unwrap();
        fs::write(folder.path().join("authority.pem"), authority.pem()).unwrap();
        let inner = Arc::new(Inner::default());
        *lock(&inner.root) = Some(authority.der().clone());
        *lock(&inner.authority) = Some(Issuer::new(parameters, key));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = Arc::clone(&inner);
        // The thread ends with the process. No client connects after the world is dropped.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let inner = Arc::clone(&served);
                // A client that goes away is the client's business.
                thread::spawn(move || drop(inner.proxy(stream)));
            }
        });
        for name in ["home", "run", "bin", "config"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let world = Self { inner, folder, variables: Vec::new(), port };
        world.file("registries.conf", "");
        world
    }

    /// A server.
    pub fn host(&self, name: &str, play: impl Fn(&Request) -> Answer + Send + Sync + 'static) {
        lock(&self.inner.hosts).insert(name.to_owned(), Arc::new(play));
    }

    /// Something that only `hosts` may see.
    pub fn secret(&self, secret: &str, hosts: &[&str]) {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        lock(&self.inner.secrets).push((secret.to_owned(), hosts));
    }

    /// Another environment variable for strata.
    pub fn set(&mut self, name: &str, value: impl AsRef<str>) {
        self.variables.push((name.to_owned(), value.as_ref().to_owned()));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// docker's configuration, with a password for each host.
    pub fn log_in(&self, host: &str, login: &str) {
        let auths = serde_json::json!({ "auths": { host: { "auth": BASE64.encode(login.as_bytes()) } } });
        self.file("home/.docker/config.json", auths.to_string());
    }

    /// The certificates and the key that a host shows instead of its usual ones.
    pub fn show(&self, host: &str, chain: Vec<CertificateDer<'static>>, key: &KeyPair) {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = provider.key_provider.load_private_key(key).unwrap();
        let shown = SingleCertAndKey::from(CertifiedKey::new(chain, key));
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_cert_resolver(Arc::new(shown));
        lock(&self.inner.configs).insert(host.to_owned(), Arc::new(config));
    }

    /// A client certificate of the CA and its key, in PEM form.
    pub fn client_certificate(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(vec!["client".to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, lock(&self.inner.authority).as_ref().unwrap()).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// The URL of the proxy, with this scheme and `USER:PASSWORD@`.
    pub fn proxy(&self, scheme: &str, login: &str) -> String {
        format!("{scheme}://{login}127.0.0.1:{}", self.port)
    }

    /// Returns the credentials and SOCKS targets that the proxy has received.
    pub fn proxied(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.inner.proxied))
    }

    /// The hosts that a client certificate was presented to so far.
    pub fn presented(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.inner.presented))
    }

    /// A program in PATH.
    pub fn program(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.file(&format!("bin/{name}"), format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A command of strata's, and nothing of this machine's own.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let proxy = format!("http://127.0.0.1:{}", self.port);
        let mut command = Command::new(env!("CARGO_BIN_EXE_strata"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", format!("{}:{}:/bin", self.path("bin").display(), std::env::var("PATH").unwrap()))
            .env("HOME", self.path("home"))
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .env("SSL_CERT_FILE", self.path("authority.pem"))
            .env("CONTAINERS_REGISTRIES_CONF", self.path("registries.conf"))
            .env("HTTPS_PROXY", &proxy)
            .env("HTTP_PROXY", &proxy)
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs strata with these arguments. A secret in the output is a leak.
    pub fn run(&self, arguments: &[&str]) -> ProcessResult {
        let result = ProcessResult::from_output(self.command(arguments).output().unwrap());
        self.check_output(&result);
        result
    }

    /// Checks that this host, and no other, has received requests since the last call.
    #[track_caller]
    pub fn assert_requests_only_to(&self, host: &str) {
        let requests = self.take_requests();
        assert!(!requests.is_empty() && requests.iter().all(|request| request.host == host), "{requests:?}");
    }

    /// Searches the output for secrets.
    fn check_output(&self, result: &ProcessResult) {
        for (secret, _) in lock(&self.inner.secrets).iter() {
            let encoded = BASE64.encode(secret.as_bytes());
            if [&result.out, &result.err].iter().any(|text| text.contains(secret.as_str()) || text.contains(&encoded)) {
                lock(&self.inner.leaks).push(format!("{secret} to the output: {}{}", result.out, result.err));
            }
        }
    }

    /// Returns the requests since the last call.
    pub fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut lock(&self.inner.requests))
    }

    /// Returns the requests since the last call as lines `METHOD host/path`.
    pub fn take_request_lines(&self) -> Vec<String> {
        let line = |request: Request| format!("{} {}{}", request.method, request.host, request.path());
        self.take_requests().into_iter().map(line).collect()
    }

    /// Returns the leaks of secrets since the last call.
    pub fn leaks(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.inner.leaks))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let leaks = self.leaks();
        assert!(thread::panicking() || leaks.is_empty(), "secrets went astray: {leaks:#?}");
    }
}

impl Inner {
    fn serve_tls(&self, host: &str, name: &str, mut stream: TcpStream) -> io::Result<()> {
        let mut connection = ServerConnection::new(self.config(host)).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        if connection.peer_certificates().is_some() {
            lock(&self.presented).push(name.to_owned());
        }
        self.serve(name, StreamOwned::new(connection, stream))
    }

    /// A certificate for `host`, signed by the CA of the tests.
    fn config(&self, host: &str) -> Arc<ServerConfig> {
        let mut configs = lock(&self.configs);
        let made = || {
            let key = KeyPair::generate().unwrap();
            let parameters = CertificateParams::new(vec![host.to_owned()]).unwrap();
            let authority = lock(&self.authority);
            let certificate = parameters.signed_by(&key, authority.as_ref().unwrap()).unwrap();
            let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let mut roots = rustls::RootCertStore::empty();
            roots.add(lock(&self.root).clone().unwrap()).unwrap();
            let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
            let clients = clients.allow_unauthenticated().build().unwrap();
            let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
            let chain = vec![certificate.der().clone()];
            Arc::new(config.with_client_cert_verifier(clients).with_single_cert(chain, key).unwrap())
        };
        Arc::clone(configs.entry(host.to_owned()).or_insert_with(made))
    }

    fn serve(&self, host: &str, stream: impl Read + Write) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        while let Some(head) = head(&mut stream)? {
            let mut words = head[0].split(' ');
            let (method, target) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
            let (host, target) = match target.strip_prefix("http://").and_then(|rest| rest.split_once('/')) {
                Some((host, path)) => (host.to_owned(), format!("/{path}")),
                None => (host.to_owned(), target),
            };
            let headers = head[1..].iter().filter_map(|line| line.split_once(':'));
            let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
            let mut request = Request { host: host.clone(), method, target, headers, body: Vec::new() };
            request.body = body(&request, &mut stream)?;
            self.look(&request);
            lock(&self.requests).push(request.clone());
            if let Some(line) = request.header("proxy-authorization") {
                lock(&self.proxied).push(line.to_owned());
            }
            let play = lock(&self.hosts).get(&host).cloned();
            let answer = play.map_or_else(|| Answer::new(502), |play| play(&request));
            let out = stream.get_mut();
            let mut text = format!("HTTP/1.1 {} X\r\n", answer.status);
            for (name, value) in &answer.headers {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
            if !answer.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
                text.push_str(&format!("content-length: {}\r\n", answer.body.len()));
            }
            out.write_all(format!("{text}\r\n").as_bytes())?;
            let end = answer.cut.or(answer.stall).unwrap_or(answer.body.len()).min(answer.body.len());
            if request.method != "HEAD" {
                out.write_all(&answer.body[..end])?;
            }
            out.flush()?;
            if answer.cut.is_some() {
                return Ok(());
            }
            if answer.stall.is_some() {
                // Until the other side has enough of it.
                io::copy(&mut stream, &mut io::sink())?;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether a secret is where it must not be.
    fn look(&self, request: &Request) {
        let mut texts = vec![request.target.clone(), String::from_utf8_lossy(&request.body).into_owned()];
        texts.extend(request.headers.iter().map(|(_, value)| value.clone()));
        texts.extend(request.basic());
        for (secret, hosts) in lock(&self.secrets).iter() {
            if texts.iter().any(|text| text.contains(secret.as_str())) && !hosts.contains(&request.host) {
                let leak = format!("{secret} to {} {}{}", request.method, request.host, request.target);
                lock(&self.leaks).push(leak);
            }
        }
    }
}

/// The output of a run of strata.
#[derive(Debug)]
pub struct ProcessResult {
    pub ok: bool,
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl ProcessResult {
    pub fn from_output(output: Output) -> Self {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Self {
            ok: output.status.success(),
            code: output.status.code(),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    /// Checks that the run succeeded.
    #[track_caller]
    pub fn success(self) -> Self {
        assert!(self.ok, "{}{}", self.out, self.err);
        self
    }

    /// Checks that the run failed with this reason.
    #[track_caller]
    pub fn failure(self, why: &str) -> Self {
        assert!(!self.ok, "it should have failed with {why}: {}", self.out);
        assert!(self.err.contains(why), "lacks {why}: {}", self.err);
        self
    }
}

/// A port of this machine that plays a server without TLS or a proxy.
pub fn on_loopback(play: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let inner = Arc::new(Inner::default());
    lock(&inner.hosts).insert(host.clone(), Arc::new(play));
    let name = host.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (inner, name) = (Arc::clone(&inner), name.clone());
            thread::spawn(move || {
                let mut first = [0];
                // A hello of TLS: this is no TLS.
                if stream.peek(&mut first).is_ok() && first[0] == 0x16 {
                    return drop(
                        (&stream).write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").and(stream.shutdown(Shutdown::Both)),
                    );
                }
                drop(inner.serve(&name, stream));
            });
        }
    });
    host
}

pub fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}
