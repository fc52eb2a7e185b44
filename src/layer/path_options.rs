//! Options for the entries of a store path in a layer.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use regex::bytes::Regex;
use serde::{Deserialize, Serialize};

use super::{
    LayerError, Result,
    patterns::{Patterns, compile},
    untar::Xattrs,
    whiteout::Marker,
};

/// Options of one store path, as in image.json (nix2container's version 1).
///
/// [Example](crate#recipe).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathOptions {
    /// The location of its files in the image.
    #[serde(default)]
    pub rewrite: Rewrite,
    /// The owners and permissions of its files. The last match applies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub perms: Vec<Perm>,
    /// Whether `perms` apply to the directories above the store path, `/nix` and `/nix/store`, too. They never apply to
    /// `/`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub parents: bool,
    /// Moves files from the first directory to the second, with everything below. It is never part of a recipe.
    #[serde(skip)]
    pub moved: Option<(PathBuf, PathBuf)>,
    /// Owners and types of single files, as recorded by fakeroot or an archive. They are never part of a recipe.
    #[serde(skip)]
    pub owners: Option<Arc<Owners>>,
    /// A directory with files that replace those of the path. It is never part of a recipe.
    #[serde(skip)]
    pub unpacked: Option<PathBuf>,
    /// Whether names that begin with `.wh.` are whiteouts. Otherwise they are refused. It is never part of a recipe.
    #[serde(skip)]
    pub whiteouts: bool,
    /// The compiled regular expressions, which all paths of a recipe share.
    #[serde(skip)]
    pub patterns: Patterns,
}

/// Records of fakeroot, by path.
pub type Owners = BTreeMap<PathBuf, Owner>;

/// The record of fakeroot for a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// Type and permission bits.
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    /// Major and minor number of a device.
    pub device: (u64, u64),
    /// Extended attributes, including file capabilities. They come from base images, since a sandbox cannot set them.
    pub xattrs: Xattrs,
    /// Modification time in seconds since the epoch, if it differs from that of the layer.
    pub mtime: Option<u64>,
}

impl Owner {
    /// Returns the attributes of a file whose own mode is `mode`, which applies to links.
    fn attributes(&self, mode: u32) -> EntryAttributes<'_> {
        let name = |id| if id == 0 { "root" } else { "" };
        EntryAttributes {
            mode: if self.mode & 0o170000 == 0o120000 { mode } else { self.mode & 0o7777 },
            uid: self.uid,
            gid: self.gid,
            uname: name(self.uid),
            gname: name(self.gid),
            xattrs: Some(&self.xattrs).filter(|all| !all.is_empty()),
        }
    }
}

/// Replaces every match of `regex` in the path of a file by `repl`. An empty `regex` replaces nothing.
///
/// [Example](crate#recipe).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rewrite {
    /// RE2 syntax.
    #[serde(default)]
    pub regex: String,
    /// The replacement, which may refer to groups: `$1` or `${name}`.
    #[serde(default)]
    pub repl: String,
}

/// Sets owner and mode of the files whose source path matches `regex`.
///
/// [Example](crate#recipe).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Perm {
    /// RE2 syntax. It may match anywhere in the source path.
    pub regex: String,
    /// An octal mode. If it is empty, the mode of the file stays.
    #[serde(default)]
    pub mode: String,
    /// 0 by default.
    #[serde(default)]
    pub uid: u64,
    /// 0 by default.
    #[serde(default)]
    pub gid: u64,
    /// An empty name means root.
    #[serde(default)]
    pub uname: String,
    /// An empty name means root.
    #[serde(default)]
    pub gname: String,
}

impl Perm {
    /// Compiles the regular expression for source paths.
    ///
    /// # Errors
    ///
    /// [`LayerError::Regex`].
    pub fn regex(&self) -> Result<Regex> {
        compile(&self.regex)
    }
}

/// Owner and mode of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EntryAttributes<'a> {
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    pub uname: &'a str,
    pub gname: &'a str,
    pub xattrs: Option<&'a Xattrs>,
}

impl EntryAttributes<'_> {
    /// Returns the attributes of a file that belongs to root.
    pub const fn root(mode: u32) -> Self {
        Self { mode, uid: 0, gid: 0, uname: "root", gname: "root", xattrs: None }
    }
}

/// Options that are compiled for many files.
#[derive(Debug, Default)]
pub(super) struct Compiled {
    rewrite: Option<(Arc<Regex>, Vec<u8>)>,
    moved: Option<(PathBuf, PathBuf)>,
    perms: Vec<(Arc<Regex>, Option<u32>, Perm)>,
    parents: bool,
    owners: Option<Arc<Owners>>,
    whiteouts: bool,
}

impl Compiled {
    pub fn new(options: &PathOptions) -> Result<Self> {
        let rewrite = match &options.rewrite {
            Rewrite { regex, .. } if regex.is_empty() => None,
            Rewrite { regex, repl } => Some((options.patterns.compile(regex)?, repl.clone().into_bytes())),
        };
        let perm = |perm: &Perm| Ok((options.patterns.compile(&perm.regex)?, parse_mode(&perm.mode)?, perm.clone()));
        let perms = options.perms.iter().map(perm).collect::<Result<_>>()?;
        let PathOptions { parents, moved, owners, whiteouts, .. } = options.clone();
        Ok(Self { rewrite, moved, perms, parents, owners, whiteouts })
    }

    /// Refuses a name in the image that engines would take for a whiteout.
    pub fn check_name(&self, name: &[u8], source: &Path) -> Result<()> {
        let last = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        if !self.whiteouts && Marker::parse(last).is_some() {
            return Err(LayerError::Whiteout {
                path: source.to_owned(),
                name: String::from_utf8_lossy(name).into_owned(),
            });
        }
        Ok(())
    }

    /// Returns the record of fakeroot for the file at `path`.
    pub fn owner(&self, path: &Path) -> Option<&Owner> {
        self.owners.as_ref()?.get(path)
    }

    /// Whether permissions apply to the directories above, too.
    pub fn holds_above(&self) -> bool {
        self.parents
    }

    /// Whether files keep their paths.
    pub fn stays(&self) -> bool {
        self.rewrite.is_none() && self.moved.is_none()
    }

    /// Returns the path in the image of the file at `path`.
    pub fn destination(&self, path: &[u8]) -> Vec<u8> {
        if let Some((from, to)) = &self.moved
            && let Ok(below) = Path::new(OsStr::from_bytes(path)).strip_prefix(from)
        {
            return to.join(below).into_os_string().into_vec();
        }
        match &self.rewrite {
            Some((regex, repl)) => regex.replace_all(path, repl.as_slice()).into_owned(),
            None => path.to_vec(),
        }
    }

    /// Returns owner and mode of the file at `path`, whose own mode is `mode`: recorded values replace those of the
    /// file, and options replace both.
    pub fn attributes(&self, path: &[u8], mode: u32) -> EntryAttributes<'_> {
        let record = self.owner(Path::new(OsStr::from_bytes(path)));
        let mut attributes = record.map_or(EntryAttributes::root(mode), |owner| owner.attributes(mode));
        for (_, mode, perm) in self.perms.iter().filter(|(regex, ..)| regex.is_match(path)) {
            attributes.mode = mode.unwrap_or(attributes.mode);
            attributes.uid = perm.uid;
            attributes.gid = perm.gid;
            if !perm.uname.is_empty() {
                attributes.uname = &perm.uname;
            }
            if !perm.gname.is_empty() {
                attributes.gname = &perm.gname;
            }
        }
        attributes
    }
}

fn parse_mode(text: &str) -> Result<Option<u32>> {
    if text.is_empty() {
        return Ok(None);
    }
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o7777 => Ok(Some(mode)),
        _ => Err(LayerError::Mode(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn perm(regex: &str, mode: &str, uid: u64, uname: &str) -> Perm {
        Perm { regex: regex.into(), mode: mode.into(), uid, gid: 0, uname: uname.into(), gname: String::new() }
    }

    #[test]
    fn the_last_matching_permission_wins() {
        let options = PathOptions {
            perms: vec![perm("/bin/", "4755", 1, "one"), perm("x$", "", 2, "")],
            ..PathOptions::default()
        };
        let compiled = Compiled::new(&options).unwrap();
        let both = compiled.attributes(b"/s/bin/x", 0o555);
        assert_eq!((both.mode, both.uid, both.uname), (0o4755, 2, "one"));
        assert_eq!(compiled.attributes(b"/s/lib", 0o555), EntryAttributes::root(0o555));
    }

    #[test]
    fn perms_override_the_owners_of_an_archive() {
        let owner = Owner { mode: 0o104711, uid: 7, gid: 8, ..Owner::default() };
        let owners = Owners::from([("/s/a".into(), owner.clone()), ("/s/bin/x".into(), owner)]);
        let options = PathOptions {
            perms: vec![perm("/bin/", "", 1, "one")],
            owners: Some(Arc::new(owners)),
            ..PathOptions::default()
        };
        let compiled = Compiled::new(&options).unwrap();
        let [attributes, both] = ["/s/a", "/s/bin/x"].map(|path| compiled.attributes(path.as_bytes(), 0o444));
        assert_eq!((attributes.mode, attributes.uid, attributes.gid, attributes.uname), (0o4711, 7, 8, ""));
        assert_eq!((both.mode, both.uid, both.gid, both.uname), (0o4711, 1, 0, "one"));
    }

    #[test]
    fn moved_paths_may_contain_any_bytes() {
        let from = PathBuf::from(OsStr::from_bytes(b"/build/a.b\xff"));
        let options = PathOptions { moved: Some((from, "/app$1".into())), ..PathOptions::default() };
        let compiled = Compiled::new(&options).unwrap();
        assert!(!compiled.stays());
        assert_eq!(compiled.destination(b"/build/a.b\xff/x"), b"/app$1/x");
        assert_eq!(compiled.destination(b"/build/a.b\xff-other"), b"/build/a.b\xff-other");
    }

    #[test]
    fn mistakes_are_named() {
        for mode in ["rwx", "0o755", "17777", "-1"] {
            assert!(matches!(parse_mode(mode), Err(LayerError::Mode(_))), "{mode}");
        }
        assert!(compile("(").unwrap_err().to_string().contains("\"(\""));
    }
}
