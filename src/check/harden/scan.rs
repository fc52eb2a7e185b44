//! The files of an image that a check is about, read from its layers.
//!
//! Files are those of the merged layers: later layers replace and hide files of lower ones. Only files that a check is about are kept,
//! and links, through which `/etc/passwd` may lead into a store path.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashSet},
    ffi::OsStr,
    io::{self, Read},
    os::unix::ffi::OsStrExt,
    path::Path,
    sync::Arc,
};

use anyhow::{Context, Result};
use tar::EntryType;

use super::{Check, Collected, Finding, capabilities, secrets};
use crate::{
    budget::{self, Budget, NAME_OVERHEAD},
    check::accounts::Accounts,
    closure::StorePath,
    image::{Image, LayerBlob},
    layer::{
        links,
        overlay::{LayerEffect, LayerLinks, Overlay},
        untar::{TarEntry, TarReader},
    },
    oci::Config,
    terminal::shell_word,
};

const SHELLS: [&str; 15] = [
    "ash", "bash", "busybox", "csh", "dash", "elvish", "fish", "ksh", "mksh", "nu", "rbash", "sh", "tcsh", "toybox",
    "zsh",
];
const PACKAGE_MANAGERS: [&str; 15] = [
    "apk", "apt", "apt-get", "aptitude", "dnf", "dnf5", "dpkg", "microdnf", "nix", "nix-env", "opkg", "pacman", "rpm",
    "yum", "zypper",
];
/// Files and directories of development (dockle, pkg/assessor/cache/cache.go).
const LEFTOVER_FILES: [&str; 4] = [".DS_Store", ".vimrc", "Dockerfile", "docker-compose.yml"];
const LEFTOVER_DIRECTORIES: [&str; 8] = [".aws", ".azure", ".cache", ".gcp", ".git", ".idea", ".npm", ".vscode"];
/// Directories of dependencies, whose files an image's author did not choose.
const DEPENDENCIES: [&str; 2] = ["node_modules", "vendor"];

const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;
const STICKY: u32 = 0o1000;

/// The properties of a file that checks use.
#[derive(Clone, Debug)]
struct Fact {
    layer: usize,
    mode: u32,
    is_directory: bool,
    uid: u64,
    gid: u64,
    /// The target of a symlink.
    link: Option<Vec<u8>>,
    /// The text of a file with accounts. All hard links to the file share it.
    text: Option<Arc<[u8]>>,
    capabilities: Vec<String>,
}

/// The files of an image that a check is about.
#[derive(Debug)]
pub struct ScannedFiles {
    facts: Overlay<Fact>,
    secrets: Vec<Finding>,
    budget: Budget,
}

impl Default for ScannedFiles {
    fn default() -> Self {
        Self { facts: Overlay::default(), secrets: Vec::new(), budget: Budget::new(&budget::HARDENING) }
    }
}

impl ScannedFiles {
    /// Reads all layers.
    ///
    /// # Errors
    ///
    /// If a layer cannot be read, or has more files to keep than the limit.
    pub fn read(image: &Image) -> Result<Self> {
        let mut files = Self::default();
        for (at, layer) in image.layers.iter().enumerate() {
            files.read_layer(layer, at + 1).with_context(|| format!("reading layer {} of the image", at + 1))?;
        }
        Ok(files)
    }

    fn read_layer(&mut self, layer: &LayerBlob, number: usize) -> Result<()> {
        layer.plain(|tar| {
            let mut archive = TarReader::new(tar);
            let mut links = LayerLinks::default();
            let mut whiteouts = BTreeSet::new();
            while let Some(entry) = archive.next_entry()? {
                match links.place(&entry)? {
                    Some(LayerEffect::Whiteout(path)) => {
                        self.budget.take(path.len() + NAME_OVERHEAD)?;
                        whiteouts.insert(path);
                    }
                    Some(place) => {
                        // Overlayfs then shows the files of lower layers again, because the directory is not opaque.
                        if let (LayerEffect::At(path), EntryType::Directory) = (&place, entry.kind) {
                            whiteouts.remove(path);
                        }
                        self.entry(&entry, place, &links, &mut archive, number)?;
                    }
                    None => {}
                }
            }
            whiteouts.into_iter().for_each(|path| self.facts.apply(&LayerEffect::Whiteout(path), false));
            Ok(())
        })?;
        self.facts.end_layer();
        Ok(())
    }

    fn entry(
        &mut self,
        entry: &TarEntry,
        place: LayerEffect,
        links: &LayerLinks,
        data: &mut dyn Read,
        layer: usize,
    ) -> io::Result<()> {
        let is_directory = entry.kind == EntryType::Directory;
        // A hard link is another name of a file. Docker and podman apply the header of the link to the file, umoci does not.
        let linked = match entry.kind {
            EntryType::Link => self.facts.get(&links.hard_link_target(entry)?).cloned(),
            _ => None,
        };
        self.facts.apply(&place, is_directory);
        let LayerEffect::At(path) = place else { return Ok(()) };
        let mut fact = Fact::new(entry, layer);
        if let Some(linked) = linked {
            fact.merge(linked);
        }
        if matches!(entry.kind, EntryType::Regular | EntryType::Continuous) {
            if is_accounts(&path) {
                let mut text = Vec::new();
                Budget::new(&budget::ACCOUNTS).read_start(data, &mut text)?;
                self.budget.take_bytes(text.len() as u64)?;
                fact.text = Some(text.into());
            } else {
                self.search(&path, entry.size, data, layer)?;
            }
        }
        if fact.is_kept(&path) {
            let link = fact.link.as_ref().map_or(0, Vec::len);
            let capabilities = fact.capabilities.iter().map(|name| name.len() + NAME_OVERHEAD).sum::<usize>();
            self.budget.take(path.len() + link + capabilities + NAME_OVERHEAD)?;
            self.facts.insert(path, fact);
        }
        Ok(())
    }

    fn search(&mut self, path: &[u8], size: u64, data: &mut dyn Read, layer: usize) -> io::Result<()> {
        for secrets::Secret { offset, what } in secrets::search(data, secrets::is_settings(path, size))? {
            // A finding contains the path, the store path and two texts.
            self.budget.take(2 * path.len() + 8 * NAME_OVERHEAD)?;
            let fix = match StorePath::from_entry_name(path) {
                Some(path) => format!(
                    "remove it from the sources of {path}, pass the secret at run time as a file, and replace it"
                ),
                None => "remove the file, pass the secret at run time as a file, and replace it".to_owned(),
            };
            let what = format!("{what}, at byte {offset}");
            self.secrets.push(Finding { check: Check::Secret, place: shown(path), layer: Some(layer), what, fix });
        }
        Ok(())
    }

    /// The text of a file with accounts, and the layer that has it.
    pub fn text(&self, path: &str) -> Option<(usize, String)> {
        let target = |here: &Path| {
            let link = self.facts.get(here.as_os_str().as_bytes())?.link.as_ref()?;
            Some(Cow::Borrowed(Path::new(OsStr::from_bytes(link))))
        };
        let path = links::follow(Path::new(path), target).ok()?;
        let fact = self.facts.get(path.as_os_str().as_bytes())?;
        Some((fact.layer, String::from_utf8_lossy(fact.text.as_ref()?).into_owned()))
    }

    /// The accounts of the image.
    pub fn accounts(&self) -> Accounts {
        let text = |path| self.text(path).map(|(_, text)| text).unwrap_or_default();
        Accounts { passwd: text("etc/passwd"), group: text("etc/group") }
    }

    /// Adds the findings of all checks of files.
    pub fn check(&self, config: &Config, found: &mut Collected) {
        for secret in &self.secrets {
            found.push(Check::Secret, secret.place.clone(), secret.layer, secret.what.clone(), secret.fix.clone());
        }
        for (path, fact) in self.facts.iter().filter(|(_, fact)| fact.link.is_none()) {
            fact.modes(path, found);
            fact.programs(path, found);
        }
        self.leftovers(found);
        self.writable(config, found);
    }

    fn leftovers(&self, found: &mut Collected) {
        let kept = self.facts.iter().filter_map(|(path, fact)| Some((leftover(path)?, fact.layer)));
        for (path, layer) in kept.collect::<BTreeSet<_>>() {
            let (what, fix) = (
                "it is of use for development only".to_owned(),
                fix_of(path, "remove it from copyToRoot, or filter it out of the sources"),
            );
            found.push(Check::LeftoverFile, shown(path), Some(layer), what, fix);
        }
    }

    /// The paths outside of volumes that the user can write to. With a read-only root, the program cannot.
    fn writable(&self, config: &Config, found: &mut Collected) {
        let accounts = self.accounts();
        let user_id = accounts.user_id(config.user.split(':').next().unwrap_or_default());
        if user_id == Some(0) {
            let what = "root can write everywhere, so that the need for a writable root is unknown".to_owned();
            found.push(Check::WritableRoot, "config.User", None, what, r#"config.User = "1000:1000""#.to_owned());
            return;
        }
        let groups = accounts.group_ids(&config.user);
        let volumes: HashSet<&[u8]> = config.volumes.keys().map(|volume| volume.trim_matches('/').as_bytes()).collect();
        // Directories come before the files in them.
        let mut listed: BTreeSet<&[u8]> = BTreeSet::new();
        for (path, fact) in self.facts.iter().filter(|(_, fact)| fact.is_writable(user_id, &groups)) {
            let mut above = ancestors(path);
            if above.any(|path| listed.contains(path) || volumes.contains(path)) {
                continue;
            }
            listed.insert(path);
            let place = shown(path);
            let what = "the user can write to it, and it is in no volume".to_owned();
            let fix =
                format!("config.Volumes.{place:?} = {{ }}, or docker run --read-only --tmpfs {}", shell_word(&place));
            found.push(Check::WritableRoot, place, Some(fact.layer), what, fix);
        }
    }
}

impl Fact {
    fn new(entry: &TarEntry, layer: usize) -> Self {
        let capabilities = entry.xattrs.get(capabilities::ATTRIBUTE).map(|value| capabilities::permitted(value));
        Self {
            layer,
            mode: entry.mode,
            is_directory: entry.kind == EntryType::Directory,
            uid: entry.uid,
            gid: entry.gid,
            link: (entry.kind == EntryType::Symlink).then(|| entry.link.clone()),
            text: None,
            capabilities: capabilities.unwrap_or_default(),
        }
    }

    /// Adds the properties of the file that a hard link leads to.
    fn merge(&mut self, file: Self) {
        self.mode |= file.mode;
        let new = file.capabilities.into_iter().filter(|name| !self.capabilities.contains(name)).collect::<Vec<_>>();
        self.capabilities.extend(new);
        (self.link, self.text) = (file.link, file.text);
    }

    /// Whether a check is about the file.
    fn is_kept(&self, path: &[u8]) -> bool {
        self.link.is_some()
            || self.text.is_some()
            || !self.capabilities.is_empty()
            || self.is_privileged()
            // Members of the group root, and every user.
            || (self.link.is_none() && self.mode & 0o022 != 0)
            || (self.uid, self.gid) != (0, 0)
            || program(path).is_some()
            || leftover(path).is_some()
    }

    fn is_privileged(&self) -> bool {
        !self.is_directory && self.mode & (SETUID | SETGID) != 0
    }

    /// Every user may replace files of a directory without the sticky bit.
    fn is_world_writable(&self) -> bool {
        self.link.is_none() && self.mode & 0o002 != 0 && !(self.is_directory && self.mode & STICKY != 0)
    }

    fn is_writable(&self, user: Option<i64>, groups: &[i64]) -> bool {
        let is_one_of = |id: u64, ids: &[i64]| ids.iter().any(|other| i64::try_from(id) == Ok(*other));
        let bits = [(is_one_of(self.uid, user.as_slice()), 0o200), (is_one_of(self.gid, groups), 0o020), (true, 0o002)];
        // The first class that the user belongs to decides (path_resolution(7)).
        let bit = bits.iter().find(|(is_member, _)| *is_member).map_or(0, |(_, bit)| *bit);
        self.link.is_none() && self.mode & bit != 0
    }

    fn modes(&self, path: &[u8], found: &mut Collected) {
        let place = shown(path);
        if self.is_privileged() {
            let (bit, remove) = if self.mode & SETUID != 0 { ("setuid", "u-s") } else { ("setgid", "g-s") };
            let what = format!("it has the {bit} bit, mode {:04o}, owner {}:{}", self.mode, self.uid, self.gid);
            found.push(
                Check::Setuid,
                place.clone(),
                Some(self.layer),
                what,
                self.fix_of_mode(path, remove, self.mode & 0o777),
            );
        }
        if self.is_world_writable() {
            let kind = if self.is_directory { "directory without the sticky bit" } else { "file" };
            let what = format!("every user can write to this {kind}, mode {:04o}", self.mode);
            let fix = self.fix_of_mode(path, "o-w", self.mode & 0o7775);
            found.push(Check::WorldWritable, place.clone(), Some(self.layer), what, fix);
        }
        if !self.capabilities.is_empty() {
            let added: Vec<String> = self.capabilities.iter().map(|name| format!("--cap-add={name}")).collect();
            let what = format!("it has the capabilities {}", self.capabilities.join(", "));
            let fix = format!("docker run --cap-drop=ALL {}", added.join(" "));
            found.push(Check::FileCapability, place, Some(self.layer), what, fix);
        }
    }

    fn fix_of_mode(&self, path: &[u8], change: &str, mode: u32) -> String {
        match StorePath::from_entry_name(path) {
            Some(store) => {
                format!("perms = [ {{ path = {store}; regex = {:?}; mode = \"{mode:04o}\"; }} ]", shown(path))
            }
            None => format!(
                "chmod {change} {} in the script that makes it; for a base image, in runAsRoot of dockerTools.buildImage",
                shell_word(&shown(path))
            ),
        }
    }

    fn programs(&self, path: &[u8], found: &mut Collected) {
        let Some(check) = program(path).filter(|_| !self.is_directory && self.mode & 0o111 != 0) else { return };
        let what = if check == Check::Shell { "it is a shell" } else { "it is a package manager" };
        let fix = match StorePath::from_entry_name(path) {
            Some(store) => {
                format!("forbiddenPaths = [ {:?} ] shows the reference to remove", store.name())
            }
            None => "use a base image without it, or fromImage = null".to_owned(),
        };
        found.push(check, shown(path), Some(self.layer), what.to_owned(), fix);
    }
}

/// A path and the directories above it.
fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    ends.chain([path.len()]).map(|end| &path[..end])
}

fn fix_of(path: &[u8], otherwise: &str) -> String {
    StorePath::from_entry_name(path)
        .map_or_else(|| otherwise.to_owned(), |store| format!("filter it out of the sources of {store}"))
}

/// The check that a program's name is for, if it is in a directory of programs.
fn program(path: &[u8]) -> Option<Check> {
    let mut parts = path.rsplit(|&byte| byte == b'/');
    let (name, directory) = (parts.next()?, parts.next()?);
    let is_among = |list: &[&str]| list.iter().any(|known| known.as_bytes() == name);
    match directory {
        b"bin" | b"sbin" if is_among(&SHELLS) => Some(Check::Shell),
        b"bin" | b"sbin" if is_among(&PACKAGE_MANAGERS) => Some(Check::PackageManager),
        _ => None,
    }
}

/// The path of a file or directory of development, if `path` is one or is in one.
fn leftover(path: &[u8]) -> Option<&[u8]> {
    let mut end = 0;
    for part in path.split(|&byte| byte == b'/') {
        let is_among = |list: &[&str]| list.iter().any(|known| known.as_bytes() == part);
        end += part.len();
        if is_among(&DEPENDENCIES) {
            return None;
        }
        if is_among(&LEFTOVER_DIRECTORIES) || (end == path.len() && is_among(&LEFTOVER_FILES)) {
            return Some(&path[..end]);
        }
        end += 1;
    }
    None
}

/// Whether a file may be one that `/etc/passwd`, `/etc/group` or `/etc/shadow` leads to.
fn is_accounts(path: &[u8]) -> bool {
    [&b"passwd"[..], b"group", b"shadow"].iter().any(|end| path.ends_with(end))
}

/// A path of a layer as the container has it.
fn shown(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}
