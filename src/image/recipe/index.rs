//! An index of recipes, for an image with several platforms.
//!
//! ```json
//! { "version": 1,
//!   "images": [ "/nix/store/…-image-hello.json", "/nix/store/…-image-hello.json" ],
//!   "name": "hello", "tag": "latest",
//!   "annotations": { "org.opencontainers.image.title": "hello" } }
//! ```
//!
//! `images` are recipes in a Nix store. `annotations` are the annotations of the OCI index.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Provider, Recipe, VERSION};
use crate::{
    image::{Image, ImageIndex, ManifestGraph, error::Result},
    oci::{Algorithm, Index, Platform, descriptor::media_type, json},
};

/// The JSON document of an index of recipes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RecipeList {
    version: u32,
    /// The paths of the recipes.
    pub images: Vec<PathBuf>,
    /// The name of the image, without a tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The tag of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Annotations of the index.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl RecipeList {
    /// Creates an index of recipes.
    pub fn new(images: Vec<PathBuf>, name: String, tag: String, annotations: BTreeMap<String, String>) -> Self {
        Self { version: VERSION, images, name: Some(name), tag: Some(tag), annotations }
    }
}

/// An index with its parsed recipes.
#[derive(Clone, Debug)]
pub struct RecipeIndex {
    /// The recipes, in the order of the index.
    pub images: Vec<Recipe>,
    reference: Option<String>,
    annotations: BTreeMap<String, String>,
}

impl RecipeIndex {
    pub(super) fn new(list: RecipeList, images: Vec<Recipe>) -> Self {
        let tag = list.tag.as_deref().unwrap_or("latest");
        let reference = list.name.as_ref().map(|name| format!("{name}:{tag}"));
        Self { images, reference, annotations: list.annotations }
    }

    /// Sets the provider of store paths that are not on this machine.
    pub fn set_provider(&mut self, provider: Option<&Arc<dyn Provider>>) {
        self.images.iter_mut().for_each(|image| image.provider = provider.cloned());
    }

    /// Returns the OCI index with its images.
    pub fn content(&self) -> ManifestGraph {
        self.index_of(self.images.iter().map(Image::from_recipe))
    }

    /// Returns the OCI index with the images that `make` returns.
    ///
    /// # Errors
    ///
    /// Those of `make`.
    pub fn content_with(&self, make: impl Fn(&Recipe) -> Result<Image>) -> Result<ManifestGraph> {
        let images = self.images.iter().map(make).collect::<Result<Vec<_>>>()?;
        Ok(self.index_of(images))
    }

    fn index_of(&self, images: impl IntoIterator<Item = Image>) -> ManifestGraph {
        let children: Vec<ManifestGraph> = images.into_iter().map(Into::into).collect();
        let manifests = children.iter().map(ManifestGraph::descriptor).collect();
        let index = Index { annotations: self.annotations.clone(), ..Index::new(manifests) };
        ManifestGraph::Index(Box::new(ImageIndex {
            reference: self.reference.clone(),
            media_type: media_type::INDEX.to_owned(),
            bytes: json::to_vec(&index),
            algorithm: Algorithm::default(),
            children,
        }))
    }

    /// Returns the recipe for a platform.
    pub fn for_platform(&self, platform: &Platform) -> Option<&Recipe> {
        let mut fitting = self.images.iter().filter(|image| platform.is_met_by(&image.platform()));
        let first = fitting.next()?;
        // If several variants match, a recipe without a variant takes precedence, as in other indexes.
        Some(fitting.find(|image| image.variant.is_none() && first.variant.is_some()).unwrap_or(first))
    }

    /// Returns the image of a recipe of this index, with the name of the index.
    pub fn image(&self, recipe: &Recipe) -> Image {
        let image = Image::from_recipe(recipe);
        Image { reference: self.reference.clone().or(image.reference), ..image }
    }

    /// Returns the list of platforms for messages.
    pub fn platforms(&self) -> String {
        let platforms: Vec<String> = self.images.iter().map(|image| image.platform().to_string()).collect();
        platforms.join(", ")
    }
}
