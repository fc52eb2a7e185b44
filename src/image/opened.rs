//! An opened image of any kind: a recipe, or the images of another medium.

use super::{
    Image, ImageError, ManifestGraph, OpenError,
    found::{FoundImages, FoundReferrers, PlatformChoice},
};
use crate::{
    image::{Recipe, RecipeIndex, recipe::RecipeFile},
    oci::Platform,
};

/// An opened image of any kind.
///
/// [Example](crate#image).
#[derive(Debug)]
pub enum Opened {
    /// An image.json.
    Recipe(Box<Recipe>),
    /// An index of recipes.
    Index(RecipeIndex),
    /// The images of an archive, a directory or a registry.
    Found(FoundImages),
}

impl From<RecipeFile> for Opened {
    fn from(file: RecipeFile) -> Self {
        match file {
            RecipeFile::Recipe(recipe) => Self::Recipe(recipe),
            RecipeFile::Index(index) => Self::Index(index),
        }
    }
}

impl Opened {
    /// Returns the recipe that matches `platform`, or that of this machine; the recipes of all platforms with `all`. There are
    /// none if the image is not a recipe.
    pub(crate) fn recipes(&self, platform: Option<&Platform>, all: bool) -> Vec<&Recipe> {
        match self {
            Self::Recipe(recipe) => vec![recipe],
            Self::Index(index) if all => index.images.iter().collect(),
            Self::Index(index) => index.for_platform(platform.unwrap_or(&Platform::here())).into_iter().collect(),
            Self::Found(_) => Vec::new(),
        }
    }

    /// Returns the host and port of the registry, if the image is in a registry.
    pub fn registry(&self) -> Option<&str> {
        match self {
            Self::Recipe(_) | Self::Index(_) => None,
            Self::Found(found) => found.store().origin().map(|(host, _)| host),
        }
    }

    /// Returns the image that matches `platform`. Without a platform, returns the only image, or the image for this machine.
    ///
    /// # Errors
    ///
    /// [`OpenError::Choice`] if no image or several images match. Also if a document of the image is missing or malformed.
    pub fn image(&self, platform: Option<&Platform>) -> Result<Image, OpenError> {
        let wanted = match platform {
            Some(platform) => PlatformChoice::Only(platform.clone()),
            None => PlatformChoice::Prefer(Platform::here()),
        };
        match self {
            Self::Recipe(image) => match platform.filter(|platform| !platform.is_met_by(&image.platform())) {
                None => Ok(Image::from_recipe(image)),
                Some(platform) => Err(OpenError::Choice {
                    why: format!("no image matches {platform}"),
                    all: image.platform().to_string(),
                }),
            },
            Self::Index(index) => {
                let (PlatformChoice::Prefer(wanted) | PlatformChoice::Only(wanted)) = &wanted;
                let recipe = index.for_platform(wanted).ok_or_else(|| OpenError::Choice {
                    why: format!("no image matches {wanted}"),
                    all: index.platforms(),
                })?;
                Ok(index.image(recipe))
            }
            Self::Found(found) => found.image(&wanted),
        }
    }

    /// Returns the images for nodes with a Nix store: the one that [`image`](Self::image) returns, or with `all` those of
    /// [`content`](Self::content).
    ///
    /// # Errors
    ///
    /// As [`image`](Self::image), and [`ImageError::NoNixNode`].
    pub(crate) fn for_nix_node(&self, platform: Option<&Platform>, all: bool) -> Result<ManifestGraph, OpenError> {
        match self {
            Self::Index(index) if all => Ok(index.content_with(Image::for_nix_node)?),
            _ => {
                // Without a recipe, this is the error of the choice.
                let reference = self.image(platform)?.reference;
                let recipe = self.recipes(platform, false).into_iter().next().ok_or(ImageError::NoNixNode)?;
                Ok(Image { reference, ..Image::for_nix_node(recipe)? }.into())
            }
        }
    }

    /// Returns the image, or the index with its images.
    ///
    /// # Errors
    ///
    /// [`OpenError::Choice`] if there are images with several names. Also if a document is missing or malformed.
    pub fn content(&self) -> Result<ManifestGraph, OpenError> {
        match self {
            Self::Recipe(image) => Ok(Image::from_recipe(image).into()),
            Self::Index(index) => Ok(index.content()),
            Self::Found(found) => found.content(),
        }
    }

    /// Returns the referrers of all manifests in `content`, which comes from this medium: signatures, SBOMs, attestations.
    ///
    /// # Errors
    ///
    /// If the medium cannot be read.
    pub fn referrers(&self, content: &ManifestGraph) -> Result<FoundReferrers, OpenError> {
        match self {
            Self::Recipe(_) | Self::Index(_) => Ok(FoundReferrers::default()),
            Self::Found(found) => found.referrers(content),
        }
    }

    /// Returns all images, with an error for each one that cannot be read.
    pub fn each_image(&self) -> Vec<Result<Image, OpenError>> {
        match self {
            Self::Recipe(image) => vec![Ok(Image::from_recipe(image))],
            Self::Index(index) => index.images.iter().map(|recipe| Ok(index.image(recipe))).collect(),
            Self::Found(found) => found.each_image(),
        }
    }

    /// Returns all images.
    ///
    /// # Errors
    ///
    /// If a document of an image is missing or malformed.
    pub fn images(&self) -> Result<Vec<Image>, OpenError> {
        match self {
            Self::Recipe(image) => Ok(vec![Image::from_recipe(image)]),
            Self::Index(index) => Ok(index.images.iter().map(|recipe| index.image(recipe)).collect()),
            Self::Found(found) => found.images(),
        }
    }
}
