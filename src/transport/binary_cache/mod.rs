//! Store paths that the machine lacks, from binary caches: what a push of a detached recipe is made from.
//!
//! ```text
//! store path ──▶ narinfo ──▶ NAR (xz, zstd, bzip2, none) ──▶ checked ──▶ layer::nar ──▶ tar
//!                │ not there, another hash                    │ broken
//!                └──────────────▶ the next cache ◀────────────┘ from where it broke on
//! ```
//!
//! The recipe's hashes decide, so caches need no signatures: one that lies gives
//! an error, or is passed over for the next. Nothing is kept: a NAR goes from the
//! network into a layer.
//!
//! Only with the feature `net`.

mod cache;
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
pub use narinfo::{Compression, NarInfo};

use cache::ClientFiles;

use super::{
    http::{Http, HttpError, Netrc, Origin, Retry, Settings, Tls},
    registry::{self, Client},
};
use crate::{
    closure::StorePath,
    image::recipe::{Provider, Recorded},
    oci::{Digest, Reference},
    threads::lock,
};

/// Binary caches, in the order in which they are asked, and registries for blobs.
#[derive(Debug)]
pub struct Substituters {
    caches: Caches,
    http: OnceLock<Result<Access, String>>,
    headers: Vec<(String, String)>,
    registry: registry::Options,
}

enum Caches {
    Given(Vec<Cache>),
    /// Those of Nix's configuration, which is read when the first is needed.
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

/// How caches are reached.
#[derive(Clone, Debug)]
struct Access {
    http: Http,
    netrc: Netrc,
    headers: Vec<(String, String)>,
    /// URLs of caches that failed when they were last asked.
    failing: Arc<Mutex<HashSet<String>>>,
}

impl Access {
    /// One that fails is not tried again and again for each of a thousand store paths.
    fn patient_with(&self, cache: &Cache) -> Self {
        let mut access = self.clone();
        if self.failing().contains(&cache.to_string()) {
            access.http.retry = Retry { tries: 1 };
        }
        access
    }

    /// Whether a cache answered.
    fn note(&self, cache: &Cache, answered: bool) {
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
    /// These caches; without any, those of Nix's configuration. `headers` (names and values) are for caches that are
    /// given, and for no other; `registry` says how registries are reached that have blobs:
    /// recipes name them, so credentials that were given by hand are never sent there.
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

    /// A client that identifies itself to the caches that have `tls-certificate`, and to no other server.
    fn http(&self) -> Result<Http, HttpError> {
        let mut clients: HashMap<Origin, &ClientFiles> = HashMap::new();
        for (origin, files) in self.caches().iter().filter_map(Cache::client) {
            if clients.insert(origin.clone(), files).is_some_and(|other| other != files) {
                let why = format!("two binary caches at {origin} have different tls-certificate settings");
                return Err(HttpError::Answer { act: "choosing a client certificate", why });
            }
        }
        let machine = Tls::of_machine()?;
        let own =
            clients.into_iter().map(|(origin, files)| Ok((origin, Tls::with_client(&files.certificate, &files.key)?)));
        let own: HashMap<Origin, Tls> = own.collect::<Result<_, HttpError>>()?;
        let trust = move |origin: &Origin| Ok(own.get(origin).unwrap_or(&machine).clone());
        Http::new(Settings { trust: Arc::new(trust), retry: Retry::default(), stall: None })
    }

    fn access(&self) -> io::Result<&Access> {
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
            Ok(Access { http, netrc, headers, failing: Arc::default() })
        });
        access.as_ref().map_err(|error| io::Error::other(error.clone()))
    }
}

impl Provider for Substituters {
    fn nar(&self, path: &StorePath, recorded: Option<Recorded>) -> io::Result<Box<dyn Read + Send>> {
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
        // Whether the registry has it is known with its first bytes: who asks may have another place to look.
        let mut first = vec![0; 4096];
        let read = blob.read(&mut first)?;
        first.truncate(read);
        Ok(Box::new(io::Cursor::new(first).chain(blob)))
    }

    fn cache(&self) -> Option<String> {
        self.caches().first().map(Cache::to_string)
    }
}
