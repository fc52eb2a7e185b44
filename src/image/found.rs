//! What a path or a reference leads to, and which of its images to use.

use std::{collections::HashSet, sync::Arc};

use super::{Image, ManifestGraph, Node, OpenError, node::new_budget, store::Store, top::Top};
use crate::{
    budget,
    oci::{Descriptor, Digest, Index, Platform, descriptor::media_type},
};

/// Which of several images to use.
///
/// [Example](crate#image).
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Of this name, without a tag.
    pub name: Option<String>,
    /// Of this tag.
    pub tag: Option<String>,
    /// For this machine, where there are several machines to choose from.
    pub platform: Option<Platform>,
    /// Whether the only image there may be for another platform.
    pub any_platform: bool,
}

/// Images, by what names them at the top.
#[derive(Debug)]
pub struct Found {
    tops: Vec<Top>,
    /// Everything that is listed, under any name.
    listed: Vec<Descriptor>,
    store: Arc<dyn Store>,
}

/// The referrers of an image.
#[derive(Clone, Debug, Default)]
pub struct FoundReferrers {
    /// Those that were read.
    pub graphs: Vec<ManifestGraph>,
    /// Malformed ones, a line each.
    pub skipped: Vec<String>,
}

impl Found {
    pub(crate) fn new(tops: Vec<Top>, store: Arc<dyn Store>) -> Self {
        Self { tops, listed: Vec::new(), store }
    }

    /// What an index.json lists.
    pub(crate) fn of_index(index: Index, store: Arc<dyn Store>) -> Self {
        let top = |descriptor| Top::Node(Box::new(Node { descriptor, store: Arc::clone(&store) }));
        let listed = index.manifests.clone();
        Self { tops: index.manifests.into_iter().map(top).collect(), listed, store }
    }

    /// Where the blobs are.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Only what has this name and tag.
    ///
    /// # Errors
    ///
    /// [`OpenError::Choice`] when nothing has.
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

    /// Only the image with this number, in the order of the index; the first is 0.
    ///
    /// # Errors
    ///
    /// [`OpenError::Choice`] when there are fewer.
    pub fn numbered(mut self, number: usize) -> Result<Self, OpenError> {
        if number >= self.tops.len() {
            let all = self.labels(&self.tops.iter().collect::<Vec<_>>());
            return Err(OpenError::Choice { why: format!("there is no image @{number}"), all: list(&all) });
        }
        self.tops = vec![self.tops.swap_remove(number)];
        Ok(self)
    }

    /// The names of all images, `name:tag` each.
    pub fn names(&self) -> Vec<String> {
        self.tops.iter().flat_map(Top::names).collect()
    }

    /// The names of these images, or their numbers if they have none.
    fn labels(&self, tops: &[&Top]) -> Vec<String> {
        let label = |top: &&Top| match (top.names(), self.tops.iter().position(|own| std::ptr::eq(own, *top))) {
            (names, Some(at)) if names.is_empty() => vec![format!("@{at}")],
            (names, _) => names,
        };
        tops.iter().flat_map(label).collect()
    }

    /// There are several images, and no name says which is meant.
    fn several(&self, tops: &[&Top]) -> OpenError {
        let how = match tops.iter().any(|top| top.names().is_empty()) {
            true => "by its tag, or by its number, such as docker-archive:FILE:@1",
            false => "by its tag",
        };
        let all = list(&self.labels(tops));
        OpenError::Choice { why: format!("there are several images; choose one {how}"), all }
    }

    /// The one image that is wanted.
    ///
    /// # Errors
    ///
    /// [`OpenError::Choice`] when no image or several images match, and those of reading its documents.
    pub fn image(&self, wanted: &Wanted) -> Result<Image, OpenError> {
        let (node, name) = self.choose(wanted)?;
        node.blobs().map(|image| Image { reference: name.or(image.reference), ..image })
    }

    /// The manifest of the one image that is wanted, and the image's name.
    ///
    /// # Errors
    ///
    /// As [`image`](Self::image).
    pub fn choose(&self, wanted: &Wanted) -> Result<(Node, Option<String>), OpenError> {
        let mut images: Vec<(Node, &Top)> = Vec::new();
        let mut budget = new_budget();
        for top in self.candidates(wanted)? {
            let manifests = top.node().and_then(|node| node.manifests(&mut budget));
            images.extend(self.of_top(top, manifests)?.into_iter().map(|node| (node, top)));
        }
        if let (1, Wanted::Prefer(_)) = (images.len(), wanted) {
            let (node, top) = images.remove(0);
            return Ok((node, top.reference()));
        }
        if images.is_empty() {
            return Err(nothing());
        }
        let platforms = images.iter().map(|(node, top)| self.of_top(top, node.platform()));
        let platforms = platforms.collect::<Result<Vec<_>, _>>()?;
        let (Wanted::Prefer(platform) | Wanted::Only(platform)) = wanted;
        let name = |platform: &Platform| match platform.os.is_empty() && platform.architecture.is_empty() {
            true => "an image that names no platform".to_owned(),
            false => platform.to_string(),
        };
        let all: Vec<String> = platforms.iter().flatten().map(name).collect();
        let mut fitting: Vec<(usize, &Platform)> = platforms
            .iter()
            .enumerate()
            .filter_map(|(at, own)| own.as_ref().filter(|own| platform.is_met_by(own)).map(|own| (at, own)))
            .collect();
        if fitting.is_empty() && matches!(wanted, Wanted::Prefer(_)) && all.len() == 1 {
            fitting = platforms.iter().enumerate().filter_map(|(at, own)| Some((at, own.as_ref()?))).collect();
        }
        // Of several variants, the one without is what everybody runs; else the first, as containerd sorts them.
        if let Some(plain) = fitting.iter().position(|(_, own)| own.variant.is_none()) {
            fitting.swap(0, plain);
        }
        let Some((at, _)) = fitting.first() else {
            return Err(OpenError::Choice { why: format!("no image matches {platform}"), all: list(&all) });
        };
        let (node, top) = &images[*at];
        // Several names mean several things, unless all are the same image; so do two of one machine that no index lists.
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

    /// What may be meant. Of the images of docker's archives, those that fit the platform: only their manifests are made.
    fn candidates(&self, wanted: &Wanted) -> Result<Vec<&Top>, OpenError> {
        let tops = self.distinct();
        let (Wanted::Prefer(platform) | Wanted::Only(platform)) = wanted;
        let mut fitting = Vec::new();
        for top in &tops {
            let Top::Unlisted(image) = top else { return Ok(tops) };
            if tops.len() == 1 || platform.is_met_by(&self.of_top(top, image.platform())?) {
                fitting.push(*top);
            }
        }
        match fitting.len() {
            0 => Ok(tops),
            1 => Ok(fitting),
            _ => Err(self.several(&fitting)),
        }
    }

    /// What is named: an image, or the index with all it lists. Images of one name that no index lists get one.
    ///
    /// # Errors
    ///
    /// [`OpenError::Choice`] when several things are, and those of reading the documents.
    pub fn content(&self) -> Result<ManifestGraph, OpenError> {
        let mut tops = self.distinct();
        if tops.len() > 1 {
            // What only refers to something else is no other image.
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
            self.of_top(top, content)
        });
        let contents = contents.collect::<Result<Vec<_>, _>>()?;
        // An index with two images of one platform hides one of them from every pull.
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
        Ok(ManifestGraph::of(contents, tops.iter().map(|top| top.descriptor()).collect()).with_reference(reference))
    }

    /// The referrers of something in `content`, and their referrers: signatures, SBOMs, attestations.
    /// Everyone who may push to a repository can attach documents, so malformed ones are skipped.
    ///
    /// # Errors
    ///
    /// If the medium cannot be read, or has more referrers than one image may have.
    pub fn referrers(&self, content: &ManifestGraph) -> Result<FoundReferrers, OpenError> {
        let node = |descriptor: &Descriptor| Node { descriptor: descriptor.clone(), store: Arc::clone(&self.store) };
        let mut listed: Vec<(Digest, Node)> = Vec::new();
        for descriptor in &self.listed {
            let node = node(descriptor);
            listed.extend(node.subject()?.map(|subject| (subject, node)));
        }
        let mut left = content.digests();
        let mut seen: HashSet<Digest> = left.iter().copied().collect();
        let mut found = FoundReferrers::default();
        let mut budget = new_budget();
        while let Some(subject) = left.pop() {
            let asked = self.store.referrers(&subject);
            let asked =
                asked.map_err(|source| OpenError::Blob { name: format!("the referrers of {subject}"), source })?;
            found.skipped.extend(asked.malformed);
            let here = listed.iter().filter(|(own, _)| *own == subject).map(|(_, node)| node.clone());
            for node in here.chain(asked.descriptors.iter().map(node)) {
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
                left.extend(referrer.digests().into_iter().filter(|digest| seen.insert(*digest)));
                left.push(node.descriptor.digest);
                found.graphs.push(referrer);
            }
        }
        Ok(found)
    }

    /// Every image, of every name.
    ///
    /// # Errors
    ///
    /// Those of reading its documents.
    pub fn images(&self) -> Result<Vec<Image>, OpenError> {
        self.each_image().into_iter().collect()
    }

    /// Every image, of every name, or why it cannot be read: one that is incomplete leaves the others as they are.
    pub fn each_image(&self) -> Vec<Result<Image, OpenError>> {
        let mut images = Vec::new();
        let mut budget = new_budget();
        for top in &self.tops {
            let manifests = top.node().and_then(|node| node.manifests(&mut budget));
            match self.of_top(top, manifests) {
                Err(error) => images.push(Err(error)),
                Ok(nodes) => images.extend(nodes.into_iter().map(|node| {
                    let image = self.of_top(top, node.blobs_of(&mut budget))?;
                    Ok(Image { reference: top.reference().or(image.reference), ..image })
                })),
            }
        }
        images
    }

    /// The result of reading what is at the top: where there are several, the error names it.
    fn of_top<T>(&self, top: &Top, result: Result<T, OpenError>) -> Result<T, OpenError> {
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

    /// What the name leads to: a manifest or an index.
    ///
    /// # Errors
    ///
    /// [`OpenError::Choice`] when there is nothing.
    pub fn root(&self) -> Result<Node, OpenError> {
        self.tops.first().ok_or_else(nothing)?.node()
    }

    /// Everything at the top, each with all that it lists, or why it cannot be read.
    pub fn contents(&self) -> impl Iterator<Item = Result<ManifestGraph, OpenError>> {
        self.tops.iter().map(|top| self.of_top(top, top.node().and_then(|node| node.content())))
    }

    /// The same image under several names is one.
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

/// Which machine's image.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// This machine's, where there are several to choose from.
    Prefer(Platform),
    /// This machine's and no other.
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
