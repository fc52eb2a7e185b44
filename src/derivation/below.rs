//! The directories of a base image, and its links to directories: what a layer on it must not hide.
//!
//! ```text
//! base                 a layer has       in the image
//! bin -> usr/bin       bin/tool          usr/bin/tool; /bin is the link that it was, and /bin/sh is found
//! lib64/ld.so          lib64 -> lib      lib64/ is a directory with ld.so and what is in lib
//! run -> nowhere       run/x             run/x: nothing is hidden
//! ```
//!
//! Written once for a base, beside its image.json, as records: `MODE UID GID PATH`, a NUL, where a link leads (nothing of a
//! directory), a NUL. `/nix` is left out: layers of store paths make a directory of it anyway.

use std::{
    collections::{BTreeMap, HashSet},
    ffi::{OsStr, OsString},
    fs,
    io::{self, Read},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use strata::{
    blobs::ImageBlobs,
    image::{Image, Layer, LayerPath},
    layer::{Owner, Owners, unpack::Bounds, untar::TarReader},
};

/// No image has more directories and links.
const LIMIT: usize = 4_000_000;
/// Links followed on the way to one directory; Linux stops at 40 too.
const LINKS: usize = 40;

/// What stands in a base image, by path below its root.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Below(BTreeMap<PathBuf, Standing>);

#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Directory { mode: u32, uid: u64, gid: u64 },
    Link(PathBuf),
}

impl Below {
    /// Reads it from the layers of `image` that are on this machine.
    pub fn of(image: &Image) -> Result<Self> {
        let mut below = Self::default();
        for (at, (layer, blob)) in image.layers.iter().zip(ImageBlobs::of(image).layers).enumerate() {
            // Store paths alone: nothing but /nix.
            if layer.blob.is_none() && !layer.paths.is_empty() && layer.paths.iter().all(LayerPath::is_in_place) {
                continue;
            }
            if !is_here(layer) {
                eprintln!(
                    "layer {} of the base image is not on this machine: its links to directories are not followed",
                    at + 1
                );
                continue;
            }
            let reading = || format!("argument fromImage: reading layer {}", at + 1);
            blob.plain(|tar| below.add(tar)).with_context(reading)?;
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

    /// Writes it.
    pub fn save(&self, file: &Path) -> Result<()> {
        let mut text = Vec::new();
        for (path, standing) in &self.0 {
            let (mode, uid, gid, target) = match standing {
                Standing::Directory { mode, uid, gid } => (*mode, *uid, *gid, Path::new("")),
                Standing::Link(target) => (0o777, 0, 0, target.as_path()),
            };
            text.extend_from_slice(format!("{mode:o} {uid} {gid} ").as_bytes());
            text.extend_from_slice(path.as_os_str().as_bytes());
            text.push(0);
            text.extend_from_slice(target.as_os_str().as_bytes());
            text.push(0);
        }
        fs::write(file, text).with_context(|| format!("writing {}", file.display()))
    }

    /// Puts a layer on what is there.
    fn add(&mut self, layer: &mut dyn Read) -> io::Result<()> {
        let mut archive = TarReader::new(layer);
        let mut bounds = Bounds::default();
        // What this layer has: opaque marks are not about it.
        let mut own: HashSet<PathBuf> = HashSet::new();
        while let Some(entry) = archive.next_entry()? {
            let name = Path::new(OsStr::from_bytes(&entry.name));
            bounds.entry(name)?;
            let name: PathBuf = name.components().filter(|part| matches!(part, Component::Normal(_))).collect();
            let (Some(parent), Some(file)) = (name.parent(), name.file_name()) else { continue };
            let Some(parent) = self.resolve(parent) else { continue };
            let place = parent.join(file);
            if file.as_bytes() == b".wh..wh..opq" {
                let hidden = |path: &PathBuf| *path != parent && !own.contains(path);
                self.remove(&parent, hidden);
                continue;
            }
            if let Some(gone) = file.as_bytes().strip_prefix(b".wh.") {
                self.remove(&parent.join(OsString::from_vec(gone.to_vec())), |_| true);
                continue;
            }
            match entry.kind {
                tar::EntryType::Directory => {
                    let standing = Standing::Directory { mode: entry.mode, uid: entry.uid, gid: entry.gid };
                    self.0.insert(place.clone(), standing);
                }
                tar::EntryType::Symlink => {
                    self.remove(&place, |_| true);
                    let target = PathBuf::from(OsString::from_vec(entry.link));
                    bounds.keep(&target)?;
                    self.0.insert(place.clone(), Standing::Link(target));
                }
                _ => self.remove(&place, |_| true),
            }
            for above in place.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
                let directory = Standing::Directory { mode: 0o755, uid: 0, gid: 0 };
                self.0.entry(above.to_owned()).or_insert(directory);
                if !own.insert(above.to_owned()) {
                    break;
                }
                bounds.keep(above)?;
            }
            bounds.keep(&place)?;
            own.insert(place);
            if self.0.len() > LIMIT {
                let message = format!("more than {LIMIT} directories and links, which is the limit");
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        }
        Ok(())
    }

    /// Removes what is at and below `top` and `gone`.
    fn remove(&mut self, top: &Path, gone: impl Fn(&PathBuf) -> bool) {
        let inside = self.0.range(top.to_owned()..).map(|(path, _)| path).take_while(|path| path.starts_with(top));
        let all: Vec<PathBuf> = inside.filter(|path| gone(path)).cloned().collect();
        for path in &all {
            self.0.remove(path);
        }
    }

    /// Where `path` leads in the running image: links cannot lead out of it. None where there are too many.
    fn resolve(&self, path: &Path) -> Option<PathBuf> {
        let mut here = PathBuf::new();
        let mut left: Vec<OsString> = path.components().rev().map(|part| part.as_os_str().to_owned()).collect();
        let mut links = 0;
        while let Some(part) = left.pop() {
            match Path::new(&part).components().next() {
                Some(Component::Normal(name)) => {
                    here.push(name);
                    let Some(Standing::Link(target)) = self.0.get(&here) else { continue };
                    links += 1;
                    if links > LINKS {
                        return None;
                    }
                    here.pop();
                    left.extend(target.components().rev().map(|part| part.as_os_str().to_owned()));
                }
                Some(Component::RootDir) => here.clear(),
                Some(Component::ParentDir) => drop(here.pop()),
                _ => {}
            }
        }
        Some(here)
    }

    /// Whether a directory stands at `path`.
    pub fn is_directory(&self, path: &Path) -> bool {
        matches!(self.0.get(path), Some(Standing::Directory { .. }))
    }

    /// The directory that the link at `path` leads to.
    fn behind(&self, path: &Path) -> Option<PathBuf> {
        let is_link = matches!(self.0.get(path), Some(Standing::Link(_))) && path != Path::new("nix");
        let target = is_link.then(|| self.resolve(path)).flatten()?;
        (target.as_os_str().is_empty() || self.is_directory(&target)).then_some(target)
    }

    /// A link of the base that a directory of `package`, copied to the root, would replace, and where it leads.
    pub fn replaced_by(&self, package: &Path) -> Option<(PathBuf, PathBuf)> {
        let is_directory = |path: &Path| {
            let there = |path: PathBuf| fs::symlink_metadata(path).is_ok_and(|there| there.is_dir());
            path.ancestors().all(|above| there(package.join(above)))
        };
        let links = self.0.keys().filter(|path| is_directory(path));
        links.filter_map(|path| Some((path.clone(), self.behind(path)?))).next()
    }

    /// Moves what the layer at `root` has in place of a link to a directory into that directory.
    pub fn follow(&self, root: &Path, owners: &mut Owners) -> Result<()> {
        let in_layer = |path: &PathBuf| fs::symlink_metadata(root.join(path)).is_ok_and(|there| there.is_dir());
        let links: Vec<(&PathBuf, PathBuf)> =
            self.0.keys().filter_map(|path| Some((path, self.behind(path)?))).collect();
        // What is moved may stand in place of another link then.
        while let Some((from, to)) = links.iter().find(|(path, _)| in_layer(path)) {
            // Out of the way: what is in it may be called as itself.
            let aside = tempfile::tempdir_in(root.parent().unwrap_or(root)).context("making a directory")?;
            let files = aside.path().join("files");
            let moved = rename(&root.join(from), &files, owners)
                .and_then(|()| self.make(to, root, owners))
                .and_then(|()| merge(&files, &root.join(to), owners));
            moved.with_context(|| {
                format!(
                    "the base image's /{} is a link to /{}, so files of both are at one place; keepBaseDirlinks = false \
                     replaces the link",
                    from.display(),
                    to.display()
                )
            })?;
        }
        Ok(())
    }

    /// Makes the directory `path` in the layer, as the base has it.
    fn make(&self, path: &Path, root: &Path, owners: &mut Owners) -> Result<()> {
        for above in path.ancestors().collect::<Vec<_>>().into_iter().rev() {
            let place = root.join(above);
            match fs::symlink_metadata(&place) {
                Ok(there) if there.is_dir() => continue,
                Ok(_) => {
                    bail!("/{} is a directory of the base image, and the image has another file there", above.display())
                }
                Err(_) => {}
            }
            fs::create_dir(&place).with_context(|| format!("creating {}", place.display()))?;
            if let Some(&Standing::Directory { mode, uid, gid }) = self.0.get(above) {
                owners.insert(place, Owner { mode: 0o040000 | mode, uid, gid, ..Owner::default() });
            }
        }
        Ok(())
    }
}

/// Whether the bytes of a layer can be made here.
fn is_here(layer: &Layer) -> bool {
    match &layer.blob {
        Some(blob) => blob.exists(),
        None => !layer.paths.is_empty() && layer.paths.iter().all(|path| path.path.exists()),
    }
}

/// Moves what is in the directory `from` into the directory `to`, with the notes of it.
fn merge(from: &Path, to: &Path, owners: &mut Owners) -> Result<()> {
    let reading = || format!("listing {}", from.display());
    for entry in fs::read_dir(from).with_context(reading)? {
        let name = entry.with_context(reading)?.file_name();
        let (source, target) = (from.join(&name), to.join(&name));
        let moving = || format!("moving {} to {}", source.display(), target.display());
        let kind = fs::symlink_metadata(&source).with_context(moving)?;
        match fs::symlink_metadata(&target) {
            Err(_) => rename(&source, &target, owners)?,
            Ok(there) if there.is_dir() && kind.is_dir() => merge(&source, &target, owners)?,
            Ok(there) if is_same(&source, &kind, &target, &there).with_context(moving)? => {
                fs::remove_file(&source).with_context(moving)?;
                owners.remove(&source);
            }
            Ok(_) => bail!("{} is there twice", name.display()),
        }
    }
    owners.remove(from);
    fs::remove_dir(from).with_context(|| format!("removing {}", from.display()))
}

/// Moves a file or a directory, with the notes of it.
fn rename(from: &Path, to: &Path, owners: &mut Owners) -> Result<()> {
    fs::rename(from, to).with_context(|| format!("moving {} to {}", from.display(), to.display()))?;
    let moved: Vec<PathBuf> = owners.keys().filter(|path| path.starts_with(from)).cloned().collect();
    for path in moved {
        let below = path.strip_prefix(from)?;
        let place = if below.as_os_str().is_empty() { to.to_owned() } else { to.join(below) };
        owners.remove(&path).map(|owner| owners.insert(place, owner));
    }
    Ok(())
}

/// Whether two links lead to the same, or two files hold the same.
fn is_same(one: &Path, of_one: &fs::Metadata, two: &Path, of_two: &fs::Metadata) -> io::Result<bool> {
    if of_one.is_symlink() && of_two.is_symlink() {
        return Ok(fs::read_link(one)? == fs::read_link(two)?);
    }
    let are_files = of_one.is_file() && of_two.is_file() && of_one.len() == of_two.len();
    Ok(are_files && fs::read(one)? == fs::read(two)?)
}

fn parse(record: &[u8], target: &[u8]) -> Option<(PathBuf, Standing)> {
    let mut fields = record.splitn(4, |&byte| byte == b' ');
    let mut number = |radix| u64::from_str_radix(std::str::from_utf8(fields.next()?).ok()?, radix).ok();
    let (mode, uid, gid) = (u32::try_from(number(8)?).ok()?, number(10)?, number(10)?);
    let path = PathBuf::from(OsString::from_vec(fields.next()?.to_vec()));
    let standing = match target {
        [] => Standing::Directory { mode, uid, gid },
        target => Standing::Link(PathBuf::from(OsString::from_vec(target.to_vec()))),
    };
    Some((path, standing))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A layer of directories (`name/`), links (`name -> target`), and files.
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

    fn below(layers: &[&[&str]]) -> Below {
        let mut below = Below::default();
        for entries in layers {
            below.add(&mut layer(entries).as_slice()).unwrap();
        }
        below
    }

    fn behind(below: &Below, path: &str) -> Option<String> {
        below.behind(Path::new(path)).map(|path| path.to_string_lossy().into_owned())
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
        assert_eq!(behind(&below, "bin").as_deref(), Some("usr/bin"));
        assert_eq!(behind(&below, "sbin").as_deref(), Some("usr/bin"));
        assert_eq!(behind(&below, "lib").as_deref(), Some("usr/lib"));
        assert_eq!(behind(&below, "up").as_deref(), Some("usr"));
        assert_eq!(behind(&below, "top").as_deref(), Some(""));
        for path in ["round", "gone", "file", "link", "usr", "nix", "other"] {
            assert_eq!(behind(&below, path), None, "{path}");
        }
    }

    #[test]
    fn names_are_bounded() {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        archive.append_data(&mut header, "a/".repeat(3000), io::empty()).unwrap();
        let error = Below::default().add(&mut archive.into_inner().unwrap().as_slice()).unwrap_err().to_string();
        assert!(error.contains("a name of more than 4096 bytes or 512 directories"), "{error}");
    }

    #[test]
    fn upper_layers_replace_and_remove() {
        let lower: &[&str] = &["a/b/", "one -> a", "two -> a", "three -> a", "c/d/", "c/link -> ../a"];
        let upper: &[&str] = &["one/", "two", ".wh.three", "a/.wh.b", "c/e/", "c/.wh..wh..opq"];
        let below = below(&[lower, upper]);
        assert!(["one", "two", "three", "c/link"].iter().all(|path| behind(&below, path).is_none()));
        let directories = ["a", "c", "c/e", "one"];
        assert!(directories.iter().all(|path| below.is_directory(Path::new(path))));
        assert!(!below.is_directory(Path::new("a/b")) && !below.is_directory(Path::new("c/d")));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let scratch = tempfile::tempdir().unwrap();
        let below = below(&[&["usr/bin/", "bin -> usr/bin", "a name\nof two/"]]);
        below.save(&scratch.path().join("below")).unwrap();
        assert_eq!(Below::open(&scratch.path().join("below")).unwrap(), below);
    }

    #[test]
    fn what_a_layer_has_in_place_of_a_link_is_moved_behind_it() {
        let scratch = tempfile::tempdir().unwrap();
        let root = &scratch.path().join("root");
        let below = below(&[&["usr/", "usr/bin/", "bin -> usr/bin", "usr/bin/X11 -> .", "up -> ."]]);
        for directory in ["bin/X11/X11/sub", "usr/bin", "up/up/deep"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        for file in ["bin/one", "bin/X11/two", "usr/bin/three", "up/up/four"] {
            fs::write(root.join(file), file).unwrap();
        }
        symlink("x", root.join("bin/same")).unwrap();
        symlink("x", root.join("usr/bin/same")).unwrap();
        let note = |uid| Owner { mode: 0o104755, uid, ..Owner::default() };
        let mut owners = Owners::from([(root.join("bin/one"), note(1)), (root.join("bin/X11/two"), note(2))]);
        assert_eq!(below.replaced_by(root), Some((PathBuf::from("bin"), PathBuf::from("usr/bin"))));
        below.follow(root, &mut owners).unwrap();
        for file in ["one", "two", "three", "sub", "same"] {
            assert!(fs::symlink_metadata(root.join("usr/bin").join(file)).is_ok(), "{file}");
        }
        assert!(
            !root.join("bin").exists()
                && !root.join("usr/bin/X11").exists()
                && root.join("four").exists()
                && !root.join("up").exists()
        );
        assert_eq!(owners.get(&root.join("usr/bin/one")), Some(&note(1)));
        assert_eq!(owners.get(&root.join("usr/bin/two")), Some(&note(2)));
        assert_eq!(below.replaced_by(root), None);

        // Made by following, a directory is as the base has it; two files at one place are an error.
        fs::remove_dir_all(root.join("usr")).unwrap();
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::write(root.join("bin/one"), "1").unwrap();
        below.follow(root, &mut owners).unwrap();
        assert_eq!(
            owners.get(&root.join("usr/bin")),
            Some(&Owner { mode: 0o041777, uid: 3, gid: 4, ..Owner::default() })
        );
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::write(root.join("bin/one"), "2").unwrap();
        let error = format!("{:#}", below.follow(root, &mut owners).unwrap_err());
        assert!(error.contains("/bin is a link to /usr/bin") && error.contains("one is there twice"), "{error}");
    }
}
