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

/// Returns the store paths that these layers contain at their original location.
pub fn existing_store_paths(layers: &[RecipeLayer]) -> HashSet<&Path> {
    let paths = layers.iter().flat_map(|layer| &layer.paths);
    paths.filter(|path| path.is_in_place()).map(|path| path.path.as_path()).collect()
}

/// The argument `fromImage`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FromImage {
    /// An archive, a layout, a `dir:` or an image.json.
    image: PathBuf,
    /// The name of an image in an archive or layout of several images.
    name: Option<String>,
    tag: Option<String>,
    arch: String,
    variant: Option<String>,
    /// Whether an image of another platform is accepted.
    #[serde(default, rename = "anyPlatform")]
    any_platform: bool,
}

impl FromImage {
    /// Opens the image. Layers of archives are unpacked into `directory`.
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
    BaseTree::from_image(&image)?.save(&out.join(BELOW))?;
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

/// Kind `image-from-dir`: image.json for a pulled image in a directory.
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

/// Records the repository of the layers, so that a push to the same registry mounts them from that repository.
fn save(mut image: Recipe, origin: &str, attributes: &Attributes) -> Result<()> {
    let full = name::full_name(origin);
    image.layers.iter_mut().for_each(|layer| layer.origin = Some(full.clone()));
    Ok(image.save(attributes.out())?)
}

/// A base image, the result of kind `base`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Base {
    from_image: Option<PathBuf>,
    /// The part of the base image's config that is inherited.
    inherit_config: Inherited,
    /// Whether links to directories stay links, no matter which layers are above.
    keep_dirlinks: bool,
}

/// Which part of a base image's configuration is inherited.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Inherited {
    #[default]
    Nothing,
    /// `Env`, as in dockerTools.
    Env,
    All,
}

impl Base {
    /// Opens the base image, if there is one.
    pub fn open(&self) -> Result<Option<Recipe>> {
        let open = |path: &PathBuf| Recipe::open(path.join("image.json"));
        Ok(self.from_image.as_ref().map(open).transpose()?)
    }

    /// Returns the directories and links that a layer on the base must not hide.
    pub fn below(&self) -> Result<Option<BaseTree>> {
        let from_image = self.from_image.as_ref().filter(|_| self.keep_dirlinks);
        from_image.map(|path| BaseTree::open(&path.join(BELOW))).transpose()
    }

    /// Returns the config of an image whose own config is in the file `own`.
    pub fn config(&self, base: Option<&Recipe>, config_file: &Path) -> Result<Config> {
        let text = fs::read(config_file).with_context(|| format!("reading {}", config_file.display()))?;
        let changes: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&text).context("argument config")?;
        let base = match (base, self.inherit_config) {
            (Some(base), Inherited::All) => base.config.clone(),
            (Some(base), Inherited::Env) => Config { env: base.config.env.clone(), ..Config::default() },
            _ => Config::default(),
        };
        Config::over(&base, changes).context("argument config")
    }

    /// Returns the complete history if the base image has steps without a layer.
    pub fn history(&self, base: Option<&Recipe>, image: &Recipe) -> Vec<crate::oci::History> {
        let Some(base) = base.filter(|_| self.inherit_config != Inherited::Nothing) else { return Vec::new() };
        let below = match base.history.as_slice() {
            [] => base.layers.iter().map(|layer| layer.history.clone()).collect(),
            history => history.to_vec(),
        };
        let history = image.layers[base.layers.len()..].iter().map(|layer| layer.history.clone());
        below.into_iter().chain(history).collect()
    }
}
