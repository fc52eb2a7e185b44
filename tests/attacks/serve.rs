//! Clients of `strata serve` that take what others need: connections, password checks, other repositories' paths.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use data_encoding::BASE64;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    images::{Image, tar, write_layout},
    run::strata,
};

/// A server of the image `app:v1`.
struct Server {
    child: Child,
    address: SocketAddr,
    _home: tempfile::TempDir,
}

impl Server {
    fn start(users: Option<&str>) -> Self {
        let home = tempfile::tempdir().unwrap();
        let layout = home.path().join("layout");
        write_layout(&layout, &Image::new(&[tar(&[("file", b"content")])]));
        let mut command = strata(home.path());
        command.args(["serve", "--listen", "127.0.0.1:0"]);
        if let Some(users) = users {
            let path = home.path().join("users");
            std::fs::write(&path, users).unwrap();
            command.arg("--basic-auth-file").arg(path);
        }
        command.arg(format!("app:v1=oci:{}", layout.display())).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split('/').next().unwrap().parse().unwrap();
        Self { child, address, _home: home }
    }

    /// The status of an answer.
    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        send(&mut stream, path, None);
        status(&mut stream)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn send(stream: &mut TcpStream, path: &str, login: Option<&str>) {
    let login = login.map(|login| format!("Authorization: Basic {}\r\n", BASE64.encode(login.as_bytes())));
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n{}\r\n", login.unwrap_or_default()).unwrap();
}

fn status(stream: &mut TcpStream) -> String {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line.split(' ').nth(1).unwrap_or_default().to_owned()
}

/// A connection from one of the machine's loopback addresses.
fn connect(from: u8, to: SocketAddr) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::new(127, 0, 0, from), 0).into()).unwrap();
        socket.connect(to).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    stream
}

/// Whether the server has closed the connection.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    match stream.read(&mut [0]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn three_clients_cannot_hold_out_a_fourth() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let server = Server::start(None);
    // Each asks once and keeps its connection, so that no deadline of a first request ends it.
    let mut held = Vec::new();
    for client in 2..=4 {
        for _ in 0..700 {
            let mut stream = connect(client, server.address);
            // The server closes connections beyond the client's limit.
            drop(write!(stream, "GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"));
            held.push(stream);
        }
    }
    let begun = Instant::now();
    let mut fourth = connect(5, server.address);
    fourth.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    send(&mut fourth, "/v2/", None);
    assert_eq!(status(&mut fourth), "200");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(is_closed(&mut held[699]), "a client has 700 connections");
}

#[test]
fn connections_without_a_request_are_closed_after_ten_seconds() {
    let server = Server::start(None);
    let mut silent = connect(2, server.address);
    let mut slow = connect(2, server.address);
    let mut client = connect(2, server.address);
    send(&mut client, "/v2/", None);
    assert_eq!(status(&mut client), "200");
    let begun = Instant::now();
    for byte in b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: ".iter().chain(std::iter::repeat(&b'x')) {
        // The server may have closed it.
        drop(slow.write_all(&[*byte]));
        if begun.elapsed() > Duration::from_secs(12) {
            break;
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    assert!(is_closed(&mut silent) && is_closed(&mut slow));
    send(&mut client, "/v2/", None);
    assert_eq!(status(&mut client), "200", "a client that asked keeps its connection");
}

#[test]
fn one_client_s_passwords_do_not_keep_another_waiting() {
    let hash = bcrypt::hash("right", 8).unwrap();
    let server = Server::start(Some(&format!("alice:{hash}\n")));
    let mut flood: Vec<TcpStream> = (0..80).map(|_| connect(2, server.address)).collect();
    for (number, stream) in flood.iter_mut().enumerate() {
        send(stream, "/v2/", Some(&format!("alice:wrong{number}")));
    }
    let mut other = connect(3, server.address);
    send(&mut other, "/v2/", Some("alice:right"));
    assert_eq!(status(&mut other), "200");
    let is_answered = |stream: &&mut TcpStream| {
        stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        stream.peek(&mut [0]).is_ok()
    };
    let answered = flood.iter_mut().filter(is_answered).count();
    assert!(answered < 40, "{answered} of 80 checks came first");
}

#[test]
fn unknown_users_and_wrong_passwords_get_one_answer() {
    let hash = bcrypt::hash("right", 4).unwrap();
    let server = Server::start(Some(&format!("alice:{hash}\n")));
    for (login, expected) in [
        ("alice:right", "200"),
        ("alice:wrong", "401"),
        ("bob:right", "401"),
        ("alice", "401"),
        (":", "401"),
        ("", "401"),
    ] {
        let mut stream = connect(2, server.address);
        send(&mut stream, "/v2/app/manifests/v1", Some(login));
        assert_eq!(status(&mut stream), expected, "{login}");
    }
    assert_eq!(server.get("/v2/app/manifests/v1"), "401");
}

#[test]
fn only_paths_below_v2_are_answered() {
    let server = Server::start(None);
    for path in ["/v2", "/v2/", "/v2/_catalog", "/v2/app/manifests/v1", "/v2/app/tags/list"] {
        assert_eq!(server.get(path), "200", "{path}");
    }
    for path in [
        "/v2app/manifests/v1",
        "/v2app/tags/list",
        "/v2_catalog",
        "/v2//app/manifests/v1",
        "//v2/app/manifests/v1",
        "/v2/./app/manifests/v1",
        "/v2/x/../app/manifests/v1",
        "/v2/%61pp/manifests/v1",
        "/v1/app/manifests/v1",
        "/v2/app//manifests/v1",
    ] {
        assert_eq!(server.get(path), "404", "{path}");
    }
}
