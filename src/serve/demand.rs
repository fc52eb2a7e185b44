//! Images that are made when a client asks for them.
//!
//! ```text
//! manifests/TAG ──▶ resolve: which version ──▶ known ─────────────────────▶ Catalogue ──▶ answer
//!                                          └─▶ make, once for all clients ──▶ known
//! manifests/DIGEST, blobs/DIGEST ──▶ known
//! ```
//!
//! docker 20.10, podman 4.3 and containerd 2.2 wait for the answer to a manifest request, for 1,500 s at least, and fail on
//! one of 503 with Retry-After. A client that disconnects stops no build: the next request finds the image.

use std::{
    collections::{HashMap, VecDeque},
    fmt, io,
    sync::{Arc, Mutex},
    thread,
};

use tokio::sync::watch;

use super::catalogue::Catalogue;
use crate::{image::ManifestGraph, oci::Digest, threads::lock};

/// Different questions that are being answered; more are refused.
const QUESTIONS: usize = 64;

/// What makes images. Its functions may take long; each is called on a thread of its own.
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

    /// Finds what a tag stands for now.
    ///
    /// # Errors
    ///
    /// [`SupplyError`].
    fn resolve(&self, name: &str, tag: &str) -> Result<Version, SupplyError>;

    /// Makes the image of a version.
    ///
    /// # Errors
    ///
    /// [`SupplyError`].
    fn make(&self, name: &str, version: &Version) -> Result<Supplied, SupplyError>;
}

/// What a tag stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The same key stands for the same image.
    pub key: String,
    /// Where the supply finds it.
    pub source: String,
}

/// An image that was made, and what keeps its files. Dropping the latter releases them.
#[derive(Debug)]
pub struct Supplied {
    /// The image.
    pub content: ManifestGraph,
    /// What keeps its files.
    _keep: Box<dyn fmt::Debug + Send + Sync>,
}

impl Supplied {
    /// An image whose files exist until `keep` is dropped.
    pub fn new(content: ManifestGraph, keep: impl fmt::Debug + Send + Sync + 'static) -> Self {
        Self { content, _keep: Box::new(keep) }
    }
}

/// Why there is no image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SupplyError {
    /// There is nothing of this name.
    UnknownName(String),
    /// The name has no such tag, or its image cannot be made.
    UnknownManifest(String),
    /// The name may not be served.
    Denied(String),
    /// Too much is being made.
    Busy,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Question {
    Names,
    Tags(String),
    Image(String, String),
}

type Asked = Result<Arc<Catalogue>, SupplyError>;

/// Everything that was made lately, and what is being made.
#[derive(Debug)]
pub struct Demand {
    supply: Box<dyn Supply>,
    /// Images that are kept.
    limit: usize,
    made: Mutex<Made>,
    running: Mutex<HashMap<Question, watch::Receiver<Option<Asked>>>>,
}

#[derive(Debug, Default)]
struct Made {
    /// The one that was asked for last is at the end.
    images: VecDeque<Kept>,
    catalogue: Arc<Catalogue>,
}

#[derive(Debug)]
struct Kept {
    name: String,
    key: String,
    digest: Digest,
    supplied: Supplied,
    tags: Vec<String>,
}

impl Demand {
    /// Keeps `limit` images, and releases the one that was not asked for longest when one more is made.
    pub fn new(supply: Box<dyn Supply>, limit: usize) -> Self {
        Self { supply, limit: limit.max(1), made: Mutex::default(), running: Mutex::default() }
    }

    /// What a request for this path is answered from.
    pub async fn catalogue(self: &Arc<Self>, path: &str) -> Asked {
        let known = || Ok(Arc::clone(&lock(&self.made).catalogue));
        let Some(rest) = path.strip_prefix("/v2/") else { return known() };
        if rest == "_catalog" {
            return self.ask(Question::Names).await;
        }
        if let Some(name) = rest.strip_suffix("/tags/list") {
            return self.ask(Question::Tags(name.to_owned())).await;
        }
        match rest.rsplit_once("/manifests/") {
            Some((name, tag)) if tag.parse::<Digest>().is_err() => {
                self.ask(Question::Image(name.to_owned(), tag.to_owned())).await
            }
            _ => known(),
        }
    }

    /// The answer to a question, which concurrent requests share.
    async fn ask(self: &Arc<Self>, question: Question) -> Asked {
        let mut answer = self.begin(question)?;
        loop {
            let answered = answer.borrow_and_update().clone();
            if let Some(answered) = answered {
                return answered;
            }
            if answer.changed().await.is_err() {
                return Err(SupplyError::UnknownManifest("making the image ended without a result".to_owned()));
            }
        }
    }

    fn begin(self: &Arc<Self>, question: Question) -> Result<watch::Receiver<Option<Asked>>, SupplyError> {
        let mut running = lock(&self.running);
        if let Some(answer) = running.get(&question) {
            return Ok(answer.clone());
        }
        if running.len() >= QUESTIONS {
            return Err(SupplyError::Busy);
        }
        let (sender, answer) = watch::channel(None);
        let (this, asked) = (Arc::clone(self), question.clone());
        let started = thread::Builder::new().spawn(move || {
            let running = Running { demand: &this, question: &asked };
            let answer = this.answer(&asked);
            // First, so that a request that follows this answer begins anew.
            drop(running);
            let _ = sender.send(Some(answer));
        });
        started.map_err(|_: io::Error| SupplyError::Busy)?;
        running.insert(question, answer.clone());
        Ok(answer)
    }

    fn answer(&self, question: &Question) -> Asked {
        match question {
            Question::Names => Ok(Arc::new(Catalogue::of_names(self.supply.names()?))),
            Question::Tags(name) => Ok(Arc::new(Catalogue::of_tags(name, self.supply.tags(name)?))),
            Question::Image(name, tag) => self.image(name, tag),
        }
    }

    fn image(&self, name: &str, tag: &str) -> Asked {
        let version = self.supply.resolve(name, tag)?;
        if let Some(catalogue) = lock(&self.made).find(name, tag, &version.key) {
            return Ok(catalogue);
        }
        let supplied = self.supply.make(name, &version)?;
        let digest = supplied.content.digest();
        let kept = Kept { name: name.to_owned(), key: version.key, digest, supplied, tags: vec![tag.to_owned()] };
        Ok(lock(&self.made).add(kept, self.limit))
    }
}

impl Made {
    /// The catalogue with `tag` of an image that is known.
    fn find(&mut self, name: &str, tag: &str, key: &str) -> Option<Arc<Catalogue>> {
        let at = self.images.iter().position(|kept| kept.name == name && kept.key == key)?;
        let kept = self.images.remove(at)?;
        let is_tagged = kept.tags.iter().any(|own| own == tag);
        self.images.push_back(kept);
        if !is_tagged {
            self.tag_last(tag);
        }
        Some(Arc::clone(&self.catalogue))
    }

    fn add(&mut self, kept: Kept, limit: usize) -> Arc<Catalogue> {
        let tag = kept.tags[0].clone();
        self.images.push_back(kept);
        while self.images.len() > limit {
            self.images.pop_front();
        }
        self.tag_last(&tag);
        Arc::clone(&self.catalogue)
    }

    /// Gives the last image a tag, which another image of the name may have had.
    fn tag_last(&mut self, tag: &str) {
        let Some(last) = self.images.back() else { return };
        let name = last.name.clone();
        for kept in self.images.iter_mut().filter(|kept| kept.name == name) {
            kept.tags.retain(|own| own != tag);
        }
        self.images.back_mut().expect("there is a last image").tags.push(tag.to_owned());
        let mut catalogue = Catalogue::default();
        for kept in &self.images {
            catalogue.add_tagged(
                &kept.name,
                kept.tags.iter().map(|tag| (tag.clone(), kept.digest)),
                &kept.supplied.content,
            );
        }
        self.catalogue = Arc::new(catalogue);
    }
}

/// A question that is being answered; its end makes room, a panic too.
struct Running<'a> {
    demand: &'a Demand,
    question: &'a Question,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        lock(&self.demand.running).remove(self.question);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;
    use crate::{
        image::Image,
        oci::{Algorithm, Platform, descriptor::media_type},
    };

    /// Makes an image whose config is its key. `made` counts, `gate` holds `make` until the test has asked.
    #[derive(Debug)]
    struct Counting {
        made: Arc<AtomicUsize>,
        released: Arc<AtomicUsize>,
        gate: Arc<Barrier>,
    }

    #[derive(Debug)]
    struct Release(Arc<AtomicUsize>);

    impl Drop for Release {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Supply for Counting {
        fn names(&self) -> Result<Vec<String>, SupplyError> {
            Ok(vec!["app".to_owned()])
        }

        fn tags(&self, name: &str) -> Result<Vec<String>, SupplyError> {
            Err(SupplyError::UnknownName(name.to_owned()))
        }

        fn resolve(&self, _: &str, tag: &str) -> Result<Version, SupplyError> {
            // Two tags of one version.
            let key = tag.trim_end_matches("-again").to_owned();
            Ok(Version { source: key.clone(), key })
        }

        fn make(&self, _: &str, version: &Version) -> Result<Supplied, SupplyError> {
            self.gate.wait();
            self.made.fetch_add(1, Ordering::SeqCst);
            if version.key == "broken" {
                return Err(SupplyError::UnknownManifest("broken".to_owned()));
            }
            let image = Image {
                reference: None,
                platform: Platform::linux("amd64", None),
                media_type: media_type::MANIFEST.to_owned(),
                manifest: version.key.clone().into_bytes(),
                manifest_algorithm: Algorithm::default(),
                config_media_type: media_type::CONFIG.to_owned(),
                config: version.key.clone().into_bytes(),
                config_algorithm: Algorithm::default(),
                config_origin: None,
                layers: Vec::new(),
                closure: None,
                as_is: true,
            };
            Ok(Supplied::new(image.into(), Release(Arc::clone(&self.released))))
        }
    }

    fn demand(limit: usize, gate: usize) -> (Arc<Demand>, Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<Barrier>) {
        let (made, released, gate) = (Arc::default(), Arc::default(), Arc::new(Barrier::new(gate)));
        let supply = Counting { made: Arc::clone(&made), released: Arc::clone(&released), gate: Arc::clone(&gate) };
        (Arc::new(Demand::new(Box::new(supply), limit)), made, released, gate)
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap()
    }

    #[test]
    fn concurrent_requests_make_an_image_once() {
        let (demand, made, _, gate) = demand(8, 2);
        let runtime = runtime();
        let asked: Vec<_> = (0..200)
            .map(|_| {
                let demand = Arc::clone(&demand);
                runtime.spawn(async move { demand.catalogue("/v2/app/manifests/v1").await })
            })
            .collect();
        // The image is not made before this thread is here.
        gate.wait();
        for one in asked {
            let catalogue = runtime.block_on(one).unwrap().unwrap();
            assert!(catalogue.repository("app").unwrap().find("v1").is_some());
        }
        assert_eq!(made.load(Ordering::SeqCst), 1);
        // A second tag of the same version makes nothing.
        let again = runtime.block_on(demand.catalogue("/v2/app/manifests/v1-again")).unwrap();
        assert!(again.repository("app").unwrap().find("v1-again").is_some());
        assert_eq!(made.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn failures_are_not_kept() {
        let (demand, made, ..) = demand(8, 1);
        let runtime = runtime();
        for count in 1..=2 {
            let failed = runtime.block_on(demand.catalogue("/v2/app/manifests/broken")).unwrap_err();
            assert_eq!(failed, SupplyError::UnknownManifest("broken".to_owned()));
            assert_eq!(made.load(Ordering::SeqCst), count);
        }
        assert!(lock(&demand.running).is_empty());
    }

    #[test]
    fn the_oldest_image_is_released() {
        let (demand, _, released, _) = demand(2, 1);
        let runtime = runtime();
        let ask = |tag: &str| runtime.block_on(demand.catalogue(&format!("/v2/app/manifests/{tag}"))).unwrap();
        ask("one");
        ask("two");
        // `one` was asked for later than `two`.
        ask("one");
        let catalogue = ask("three");
        assert_eq!(released.load(Ordering::SeqCst), 1);
        let repository = catalogue.repository("app").unwrap();
        assert_eq!(repository.tags().collect::<Vec<_>>(), ["one", "three"]);
        let known = runtime.block_on(demand.catalogue("/v2/app/blobs/sha256:0")).unwrap();
        assert!(known.repository("app").unwrap().blob(&Digest::of(b"one")).is_some());
        assert!(known.repository("app").unwrap().blob(&Digest::of(b"two")).is_none());
    }
}
