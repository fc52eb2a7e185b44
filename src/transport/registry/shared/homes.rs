//! The home repositories of a fleet's blobs, which make sure that several processes send each blob once.
//!
//! ```text
//! images a, b, c in this order; b and c have layer X  ──▶  b's repository is the home of X
//! b: does X exist there? else send it      c: does X exist there? at home? mount it, else send it home and mount it
//! ```
//!
//! Every part of a fleet, and every later run, computes the homes from the same list. The registry is all that the
//! parts share. A part first sends the blobs that no other part sends, and then waits for the blobs of the others, as
//! long as new blobs appear.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    image::{LayerBlob, ManifestGraph},
    layer::compress::Compression,
    oci::{Digest, Reference, descriptor::media_type},
    threads::lock,
    transport::registry::{self, Client, Purpose, RegistryError},
};

/// The interval of requests for a blob that another part sends.
const PAUSE: Duration = Duration::from_millis(200);

/// A blob of a registry, by digest and whether it is compressed by the push.
pub type Key = (String, Digest, bool);

/// The homes of a fleet's blobs.
#[derive(Debug)]
pub struct Homes {
    homes: Mutex<HashMap<Key, Home>>,
    /// By host and repository.
    repositories: Mutex<HashMap<(String, String), Arc<HomeRepository>>>,
    /// The maximum time in which no blob of another part appears.
    timeout: Duration,
    /// When the last blob of another part appeared, or when this part first waited for one.
    last_found: Mutex<Option<Instant>>,
    /// Whether the registry refuses mounts, so that every blob is sent to each repository.
    refuses_mounts: AtomicBool,
}

/// The home of one blob.
#[derive(Clone, Debug)]
pub struct Home {
    repository: Arc<HomeRepository>,
    /// Whether another part sends the blob. Images of several parts can have the same repository.
    foreign: bool,
}

/// A repository that is the home of blobs of other images.
struct HomeRepository {
    reference: Reference,
    client: Mutex<Option<Arc<Client>>>,
    /// Whether a request failed. The images of other repositories are then pushed without this one.
    is_unusable: AtomicBool,
}

impl fmt::Debug for HomeRepository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HomeRepository({}/{})", self.reference.host, self.reference.repository)
    }
}

impl Homes {
    /// Returns an empty map.
    pub fn new(timeout: Duration) -> Self {
        Self {
            homes: Mutex::default(),
            repositories: Mutex::default(),
            timeout,
            last_found: Mutex::default(),
            refuses_mounts: AtomicBool::new(false),
        }
    }

    /// Assigns the blobs of an image that have no home yet to its repository. Returns how many of its blobs have their
    /// home in another part.
    pub fn add(
        &self,
        content: &ManifestGraph,
        reference: &Reference,
        compression: Compression,
        foreign: bool,
    ) -> usize {
        let place = (reference.host.clone(), reference.repository.clone());
        let new = || {
            let (reference, client) = (reference.clone(), Mutex::default());
            Arc::new(HomeRepository { reference, client, is_unusable: AtomicBool::new(false) })
        };
        let repository = Arc::clone(lock(&self.repositories).entry(place).or_insert_with(new));
        let new = || Home { repository: Arc::clone(&repository), foreign };
        let mut homes = lock(&self.homes);
        let keys = content.images().into_iter().flat_map(|image| &image.layers).map(|layer| {
            let (digest, is_compressed) = key(layer, compression);
            (reference.host.clone(), digest, is_compressed)
        });
        keys.filter(|key| homes.entry(key.clone()).or_insert_with(new).foreign).count()
    }

    /// Returns the home of a blob, if it is usable and is not `client`'s repository, or if another part sends the blob.
    pub fn home_of(&self, client: &Client, digest: Digest, is_compressed: bool) -> Option<Home> {
        if self.refuses_mounts.load(Ordering::Relaxed) {
            return None;
        }
        let home = lock(&self.homes).get(&(client.host().to_owned(), digest, is_compressed)).cloned();
        home.filter(|home| home.is_usable() && (home.foreign || home.repository() != client.repository()))
    }

    /// Whether the blob exists at its home. If another part sends it, this waits for it. An error makes the home
    /// unusable: only the images of that repository depend on it.
    pub fn has_blob(&self, home: &Home, digest: &Digest, options: &registry::Options) -> bool {
        loop {
            let found = match home.client(options).and_then(|client| client.has_blob(digest)) {
                Ok(found) => found,
                Err(_) => {
                    home.set_unusable();
                    return false;
                }
            };
            if !home.foreign {
                return found;
            }
            if found {
                *lock(&self.last_found) = Some(Instant::now());
                return true;
            }
            if lock(&self.last_found).get_or_insert_with(Instant::now).elapsed() >= self.timeout {
                return false;
            }
            thread::sleep(PAUSE);
        }
    }

    /// Records that the registry refuses mounts.
    pub fn refuse(&self) {
        self.refuses_mounts.store(true, Ordering::Relaxed);
    }
}

impl Home {
    pub fn is_foreign(&self) -> bool {
        self.foreign
    }

    pub fn repository(&self) -> &str {
        &self.repository.reference.repository
    }

    pub fn is_usable(&self) -> bool {
        !self.repository.is_unusable.load(Ordering::Relaxed)
    }

    /// Records that a request to the repository failed.
    pub fn set_unusable(&self) {
        self.repository.is_unusable.store(true, Ordering::Relaxed);
    }

    pub fn client(&self, options: &registry::Options) -> Result<Arc<Client>, RegistryError> {
        let mut client = lock(&self.repository.client);
        match &*client {
            Some(client) => Ok(Arc::clone(client)),
            None => Ok(Arc::clone(client.insert(Arc::new(Client::for_purpose(
                Purpose::Write,
                &self.repository.reference,
                options,
            )?)))),
        }
    }
}

/// Returns the key of a layer's blob before it is made: its digest, or the digest of the layer if the push compresses it. The
/// claim of a recipe is part of the key, so that it holds for images with the same claim only.
pub fn key(layer: &LayerBlob, compression: Compression) -> (Digest, bool) {
    let is_compressed =
        compression != Compression::None && media_type::is_compressed_by_push(&layer.descriptor.media_type);
    let claim = layer.compressed.get(compression.name()).filter(|_| is_compressed);
    let key = match claim {
        Some(claim) => Digest::sha256(format!("{} {}", layer.diff_id, claim.digest).as_bytes()),
        None if is_compressed => layer.diff_id,
        None => layer.descriptor.digest,
    };
    (key, is_compressed)
}
