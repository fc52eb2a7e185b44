//! The directories of a base image, and its links to directories. Layers above the base must not hide them.
//!
//! ```text
//! base                 a layer has       in the image
//! bin -> usr/bin       bin/tool          usr/bin/tool; /bin is the link that it was, and /bin/sh is found
//! lib64/ld.so          lib64 -> lib      lib64/ is a directory with ld.so and what is in lib
//! run -> nowhere       run/x             run/x: nothing is hidden
//! ```
//!
//! Written once for each base image, next to its image.json, as records: `MODE UID GID PATH`, a NUL, the target of a
//! link (empty for a directory), a NUL. `/nix` is left out, since layers of store paths make a directory of it anyway.

mod follow;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    ffi::{OsStr, OsString},
    fs,
    io::{self, Read},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::terminal::note;
use crate::{
    budget::{self, Budget, NAME_OVERHEAD},
    image::{
        Image, Recipe,
        recipe::{LayerPath, RecipeLayer},
    },
    layer::{
        links,
        overlay::{self, LayerEffect, LayerLinks},
        unpack::Bounds,
        untar::{TarEntry, TarReader},
    },
};

/// The directories and links of a base image, by path below its root.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BaseTree(BTreeMap<PathBuf, BaseEntry>);

#[derive(Debug, PartialEq, Eq)]
enum BaseEntry {
    Directory { mode: u32, uid: u64, gid: u64 },
    Link(PathBuf),
}

impl BaseTree {
    /// Reads the directories and links from the layers of `image` that are on this machine.
    pub fn from_image(image: &Recipe) -> Result<Self> {
        let mut below = Self::default();
        let mut budget = Budget::new(&budget::BASE_TREE);
        for (at, (layer, blob)) in image.layers.iter().zip(Image::from_recipe(image).layers).enumerate() {
            // A layer of nothing but store paths has nothing outside of /nix.
            if layer.blob.is_none() && !layer.paths.is_empty() && layer.paths.iter().all(LayerPath::is_in_place) {
                continue;
            }
            if !is_here(layer) {
                note!(
                    "layer {} of the base image is not on this machine: its links to directories are not followed",
                    at + 1
                );
                continue;
            }
            let reading = || format!("argument fromImage: reading layer {}", at + 1);
            blob.plain(|tar| below.add(tar, &mut budget)).with_context(reading)?;
        }
        Ok(below)
    }

    /// Reads what [`Self::save`] wrote.
    pub fn open(file: &Path) -> Result<Self> {
        let text = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        let mut fields = text.split(|&byte| byte == 0);
        let mut below = Self::default();
        while let (Some(record), Some(target)) = (fields.next(), fields.next()) {
            let (path, standing) =
                parse(record, target).with_context(|| format!("{}: malformed record", file.display()))?;
            below.0.insert(path, standing);
        }
        Ok(below)
    }

    pub fn save(&self, file: &Path) -> Result<()> {
        let mut text = Vec::new();
        for (path, standing) in &self.0 {
            let (mode, uid, gid, target) = match standing {
                BaseEntry::Directory { mode, uid, gid } => (*mode, *uid, *gid, Path::new("")),
                BaseEntry::Link(target) => (0o777, 0, 0, target.as_path()),
            };
            text.extend_from_slice(format!("{mode:o} {uid} {gid} ").as_bytes());
            text.extend_from_slice(path.as_os_str().as_bytes());
            text.push(0);
            text.extend_from_slice(target.as_os_str().as_bytes());
            text.push(0);
        }
        fs::write(file, text).with_context(|| format!("writing {}", file.display()))
    }

    /// Adds a layer above the others. `budget` is shared by all layers.
    fn add(&mut self, layer: &mut dyn Read, budget: &mut Budget) -> io::Result<()> {
        let mut archive = TarReader::new(layer);
        let (mut bounds, mut links) = (Bounds::default(), LayerLinks::default());
        // The paths of this layer: its opaque marks do not apply to them.
        let mut layer_paths: HashSet<PathBuf> = HashSet::new();
        while let Some(entry) = archive.next_entry()? {
            bounds.entry(Path::new(OsStr::from_bytes(&entry.name)))?;
            let Some(place) = links.place(&entry)? else { continue };
            for above in overlay::above(&place).map(|above| Path::new(OsStr::from_bytes(above))) {
                // A link of a lower layer is replaced. Links of this layer were followed.
                if !matches!(self.0.get(above), Some(BaseEntry::Directory { .. })) {
                    self.insert(above, BaseEntry::Directory { mode: 0o755, uid: 0, gid: 0 }, budget)?;
                }
                if !layer_paths.insert(above.to_owned()) {
                    break;
                }
                bounds.keep(above)?;
            }
            match place {
                LayerEffect::Opaque(directory) => {
                    let directory = PathBuf::from(OsString::from_vec(directory));
                    self.remove(&directory, |path| *path != directory && !layer_paths.contains(path));
                }
                LayerEffect::Whiteout(gone) => {
                    self.remove(&PathBuf::from(OsString::from_vec(gone)), |path| !layer_paths.contains(path));
                }
                LayerEffect::At(path) => {
                    let path = PathBuf::from(OsString::from_vec(path));
                    bounds.keep(&path)?;
                    self.set(&path, entry, budget)?;
                    layer_paths.insert(path);
                }
            }
        }
        Ok(())
    }

    /// Sets `path` to an entry, in place of an earlier one.
    fn set(&mut self, path: &Path, entry: TarEntry, budget: &mut Budget) -> io::Result<()> {
        match entry.kind {
            tar::EntryType::Directory => {
                let standing = BaseEntry::Directory { mode: entry.mode, uid: entry.uid, gid: entry.gid };
                self.insert(path, standing, budget)?;
            }
            tar::EntryType::Symlink => {
                self.remove(path, |_| true);
                let target = PathBuf::from(OsString::from_vec(entry.link));
                budget.take_bytes(target.as_os_str().len() as u64)?;
                self.insert(path, BaseEntry::Link(target), budget)?;
            }
            _ => self.remove(path, |_| true),
        }
        Ok(())
    }

    fn insert(&mut self, path: &Path, standing: BaseEntry, budget: &mut Budget) -> io::Result<()> {
        if self.0.insert(path.to_owned(), standing).is_none() {
            budget.take(path.as_os_str().len() + NAME_OVERHEAD)?;
        }
        Ok(())
    }

    /// Removes `top` and all paths below it for which `gone` is true.
    fn remove(&mut self, top: &Path, gone: impl Fn(&PathBuf) -> bool) {
        let inside = self.0.range(top.to_owned()..).map(|(path, _)| path).take_while(|path| path.starts_with(top));
        let all: Vec<PathBuf> = inside.filter(|path| gone(path)).cloned().collect();
        for path in &all {
            self.0.remove(path);
        }
    }

    /// Returns the path that `path` leads to in the running image. Links cannot lead out of the image. Returns `None`
    /// if there are too many links.
    fn resolve<'a>(&'a self, path: &'a Path) -> Option<PathBuf> {
        let target = |here: &Path| match self.0.get(here) {
            Some(BaseEntry::Link(target)) => Some(Cow::Borrowed(target.as_path())),
            _ => None,
        };
        links::follow(path, target).ok()
    }

    /// Whether `path` is a directory.
    pub fn is_directory(&self, path: &Path) -> bool {
        matches!(self.0.get(path), Some(BaseEntry::Directory { .. }))
    }

    /// Returns the directory that is the target of the link at `path`.
    fn directory_target(&self, path: &Path) -> Option<PathBuf> {
        let is_link = matches!(self.0.get(path), Some(BaseEntry::Link(_))) && path != Path::new("nix");
        let target = is_link.then(|| self.resolve(path)).flatten()?;
        (target.as_os_str().is_empty() || self.is_directory(&target)).then_some(target)
    }

    /// Returns a link of the base that would be replaced by a directory of `package` when the package is copied to the
    /// root, and the target of the link.
    pub fn replaced_by(&self, package: &Path) -> Option<(PathBuf, PathBuf)> {
        let is_directory = |path: &Path| {
            let there = |path: PathBuf| fs::symlink_metadata(path).is_ok_and(|there| there.is_dir());
            path.ancestors().all(|above| there(package.join(above)))
        };
        let links = self.0.keys().filter(|path| is_directory(path));
        links.filter_map(|path| Some((path.clone(), self.directory_target(path)?))).next()
    }
}

/// Whether this machine has the bytes of a layer, or can make them.
fn is_here(layer: &RecipeLayer) -> bool {
    match &layer.blob {
        Some(blob) => blob.exists(),
        None => !layer.paths.is_empty() && layer.paths.iter().all(|path| path.path.exists()),
    }
}

fn parse(record: &[u8], target: &[u8]) -> Option<(PathBuf, BaseEntry)> {
    let mut fields = record.splitn(4, |&byte| byte == b' ');
    let mut number = |radix| u64::from_str_radix(std::str::from_utf8(fields.next()?).ok()?, radix).ok();
    let (mode, uid, gid) = (u32::try_from(number(8)?).ok()?, number(10)?, number(10)?);
    let path = PathBuf::from(OsString::from_vec(fields.next()?.to_vec()));
    let standing = match target {
        [] => BaseEntry::Directory { mode, uid, gid },
        target => BaseEntry::Link(PathBuf::from(OsString::from_vec(target.to_vec()))),
    };
    Some((path, standing))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a tar with directories (`name/`), links (`name -> target`), and files.
    fn layer(entries: &[&str]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for entry in entries {
            let mut header = tar::Header::new_ustar();
            header.set_size(0);
            header.set_mode(0o1777);
            header.set_uid(3);
            header.set_gid(4);
            let mut name = *entry;
            header.set_entry_type(tar::EntryType::Regular);
            if let Some((link, target)) = entry.split_once(" -> ") {
                name = link;
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_link_name_literal(target).unwrap();
            } else if entry.ends_with('/') {
                header.set_entry_type(tar::EntryType::Directory);
            }
            header.set_path(name).unwrap();
            header.set_cksum();
            tar.append(&header, io::empty()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    /// Returns the directories and links of an image of these layers.
    pub fn below(layers: &[&[&str]]) -> BaseTree {
        let mut below = BaseTree::default();
        for entries in layers {
            below.add(&mut layer(entries).as_slice(), &mut Budget::new(&budget::BASE_TREE)).unwrap();
        }
        below
    }

    fn directory_target(below: &BaseTree, path: &str) -> Option<String> {
        below.directory_target(Path::new(path)).map(|path| path.to_string_lossy().into_owned())
    }

    #[test]
    fn links_are_followed_as_the_running_image_would() {
        let below = below(&[
            &["usr/bin/", "bin -> usr/bin", "sbin -> bin", "lib -> /usr/lib", "usr/lib/x/", "up -> ../../usr"],
            &[
                "round -> around",
                "around -> round",
                "gone -> nothing",
                "file",
                "link -> file",
                "nix -> usr",
                "top -> .",
            ],
        ]);
        assert_eq!(directory_target(&below, "bin").as_deref(), Some("usr/bin"));
        assert_eq!(directory_target(&below, "sbin").as_deref(), Some("usr/bin"));
        assert_eq!(directory_target(&below, "lib").as_deref(), Some("usr/lib"));
        assert_eq!(directory_target(&below, "up").as_deref(), Some("usr"));
        assert_eq!(directory_target(&below, "top").as_deref(), Some(""));
        for path in ["round", "gone", "file", "link", "usr", "nix", "other"] {
            assert_eq!(directory_target(&below, path), None, "{path}");
        }
    }

    #[test]
    fn directories_and_links_of_all_layers_are_bounded() {
        const SMALL: budget::Limits =
            budget::Limits { input: "the base image", bytes: 1000, parts: 3, part: "directories and links" };
        let (mut below, mut budget) = (BaseTree::default(), Budget::new(&SMALL));
        let mut add = |entries: &[&str]| below.add(&mut layer(entries).as_slice(), &mut budget);
        add(&["a/", "a/", "b -> a"]).unwrap();
        add(&["a/", "c/"]).unwrap();
        let error = add(&["d/"]).unwrap_err().to_string();
        assert_eq!(error, "the base image has more than 3 directories and links, which is the limit");
    }

    #[test]
    fn names_are_bounded() {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        archive.append_data(&mut header, "a/".repeat(3000), io::empty()).unwrap();
        let (archive, mut budget) = (archive.into_inner().unwrap(), Budget::new(&budget::BASE_TREE));
        let error = BaseTree::default().add(&mut archive.as_slice(), &mut budget).unwrap_err().to_string();
        assert!(error.contains("a name of more than 4095 bytes or 512 directories"), "{error}");
    }

    #[test]
    fn upper_layers_replace_and_remove() {
        let lower: &[&str] = &["a/b/", "one -> a", "two -> a", "three -> a", "c/d/", "c/link -> ../a"];
        let upper: &[&str] = &["one/", "two", ".wh.three", "a/.wh.b", "c/e/", "c/.wh..wh..opq"];
        let below = below(&[lower, upper]);
        assert!(["one", "two", "three", "c/link"].iter().all(|path| directory_target(&below, path).is_none()));
        let directories = ["a", "c", "c/e", "one"];
        assert!(directories.iter().all(|path| below.is_directory(Path::new(path))));
        assert!(!below.is_directory(Path::new("a/b")) && !below.is_directory(Path::new("c/d")));
    }

    #[test]
    fn a_saved_base_tree_is_read_back() {
        let scratch = tempfile::tempdir().unwrap();
        let below = below(&[&["usr/bin/", "bin -> usr/bin", "a name\nof two/"]]);
        below.save(&scratch.path().join("below")).unwrap();
        assert_eq!(BaseTree::open(&scratch.path().join("below")).unwrap(), below);
    }
}
