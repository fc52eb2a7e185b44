//! Reads store paths that the machine lacks from binary caches. A push of a detached recipe makes its layers from them.
//!
//! ```text
//! store path ──▶ narinfo ──▶ NAR (xz, zstd, bzip2, none) ──▶ checked ──▶ layer::nar ──▶ tar
//! │ missing, another hash                    │ broken
//! └──────────────▶ the next cache ◀────────────┘ from the same position on
//! ```
//!
//! NARs are checked with the hashes of the recipe, so caches need no signatures: wrong data is an error, or the next
//! cache is used. NARs are not stored: their bytes go from the network into a layer.
//!
//! This module requires the feature `net`.

mod cache;
mod closure;
mod nar;
mod narinfo;
mod nix;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    io::{self, Read},
    sync::{Arc, Mutex, MutexGuard, OnceLock},
};

pub use cache::Cache;
pub use closure::Missing;
pub use narinfo::{NarCompression, NarInfo};
pub use nix::settings;

use cache::ClientFiles;

use super::{
    http::{ClientSettings, Http, HttpError, Netrc, Origin, Retry, Tls},
    registry::{self, Client},
};
use crate::{
    closure::StorePath,
    image::recipe::{Provider, RecordedNar},
    oci::{Digest, Reference},
    threads::lock,
};

/// Binary caches in the order of requests, and access to registries for blobs.
#[derive(Debug)]
pub struct Substituters {
    caches: Caches,
    http: OnceLock<Result<CacheAccess, String>>,
    headers: Vec<(String, String)>,
    registry: registry::Options,
}

enum Caches {
    Given(Vec<Cache>),
    /// The caches of Nix's configuration, which is read when the first cache is needed.
    OfNix(OnceLock<nix::Configuration>),
}

impl fmt::Debug for Caches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(caches) => f.debug_list().entries(caches).finish(),
            Self::OfNix(_) => f.write_str("OfNix"),
        }
    }
}

/// The access to caches.
#[derive(Clone, Debug)]
struct CacheAccess {
    http: Http,
    netrc: Netrc,
    headers: Vec<(String, String)>,
    /// URLs of caches whose last request failed.
    failing: Arc<Mutex<HashSet<String>>>,
}

impl CacheAccess {
    /// Returns the access without retries if the last request to the cache failed, so that thousands of store paths do
    /// not wait for it.
    fn patient_with(&self, cache: &Cache) -> Self {
        let mut access = self.clone();
        if self.failing().contains(&cache.to_string()) {
            access.http.retry = Retry { tries: 1 };
        }
        access
    }

    /// Records whether a cache answered.
    fn record_answer(&self, cache: &Cache, answered: bool) {
        match answered {
            true => self.failing().remove(&cache.to_string()),
            false => self.failing().insert(cache.to_string()),
        };
    }

    fn failing(&self) -> MutexGuard<'_, HashSet<String>> {
        lock(&self.failing)
    }
}

impl Substituters {
    /// Uses these caches, or those of Nix's configuration if there are none. `headers` (names and values) are sent only
    /// to the given caches. `registry` is the access to registries with blobs. Recipes name these registries, so given
    /// credentials are never sent there.
    pub fn new(caches: Vec<Cache>, headers: Vec<(String, String)>, registry: registry::Options) -> Self {
        let caches = match caches.is_empty() {
            true => Caches::OfNix(OnceLock::new()),
            false => Caches::Given(caches),
        };
        let registry = registry.without_given_credentials();
        Self { caches, http: OnceLock::new(), headers, registry }
    }

    fn caches(&self) -> &[Cache] {
        match &self.caches {
            Caches::Given(caches) => caches,
            Caches::OfNix(configuration) => &configuration.get_or_init(nix::Configuration::read).caches,
        }
    }

    /// Returns a client that uses the client certificate of a cache for that cache only.
    fn http(&self) -> Result<Http, HttpError> {
        let mut clients: HashMap<Origin, &ClientFiles> = HashMap::new();
        for (origin, files) in self.caches().iter().filter_map(Cache::client) {
            if clients.insert(origin.clone(), files).is_some_and(|other| other != files) {
                let why = format!("two binary caches at {origin} have different tls-certificate settings");
                return Err(HttpError::Answer { act: "choosing a client certificate", why });
            }
        }
        let machine = Tls::for_machine()?;
        let client_settings =
            clients.into_iter().map(|(origin, files)| Ok((origin, Tls::with_client(&files.certificate, &files.key)?)));
        let client_settings: HashMap<Origin, Tls> = client_settings.collect::<Result<_, HttpError>>()?;
        let trust = move |origin: &Origin| Ok(client_settings.get(origin).unwrap_or(&machine).clone());
        Http::new(ClientSettings { trust: Arc::new(trust), retry: Retry::default(), stall: None })
    }

    fn access(&self) -> io::Result<&CacheAccess> {
        let access = self.http.get_or_init(|| {
            let http = self.http().map_err(|error| error.to_string())?;
            let configured = match &self.caches {
                Caches::Given(_) => nix::Configuration::default_netrc(),
                Caches::OfNix(configuration) => configuration.get_or_init(nix::Configuration::read).netrc.clone(),
            };
            let netrc = nix::netrc(&configured).map_err(|error| error.to_string())?;
            let headers = match &self.caches {
                Caches::Given(_) => self.headers.clone(),
                Caches::OfNix(_) => Vec::new(),
            };
            Ok(CacheAccess { http, netrc, headers, failing: Arc::default() })
        });
        access.as_ref().map_err(|error| io::Error::other(error.clone()))
    }
}

impl Provider for Substituters {
    fn nar(&self, path: &StorePath, recorded: Option<RecordedNar>) -> io::Result<Box<dyn Read + Send>> {
        let caches = self.caches();
        if caches.is_empty() {
            let why =
                format!("{path} is not on this machine, and no binary cache is configured; add one with --substituter");
            return Err(io::Error::new(io::ErrorKind::NotFound, why));
        }
        let nar = nar::Nar::open(Arc::from(caches), self.access()?.clone(), path.clone(), recorded)?;
        Ok(Box::new(nar))
    }

    fn blob(&self, origin: &str, digest: &Digest) -> io::Result<Box<dyn Read + Send>> {
        let reference: Reference = format!("{origin}@{digest}").parse().map_err(io::Error::other)?;
        let client = Client::new(&reference, &self.registry).map_err(io::Error::other)?;
        let mut blob = Arc::new(client).blob(digest);
        // The first bytes show whether the registry has the blob, so that the caller can try other sources.
        let mut first = vec![0; 4096];
        let read = blob.read(&mut first)?;
        first.truncate(read);
        Ok(Box::new(io::Cursor::new(first).chain(blob)))
    }

    fn cache(&self) -> Option<String> {
        self.caches().first().map(Cache::to_string)
    }
}
