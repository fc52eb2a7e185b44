//! The layer of an image's own files: contents linked or copied, then changed by scripts.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{
    copies::Copies,
    difference::{Snapshot, extract},
    links,
    script::{self, Mode, Tools},
};
use strata::{
    blobs::ImageBlobs,
    image::Image,
    layer::{Owners, unpack},
};

/// Scripts of the user's.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Scripts {
    extra_commands: String,
    fake_root_commands: String,
    enable_fakechroot: bool,
    run_as_root: Option<String>,
    /// Given where there is a script.
    tools: Option<Tools>,
}

/// How contents become files of the layer.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Placing {
    /// Links to their store paths.
    Link,
    /// Copies; links to directories become directories.
    Copy,
    /// Copies, links as they are.
    CopyDirlinks,
}

/// A directory that becomes a layer, and who owns what in it.
pub struct Root {
    pub path: PathBuf,
    pub owners: Owners,
}

impl Root {
    /// Makes it in `top`. `prepare` adds to it before any script runs.
    pub fn make(
        top: &Path,
        contents: &[PathBuf],
        placing: Placing,
        scripts: &Scripts,
        base: Option<&Image>,
        prepare: &dyn Fn(&Path) -> Result<()>,
    ) -> Result<Self> {
        let mut root = Self { path: top.join("customisation"), owners: Owners::new() };
        let place = |root: &Path, owners: &mut Owners| -> Result<()> {
            let keep_dirlinks = placing == Placing::CopyDirlinks;
            match placing {
                Placing::Link => links::join(contents, root)?,
                Placing::Copy | Placing::CopyDirlinks => Copies { root, owners, keep_dirlinks }.of(contents)?,
            }
            prepare(root)
        };
        if let Some(text) = &scripts.run_as_root {
            let whole = top.join("root");
            let mut owners = unpack_base(base, &whole)?;
            let before = Snapshot::of(&whole, &owners)?;
            place(&whole, &mut owners)?;
            script::run(scripts.tools()?, Mode::Chroot, "runAsRoot", text, &whole, &mut owners)?;
            root.owners = extract(&before, &whole, &owners, &root.path)?;
            fs::remove_dir_all(&whole).with_context(|| format!("removing {}", whole.display()))?;
        } else {
            place(&root.path, &mut root.owners)?;
        }
        root.script(scripts, "extraCommands", &scripts.extra_commands, Mode::Plain)?;
        let mode = if scripts.enable_fakechroot { Mode::Chroot } else { Mode::FakeRoot };
        root.script(scripts, "fakeRootCommands", &scripts.fake_root_commands, mode)?;
        Ok(root)
    }

    fn script(&mut self, scripts: &Scripts, argument: &str, text: &str, mode: Mode) -> Result<()> {
        if text.trim().is_empty() {
            return Ok(());
        }
        script::run(scripts.tools()?, mode, argument, text, &self.path, &mut self.owners)
    }
}

impl Scripts {
    fn tools(&self) -> Result<&Tools> {
        self.tools.as_ref().context("attribute strata.request.scripts.tools: a script needs them")
    }
}

/// The base image's root file system, in a directory that is made here.
pub fn unpack_base(base: Option<&Image>, root: &Path) -> Result<Owners> {
    fs::create_dir(root).with_context(|| format!("creating {}", root.display()))?;
    let mut owners = Owners::new();
    let Some(base) = base else { return Ok(owners) };
    for (at, layer) in ImageBlobs::of(base).layers.iter().enumerate() {
        let unpacking = || format!("argument fromImage: unpacking layer {}", at + 1);
        layer.plain(|tar| unpack::unpack(tar, root, &mut owners)).with_context(unpacking)?;
    }
    Ok(owners)
}
