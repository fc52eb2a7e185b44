//! The images of a source, and the choice of one of them.

use std::{collections::HashSet, sync::Arc};

use super::{Image, ManifestGraph, ManifestNode, OpenError, node::new_budget, store::Store, top::Top};
use crate::{
    budget,
    oci::{Descriptor, Digest, Index, Platform, descriptor::media_type},
};

/// The choice of one of several images.
///
/// [Example](crate#image).
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// The name without a tag.
    pub name: Option<String>,
    /// The tag.
    pub tag: Option<String>,
    /// The platform, which matters only if there are several.
    pub platform: Option<Platform>,
    /// Whether a single image of another platform is accepted.
    pub any_platform: bool,
}

/// The images of a source, by their entries at the top.
#[derive(Debug)]
pub struct FoundImages {
    tops: Vec<Top>,
    /// All entries, independent of their names.
    listed: Vec<Descriptor>,
    store: Arc<dyn Store>,
}

/// The referrers of an image.
#[derive(Clone, Debug, Default)]
pub struct FoundReferrers {
    /// The referrers that were read.
    pub graphs: Vec<ManifestGraph>,
    /// The malformed referrers, one per line.
    pub skipped: Vec<String>,
}

impl FoundImages {
    pub(crate) fn new(tops: Vec<Top>, store: Arc<dyn Store>) -> Self {
        Self { tops, listed: Vec::new(), store }
    }

    /// Returns the images of an index.json.
    pub(crate) fn from_index(index: Index, store: Arc<dyn Store>) -> Self {
        let top = |descriptor| Top::Node(Box::new(ManifestNode { descriptor, store: Arc::clone(&store) }));
        let listed = index.manifests.clone();
        Self { tops: index.manifests.into_iter().map(top).collect(), listed, store }
    }

    /// Returns the store of the blobs.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Keeps only the entries with this name and tag.
    ///
    /// # Errors
    ///
    /// [`OpenError::Choice`] if there is none.
    pub fn named(mut self, name: Option<&str>, tag: Option<&str>) -> Result<Self, OpenError> {
        if name.is_none() && tag.is_none() {
            return Ok(self);
        }
        let all = self.tops.iter().flat_map(Top::names).collect::<Vec<_>>();
        self.tops.retain(|top| top.is(name, tag));
        if self.tops.is_empty() {
            let wanted: Vec<&str> = name.into_iter().chain(tag).collect();
            return Err(OpenError::NoSuchName { name: wanted.join(":"), all: list(&all) });
        }
        Ok(self)
    }

    /// Keeps only the entry with this index, which counts from 0.
    ///
    /// # Errors
    ///
    /// [`OpenError::Choice`] if there are fewer entries.
    pub fn numbered(mut self, number: usize) -> Result<Self, OpenError> {
        if number >= self.tops.len() {
            let all = self.labels(&self.tops.iter().collect::<Vec<_>>());
            return Err(OpenError::Choice { why: format!("there is no image @{number}"), all: list(&all) });
        }
        self.tops = vec![self.tops.swap_remove(number)];
        Ok(self)
    }

    /// Returns the names of all images in the form `name:tag`.
    pub fn names(&self) -> Vec<String> {
        self.tops.iter().flat_map(Top::names).collect()
    }

    /// Returns the names of these images, or their indices if they have no names.
    fn labels(&self, tops: &[&Top]) -> Vec<String> {
        let label = |top: &&Top| match (
            top.names(),
            self.tops.iter().position(|top_of_index| std::ptr::eq(top_of_index, *top)),
        ) {
            (names, Some(at)) if names.is_empty() => vec![format!("@{at}")],
            (names, _) => names,
        };
        tops.iter().flat_map(label).collect()
    }

    /// Returns the error for several images that match.
    fn several(&self, tops: &[&Top]) -> OpenError {
        let how = match tops.iter().any(|top| top.names().is_empty()) {
            true => "by its tag, or by its number, such as docker-archive:FILE:@1",
            false => "by its tag",
        };
        let all = list(&self.labels(tops));
        OpenError::Choice { why: format!("there are several images; choose one {how}"), all }
    }

    /// Returns the selected image.
    ///
    /// # Errors
    ///
    /// [`OpenError::Choice`] if no image or several images match, and those of reading its documents.
    pub fn image(&self, wanted: &PlatformChoice) -> Result<Image, OpenError> {
        let (node, name) = self.choose(wanted)?;
        node.blobs().map(|image| Image { reference: name.or(image.reference), ..image })
    }

    /// Returns the manifest of the selected image, and the image's name.
    ///
    /// # Errors
    ///
    /// Those of [`image`](Self::image).
    pub fn choose(&self, wanted: &PlatformChoice) -> Result<(ManifestNode, Option<String>), OpenError> {
        let mut images: Vec<(ManifestNode, &Top)> = Vec::new();
        let mut budget = new_budget();
        for top in self.candidates(wanted)? {
            let manifests = top.node().and_then(|node| node.manifests(&mut budget));
            images.extend(self.name_top(top, manifests)?.into_iter().map(|node| (node, top)));
        }
        if let (1, PlatformChoice::Prefer(_)) = (images.len(), wanted) {
            let (node, top) = images.remove(0);
            return Ok((node, top.reference()));
        }
        if images.is_empty() {
            return Err(nothing());
        }
        let platforms = images.iter().map(|(node, top)| self.name_top(top, node.platform()));
        let platforms = platforms.collect::<Result<Vec<_>, _>>()?;
        let (PlatformChoice::Prefer(platform) | PlatformChoice::Only(platform)) = wanted;
        let name = |platform: &Platform| match platform.os.is_empty() && platform.architecture.is_empty() {
            true => "an image that names no platform".to_owned(),
            false => platform.to_string(),
        };
        let all: Vec<String> = platforms.iter().flatten().map(name).collect();
        let known = || platforms.iter().enumerate().filter_map(|(at, candidate)| Some((at, candidate.as_ref()?)));
        let mut fitting: Vec<(usize, &Platform)> =
            known().filter(|(_, candidate)| platform.is_met_by(candidate)).collect();
        if fitting.is_empty() && matches!(wanted, PlatformChoice::Prefer(_)) && all.len() == 1 {
            fitting = known().collect();
        }
        // Of several variants, the image without a variant runs everywhere. Otherwise the first one is used, in the
        // order of containerd.
        if let Some(plain) = fitting.iter().position(|(_, candidate)| candidate.variant.is_none()) {
            fitting.swap(0, plain);
        }
        let Some((at, _)) = fitting.first() else {
            return Err(OpenError::Choice { why: format!("no image matches {platform}"), all: list(&all) });
        };
        let (node, top) = &images[*at];
        // Different names mean different images, unless all have the same manifest. The same applies to two images of
        // one platform without an index.
        let is_another = |at: &usize| {
            let (other, other_top) = &images[*at];
            other.descriptor.digest != node.descriptor.digest
                && !std::ptr::eq(*top, *other_top)
                && (top.names() != other_top.names() || platforms[*at] == platforms[fitting[0].0])
        };
        if fitting.iter().any(|(at, _)| is_another(at)) {
            return Err(self.several(&self.distinct()));
        }
        Ok((node.clone(), top.reference()))
    }

    /// Returns the entries that may be selected. Of the images of docker's archives, only those that fit the platform
    /// are included, so that only their manifests are made.
    fn candidates(&self, wanted: &PlatformChoice) -> Result<Vec<&Top>, OpenError> {
        let tops = self.distinct();
        let (PlatformChoice::Prefer(platform) | PlatformChoice::Only(platform)) = wanted;
        let mut fitting = Vec::new();
        for top in &tops {
            let Top::Unlisted(image) = top else { return Ok(tops) };
            if tops.len() == 1 || platform.is_met_by(&self.name_top(top, image.platform())?) {
                fitting.push(*top);
            }
        }
        match fitting.len() {
            0 => Ok(tops),
            1 => Ok(fitting),
            _ => Err(self.several(&fitting)),
        }
    }

    /// Returns the selected image, or the index with all its images. Several images of one name without an index get a
    /// new index.
    ///
    /// # Errors
    ///
    /// [`OpenError::Choice`] if several entries match, and those of reading the documents.
    pub fn content(&self) -> Result<ManifestGraph, OpenError> {
        let mut tops = self.distinct();
        if tops.len() > 1 {
            // A referrer is not another image.
            let refers = tops.iter().map(|top| top.is_referrer()).collect::<Result<Vec<_>, _>>()?;
            let mut refers = refers.into_iter();
            tops.retain(|_| !refers.next().unwrap_or(false));
        }
        if let [top] = tops.as_slice() {
            let content = top.node()?.content()?;
            return Ok(content.with_reference(top.reference()));
        }
        if tops.is_empty() {
            return Err(nothing());
        }
        let names: Vec<Vec<String>> = tops.iter().map(|top| top.names()).collect();
        if names.iter().any(|name| *name != names[0]) {
            return Err(self.several(&tops));
        }
        let mut budget = new_budget();
        let contents = tops.iter().map(|top| {
            let content = top.node().and_then(|node| node.content_of(&mut budget));
            self.name_top(top, content)
        });
        let contents = contents.collect::<Result<Vec<_>, _>>()?;
        // An index with two images of one platform would hide one of them from every pull.
        let mut platforms = HashSet::new();
        for content in &contents {
            if let ManifestGraph::Image(image) = content
                && media_type::is_config(&image.config_media_type)
                && !platforms.insert(image.platform.to_string())
            {
                return Err(self.several(&tops));
            }
        }
        let reference = tops.first().and_then(|top| top.reference());
        Ok(ManifestGraph::from_children(contents, tops.iter().map(|top| top.descriptor()).collect())
            .with_reference(reference))
    }

    /// Returns the referrers of all manifests in `content`, and their referrers: signatures, SBOMs, attestations. Any
    /// account with write access to a repository can attach documents, so malformed ones are skipped.
    ///
    /// # Errors
    ///
    /// If the medium cannot be read, or has more referrers than one image may have.
    pub fn referrers(&self, content: &ManifestGraph) -> Result<FoundReferrers, OpenError> {
        let node =
            |descriptor: &Descriptor| ManifestNode { descriptor: descriptor.clone(), store: Arc::clone(&self.store) };
        let mut listed: Vec<(Digest, ManifestNode)> = Vec::new();
        for descriptor in &self.listed {
            let node = node(descriptor);
            listed.extend(node.subject()?.map(|subject| (subject, node)));
        }
        let mut remaining = content.digests();
        let mut seen: HashSet<Digest> = remaining.iter().copied().collect();
        let mut found = FoundReferrers::default();
        let mut budget = new_budget();
        while let Some(subject) = remaining.pop() {
            let response = self.store.referrers(&subject);
            let response =
                response.map_err(|source| OpenError::Blob { name: format!("the referrers of {subject}"), source })?;
            found.skipped.extend(response.malformed);
            let listed_nodes = listed.iter().filter(|(digest, _)| *digest == subject).map(|(_, node)| node.clone());
            for node in listed_nodes.chain(response.descriptors.iter().map(node)) {
                if !seen.insert(node.descriptor.digest) {
                    continue;
                }
                if seen.len() as u64 > budget::GRAPH.parts {
                    let why = format!("more than {} documents refer to it", budget::GRAPH.parts);
                    return Err(OpenError::Document { document: content.digest().to_string(), why });
                }
                let referrer = match node.content_of(&mut budget) {
                    Err(error) if error.is_malformed() => {
                        found.skipped.push(error.to_string());
                        continue;
                    }
                    read => read?,
                };
                remaining.extend(referrer.digests().into_iter().filter(|digest| seen.insert(*digest)));
                remaining.push(node.descriptor.digest);
                found.graphs.push(referrer);
            }
        }
        Ok(found)
    }

    /// Returns all images.
    ///
    /// # Errors
    ///
    /// Those of reading its documents.
    pub fn images(&self) -> Result<Vec<Image>, OpenError> {
        self.each_image().into_iter().collect()
    }

    /// Returns all images, or the errors of reading them. An incomplete image does not affect the others.
    pub fn each_image(&self) -> Vec<Result<Image, OpenError>> {
        let mut images = Vec::new();
        let mut budget = new_budget();
        for top in &self.tops {
            let manifests = top.node().and_then(|node| node.manifests(&mut budget));
            match self.name_top(top, manifests) {
                Err(error) => images.push(Err(error)),
                Ok(nodes) => images.extend(nodes.into_iter().map(|node| {
                    let image = self.name_top(top, node.blobs_of(&mut budget))?;
                    Ok(Image { reference: top.reference().or(image.reference), ..image })
                })),
            }
        }
        images
    }

    /// Adds the name of the entry to an error if there are several entries.
    fn name_top<T>(&self, top: &Top, result: Result<T, OpenError>) -> Result<T, OpenError> {
        let others = || self.tops.iter().filter(|other| !std::ptr::eq(*other, top));
        result.map_err(|error| match others().next() {
            None => error,
            Some(_) => OpenError::Incomplete {
                name: self.labels(&[top]).into_iter().next().unwrap_or_default(),
                others: list(&self.labels(&others().collect::<Vec<_>>())),
                source: Box::new(error),
            },
        })
    }

    /// Returns the selected manifest or index.
    ///
    /// # Errors
    ///
    /// [`OpenError::Choice`] if there is none.
    pub fn root(&self) -> Result<ManifestNode, OpenError> {
        self.tops.first().ok_or_else(nothing)?.node()
    }

    /// Returns all entries at the top, each with all its manifests, or the errors of reading them.
    pub fn contents(&self) -> impl Iterator<Item = Result<ManifestGraph, OpenError>> {
        self.tops.iter().map(|top| self.name_top(top, top.node().and_then(|node| node.content())))
    }

    /// Returns the entries, but an image with several names only once.
    fn distinct(&self) -> Vec<&Top> {
        let mut seen: HashSet<Digest> = HashSet::new();
        let mut unlisted: HashSet<Vec<&str>> = HashSet::new();
        let mut distinct = Vec::new();
        for top in &self.tops {
            let is_new = match top {
                Top::Unlisted(image) => unlisted.insert(image.files()),
                Top::Node(node) => seen.insert(node.descriptor.digest),
            };
            if is_new {
                distinct.push(top);
            }
        }
        distinct
    }
}

/// The platform of the image.
#[derive(Clone, Debug)]
pub enum PlatformChoice {
    /// This platform, if there are several to choose from.
    Prefer(Platform),
    /// Only this platform.
    Only(Platform),
}

fn nothing() -> OpenError {
    OpenError::Choice { why: "there is no image".to_owned(), all: "none".to_owned() }
}

fn list(all: &[String]) -> String {
    let mut all: Vec<&str> = all.iter().map(String::as_str).collect();
    all.dedup();
    if all.is_empty() { "none with a name".to_owned() } else { all.join(", ") }
}
