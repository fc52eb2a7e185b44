//! The layer of an image's own files: contents are linked or copied, then changed by scripts.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{
    base_tree::BaseTree,
    copies::{self, Copies},
    database,
    difference::{Snapshot, extract},
    links, reserved,
    script::{self, Mode, Tools},
    walk::{plain_owner, walk},
};
use crate::{
    closure::Graph,
    image::{Image, Recipe},
    layer::{
        Owner, Owners,
        rooted::Rooted,
        unpack::{self, Disk},
    },
};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Scripts {
    extra_commands: String,
    fake_root_commands: String,
    enable_fakechroot: bool,
    run_as_root: Option<String>,
    /// Set if there is a script.
    tools: Option<Tools>,
}

/// The files that are in a root before scripts run.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PlacedContents {
    pub contents: Vec<PathBuf>,
    /// The argument whose value the files are, for messages.
    #[serde(default = "contents")]
    pub argument: String,
    pub placing: Placing,
    #[serde(default)]
    pub uid: u64,
    #[serde(default)]
    pub gid: u64,
    /// The owner of the store and of Nix's state.
    #[serde(default)]
    pub store_uid: u64,
    #[serde(default)]
    pub store_gid: u64,
}

fn contents() -> String {
    "contents".to_owned()
}

/// How contents become files of the layer.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Placing {
    /// Links to their store paths.
    Link,
    /// Copies; links to directories become directories.
    Copy,
    /// Copies; links stay links.
    CopyDirlinks,
}

/// A directory that becomes a layer, and the owners of its files.
pub struct RootDirectory {
    pub path: PathBuf,
    pub owners: Owners,
}

impl RootDirectory {
    /// Makes the files in `top`: places the contents, adds a Nix database of `closure`, runs the scripts.
    pub fn make(
        top: &Path,
        placed: &PlacedContents,
        scripts: &Scripts,
        base: Option<&Recipe>,
        below: Option<&BaseTree>,
        closure: Option<&Graph>,
    ) -> Result<Self> {
        let mut root = Self { path: top.join("customisation"), owners: Owners::new() };
        let place = |root: &mut Self| -> Result<()> {
            let keep_dirlinks = placed.placing == Placing::CopyDirlinks;
            match placed.placing {
                Placing::Link => links::join(&placed.argument, &placed.contents, &root.path, below)?,
                Placing::Copy | Placing::CopyDirlinks => {
                    let (owners, argument) = (&mut root.owners, placed.argument.as_str());
                    Copies { root: &root.path, owners, keep_dirlinks, argument }.copy(&placed.contents)?;
                }
            }
            if let Some(closure) = closure {
                let written = database::write(closure, base, &root.path)?;
                root.owners.retain(|path, _| !written.contains(path));
                if (placed.store_uid, placed.store_gid) != (0, 0) {
                    let nix = Rooted::open(&root.path)?.find(Path::new("nix"))?;
                    root.set_owner(nix.path(), placed.store_uid, placed.store_gid)?;
                }
            }
            Ok(())
        };
        if let Some(text) = &scripts.run_as_root {
            let path = top.join("root");
            let mut whole = Self { owners: unpack_base(base, &path)?, path };
            let before = Snapshot::read(&whole.path, &whole.owners)?;
            place(&mut whole)?;
            script::run(scripts.tools()?, Mode::Chroot, "runAsRoot", text, &whole.path, &mut whole.owners)?;
            reserved::check_names("runAsRoot", &whole.path, &BTreeSet::new())?;
            root.owners = extract(&before, &whole.path, &whole.owners, &root.path)?;
            reserved::check_store("runAsRoot", &root.path)?;
            fs::remove_dir_all(&whole.path).with_context(|| format!("removing {}", whole.path.display()))?;
        } else {
            place(&mut root)?;
        }
        root.script(scripts, "extraCommands", &scripts.extra_commands, Mode::Plain)?;
        let mode = if scripts.enable_fakechroot { Mode::Chroot } else { Mode::FakeRoot };
        root.script(scripts, "fakeRootCommands", &scripts.fake_root_commands, mode)?;
        // With runAsRoot, the script changed the base image's file system itself.
        if let (Some(below), None) = (below, &scripts.run_as_root) {
            below.follow(&root.path, &mut root.owners)?;
        }
        // As in nixpkgs, whose runAsRoot sets no owner.
        if (placed.uid, placed.gid) != (0, 0) && scripts.run_as_root.is_none() {
            root.set_owner(&root.path.clone(), placed.uid, placed.gid)?;
        }
        Ok(root)
    }

    fn script(&mut self, scripts: &Scripts, argument: &str, text: &str, mode: Mode) -> Result<()> {
        if text.trim().is_empty() {
            return Ok(());
        }
        let whiteouts = reserved::whiteouts(&self.path)?;
        script::run(scripts.tools()?, mode, argument, text, &self.path, &mut self.owners)?;
        reserved::check_names(argument, &self.path, &whiteouts)?;
        reserved::check_store(argument, &self.path)
    }

    /// Sets the owner of all files at and below `top` that have no recorded owner.
    fn set_owner(&mut self, top: &Path, uid: u64, gid: u64) -> Result<()> {
        let owners = &mut self.owners;
        walk(top, &mut |path, file| {
            owners.entry(path.to_owned()).or_insert_with(|| Owner { uid, gid, ..plain_owner(file) });
            Ok(())
        })
    }

    /// Returns the owner and the type of the file at `path`.
    pub fn owner(&self, path: &Path, file: &fs::Metadata) -> Owner {
        self.owners.get(path).cloned().unwrap_or_else(|| plain_owner(file))
    }

    /// Copies the root to `top`, where it is writable.
    pub fn to_writable(&self, top: &Path) -> Result<Self> {
        let path = top.join("customisation");
        copies::tree(&self.path, &path).with_context(|| format!("copying {}", self.path.display()))?;
        let moved = |(from, owner): (&PathBuf, &Owner)| {
            let below = from.strip_prefix(&self.path).unwrap_or(from);
            (if below.as_os_str().is_empty() { path.clone() } else { path.join(below) }, owner.clone())
        };
        Ok(Self { owners: self.owners.iter().map(moved).collect(), path })
    }
}

impl Scripts {
    fn tools(&self) -> Result<&Tools> {
        self.tools.as_ref().context("attribute strata.request.scripts.tools: a script needs them")
    }
}

/// Unpacks the base image's root file system into `root`, a directory that this function makes. Returns the owners.
pub fn unpack_base(base: Option<&Recipe>, root: &Path) -> Result<Owners> {
    fs::create_dir(root).with_context(|| format!("creating {}", root.display()))?;
    let (mut owners, mut disk) = (Owners::new(), Disk::default());
    let Some(base) = base else { return Ok(owners) };
    for (at, layer) in Image::from_recipe(base).layers.iter().enumerate() {
        let unpacking = || format!("argument fromImage: unpacking layer {}", at + 1);
        layer.plain(|tar| unpack::unpack_within(tar, root, &mut owners, &mut disk)).with_context(unpacking)?;
    }
    Ok(owners)
}
