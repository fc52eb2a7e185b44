//! One binary cache: where its files are, and how they are fetched.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::{Component, Path, PathBuf},
    str::FromStr,
};

use super::{Access, NarInfo};
use crate::{
    closure::StorePath,
    transport::http::{Body, Call, HttpError, Netrc, Origin, Resume, join, without_query},
};

/// The limit for a narinfo, in bytes; one with 5,000 references has 300 KiB.
const NARINFO_LIMIT: u64 = 4 * 1024 * 1024;

/// A binary cache, as Nix writes its URL: `https://…`, `http://…`, `file:///…` or `s3://BUCKET`.
#[derive(Clone, PartialEq, Eq)]
pub struct Cache {
    place: Place,
    url: String,
}

#[derive(Clone, PartialEq, Eq)]
enum Place {
    /// An HTTP URL without a slash at its end.
    Http(String),
    Folder(PathBuf),
}

/// Text that is no binary cache.
#[derive(Debug, thiserror::Error)]
#[error("strata cannot read the binary cache {text}: {why}")]
pub struct ParseCacheError {
    text: String,
    why: &'static str,
}

impl FromStr for Cache {
    type Err = ParseCacheError;

    /// Parses a URL; settings of Nix's behind a question mark (`?priority=10`) are skipped, but for those of S3.
    fn from_str(text: &str) -> Result<Self, ParseCacheError> {
        let fail = |why| Err(ParseCacheError { text: shown(text), why });
        let (plain, query) = text.split_once('?').unwrap_or((text, ""));
        let place = match plain.split_once("://") {
            Some(("file", path)) if path.starts_with('/') => Place::Folder(path.into()),
            Some(("file", _)) => return fail("write file:///PATH"),
            Some(("http" | "https", _)) => match Origin::of(plain) {
                Some(_) => Place::Http(plain.trim_end_matches('/').to_owned()),
                None => return fail("it has no host, or a password in it, which belongs into a netrc file"),
            },
            Some(("s3", bucket)) => match s3(bucket, query) {
                Some(url) => Place::Http(url),
                None => return fail("write s3://BUCKET?region=REGION or s3://BUCKET?endpoint=HOST"),
            },
            _ => return fail("write https://HOST, http://HOST, file:///PATH or s3://BUCKET"),
        };
        Ok(Self { place, url: plain.trim_end_matches('/').to_owned() })
    }
}

/// A URL for messages, without a query and without a password.
fn shown(url: &str) -> String {
    let url = without_query(url);
    let Some((scheme, rest)) = url.split_once("://") else { return url };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://…@{host}{path}"),
        None => url,
    }
}

/// The HTTPS form of a bucket; requests are not signed, so it is a public one, or a proxy signs them.
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
    (plain(bucket) && plain(region) && Origin::of(&url).is_some()).then_some(url)
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
    /// What the cache says of a store path; `None` where it does not have it.
    pub(super) fn narinfo(&self, access: &Access, path: &StorePath) -> io::Result<Option<NarInfo>> {
        let name = format!("{}.narinfo", path.hash_part());
        let text = match &self.place {
            Place::Folder(folder) => match File::open(folder.join(&name)) {
                Ok(file) => Some(read_small(file)?),
                // A folder that is not there is a mistake, not a path that is missing.
                Err(error) if error.kind() == io::ErrorKind::NotFound && folder.is_dir() => None,
                Err(error) => {
                    return Err(io::Error::new(error.kind(), format!("opening {}: {error}", folder.display())));
                }
            },
            Place::Http(base) => {
                let url = format!("{base}/{name}");
                access.ask("asking for a narinfo", &url, 0).map_or_else(absent, |body| read_small(body).map(Some))?
            }
        };
        let parse = |text: Vec<u8>| NarInfo::parse(&text, path).map_err(io::Error::other);
        text.map(parse).transpose()
    }

    /// A file of the cache's, by the URL that a narinfo gives.
    pub(super) fn open(&self, access: &Access, url: &str) -> io::Result<Box<dyn Read + Send>> {
        match &self.place {
            Place::Folder(folder) => {
                let path = Path::new(url);
                if !path.components().all(|part| matches!(part, Component::Normal(_))) {
                    return Err(io::Error::other(format!("the narinfo's URL {url:?} points outside the cache")));
                }
                let path = folder.join(path);
                let opened = File::open(&path)
                    .map_err(|error| io::Error::new(error.kind(), format!("opening {}: {error}", path.display())))?;
                Ok(Box::new(opened))
            }
            Place::Http(base) => {
                let url = join(&format!("{base}/"), url)
                    .ok_or_else(|| io::Error::other(format!("the narinfo's URL {url:?} is not a URL")))?;
                let (configured, origin) = (Origin::of(base), Origin::of(&url));
                let is_https = |origin: &Option<Origin>| origin.as_ref().is_some_and(Origin::is_https);
                if is_https(&configured) && !is_https(&origin) {
                    return Err(io::Error::other(format!("the narinfo's URL {} is without TLS", shown(&url))));
                }
                // The narinfo chooses the host; passwords are for the one that was configured.
                let access = access.with_credentials(configured == origin);
                let resume = Resume::new(access.http.retry, move |at| access.request("downloading a NAR", &url, at));
                Ok(Box::new(resume))
            }
        }
    }
}

/// Not found is no failure: caches answer 404, and object stores that may not be listed 403.
fn absent(error: HttpError) -> io::Result<Option<Vec<u8>>> {
    match error.status() {
        Some(403 | 404) => Ok(None),
        _ => Err(io::Error::other(error)),
    }
}

fn read_small(body: impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    body.take(NARINFO_LIMIT).read_to_end(&mut text)?;
    Ok(text)
}

impl Access {
    /// The same with or without headers and passwords.
    fn with_credentials(&self, keep: bool) -> Self {
        match keep {
            true => self.clone(),
            false => Self { headers: Vec::new(), netrc: Netrc::default(), ..self.clone() },
        }
    }

    /// The body of an answer, from byte `at` on; tried again where that helps.
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
        let authorization = given.or_else(|| self.netrc.authorization(&Origin::of(url)?));
        let call = Call { headers: &headers, authorization: authorization.as_deref(), ..Call::get(act, url) };
        self.http.send(&call, &mut Body::Empty)?.part(act, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> String {
        match text.parse::<Cache>().map(|cache| cache.place) {
            Ok(Place::Http(url)) => url,
            Ok(Place::Folder(path)) => path.display().to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn urls_are_those_of_nix() {
        assert_eq!(place("https://cache.example.org/?priority=10&trusted=1"), "https://cache.example.org");
        assert_eq!(place("file:///tmp/cache?compression=zstd"), "/tmp/cache");
        assert_eq!(place("s3://builds?region=eu-west-1"), "https://builds.s3.eu-west-1.amazonaws.com");
        assert_eq!(place("s3://builds?endpoint=minio.example.org&scheme=http"), "http://minio.example.org/builds");
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
