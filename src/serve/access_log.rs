//! The access log, a line for each response:
//!
//! ```text
//! access log   a line for each finished response, in the "combined" format of Apache
//!              127.0.0.1 - alice [21/Nov/2026:15:20:01 +0000] "GET /v2/app/manifests/v1 HTTP/1.1" 200 1034 "-" "skopeo/1.9.3"
//! metrics      counters since the start, in the text format of Prometheus, at /metrics
//! ```
//!
//! Text from clients is escaped as in nginx, so that clients cannot forge lines. Neither contains `Authorization`.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{File, OpenOptions},
    io::{self, Write},
    net::IpAddr,
    path::Path,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use hyper::{
    Request, Response,
    body::{Body as HttpBody, Bytes, Frame, SizeHint},
    header::{REFERER, USER_AGENT},
};
use jiff::Timestamp;

use super::body::Body;
use crate::threads::lock;

/// The upper bounds of the buckets of the histogram in seconds: the defaults of Prometheus, and two for layers.
const BUCKETS: [f64; 13] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0];

/// The time format of Apache: `21/Nov/2026:15:20:01 +0000`.
const APACHE_TIME: &str = "%d/%b/%Y:%H:%M:%S +0000";

/// The status of nginx for responses whose connection the client closed.
const GONE: u16 = 499;

/// The destination of the access log.
#[derive(Debug)]
pub enum AccessLog {
    /// A file, to which lines are appended.
    File(Mutex<File>),
    /// The standard error.
    Stderr,
}

impl AccessLog {
    /// Appends to the file at `path`, which is created if it is missing. `-` is the standard error.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Stderr);
        }
        Ok(Self::File(Mutex::new(OpenOptions::new().create(true).append(true).open(path)?)))
    }

    fn write(&self, line: &str) {
        // A full disk must not prevent responses.
        let _ = match self {
            Self::File(file) => lock(file).write_all(line.as_bytes()),
            Self::Stderr => io::stderr().write_all(line.as_bytes()),
        };
    }
}

/// The counters and the access log of a server.
#[derive(Debug, Default)]
pub struct Record {
    log: Option<AccessLog>,
    /// The number of responses by method and status.
    requests: Mutex<BTreeMap<(String, u16), u64>>,
    bytes: AtomicU64,
    /// The number of responses per bucket. The last bucket has the responses above all bounds.
    buckets: [AtomicU64; BUCKETS.len() + 1],
    microseconds: AtomicU64,
    connections: AtomicU64,
    answering: AtomicU64,
}

impl Record {
    /// Creates counters of zero.
    pub fn new(log: Option<AccessLog>) -> Self {
        Self { log, ..Self::default() }
    }

    /// Counts a connection until the returned guard is dropped.
    pub fn connection(self: &Arc<Self>) -> impl Send + use<> {
        let record = Arc::clone(self);
        record.connections.fetch_add(1, Ordering::Relaxed);
        LoggedConnection(record)
    }

    /// Begins the entry of a request.
    pub fn begin<B>(self: &Arc<Self>, request: &Request<B>, from: IpAddr) -> LogEntry {
        self.answering.fetch_add(1, Ordering::Relaxed);
        let header = |name| request.headers().get(name).map_or(b"-".as_slice(), |value| value.as_bytes()).to_vec();
        let line = format!("{} {} {:?}", request.method(), request.uri(), request.version());
        LogEntry {
            record: Arc::clone(self),
            begun: Instant::now(),
            from,
            method: request.method().to_string(),
            line,
            referer: header(REFERER),
            agent: header(USER_AGENT),
            user: None,
            status: GONE,
            bytes: 0,
        }
    }

    /// Returns the text of `/metrics`
    /// ([format](https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format)).
    pub fn metrics(&self) -> String {
        let mut text = String::new();
        let mut metric = |name: &str, kind: &str, help: &str, lines: &[(String, String)]| {
            let _ = write!(text, "# HELP strata_{name} {help}\n# TYPE strata_{name} {kind}\n");
            for (suffix, value) in lines {
                let _ = writeln!(text, "strata_{name}{suffix} {value}");
            }
        };
        let plain = |number: &AtomicU64| vec![(String::new(), number.load(Ordering::Relaxed).to_string())];
        let requests = lock(&self.requests);
        let by_status: Vec<_> = requests
            .iter()
            .map(|((method, code), count)| (format!("{{method=\"{method}\",code=\"{code}\"}}"), count.to_string()))
            .collect();
        drop(requests);
        metric("http_requests_total", "counter", "Requests answered.", &by_status);
        metric("http_response_bytes_total", "counter", "Bytes of bodies sent.", &plain(&self.bytes));
        metric("http_requests_in_flight", "gauge", "Requests being answered.", &plain(&self.answering));
        metric("http_connections", "gauge", "Open connections.", &plain(&self.connections));
        let (mut lines, mut sum) = (Vec::new(), 0);
        let bounds = BUCKETS.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (bucket, bound) in self.buckets.iter().zip(bounds) {
            sum += bucket.load(Ordering::Relaxed);
            lines.push((format!("_bucket{{le=\"{bound}\"}}"), sum.to_string()));
        }
        let seconds = self.microseconds.load(Ordering::Relaxed) as f64 / 1e6;
        lines.extend([("_sum".to_owned(), seconds.to_string()), ("_count".to_owned(), sum.to_string())]);
        metric("http_request_duration_seconds", "histogram", "Time until the last byte of an answer.", &lines);
        text
    }
}

struct LoggedConnection(Arc<Record>);

impl Drop for LoggedConnection {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The entry of a request. It is written when its response is dropped, finished or not.
pub struct LogEntry {
    record: Arc<Record>,
    begun: Instant,
    from: IpAddr,
    method: String,
    line: String,
    referer: Vec<u8>,
    agent: Vec<u8>,
    user: Option<String>,
    status: u16,
    bytes: u64,
}

impl LogEntry {
    /// Sets the name of the user.
    pub fn user(&mut self, name: String) {
        self.user = Some(name);
    }

    /// Records the response, and returns it with a body that counts its bytes.
    pub fn answer(mut self, response: Response<Body>) -> Response<CountedBody> {
        self.status = response.status().as_u16();
        response.map(|body| CountedBody { body, entry: self })
    }
}

impl Drop for LogEntry {
    fn drop(&mut self) {
        let Self { record, .. } = self;
        let taken = self.begun.elapsed();
        record.answering.fetch_sub(1, Ordering::Relaxed);
        record.bytes.fetch_add(self.bytes, Ordering::Relaxed);
        let bucket = BUCKETS.partition_point(|bound| *bound < taken.as_secs_f64());
        record.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        record.microseconds.fetch_add(u64::try_from(taken.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        // Unknown methods share a counter, so that clients cannot create any number of counters.
        let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"].contains(&self.method.as_str());
        let method = if known { self.method.clone() } else { "other".to_owned() };
        *lock(&record.requests).entry((method, self.status)).or_insert(0) += 1;
        let Some(log) = &record.log else { return };
        let line = format!(
            "{} - {} [{}] \"{}\" {} {} \"{}\" \"{}\"\n",
            self.from,
            escaped(self.user.as_deref().unwrap_or("-").as_bytes()),
            Timestamp::now().strftime(APACHE_TIME),
            escaped(self.line.as_bytes()),
            self.status,
            self.bytes,
            escaped(&self.referer),
            escaped(&self.agent),
        );
        log.write(&line);
    }
}

/// Escapes text from clients as nginx does: `"`, `\` and all bytes that are not printable ASCII become `\xHH`.
fn escaped(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text {
        match byte {
            b'"' | b'\\' | ..=0x1f | 0x7f.. => {
                let _ = write!(out, "\\x{byte:02X}");
            }
            byte => out.push(char::from(*byte)),
        }
    }
    out
}

/// A body that counts its bytes.
pub struct CountedBody {
    body: Body,
    entry: LogEntry,
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.entry.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::serve::body;

    #[test]
    fn times_have_the_format_of_apache() {
        let at = |second| Timestamp::from_second(second).unwrap().strftime(APACHE_TIME).to_string();
        assert_eq!(at(971_186_136), "10/Oct/2000:13:55:36 +0000");
        assert_eq!(at(1_709_251_200), "01/Mar/2024:00:00:00 +0000");
    }

    #[test]
    fn responses_are_logged_and_counted() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let record = Arc::new(Record::new(Some(AccessLog::open(file.path()).unwrap())));
        let request = Request::get("/v2/x?n=1").header("user-agent", "evil\"agent\u{e9}\\").body(()).unwrap();
        let mut entry = record.begin(&request, IpAddr::from([10, 0, 0, 1]));
        entry.user("me\nroot".to_owned());
        let answer = entry.answer(Response::new(body::bytes("four".into())));
        assert!(record.metrics().contains("strata_http_requests_in_flight 1\n"));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(answer.into_body().collect()).unwrap();
        let line = std::fs::read_to_string(file.path()).unwrap();
        let (before, after) = line.split_once('[').unwrap();
        assert_eq!(before, "10.0.0.1 - me\\x0Aroot ");
        let (moment, after) = after.split_once("] ").unwrap();
        assert!(moment.len() == 26 && moment.ends_with(" +0000"), "{moment}");
        assert_eq!(after, "\"GET /v2/x?n=1 HTTP/1.1\" 200 4 \"-\" \"evil\\x22agent\\xC3\\xA9\\x5C\"\n");
        let metrics = record.metrics();
        for line in [
            "strata_http_requests_total{method=\"GET\",code=\"200\"} 1",
            "strata_http_response_bytes_total 4",
            "strata_http_requests_in_flight 0",
            "strata_http_request_duration_seconds_bucket{le=\"+Inf\"} 1",
            "strata_http_request_duration_seconds_count 1",
            "# TYPE strata_http_request_duration_seconds histogram",
        ] {
            assert!(metrics.lines().any(|written| written == line), "lacks {line}: {metrics}");
        }
    }
}
