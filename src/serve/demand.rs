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
    time::Duration,
};

use tokio::sync::watch;

use super::catalogue::Catalogue;
use crate::{image::ManifestGraph, oci::Digest, threads::lock};

/// Different questions that are being answered; more are refused.
const QUESTIONS: usize = 64;
/// Time between looks at questions that are ending.
const POLL: Duration = Duration::from_millis(20);

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

    /// Ends what is being made: the calls above that are running, and later ones, fail soon.
    fn stop(&self);
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

    /// Ends what is being made, and waits until it has ended.
    pub async fn stop(&self) {
        self.supply.stop();
        while !lock(&self.running).is_empty() {
            tokio::time::sleep(POLL).await;
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
mod tests;
