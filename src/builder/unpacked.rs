//! `fromTar`, `excludes`, `ensureDirs` and the scripts of buildLayer: files that replace those of a store path.
//!
//! ```text
//! scripts      the files and owners of a result of kind `customisation`
//! fromTar      the files of an archive, with its owners, modes, devices and extended attributes
//! excludes     the files of a store path, without some of its files and directories
//! ensureDirs   directories that the path lacks (`/nix/store` of one that is copied to the root), with an owner and a mode
//! ```
//!
//! The files are unpacked below Nix's build directory. The bytes of the layer are stored, since they cannot be made
//! again from store paths. Scripts cannot be combined with the other arguments. For one store path, archives come
//! first, then `excludes`, then `ensureDirs`. (nix2container: pull requests 227, 231 and 232)

use std::{
    collections::{HashMap, hash_map::Entry},
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::{copies, customisation, root::RootDirectory, walk::walk};
use crate::{
    closure::{Graph, StorePath},
    layer::{Owner, Owners, open_packed, rooted::Rooted, unpack, untar::TarReader, whiteout::Marker},
};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Request {
    from_tar: Vec<FromTar>,
    #[serde(default)]
    excludes: Vec<Exclude>,
    ensure_dirs: Vec<EnsureDir>,
    /// Whether files of archives keep their modification times, as in nix2container's pull request 231. Other layers have one
    /// time for all files.
    #[serde(default)]
    keeps_archive_times: bool,
    /// Results of kind `customisation`.
    #[serde(default)]
    scripts: Vec<StorePath>,
}

/// An archive, compressed or not, that replaces the files of a store path.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FromTar {
    path: StorePath,
    tar: PathBuf,
}

/// Files and directories of a store path that are left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exclude {
    path: StorePath,
    /// Paths relative to the store path.
    excludes: Vec<PathBuf>,
}

/// A directory below a store path, which is made if it is missing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnsureDir {
    path: StorePath,
    dir: PathBuf,
    #[serde(default)]
    uid: u64,
    #[serde(default)]
    gid: u64,
    /// Octal.
    #[serde(default)]
    mode: Option<String>,
}

/// Files that replace those of a store path.
#[derive(Debug)]
pub struct Unpacked {
    /// The directory of the files.
    pub files: PathBuf,
    /// The owner, mode and type of each file in the image, by its path below the store path.
    pub owners: Arc<Owners>,
}

impl Request {
    /// Unpacks the archives and store paths of the arguments, all of which must be in the closure.
    pub fn unpack(&self, graph: &Graph) -> Result<HashMap<StorePath, Unpacked>> {
        let named = self.from_tar.iter().map(|entry| ("fromTar", &entry.path));
        let named = named.chain(self.excludes.iter().map(|entry| ("excludes", &entry.path)));
        for (argument, path) in named.chain(self.ensure_dirs.iter().map(|entry| ("ensureDirs", &entry.path))) {
            ensure!(
                graph.get(path).is_some(),
                "argument {argument}: {path} is not among the store paths of these layers; put it in deps or copyToRoot"
            );
        }
        let mut all: HashMap<StorePath, (PathBuf, Owners)> = HashMap::new();
        for FromTar { path, tar } in &self.from_tar {
            ensure!(!all.contains_key(path), "argument fromTar: {path} has two archives");
            let unpacked = from_tar(tar, self.keeps_archive_times)
                .with_context(|| format!("argument fromTar: {}", tar.display()))?;
            all.insert(path.clone(), unpacked);
        }
        for scripts in &self.scripts {
            let RootDirectory { path, owners } = customisation::open(scripts.as_path())?;
            all.insert(scripts.clone(), (path, owners));
        }
        for Exclude { path, excludes } in &self.excludes {
            let exclude_all = |(files, owners): &mut (PathBuf, Owners)| {
                excludes.iter().try_for_each(|below| exclude(files, owners, below))
            };
            let excluded = unpacked_or_copied(&mut all, path).and_then(exclude_all);
            excluded.with_context(|| format!("argument excludes: {path}"))?;
        }
        for entry in &self.ensure_dirs {
            let ensured =
                unpacked_or_copied(&mut all, &entry.path).and_then(|(files, owners)| entry.ensure(files, owners));
            ensured.with_context(|| format!("argument ensureDirs: {} of {}", entry.dir.display(), entry.path))?;
        }
        Ok(all
            .into_iter()
            .map(|(path, (files, owners))| {
                let placed = |(file, owner): (PathBuf, Owner)| {
                    (
                        file.strip_prefix(&files).map_or_else(|_| file.clone(), |below| join(path.as_path(), below)),
                        owner,
                    )
                };
                let owners = Arc::new(owners.into_iter().map(placed).collect());
                (path, Unpacked { files, owners })
            })
            .collect())
    }
}

/// Returns the files and owners for `path`: those of `all`, or a copy of the store path, which is added to `all`.
fn unpacked_or_copied<'a>(
    all: &'a mut HashMap<StorePath, (PathBuf, Owners)>,
    path: &StorePath,
) -> Result<&'a mut (PathBuf, Owners)> {
    Ok(match all.entry(path.clone()) {
        Entry::Occupied(unpacked) => unpacked.into_mut(),
        Entry::Vacant(absent) => absent.insert(copy(path.as_path())?),
    })
}

/// Returns `above` without a slash at its end if `below` is empty.
fn join(above: &Path, below: &Path) -> PathBuf {
    if below.as_os_str().is_empty() { above.to_owned() } else { above.join(below) }
}

fn new_directory() -> Result<PathBuf> {
    let directory = tempfile::tempdir_in(super::work_directory()?).context("making a directory")?;
    Ok(directory.keep())
}

fn from_tar(tar: &Path, keeps_times: bool) -> Result<(PathBuf, Owners)> {
    let read = || {
        let (file, compression) = open_packed(tar)?;
        let size = file.metadata()?.len();
        compression.reader(file, size)
    };
    let mut entries = TarReader::new(read()?);
    while let Some(entry) = entries.next_entry()? {
        let name = Path::new(OsStr::from_bytes(&entry.name));
        let is_whiteout = name.file_name().is_some_and(|name| Marker::parse(name.as_bytes()).is_some());
        ensure!(!is_whiteout, "{} deletes a file of another layer; use the archive as a base image", name.display());
    }
    let (directory, mut owners) = (new_directory()?, Owners::new());
    let unpack = if keeps_times { unpack::unpack_with_times } else { unpack::unpack };
    unpack(read()?, &directory, &mut owners)?;
    // The root directory of an archive has no meaning for the store path.
    owners.insert(directory.clone(), Owner { mode: 0o040755, ..Owner::default() });
    Ok((directory, owners))
}

/// Copies a store path, so that files can be added.
fn copy(path: &Path) -> Result<(PathBuf, Owners)> {
    let to = new_directory()?.join("copy");
    let mut owners = Owners::new();
    walk(path, &mut |file, metadata| {
        let below = file.strip_prefix(path)?;
        owners.insert(join(&to, below), Owner { mode: metadata.mode(), ..Owner::default() });
        Ok(())
    })?;
    ensure!(fs::symlink_metadata(path)?.is_dir(), "it is not a directory");
    copies::tree(path, &to).with_context(|| format!("copying {}", path.display()))?;
    Ok((to, owners))
}

/// Removes the file or directory at `below` in `files`.
fn exclude(files: &Path, owners: &mut Owners, below: &Path) -> Result<()> {
    let is_normal = |part: Component| matches!(part, Component::Normal(_));
    ensure!(
        below.components().next().is_some() && below.components().all(is_normal),
        "{} is not a path below the store path; write it like share/doc",
        below.display()
    );
    let place = files.join(below);
    // A link among the parent directories leads to files of another location.
    let above = place.ancestors().skip(1).take_while(|above| *above != files);
    let is_directory = |above: &Path| fs::symlink_metadata(above).is_ok_and(|above| above.is_dir());
    ensure!(
        above.into_iter().all(is_directory) && fs::symlink_metadata(&place).is_ok(),
        "it has no {}; remove it from excludes",
        below.display()
    );
    unpack::remove(&place, owners).with_context(|| format!("removing {}", below.display()))
}

impl EnsureDir {
    fn ensure(&self, files: &Path, owners: &mut Owners) -> Result<()> {
        let below: PathBuf =
            self.dir.components().filter(|part| !matches!(part, Component::RootDir | Component::CurDir)).collect();
        ensure!(
            below.components().all(|part| matches!(part, Component::Normal(_))),
            "a directory is named without `..`"
        );
        let mode = self.mode.as_deref().map_or(Ok(0o755), |mode| u32::from_str_radix(mode, 8));
        let mode = mode.ok().filter(|mode| *mode <= 0o7777).context("its mode is not octal, like \"0755\"")?;
        let mut made = Vec::new();
        let directory = Rooted::open(files)?.make_noting(&below, &mut made)?;
        for made in made {
            let owner = match made == directory.path() {
                true => Owner { mode: 0o040000 | mode, uid: self.uid, gid: self.gid, ..Owner::default() },
                false => Owner { mode: 0o040755, ..Owner::default() },
            };
            owners.insert(made, owner);
        }
        Ok(())
    }
}
