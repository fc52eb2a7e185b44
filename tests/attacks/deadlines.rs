//! Registries that send a byte now and then, so that no single read times out.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use strata::internals::{
    oci::{Digest, Reference},
    transport::registry::{Client, Options},
};

/// The host of a registry that answers with `head`, and then with one byte more every 20 ms.
fn dripping(head: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let reader = BufReader::new(stream.try_clone().unwrap());
                // A hello of TLS is no line.
                if !reader.lines().next().is_some_and(|line| line.is_ok_and(|line| line.starts_with("GET"))) {
                    return;
                }
                let mut sent = stream.write_all(head.as_bytes());
                while sent.is_ok() {
                    thread::sleep(Duration::from_millis(20));
                    sent = stream.write_all(b" ");
                }
            });
        }
    });
    host
}

#[test]
fn documents_have_an_overall_deadline() {
    let json = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{";
    let refused = "HTTP/1.1 400 Bad Request\r\nContent-Length: 1000000\r\n\r\n";
    // The message of an error is optional.
    for (head, why) in [(json, "Timeout"), ("HTTP/1.1 200 OK\r\nX: ", "Timeout"), (refused, "status: 400")] {
        let reference: Reference = format!("{}/app:1", dripping(head)).parse().unwrap();
        let options = Options { tries: Some(1), stall: Some(Duration::from_millis(300)), ..Options::default() };
        let began = Instant::now();
        let client = Client::new(&reference, &options).unwrap();
        let errors = [
            client.manifest("1").map(drop).unwrap_err(),
            client.list_referrers(&Digest::sha256(b"x")).map(drop).unwrap_err(),
        ];
        for error in errors {
            let error = format!("{error:?}");
            assert!(error.contains(why), "{head}: {error}");
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{head}");
    }
}
