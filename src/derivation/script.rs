//! Users' scripts: the only place where a shell is started.
//!
//! ```text
//! extraCommands      bash, in the directory that becomes the layer, as whoever builds
//! fakeRootCommands   the same under fakeroot: owners, setuid bits and devices are noted
//! … in a chroot      the same at /, in namespaces of its own, with the store bound in
//! ```
//!
//! Nothing here needs to be root. What fakeroot noted is read from what `faked`
//! saves: files by device and inode.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use strata::layer::{Owner, Owners, unpack::inside};

/// Programs that scripts need, all of them in the store.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Tools {
    /// bash itself.
    bash: PathBuf,
    /// The `PATH` of scripts.
    path: String,
    /// The package fakeroot.
    fakeroot: PathBuf,
    /// The package util-linux: `unshare` and `mount`.
    util_linux: PathBuf,
    /// The package coreutils: `chroot`.
    coreutils: PathBuf,
}

/// How a script runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As whoever builds.
    Plain,
    /// Under fakeroot.
    FakeRoot,
    /// Under fakeroot, at `/` of a chroot with the store visible.
    Chroot,
}

/// Runs the script after `strict` options; says where it failed.
const WRAPPER: &str = r#"
set -eE
trap 'status=$?; echo "line $LINENO of $STRATA_ARGUMENT failed with status $status: $BASH_COMMAND" >&2' ERR
source "$STRATA_SCRIPT"
"#;

/// Starts `faked`, runs the command with it, and waits until it has saved what it knows. It stays our child: nobody
/// else in a sandbox would wait for it.
const FAKED: &str = r#"
set -e
load=()
if [ -s "$STRATA_LOAD" ]; then load=(--load); fi
"$STRATA_FAKED" --foreground --save-file "$STRATA_STATE" "${load[@]}" < "$STRATA_LOAD" > "$STRATA_STATE.key" &
faked=$!
trap 'kill -s TERM "$faked" 2>/dev/null; wait "$faked" || true' EXIT
until [ -s "$STRATA_STATE.key" ]; do kill -s 0 "$faked"; sleep 0.01; done
key=$(<"$STRATA_STATE.key")
export STRATA_FAKEROOTKEY=${key%%:*}
"$@"
"#;

/// Turns the environment of `FAKED` into fakeroot's, and becomes the command.
const FAKEROOT: &str =
    r#"export FAKEROOTKEY=$STRATA_FAKEROOTKEY LD_PRELOAD=$STRATA_LIBRARY FAKEROOTDONTTRYCHOWN=1; exec "$@""#;

/// In namespaces of its own: binds what the script may see, and becomes the command in the chroot.
const CHROOT: &str = r#"
set -e
mount --make-rprivate / 2>/dev/null || true
mount --rbind "$STRATA_STORE" "$STRATA_AT_STORE"
mount -t proc proc "$STRATA_AT_PROC" 2>/dev/null || mount --rbind /proc "$STRATA_AT_PROC"
mount --rbind /dev "$STRATA_AT_DEV"
mount --bind "$STRATA_SCRIPTS" "$STRATA_AT_SCRIPTS"
: > "$STRATA_STATE.started"
export FAKEROOTKEY=$STRATA_FAKEROOTKEY LD_PRELOAD=$STRATA_LIBRARY FAKEROOTDONTTRYCHOWN=1
exec "$STRATA_CHROOT" "$STRATA_ROOT" "$STRATA_BASH" -c "cd /; $STRATA_WRAPPER"
"#;

/// Where the scripts are in a chroot, while one runs.
const INSIDE: &str = "/.strata-scripts";

/// Runs `script`, the value of `argument`, in `root`. `owners` is what fakeroot noted of it before, and takes what it
/// notes now.
pub fn run(tools: &Tools, mode: Mode, argument: &str, script: &str, root: &Path, owners: &mut Owners) -> Result<()> {
    let scratch = tempfile::tempdir_in(root.parent().unwrap_or(root)).context("making a directory for scripts")?;
    let file = scratch.path().join(argument);
    fs::write(&file, script).with_context(|| format!("writing {}", file.display()))?;
    let (load, state) = (scratch.path().join("load"), scratch.path().join("state"));
    let mut command = Command::new(&tools.bash);
    command
        .current_dir(root)
        .env("PATH", &tools.path)
        .env("STRATA_ARGUMENT", argument)
        .env("STRATA_SCRIPT", &file)
        .env("STRATA_WRAPPER", WRAPPER);
    let mut mounts = Mounts::default();
    let before = if mode == Mode::Plain { BTreeMap::new() } else { known(owners)? };
    if mode == Mode::Plain {
        command.args(["-c", WRAPPER]);
    } else {
        fs::write(&load, saved(&before)).context("writing what fakeroot is to know")?;
        command
            .env("STRATA_LOAD", &load)
            .env("STRATA_STATE", &state)
            .env("STRATA_FAKED", find(&tools.fakeroot.join("bin"), &["faked-sysv", "faked"])?)
            .env(
                "STRATA_LIBRARY",
                find(&tools.fakeroot.join("lib"), &["libfakeroot-sysv.so", "libfakeroot.so", "libfakeroot-0.so"])?,
            )
            .env("STRATA_BASH", &tools.bash);
        let bash = tools.bash.as_os_str();
        command.arg("-c").arg(FAKED).arg("faked");
        if mode == Mode::FakeRoot {
            command.arg(bash).args(["-c", FAKEROOT, "fakeroot"]).arg(bash).args(["-c", WRAPPER]);
        } else {
            let store = std::env::var("NIX_STORE").unwrap_or_else(|_| "/nix/store".to_owned());
            for (variable, place) in [
                ("STRATA_AT_STORE", store.as_str()),
                ("STRATA_AT_PROC", "/proc"),
                ("STRATA_AT_DEV", "/dev"),
                ("STRATA_AT_SCRIPTS", INSIDE),
            ] {
                command.env(variable, mounts.make(root, place)?);
            }
            command
                .env("STRATA_STORE", &store)
                .env("STRATA_ROOT", root)
                .env("STRATA_SCRIPTS", scratch.path())
                .env("STRATA_SCRIPT", Path::new(INSIDE).join(argument))
                .env("STRATA_CHROOT", find(&tools.coreutils, &["chroot"])?)
                .env("PATH", format!("{}:{}", tools.util_linux.join("bin").display(), tools.path))
                .arg(tools.util_linux.join("bin/unshare"))
                .args(["--user", "--map-root-user", "--mount", "--pid", "--fork"])
                .arg(bash)
                .args(["-c", CHROOT]);
        }
    }
    let status = command.status().with_context(|| format!("starting {}", tools.bash.display()))?;
    mounts.remove()?;
    ensure!(
        status.success() || mode != Mode::Chroot || state.with_extension("started").exists(),
        "argument {argument}: the script could not be started, for the reason above. It needs user namespaces: set \
         kernel.apparmor_restrict_unprivileged_userns = 0 on Ubuntu, kernel.unprivileged_userns_clone = 1 and user.max_user_namespaces above 0 (sysctl), or allow the build them where \
         its container forbids them; docs/user-namespaces.md says more"
    );
    ensure!(status.success(), "argument {argument}: the script ended with {status}; its own output is above");
    if mode != Mode::Plain {
        *owners = noted(root, &state, &before)?;
    }
    Ok(())
}

/// A file of one of these names, in order of preference, anywhere below `directory`.
fn find(directory: &Path, names: &[&str]) -> Result<PathBuf> {
    fn search(directory: &Path, name: &str) -> Option<PathBuf> {
        let mut entries: Vec<PathBuf> =
            fs::read_dir(directory).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
        entries.sort();
        let here = entries.iter().find(|path| path.file_name().is_some_and(|file| file == name)).cloned();
        here.or_else(|| {
            entries.iter().filter(|path| path.is_dir() && !path.is_symlink()).find_map(|path| search(path, name))
        })
    }
    match names.iter().find_map(|name| search(directory, name)) {
        Some(found) => Ok(found),
        None => bail!("{} has no {}", directory.display(), names.join(" and no ")),
    }
}

/// Directories that things are mounted on while a script runs.
#[derive(Default)]
struct Mounts {
    made: Vec<PathBuf>,
}

impl Mounts {
    /// The directory that `place` is when `root` is the root, made where there is none. Links of a base image lead
    /// nowhere else.
    fn make(&mut self, root: &Path, place: &str) -> Result<PathBuf> {
        let mut directory = root.to_owned();
        for part in Path::new(place.trim_start_matches('/')).components() {
            let below = directory.strip_prefix(root)?.join(part);
            directory = inside(root, &below).with_context(|| format!("looking for {place} in the image"))?;
            let missing = directory.strip_prefix(root)?.ancestors().filter(|above| !above.as_os_str().is_empty());
            for above in
                missing.map(|above| root.join(above)).filter(|above| !above.is_dir()).collect::<Vec<_>>().iter().rev()
            {
                fs::create_dir(above).with_context(|| format!("creating {} for {place}", above.display()))?;
                self.made.push(above.clone());
            }
        }
        Ok(directory)
    }

    /// Removes what was made, the innermost first, unless the script put something there.
    fn remove(&self) -> Result<()> {
        for directory in self.made.iter().rev() {
            match fs::remove_dir(directory) {
                Err(error) if error.kind() != std::io::ErrorKind::DirectoryNotEmpty && directory.exists() => {
                    return Err(error).with_context(|| format!("removing {}", directory.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// What a script finds noted of a file: by this, what stands there afterwards is told from another file that took over
/// its inode.
struct Known {
    owner: Owner,
    born: Option<SystemTime>,
}

type Inode = (u64, u64);

/// `owners` by inode.
fn known(owners: &Owners) -> Result<BTreeMap<Inode, Known>> {
    let mut known = BTreeMap::new();
    for (path, owner) in owners {
        let file = fs::symlink_metadata(path).with_context(|| format!("reading {}", path.display()))?;
        known.insert((file.dev(), file.ino()), Known { owner: *owner, born: file.created().ok() });
    }
    Ok(known)
}

/// As faked loads it.
fn saved(known: &BTreeMap<Inode, Known>) -> String {
    let line = |((device, inode), Known { owner, .. }): (&Inode, &Known)| {
        let (major, minor) = owner.device;
        let rdev = (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & !0xff) << 12) | ((major & !0xfff) << 32);
        let Owner { mode, uid, gid, .. } = owner;
        format!("dev={device:x},ino={inode},mode={mode:o},uid={uid},gid={gid},nlink=1,rdev={rdev}\n")
    };
    known.iter().map(line).collect()
}

/// What faked saved, by path. `before` is what it loaded.
fn noted(root: &Path, state: &Path, before: &BTreeMap<Inode, Known>) -> Result<Owners> {
    let text = fs::read_to_string(state).context("reading what fakeroot noted")?;
    let mut by_inode: HashMap<Inode, Owner> = HashMap::new();
    for line in text.lines() {
        let fields: HashMap<&str, &str> = line.split(',').filter_map(|field| field.split_once('=')).collect();
        let number = |name: &str, radix| fields.get(name).and_then(|text| u64::from_str_radix(text, radix).ok());
        let parsed = || {
            let rdev = number("rdev", 10).unwrap_or(0);
            let device = ((rdev >> 8 & 0xfff) | (rdev >> 32 & !0xfff), (rdev & 0xff) | (rdev >> 12 & !0xff));
            let owner =
                Owner { mode: number("mode", 8)? as u32, uid: number("uid", 10)?, gid: number("gid", 10)?, device };
            Some(((number("dev", 16)?, number("ino", 10)?), owner))
        };
        let (inode, owner) = parsed().with_context(|| format!("fakeroot noted {line:?}, which is not understood"))?;
        by_inode.insert(inode, owner);
    }
    let mut owners = Owners::new();
    walk(root, &mut |path, file| {
        let inode = (file.dev(), file.ino());
        let Some(owner) = by_inode.get(&inode) else { return Ok(()) };
        // A program that fakeroot does not see into (a static one) may have removed a file; the next one can get its
        // inode, and is not what the note is about.
        let is_another = before.get(&inode).is_some_and(|before| {
            before.owner == *owner && before.born.is_some_and(|born| file.created().ok() != Some(born))
        });
        if !is_another && is_of_type(owner.mode, file) {
            owners.insert(path.to_owned(), *owner);
        }
        Ok(())
    })?;
    Ok(owners)
}

/// Whether a note with this `mode` can be of `file`: plain files stand for devices and pipes.
fn is_of_type(mode: u32, file: &fs::Metadata) -> bool {
    match mode & 0o170000 {
        0o040000 => file.is_dir(),
        0o120000 => file.is_symlink(),
        _ => !file.is_dir() && !file.is_symlink(),
    }
}

/// Visits `root` and everything below, parents first, in order of names.
pub fn walk(root: &Path, visit: &mut dyn FnMut(&Path, &fs::Metadata) -> Result<()>) -> Result<()> {
    let reading = || format!("reading {}", root.display());
    let metadata = fs::symlink_metadata(root).with_context(reading)?;
    visit(root, &metadata)?;
    if metadata.is_dir() {
        let mut names = fs::read_dir(root)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>())
            .with_context(reading)?;
        names.sort();
        names.iter().try_for_each(|path| walk(path, visit))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mounted_stays_in_the_image() {
        let top = tempfile::tempdir().unwrap();
        let root = top.path().join("root");
        fs::create_dir_all(root.join("var")).unwrap();
        let link = |target: &Path, name: &str| std::os::unix::fs::symlink(target, root.join(name)).unwrap();
        link(&top.path().join("elsewhere"), "nix");
        link(Path::new("../../outside"), "dev");
        link(Path::new("var/proc"), "proc");
        let mut mounts = Mounts::default();
        let outside = root.join(top.path().strip_prefix("/").unwrap());
        for (place, expected) in [
            ("/nix/store", outside.join("elsewhere/store")),
            ("/dev", root.join("outside")),
            ("/proc", root.join("var/proc")),
            ("/plain", root.join("plain")),
        ] {
            assert_eq!(mounts.make(&root, place).unwrap(), expected);
            assert!(expected.is_dir());
        }
        assert_eq!(fs::read_dir(top.path()).unwrap().count(), 1);
        mounts.remove().unwrap();
        assert_eq!(fs::read_dir(&root).unwrap().count(), 4);
    }

    #[test]
    fn notes_are_of_the_files_that_they_were_made_for() {
        let top = tempfile::tempdir().unwrap();
        let root = top.path().join("root");
        fs::create_dir(&root).unwrap();
        let (kept, replaced) = (root.join("kept"), root.join("replaced"));
        fs::write(&kept, "").unwrap();
        fs::write(&replaced, "").unwrap();
        let note = Owner { mode: 0o104755, uid: 33, gid: 34, device: (0, 0) };
        let mut before = known(&Owners::from([(kept.clone(), note), (replaced, note)])).unwrap();
        let state = top.path().join("state");
        fs::write(&state, saved(&before)).unwrap();
        // As if the file were gone, and another had got its inode.
        for known in before.values_mut().skip(1) {
            known.born = Some(SystemTime::UNIX_EPOCH);
        }
        let first = fs::symlink_metadata(&kept).unwrap();
        let owners = noted(&root, &state, &before).unwrap();
        assert_eq!(owners.len(), 1);
        assert_eq!(owners.contains_key(&kept), before.keys().next() == Some(&(first.dev(), first.ino())));
        // A file of another type is another file.
        fs::write(&state, saved(&before).replace("mode=104755", "mode=40755")).unwrap();
        assert!(noted(&root, &state, &BTreeMap::new()).unwrap().is_empty());
    }
}
