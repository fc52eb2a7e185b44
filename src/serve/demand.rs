//! Images that are built when a client requests them.
//!
//! ```text
//! manifests/TAG ──▶ resolve the version ──▶ cached image ─────────────────▶ Catalogue ──▶ response
//!                                       └─▶ make, once for all clients ──▶ cached image
//! blobs/DIGEST ──▶ cached image
//! manifests/DIGEST ──▶ cached image ─▶ if none has the digest, as manifests/latest
//! ```
//!
//! docker 20.10, podman 4.3 and containerd 2.2 wait at least 1,500 s for the response to a manifest request, and fail on
//! status 503 with Retry-After. If a client disconnects, the build continues, and the next request finds the image.

mod turns;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt, io,
    net::IpAddr,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use tokio::sync::watch;

use super::{
    catalogue::{Catalogue, ServedRepository},
    peer_limits::SHARE,
};
use crate::{image::ManifestGraph, oci::Digest, threads::lock};
use turns::ClientTurns;

/// The maximum number of different queries that run at the same time, and of those that one client has begun; further ones are
/// refused.
const MAX_QUERIES: usize = 64;
const MAX_CLIENT_QUERIES: usize = MAX_QUERIES / SHARE;
/// The tag of the current version of an image.
pub const LATEST: &str = "latest";
/// The interval at which [`Demand::stop`] checks whether queries are still running.
const POLL: Duration = Duration::from_millis(20);

/// A source of images. Its functions may take long, and each call has its own thread.
pub trait Supply: Send + Sync + fmt::Debug {
    /// Returns the names of all images.
    ///
    /// # Errors
    ///
    /// [`SupplyError`].
    fn names(&self) -> Result<Vec<String>, SupplyError>;

    /// Returns the tags of an image.
    ///
    /// # Errors
    ///
    /// [`SupplyError`].
    fn tags(&self, name: &str) -> Result<Vec<String>, SupplyError>;

    /// Finds the current version of a tag.
    ///
    /// # Errors
    ///
    /// [`SupplyError`].
    fn resolve(&self, name: &str, tag: &str) -> Result<ImageVersion, SupplyError>;

    /// Builds the image of a version.
    ///
    /// # Errors
    ///
    /// [`SupplyError`].
    fn make(&self, name: &str, version: &ImageVersion) -> Result<Supplied, SupplyError>;

    /// Cancels running builds. Running and later calls of the functions above fail soon.
    fn stop(&self);
}

/// The version of an image that a tag stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageVersion {
    /// Equal keys stand for the same image.
    pub key: String,
    /// The location from which the supply builds the image.
    pub source: String,
}

/// A built image. Its files exist until it is dropped.
#[derive(Debug)]
pub struct Supplied {
    /// The image.
    pub content: ManifestGraph,
    /// Keeps the files of the image until it is dropped.
    _keep: Box<dyn fmt::Debug + Send + Sync>,
}

impl Supplied {
    /// Creates an image whose files exist until `keep` is dropped.
    pub fn new(content: ManifestGraph, keep: impl fmt::Debug + Send + Sync + 'static) -> Self {
        Self { content, _keep: Box::new(keep) }
    }
}

/// The reason that an image is not available.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SupplyError {
    /// No image has this name.
    UnknownName(String),
    /// The image has no such tag, or cannot be built.
    UnknownManifest(String),
    /// The name is not allowed.
    Denied(String),
    /// Too many builds are running.
    Busy,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Query {
    Names,
    Tags(String),
    Image(String, String),
}

type QueryResult = Result<Arc<Catalogue>, SupplyError>;

#[derive(Debug)]
struct RunningQuery {
    /// The client that has begun it.
    client: IpAddr,
    answer: watch::Receiver<Option<QueryResult>>,
}

/// The cache of built images, and the running queries.
#[derive(Debug)]
pub struct Demand {
    supply: Box<dyn Supply>,
    /// The maximum number of cached images.
    limit: usize,
    cache: Mutex<QueryCache>,
    running: Arc<Mutex<RunningQueries>>,
    turns: ClientTurns,
}

type RunningQueries = HashMap<Query, RunningQuery>;

#[derive(Debug, Default)]
struct QueryCache {
    /// The images in the order of the last request for their tags, manifests or blobs, the oldest first.
    images: VecDeque<CachedImage>,
    catalogue: Arc<Catalogue>,
}

#[derive(Debug)]
struct CachedImage {
    name: String,
    key: String,
    digest: Digest,
    /// The digests of its manifests and blobs.
    digests: HashSet<Digest>,
    supplied: Supplied,
    tags: Vec<String>,
}

impl Demand {
    /// Caches `limit` images, one at least. A further one replaces the image whose last request is the oldest. `turns`
    /// queries run at the same time, one at least.
    pub fn new(supply: Box<dyn Supply>, limit: usize, turns: u32) -> Self {
        Self {
            supply,
            limit: limit.max(1),
            cache: Mutex::default(),
            running: Arc::default(),
            turns: ClientTurns::new(turns),
        }
    }

    /// Returns the catalogue with the response to a request of `client` for this path.
    pub async fn catalogue(self: &Arc<Self>, path: &str, client: IpAddr) -> QueryResult {
        let cached = || Ok(Arc::clone(&lock(&self.cache).catalogue));
        let Some(rest) = path.strip_prefix("/v2/") else { return cached() };
        if rest == "_catalog" {
            return self.ask(Query::Names, client).await;
        }
        if let Some(name) = rest.strip_suffix("/tags/list") {
            return self.ask(Query::Tags(name.to_owned()), client).await;
        }
        let manifest = rest.rsplit_once("/manifests/");
        let Some((name, version)) = manifest.or_else(|| rest.rsplit_once("/blobs/")) else { return cached() };
        let tag = match version.parse::<Digest>() {
            Ok(digest) if lock(&self.cache).use_digest(name, &digest) || manifest.is_none() => return cached(),
            Err(_) if manifest.is_none() => return cached(),
            Err(_) => version,
            // A digest that was pulled before this server started.
            Ok(_) => LATEST,
        };
        self.ask(Query::Image(name.to_owned(), tag.to_owned()), client).await
    }

    /// Returns the result of a query. Concurrent requests share one query.
    async fn ask(self: &Arc<Self>, query: Query, client: IpAddr) -> QueryResult {
        let mut answer = self.begin(query, client)?;
        loop {
            let result = answer.borrow_and_update().clone();
            if let Some(result) = result {
                return result;
            }
            if answer.changed().await.is_err() {
                return Err(SupplyError::UnknownManifest("making the image ended without a result".to_owned()));
            }
        }
    }

    /// Cancels running builds, and waits until they have ended.
    pub async fn stop(&self) {
        self.supply.stop();
        while !lock(&self.running).is_empty() {
            tokio::time::sleep(POLL).await;
        }
    }

    fn begin(
        self: &Arc<Self>,
        query: Query,
        client: IpAddr,
    ) -> Result<watch::Receiver<Option<QueryResult>>, SupplyError> {
        let mut running = lock(&self.running);
        if let Some(RunningQuery { answer, .. }) = running.get(&query) {
            return Ok(answer.clone());
        }
        let of_client = running.values().filter(|query| query.client == client).count();
        if running.len() >= MAX_QUERIES || of_client >= MAX_CLIENT_QUERIES {
            return Err(SupplyError::Busy);
        }
        let (sender, answer) = watch::channel(None);
        let (demand, queries, key) = (Arc::clone(self), Arc::clone(&self.running), query.clone());
        let started = thread::Builder::new().spawn(move || {
            let guard = QueryGuard { running: queries, query: key };
            // The supply is released before the entry is removed, so that only the server has it when no query is running: its
            // files are removed with the server.
            let answer = {
                let demand = demand;
                demand.answer(&guard.query, client)
            };
            // The entry is removed before the result is sent, so that a request after the result starts a new query.
            drop(guard);
            let _ = sender.send(Some(answer));
        });
        started.map_err(|_: io::Error| SupplyError::Busy)?;
        running.insert(query, RunningQuery { client, answer: answer.clone() });
        Ok(answer)
    }

    fn answer(&self, query: &Query, client: IpAddr) -> QueryResult {
        let _turn = self.turns.take(client);
        match query {
            Query::Names => Ok(Arc::new(Catalogue::from_names(self.supply.names()?))),
            Query::Tags(name) => Ok(Arc::new(Catalogue::from_tags(name, self.supply.tags(name)?))),
            Query::Image(name, tag) => self.image(name, tag),
        }
    }

    fn image(&self, name: &str, tag: &str) -> QueryResult {
        let version = self.supply.resolve(name, tag)?;
        if let Some(catalogue) = lock(&self.cache).find(name, tag, &version.key) {
            return Ok(catalogue);
        }
        let supplied = self.supply.make(name, &version)?;
        let digest = supplied.content.digest();
        let digests = ServedRepository::from(supplied.content.clone()).digests().collect();
        let tags = vec![tag.to_owned()];
        let image = CachedImage { name: name.to_owned(), key: version.key, digest, digests, supplied, tags };
        Ok(lock(&self.cache).add(image, self.limit))
    }
}

impl QueryCache {
    /// Tags a cached image and returns the catalogue, or `None` if the image is not cached.
    fn find(&mut self, name: &str, tag: &str, key: &str) -> Option<Arc<Catalogue>> {
        let at = self.images.iter().position(|image| image.name == name && image.key == key)?;
        let image = self.images.remove(at)?;
        let is_tagged = image.tags.iter().any(|other| other == tag);
        self.images.push_back(image);
        if !is_tagged {
            self.tag_last(tag);
        }
        Some(Arc::clone(&self.catalogue))
    }

    /// Makes images with this manifest or blob the last ones to be removed. Returns whether there are any.
    fn use_digest(&mut self, name: &str, digest: &Digest) -> bool {
        let has_digest = |image: &CachedImage| image.name == name && image.digests.contains(digest);
        let (used, others): (Vec<_>, Vec<_>) = self.images.drain(..).partition(has_digest);
        let is_used = !used.is_empty();
        self.images.extend(others.into_iter().chain(used));
        is_used
    }

    fn add(&mut self, image: CachedImage, limit: usize) -> Arc<Catalogue> {
        let tag = image.tags[0].clone();
        self.images.push_back(image);
        while self.images.len() > limit {
            self.images.pop_front();
        }
        self.tag_last(&tag);
        Arc::clone(&self.catalogue)
    }

    /// Adds a tag to the last image, and removes the tag from other images of the same name.
    fn tag_last(&mut self, tag: &str) {
        let Some(last) = self.images.back() else { return };
        let name = last.name.clone();
        for image in self.images.iter_mut().filter(|image| image.name == name) {
            image.tags.retain(|other| other != tag);
        }
        self.images.back_mut().expect("there is a last image").tags.push(tag.to_owned());
        let mut catalogue = Catalogue::default();
        for image in &self.images {
            catalogue.add_tagged(
                &image.name,
                image.tags.iter().map(|tag| (tag.clone(), image.digest)),
                &image.supplied.content,
            );
        }
        self.catalogue = Arc::new(catalogue);
    }
}

/// A running query. Dropping it removes its entry, also after a panic.
struct QueryGuard {
    running: Arc<Mutex<RunningQueries>>,
    query: Query,
}

impl Drop for QueryGuard {
    fn drop(&mut self) {
        lock(&self.running).remove(&self.query);
    }
}

#[cfg(test)]
mod tests;
