//! An image of any kind, opened: a recipe, or what a medium holds.

use super::{
    Image, ManifestGraph, OpenError,
    found::{Found, FoundReferrers, Wanted},
};
use crate::{
    image::{Recipe, RecipeIndex, recipe::RecipeFile},
    oci::Platform,
};

/// An image of any kind, opened.
///
/// [Example](crate#image).
#[derive(Debug)]
pub enum Opened {
    /// An image.json.
    Recipe(Box<Recipe>),
    /// An index of recipes.
    Index(RecipeIndex),
    /// What an archive, a directory or a registry holds under the name that was given.
    Found(Found),
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
    /// The registry (host and port) that it is in, where it is in one.
    pub fn registry(&self) -> Option<&str> {
        match self {
            Self::Recipe(_) | Self::Index(_) => None,
            Self::Found(found) => found.store().origin().map(|(host, _)| host),
        }
    }

    /// The one image that matches `platform`; without it, the image for this machine if there are several.
    ///
    /// # Errors
    ///
    /// [`OpenError::Choice`], and those of reading its documents.
    pub fn image(&self, platform: Option<&Platform>) -> Result<Image, OpenError> {
        let wanted = match platform {
            Some(platform) => Wanted::Only(platform.clone()),
            None => Wanted::Prefer(Platform::here()),
        };
        match self {
            Self::Recipe(image) => match platform.filter(|platform| !platform.is_met_by(&image.platform())) {
                None => Ok(Image::of(image)),
                Some(platform) => Err(OpenError::Choice {
                    why: format!("no image matches {platform}"),
                    all: image.platform().to_string(),
                }),
            },
            Self::Index(index) => {
                let (Wanted::Prefer(wanted) | Wanted::Only(wanted)) = &wanted;
                let recipe = index.for_platform(wanted).ok_or_else(|| OpenError::Choice {
                    why: format!("no image matches {wanted}"),
                    all: index.platforms(),
                })?;
                Ok(index.image(recipe))
            }
            Self::Found(found) => found.image(&wanted),
        }
    }

    /// Everything of the name that was given: an image, or the index with all it lists.
    ///
    /// # Errors
    ///
    /// [`OpenError::Choice`] when no name was given and there are several, and those of reading the documents.
    pub fn content(&self) -> Result<ManifestGraph, OpenError> {
        match self {
            Self::Recipe(image) => Ok(Image::of(image).into()),
            Self::Index(index) => Ok(index.content()),
            Self::Found(found) => found.content(),
        }
    }

    /// What refers to something in `content`, which was read from here: signatures, bills of materials, attestations.
    ///
    /// # Errors
    ///
    /// Those of reading the documents.
    pub fn referrers(&self, content: &ManifestGraph) -> Result<FoundReferrers, OpenError> {
        match self {
            Self::Recipe(_) | Self::Index(_) => Ok(FoundReferrers::default()),
            Self::Found(found) => found.referrers(content),
        }
    }

    /// Every image there, or why it cannot be read.
    pub fn each_image(&self) -> Vec<Result<Image, OpenError>> {
        match self {
            Self::Recipe(image) => vec![Ok(Image::of(image))],
            Self::Index(index) => index.images.iter().map(|recipe| Ok(index.image(recipe))).collect(),
            Self::Found(found) => found.each_image(),
        }
    }

    /// Every image there.
    ///
    /// # Errors
    ///
    /// Those of reading its documents.
    pub fn images(&self) -> Result<Vec<Image>, OpenError> {
        match self {
            Self::Recipe(image) => Ok(vec![Image::of(image)]),
            Self::Index(index) => Ok(index.images.iter().map(|recipe| index.image(recipe)).collect()),
            Self::Found(found) => found.images(),
        }
    }
}
