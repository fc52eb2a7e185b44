//! Where the blobs of a fleet belong, so that several processes send each of them once.
//!
//! ```text
//! images a, b, c in this order; b and c have layer X  ──▶  X belongs to b's repository, its home
//! b: is X there? send it         c: is X there? at home? mount it, else send it home and mount it
//! ```
//!
//! Every part of a fleet, and every later run, works this out from the same list and looks in one place: the registry is
//! all that they share. A part sends first what only it sends, and then waits for blobs of the others, as long as those
//! show signs of life: blobs that appear.

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

/// How often a registry is asked for a blob that another part sends.
const PAUSE: Duration = Duration::from_millis(200);

/// A blob of a registry, by digest and whether it is compressed on the way.
pub type Key = (String, Digest, bool);

/// The homes of a fleet's blobs.
#[derive(Debug)]
pub struct Homes {
    homes: Mutex<HashMap<Key, Arc<Home>>>,
    /// By host and repository.
    repositories: Mutex<HashMap<(String, String), Arc<Home>>>,
    /// How long another part may show no sign of life.
    patience: Duration,
    sign: Mutex<Instant>,
    /// Whether the registry took nothing over: then everything is sent where it is needed.
    refuses: AtomicBool,
}

/// A repository that blobs of other images belong to.
pub struct Home {
    reference: Reference,
    /// Whether another part sends them.
    foreign: bool,
    client: Mutex<Option<Arc<Client>>>,
}

impl fmt::Debug for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Home({}/{})", self.reference.host, self.reference.repository)
    }
}

impl Homes {
    /// None yet.
    pub fn new(patience: Duration) -> Self {
        Self {
            homes: Mutex::default(),
            repositories: Mutex::default(),
            patience,
            sign: Mutex::new(Instant::now()),
            refuses: AtomicBool::new(false),
        }
    }

    /// Gives the blobs of an image that none before it had their home in its repository, and says how many of its blobs
    /// have one in another part.
    pub fn add(
        &self,
        content: &ManifestGraph,
        reference: &Reference,
        compression: Compression,
        foreign: bool,
    ) -> usize {
        let place = (reference.host.clone(), reference.repository.clone());
        let own = Arc::clone(
            lock(&self.repositories)
                .entry(place)
                .or_insert_with(|| Arc::new(Home { reference: reference.clone(), foreign, client: Mutex::default() })),
        );
        let mut homes = lock(&self.homes);
        let keys = content.images().into_iter().flat_map(|image| &image.layers).map(|layer| {
            let (digest, is_compressed) = key(layer, compression);
            (reference.host.clone(), digest, is_compressed)
        });
        keys.filter(|key| homes.entry(key.clone()).or_insert_with(|| Arc::clone(&own)).foreign).count()
    }

    /// The home of a blob, if it is not in `client`'s repository, or another part sends it.
    pub fn of(&self, client: &Client, digest: Digest, is_compressed: bool) -> Option<Arc<Home>> {
        if self.refuses.load(Ordering::Relaxed) {
            return None;
        }
        let home = lock(&self.homes).get(&(client.host().to_owned(), digest, is_compressed)).cloned();
        home.filter(|home| home.foreign || home.repository() != client.repository())
    }

    /// Whether the blob is at home. Where another part sends it, it gets the time for that.
    pub fn has(&self, home: &Home, digest: &Digest, options: &registry::Options) -> Result<bool, RegistryError> {
        let client = home.client(options)?;
        loop {
            let found = client.has_blob(digest)?;
            if !home.foreign {
                return Ok(found);
            }
            if found {
                *lock(&self.sign) = Instant::now();
                return Ok(true);
            }
            if lock(&self.sign).elapsed() >= self.patience {
                return Ok(false);
            }
            thread::sleep(PAUSE);
        }
    }

    /// The registry takes nothing over from other repositories.
    pub fn refuse(&self) {
        self.refuses.store(true, Ordering::Relaxed);
    }
}

impl Home {
    pub fn is_foreign(&self) -> bool {
        self.foreign
    }

    pub fn repository(&self) -> &str {
        &self.reference.repository
    }

    pub fn client(&self, options: &registry::Options) -> Result<Arc<Client>, RegistryError> {
        let mut client = lock(&self.client);
        match &*client {
            Some(client) => Ok(Arc::clone(client)),
            None => {
                Ok(Arc::clone(client.insert(Arc::new(Client::for_purpose(Purpose::Write, &self.reference, options)?))))
            }
        }
    }
}

/// How a layer's blob is known before it is made: by its own digest, or where it is compressed on the way by the layer's.
pub fn key(layer: &LayerBlob, compression: Compression) -> (Digest, bool) {
    let is_compressed = compression != Compression::None && layer.descriptor.media_type == media_type::LAYER_TAR;
    (if is_compressed { layer.diff_id } else { layer.descriptor.digest }, is_compressed)
}
