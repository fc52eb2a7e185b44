//! A binary cache: the URLs of its files, and requests for them.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::{Component, Path, PathBuf},
    str::FromStr,
};

use super::{CacheAccess, NarInfo};
use crate::{
    budget::{self, Budget},
    closure::StorePath,
    transport::http::{Call, HttpBody, HttpError, Netrc, Origin, Resume, join, without_query},
};

/// A binary cache, as Nix writes its URL: `https://…`, `http://…`, `file:///…` or `s3://BUCKET`.
#[derive(Clone, PartialEq, Eq)]
pub struct Cache {
    place: CacheLocation,
    url: String,
    client: Option<ClientFiles>,
    unknown: Vec<String>,
}

/// The files of the client certificate for a cache: `tls-certificate` and `tls-private-key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClientFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Settings in the URL of a cache that Nix supports and that do not affect reads: those of Nix's store types `http` and
/// `s3` (src/libstore/include/nix/store: store-api.hh, binary-cache-store.hh, http-binary-cache-store.hh,
/// s3-binary-cache-store.hh).
const SETTINGS: [&str; 31] = [
    "addressing-style",
    "buffer-size",
    "compression",
    "compression-level",
    "endpoint",
    "index-debug-info",
    "local-nar-cache",
    "log-compression",
    "ls-compression",
    "multipart-chunk-size",
    "multipart-threshold",
    "multipart-upload",
    "narinfo-compression",
    "parallel-compression",
    "path-info-cache-size",
    "priority",
    "profile",
    "real",
    "region",
    "root",
    "scheme",
    "secret-key",
    "secret-keys",
    "state",
    "storage-class",
    "store",
    "system-features",
    "trusted",
    "want-mass-query",
    "write-nar-listing",
    "versionId",
];

#[derive(Clone, PartialEq, Eq)]
enum CacheLocation {
    /// An HTTP URL without a slash at its end.
    Http(String),
    Folder(PathBuf),
}

/// The error of an invalid URL.
#[derive(Debug, thiserror::Error)]
#[error("strata cannot read the binary cache {text}: {why}")]
pub struct ParseCacheError {
    text: String,
    why: &'static str,
}

impl FromStr for Cache {
    type Err = ParseCacheError;

    /// Parses a URL. Of the settings after the question mark, those of S3 and of client certificates are used.
    fn from_str(text: &str) -> Result<Self, ParseCacheError> {
        let fail = |why| Err(ParseCacheError { text: shown(text), why });
        let (plain, query) = text.split_once('?').unwrap_or((text, ""));
        let place = match plain.split_once("://") {
            Some(("file", path)) if path.starts_with('/') => CacheLocation::Folder(path.into()),
            Some(("file", _)) => return fail("write file:///PATH"),
            Some(("http" | "https", _)) => match Origin::from_url(plain) {
                Some(_) => CacheLocation::Http(plain.trim_end_matches('/').to_owned()),
                None => return fail("it has no host, or a password in it, which belongs into a netrc file"),
            },
            Some(("s3", bucket)) => match s3(bucket, query) {
                Some(url) => CacheLocation::Http(url),
                None => return fail("write s3://BUCKET?region=REGION or s3://BUCKET?endpoint=HOST"),
            },
            _ => return fail("write https://HOST, http://HOST, file:///PATH or s3://BUCKET"),
        };
        let mut files = [None, None];
        let mut unknown = Vec::new();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "tls-certificate" => files[0] = Some(PathBuf::from(decoded(value))),
                "tls-private-key" => files[1] = Some(PathBuf::from(decoded(value))),
                name if SETTINGS.contains(&name) => {}
                name => unknown.push(name.to_owned()),
            }
        }
        let client = match files {
            [None, None] => None,
            [None, Some(_)] => return fail("tls-private-key needs tls-certificate"),
            // One file may contain both.
            [Some(certificate), key] => {
                Some(ClientFiles { key: key.unwrap_or_else(|| certificate.clone()), certificate })
            }
        };
        let is_https = matches!(&place, CacheLocation::Http(url) if url.starts_with("https:"));
        if client.is_some() && !is_https {
            return fail("tls-certificate is for https");
        }
        Ok(Self { place, url: plain.trim_end_matches('/').to_owned(), client, unknown })
    }
}

/// Decodes the escapes (`%20`) in a value of a query.
fn decoded(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns a URL for messages, without its query and password.
fn shown(url: &str) -> String {
    let url = without_query(url);
    let Some((scheme, rest)) = url.split_once("://") else { return url };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://…@{host}{path}"),
        None => url,
    }
}

/// Returns the HTTPS URL of a bucket. Requests are not signed, so the bucket must be public, or a proxy must sign them.
fn s3(bucket: &str, query: &str) -> Option<String> {
    let bucket = bucket.trim_end_matches('/');
    let setting =
        |wanted: &str| query.split('&').filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == wanted);
    let plain = |text: &str| !text.is_empty() && !text.contains(['/', '@', ' ']);
    let scheme = setting("scheme").map_or("https", |(_, scheme)| scheme);
    let region = setting("region").map_or("us-east-1", |(_, region)| region);
    let url = match setting("endpoint") {
        Some((_, endpoint)) => format!("{scheme}://{endpoint}/{bucket}"),
        None => format!("{scheme}://{bucket}.s3.{region}.amazonaws.com"),
    };
    (plain(bucket) && plain(region) && Origin::from_url(&url).is_some()).then_some(url)
}

impl fmt::Display for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl Cache {
    /// Returns settings of the URL that Nix does not support. They are probably misspelt.
    pub fn unknown_settings(&self) -> &[String] {
        &self.unknown
    }

    /// Returns the origin for which a client certificate is configured, and its files.
    pub(super) fn client(&self) -> Option<(Origin, &ClientFiles)> {
        let CacheLocation::Http(url) = &self.place else { return None };
        Origin::from_url(url).zip(self.client.as_ref())
    }

    /// Returns the narinfo of a store path, or `None` if the cache does not have it.
    pub(super) fn narinfo(&self, access: &CacheAccess, path: &StorePath) -> io::Result<Option<NarInfo>> {
        let text = self.small_file(access, "asking for a narinfo", &format!("{}.narinfo", path.hash_part()))?;
        let parse = |text: Vec<u8>| NarInfo::parse(&text, path).map_err(io::Error::other);
        text.map(parse).transpose()
    }

    /// Returns why Nix takes no path of the store directory `store` from the cache, or `None` if it does: see
    /// `BinaryCacheStore::init` and `HttpBinaryCacheStore::init` in src/libstore of Nix.
    pub(super) fn refused_by_nix(&self, access: &CacheAccess, store: &Path) -> io::Result<Option<String>> {
        let Some(text) = self.small_file(access, "asking for nix-cache-info", "nix-cache-info")? else {
            // Nix writes the file into directories that lack it.
            let is_http = matches!(self.place, CacheLocation::Http(_));
            return Ok(is_http.then(|| "it has no nix-cache-info, so Nix does not use it".to_owned()));
        };
        let text = String::from_utf8_lossy(&text);
        let other = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .filter(|(name, _)| *name == "StoreDir")
            .map(|(_, value)| value.trim())
            .find(|value| Path::new(value) != store);
        Ok(other.map(|other| {
            let other = crate::transport::http::clean(other);
            format!("its nix-cache-info is for the store {other}, so Nix does not use it for {}", store.display())
        }))
    }

    /// Returns the contents of a file of the cache, or `None` if the cache does not have it.
    fn small_file(&self, access: &CacheAccess, act: &'static str, name: &str) -> io::Result<Option<Vec<u8>>> {
        match &self.place {
            CacheLocation::Folder(folder) => match File::open(folder.join(name)) {
                Ok(file) => read_small(file).map(Some),
                // A missing directory is an error of the user, unlike a missing path.
                Err(error) if error.kind() == io::ErrorKind::NotFound && folder.is_dir() => Ok(None),
                Err(error) => Err(io::Error::new(error.kind(), format!("opening {}: {error}", folder.display()))),
            },
            CacheLocation::Http(base) => {
                access.ask(act, &format!("{base}/{name}"), 0).map_or_else(absent, |body| read_small(body).map(Some))
            }
        }
    }

    /// Opens a file of the cache by the URL in a narinfo.
    pub(super) fn open(&self, access: &CacheAccess, url: &str) -> io::Result<Box<dyn Read + Send>> {
        match &self.place {
            CacheLocation::Folder(folder) => {
                let path = Path::new(url);
                if !path.components().all(|part| matches!(part, Component::Normal(_))) {
                    return Err(io::Error::other(format!("the narinfo's URL {url:?} points outside the cache")));
                }
                let path = folder.join(path);
                let opened = File::open(&path)
                    .map_err(|error| io::Error::new(error.kind(), format!("opening {}: {error}", path.display())))?;
                Ok(Box::new(opened))
            }
            CacheLocation::Http(base) => {
                let url = join(&format!("{base}/"), url)
                    .ok_or_else(|| io::Error::other(format!("the narinfo's URL {url:?} is not a URL")))?;
                let (configured, origin) = (Origin::from_url(base), Origin::from_url(&url));
                let is_https = |origin: &Option<Origin>| origin.as_ref().is_some_and(Origin::is_https);
                if is_https(&configured) && !is_https(&origin) {
                    return Err(io::Error::other(format!("the narinfo's URL {} is without TLS", shown(&url))));
                }
                // The narinfo determines the host, but passwords belong to the configured host.
                let access = access.with_credentials(configured == origin);
                let resume = Resume::new(access.http.retry, move |at| access.request("downloading a NAR", &url, at));
                Ok(Box::new(resume))
            }
        }
    }
}

/// Returns `None` for a missing file: caches answer 404 or 410, and object stores without permission to list answer
/// 403. Responses that ask for credentials (401, 407) are errors.
fn absent(error: HttpError) -> io::Result<Option<Vec<u8>>> {
    match error.status() {
        Some(403 | 404 | 410) => Ok(None),
        _ => Err(io::Error::other(error)),
    }
}

fn read_small(body: impl Read) -> io::Result<Vec<u8>> {
    Budget::new(&budget::NARINFO).read(body)
}

impl CacheAccess {
    /// Keeps or removes headers and passwords.
    fn with_credentials(&self, keep: bool) -> Self {
        match keep {
            true => self.clone(),
            false => Self { headers: Vec::new(), netrc: Netrc::default(), ..self.clone() },
        }
    }

    /// Returns the body of a response from byte `at` on, with retries.
    fn ask(&self, act: &'static str, url: &str, at: u64) -> Result<Box<dyn Read + Send>, HttpError> {
        self.http.retry.run(|| self.request(act, url, at))
    }

    fn request(&self, act: &'static str, url: &str, at: u64) -> Result<Box<dyn Read + Send>, HttpError> {
        let range = format!("bytes={at}-");
        let is_authorization = |name: &str| name.eq_ignore_ascii_case("authorization");
        let mut headers: Vec<(&str, &str)> = self
            .headers
            .iter()
            .filter(|(name, _)| !is_authorization(name))
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        if at > 0 {
            headers.push(("range", &range));
        }
        let given = self.headers.iter().find(|(name, _)| is_authorization(name)).map(|(_, value)| value.clone());
        let authorization = given.or_else(|| self.netrc.authorization(&Origin::from_url(url)?));
        let call = Call { headers: &headers, authorization: authorization.as_deref(), ..Call::get(act, url) };
        self.http.send(&call, &mut HttpBody::Empty)?.part(act, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> String {
        match text.parse::<Cache>().map(|cache| cache.place) {
            Ok(CacheLocation::Http(url)) => url,
            Ok(CacheLocation::Folder(path)) => path.display().to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn urls_are_those_of_nix() {
        assert_eq!(place("https://cache.example.org/?priority=10&trusted=1"), "https://cache.example.org");
        assert_eq!(place("file:///tmp/cache?compression=zstd"), "/tmp/cache");
        assert_eq!(place("s3://builds?region=eu-west-1"), "https://builds.s3.eu-west-1.amazonaws.com");
        assert_eq!(place("s3://builds?endpoint=minio.example.org&scheme=http"), "http://minio.example.org/builds");
        let client = |text: &str| {
            let cache = text.parse::<Cache>().map_err(|error| error.to_string())?;
            Ok::<_, String>(cache.client.map(|files| (files.certificate, files.key)))
        };
        let files = |certificate: &str, key: &str| Ok(Some((certificate.into(), key.into())));
        assert_eq!(client("https://a?tls-certificate=/a%20b&tls-private-key=/k&priority=1"), files("/a b", "/k"));
        assert_eq!(client("https://a?tls-certificate=/both"), files("/both", "/both"));
        assert!(client("https://a?tls-private-key=/k").unwrap_err().contains("needs tls-certificate"));
        assert!(client("http://a?tls-certificate=/c").unwrap_err().contains("is for https"));
        let unknown = |text: &str| text.parse::<Cache>().unwrap().unknown_settings().to_vec();
        assert_eq!(unknown("https://a?priority=1&trusted=1&compresion=zstd&tls-certificate=/c"), ["compresion"]);
        for wrong in ["ssh://host", "daemon", "/nix/store", "file://relative", "https://", "s3://", "s3://a/b"] {
            assert!(place(wrong).contains("cannot read the binary cache"), "{wrong}: {}", place(wrong));
        }
        for url in
            ["https://me:secret@host/?x", "https://me:se@secret@host", "http://secret@host/path", "ssh://me:secret@h"]
        {
            let error = place(url);
            assert!(error.contains("cannot read the binary cache") && !error.contains("secret"), "{error}");
        }
        assert!(place("https://me:secret@host").contains("netrc"));
    }
}
