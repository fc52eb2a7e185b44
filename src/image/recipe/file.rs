//! Opens a file that is a recipe or an index of recipes, for the readers of [`transport`](crate::transport).

use std::{fs::File, io::Read, path::Path};

use super::{Recipe, RecipeIndex, RecipeList, is_list, locations, parse_error, read_document};
use crate::{files, image::error::Result};

/// A recipe, or an index of recipes.
#[derive(Debug)]
pub enum RecipeFile {
    /// An image.json.
    Recipe(Box<Recipe>),
    /// The result of `buildIndex`.
    Index(RecipeIndex),
}

impl RecipeFile {
    /// Reads a recipe or an index of recipes from the file at `path`.
    ///
    /// # Errors
    ///
    /// Those of [`Recipe::open`].
    pub fn open(file: File, path: &Path) -> Result<Self> {
        Self::parse_text(&read_document(file, path)?, path, Some(files::directory(path)))
    }

    /// Reads a recipe or an index of recipes from a reader. `path` is used in messages, and only store paths may be named.
    ///
    /// # Errors
    ///
    /// Those of [`Recipe::read`].
    pub fn read(reader: impl Read, path: &Path) -> Result<Self> {
        Self::parse_text(&read_document(reader, path)?, path, None)
    }

    fn parse_text(text: &[u8], path: &Path, directory: Option<&Path>) -> Result<Self> {
        if is_list(text, path)? {
            let list: RecipeList = serde_json::from_slice(text).map_err(parse_error(path))?;
            let images = list.images.iter().map(|image| locations::recipe_in_store(image, path).and_then(Recipe::open));
            let images = images.collect::<Result<Vec<_>>>()?;
            return Ok(Self::Index(RecipeIndex::new(list, images)));
        }
        let mut recipe = Recipe::parse(text, path)?;
        locations::check(&mut recipe, path, directory)?;
        Ok(Self::Recipe(Box::new(recipe)))
    }
}
