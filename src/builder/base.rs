//! Kind `base`: a base image as a directory with image.json.
//!
//! ```text
//! image.json      its layers are files: those of the directory it was read from, or
//! <digest>        those of an archive, unpacked here and checked
//! below           its directories and links to directories
//! ```

use std::{
    collections::BTreeMap,
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;

use super::{attributes::Attributes, base_tree::BaseTree};
use crate::{
    image::{Choice, Lock, OpenError, Recipe, recipe::RecipeLayer},
    oci::{Config, Digest, Platform, name},
};

/// The file for [`BaseTree`].
const BELOW: &str = "below";

/// The store paths that these layers hold at their own places.
pub fn held_store_paths(layers: &[RecipeLayer]) -> HashSet<&Path> {
    let paths = layers.iter().flat_map(|layer| &layer.paths);
    paths.filter(|path| path.is_in_place()).map(|path| path.path.as_path()).collect()
}

/// `fromImage`, as users give it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FromImage {
    /// An archive, a layout, a `dir:` or an image.json.
    image: PathBuf,
    /// Which image of several.
    name: Option<String>,
    tag: Option<String>,
    arch: String,
    variant: Option<String>,
    /// Whether it may be for another platform.
    #[serde(default, rename = "anyPlatform")]
    any_platform: bool,
}

impl FromImage {
    /// Opens it; what has to be unpacked for that goes into a directory.
    pub fn open(self, directory: &Path) -> Result<Recipe> {
        let Self { image, name, tag, arch, variant, any_platform } = self;
        let choice = Choice { name, tag, platform: Some(Platform::linux(&arch, variant.as_deref())), any_platform };
        let opened = Recipe::from_any(&image, &choice, directory).map_err(|error| match error {
            OpenError::Choice { .. } => anyhow!("{error}; fromImageName and fromImageTag choose one"),
            OpenError::Platform { .. } => {
                anyhow!("{error}; take the base image for that, or set allowOtherBasePlatform = true")
            }
            error => error.into(),
        });
        opened.with_context(|| format!("argument fromImage: {}", image.display()))
    }
}

pub fn build(attributes: &Attributes) -> Result<()> {
    let out = attributes.out();
    fs::create_dir(out).with_context(|| format!("creating {}", out.display()))?;
    let image = attributes.request::<FromImage>()?.open(out)?;
    BaseTree::of(&image)?.save(&out.join(BELOW))?;
    Ok(image.save(&out.join("image.json"))?)
}

/// Kind `image-from-manifest`: image.json for a manifest whose blobs are store paths.
pub fn from_manifest(attributes: &Attributes) -> Result<()> {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Request {
        manifest: PathBuf,
        blobs: BTreeMap<Digest, PathBuf>,
        origin: String,
    }
    let request: Request = attributes.request()?;
    let image = Recipe::from_manifest(&request.manifest, &request.blobs).context("argument imageManifest")?;
    save(image, &request.origin, attributes)
}

/// Kind `image-from-lock`: image.json for a base that stays in its registry.
pub fn from_lock(attributes: &Attributes) -> Result<()> {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Request {
        file: PathBuf,
        arch: String,
        variant: Option<String>,
    }
    let Request { file, arch, variant } = attributes.request()?;
    let text = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
    let lock = Lock::parse(&text).context("argument file of lockedImage")?;
    Ok(lock.image(&Platform::linux(&arch, variant.as_deref()))?.save(attributes.out())?)
}

/// Kind `image-from-dir`: image.json for what was pulled into a directory.
pub fn from_dir(attributes: &Attributes) -> Result<()> {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Request {
        directory: PathBuf,
        origin: String,
    }
    let request: Request = attributes.request()?;
    save(Recipe::from_dir(&request.directory)?, &request.origin, attributes)
}

/// Notes where the layers came from: a push to the same registry takes them over from there.
fn save(mut image: Recipe, origin: &str, attributes: &Attributes) -> Result<()> {
    let full = name::full_name(origin);
    image.layers.iter_mut().for_each(|layer| layer.origin = Some(full.clone()));
    Ok(image.save(attributes.out())?)
}

/// The image that is built on, the result of kind `base`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Base {
    from_image: Option<PathBuf>,
    /// The part of its config that is inherited by default.
    inherit_config: Inherited,
    /// Whether its links to directories stay, no matter which layers are on top.
    keep_dirlinks: bool,
}

/// What of a base image's configuration holds.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Inherited {
    #[default]
    Nothing,
    /// `Env`, as dockerTools has it.
    Env,
    All,
}

impl Base {
    /// Opens it, where there is one.
    pub fn open(&self) -> Result<Option<Recipe>> {
        let open = |path: &PathBuf| Recipe::open(path.join("image.json"));
        Ok(self.from_image.as_ref().map(open).transpose()?)
    }

    /// What a layer on it must not hide.
    pub fn below(&self) -> Result<Option<BaseTree>> {
        let from_image = self.from_image.as_ref().filter(|_| self.keep_dirlinks);
        from_image.map(|path| BaseTree::open(&path.join(BELOW))).transpose()
    }

    /// What the image's config is, when `own` is what the user gave.
    pub fn config(&self, base: Option<&Recipe>, own: &Path) -> Result<Config> {
        let text = fs::read(own).with_context(|| format!("reading {}", own.display()))?;
        let own: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&text).context("argument config")?;
        let base = match (base, self.inherit_config) {
            (Some(base), Inherited::All) => base.config.clone(),
            (Some(base), Inherited::Env) => Config { env: base.config.env.clone(), ..Config::default() },
            _ => Config::default(),
        };
        Config::over(&base, own).context("argument config")
    }

    /// The whole history, where the base's has steps without a layer.
    pub fn history(&self, base: Option<&Recipe>, image: &Recipe) -> Vec<crate::oci::History> {
        let Some(base) = base.filter(|_| self.inherit_config != Inherited::Nothing) else { return Vec::new() };
        let below = match base.history.as_slice() {
            [] => base.layers.iter().map(|layer| layer.history.clone()).collect(),
            history => history.to_vec(),
        };
        let own = image.layers[base.layers.len()..].iter().map(|layer| layer.history.clone());
        below.into_iter().chain(own).collect()
    }
}
