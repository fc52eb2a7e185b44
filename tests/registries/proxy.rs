//! The proxies, of HTTP and SOCKS5.

use std::{
    io::{self, BufReader, Read, Write},
    net::TcpStream,
};

use super::{Inner, head, lock};

impl Inner {
    pub(super) fn proxy(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut first = [0; 8];
        match stream.peek(&mut first)? {
            0 => return Ok(()),
            _ if first[0] == 5 => return self.socks(stream),
            // A request without TLS has the absolute form (RFC 9112, 3.2.2).
            8 if first != *b"CONNECT " => return self.serve("no host in the request line", stream),
            _ => {}
        }
        let mut plain = BufReader::new(stream.try_clone()?);
        let Some(head) = head(&mut plain)? else { return Ok(()) };
        let mut words = head[0].split(' ');
        assert_eq!(words.next(), Some("CONNECT"), "{head:?}");
        let (host, port) = words.next().and_then(|target| target.rsplit_once(':')).unwrap();
        if let Some(line) = head.iter().find(|line| line.to_ascii_lowercase().starts_with("proxy-authorization:")) {
            lock(&self.proxied).push(line.clone());
        }
        if port == "80" {
            // squid refuses other ports by default (squid.conf: http_access deny CONNECT !SSL_ports).
            return stream.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n");
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        match port {
            "443" => self.serve_tls(host, host, stream),
            port => self.serve_tls(host, &format!("{host}:{port}"), stream),
        }
    }

    /// SOCKS5 with a password (RFC 1928, RFC 1929).
    pub(super) fn socks(&self, mut stream: TcpStream) -> io::Result<()> {
        fn take(stream: &mut TcpStream, length: usize) -> io::Result<Vec<u8>> {
            let mut bytes = vec![0; length];
            stream.read_exact(&mut bytes)?;
            Ok(bytes)
        }
        let sized = |stream: &mut TcpStream| -> io::Result<String> {
            let length = take(stream, 1)?[0];
            Ok(String::from_utf8_lossy(&take(stream, length.into())?).into_owned())
        };
        let methods = take(&mut stream, 2)?[1];
        let methods = take(&mut stream, methods.into())?;
        if methods.contains(&2) {
            stream.write_all(&[5, 2])?;
            take(&mut stream, 1)?;
            let (user, password) = (sized(&mut stream)?, sized(&mut stream)?);
            lock(&self.proxied).push(format!("{user}:{password}"));
            stream.write_all(&[1, 0])?;
        } else {
            stream.write_all(&[5, 0])?;
        }
        let kind = take(&mut stream, 4)?[3];
        // Only a name shows that the proxy resolves it.
        assert_eq!(kind, 3, "the address is not a host name");
        let host = sized(&mut stream)?;
        let port = u16::from_be_bytes(take(&mut stream, 2)?.try_into().unwrap());
        lock(&self.proxied).push(format!("socks {host}:{port}"));
        stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
        match port {
            80 => self.serve(&host, stream),
            443 => self.serve_tls(&host, &host, stream),
            port => self.serve_tls(&host, &format!("{host}:{port}"), stream),
        }
    }
}
