//! Users' scripts: the only place where a shell is started.
//!
//! ```text
//! extraCommands      bash, in the directory that becomes the layer, as the user that builds
//! fakeRootCommands   the same under fakeroot, which records owners, setuid bits and devices
//! … in a chroot      the same at /, in namespaces of its own: see isolation.rs
//! ```
//!
//! No script needs root. The records of fakeroot are read from the file that `faked` saves: files by device and inode.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::{
    fakeroot::{self, FileRecord, InodeNumber, OpenFiles, RESERVED_ID, RecordedIds, ScriptResult},
    isolation::ScriptIsolation,
    xattrs::{self, RealXattrs},
};
use crate::layer::{Owners, rooted::Rooted};

/// Programs that scripts need, all of them in the store.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Tools {
    bash: PathBuf,
    /// The `PATH` of scripts.
    path: String,
    /// nix/parts/script-functions.sh: functions that scripts can call.
    functions: PathBuf,
    /// The package fakeroot.
    fakeroot: PathBuf,
    /// The package util-linux: `unshare`, and `mount` for scripts.
    util_linux: PathBuf,
    /// The package attr: `getfattr` and `setfattr`.
    attr: PathBuf,
}

/// The way in which a script runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The script runs as the user of the build.
    Plain,
    /// Under fakeroot.
    FakeRoot,
    /// Under fakeroot, at `/` of a chroot with the store visible.
    Chroot,
}

/// Runs the script with the options of stdenv's setup, or those of dockerTools' `shellScript` where nixpkgs uses that,
/// and prints the location of a failure. (nixpkgs: pkgs/stdenv/generic/setup.sh, pkgs/build-support/docker/default.nix)
const WRAPPER: &str = r#"
set -eE
if [[ $STRATA_ARGUMENT != runAsRoot ]]; then
  set -o pipefail
  shopt -s inherit_errexit nullglob
fi
source "$STRATA_FUNCTIONS"
trap 'status=$?; echo "line $LINENO of $STRATA_ARGUMENT failed with status $status: $BASH_COMMAND" >&2' ERR
source "$STRATA_SCRIPT"
"#;

/// Starts `faked`, runs the command with it, and waits until it has saved its records. It stays a child process, since
/// no other process of a sandbox would wait for it. The first argument is the limit of open files.
const FAKED: &str = r#"
set -e
ulimit -S -n "$1"
shift
load=()
if [ -s "$STRATA_LOAD" ]; then load=(--load); fi
"$STRATA_FAKED" --foreground --save-file "$STRATA_STATE" "${load[@]}" < "$STRATA_LOAD" > "$STRATA_STATE.key" &
faked=$!
trap 'kill -s TERM "$faked" 2>/dev/null; wait "$faked" || true' EXIT
until [ -s "$STRATA_STATE.key" ]; do kill -s 0 "$faked"; sleep 0.01; done
key=$(<"$STRATA_STATE.key")
export STRATA_FAKEROOTKEY=${key%%:*}
fake() { FAKEROOTKEY=$STRATA_FAKEROOTKEY LD_PRELOAD=$STRATA_LIBRARY FAKEROOTDONTTRYCHOWN=1 "$@"; }
if [ -s "$STRATA_LOAD.xattrs" ]; then fake "$STRATA_ATTR/setfattr" --no-dereference --restore="$STRATA_LOAD.xattrs"; fi
"$@"
# Notes are sent without waiting, questions are answered in turn: with these answers, all notes have arrived.
fake "$STRATA_ATTR/getfattr" --recursive --physical --no-dereference --dump --match=- --encoding=hex --absolute-names \
  "$STRATA_ROOT" > "$STRATA_STATE.xattrs" || { echo "fakeroot cannot keep the extended attributes of the file above" >&2; exit 1; }
"#;

/// Converts the environment of `FAKED` to that of fakeroot, and becomes the command.
const FAKEROOT: &str =
    r#"export FAKEROOTKEY=$STRATA_FAKEROOTKEY LD_PRELOAD=$STRATA_LIBRARY FAKEROOTDONTTRYCHOWN=1; exec "$@""#;

/// The path of the scripts in a chroot while a script runs.
const INSIDE: &str = "/.strata-scripts";
/// The directory next to a script without fakeroot with which its `PATH` begins.
const PROGRAMS: &str = "programs";

/// Runs `script`, the value of `argument`, in `root`. `owners` are the records of fakeroot, which this function
/// updates.
pub fn run(tools: &Tools, mode: Mode, argument: &str, script: &str, root: &Path, owners: &mut Owners) -> Result<()> {
    let scratch = tempfile::tempdir_in(root.parent().unwrap_or(root)).context("making a directory for scripts")?;
    let running = RunningScript { tools, argument, root, scratch: scratch.path(), state: scratch.path().join("state") };
    running.write_script(script)?;
    if mode == Mode::Plain {
        running.refuse_attributes(script)?;
    }
    let mut mounts = ScriptMounts::default();
    let (before, held) = match mode {
        Mode::Plain => (BTreeMap::new(), None),
        Mode::FakeRoot | Mode::Chroot => fakeroot::known(owners).map(|(before, held)| (before, Some(held)))?,
    };
    let limit = held.as_ref().map(OpenFiles::usual_limit).unwrap_or_default();
    let has_namespace = mode == Mode::FakeRoot && running.has_user_namespaces();
    let mut command = match mode {
        Mode::Plain => running.plain(),
        Mode::FakeRoot => running.fake_root(&before, owners, &limit, has_namespace)?,
        Mode::Chroot => running.chroot(&before, owners, &limit, &mut mounts)?,
    };
    let status = command.status().with_context(|| format!("starting {}", tools.bash.display()))?;
    mounts.remove()?;
    running.check(status, mode)?;
    if mode == Mode::Plain {
        RealXattrs::new(root).refuse_all().with_context(|| format!("argument {argument}"))?;
    } else {
        let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
        let builder = match mode == Mode::FakeRoot && !has_namespace && !uid.is_root() {
            true => RecordedIds::Real { uid: uid.as_raw().into(), gid: gid.as_raw().into(), script },
            false => RecordedIds::Reserved,
        };
        *owners = running.result(builder)?.owners(&before).with_context(|| format!("argument {argument}"))?;
    }
    drop(held);
    Ok(())
}

/// A script, and its environment.
struct RunningScript<'a> {
    tools: &'a Tools,
    argument: &'a str,
    root: &'a Path,
    /// A directory with the script, and the files that fakeroot loads and saves.
    scratch: &'a Path,
    state: PathBuf,
}

impl RunningScript<'_> {
    fn write_script(&self, script: &str) -> Result<()> {
        let file = self.scratch.join(self.argument);
        fs::write(&file, script).with_context(|| format!("writing {}", file.display()))
    }

    /// Errors if the script sets extended attributes. Without fakeroot, a sandbox refuses them and nothing would record
    /// them.
    fn refuse_attributes(&self, script: &str) -> Result<()> {
        let (programs, bash, argument) = (self.scratch.join(PROGRAMS), self.tools.bash.display(), self.argument);
        fs::create_dir(&programs).with_context(|| format!("creating {}", programs.display()))?;
        for name in ["setcap", "setfattr"] {
            let message = format!(
                "{name} cannot work in {argument}, which runs without fakeroot: the image would be without the extended \
                 attributes; call {name} in fakeRootCommands or runAsRoot"
            );
            ensure!(!script.contains(&format!("bin/{name}")), "argument {argument}: {message}");
            let program = programs.join(name);
            fs::write(&program, format!("#!{bash}\necho '{message}' >&2\nexit 1\n"))
                .and_then(|()| fs::set_permissions(&program, Permissions::from_mode(0o755)))
                .with_context(|| format!("writing {}", program.display()))?;
        }
        Ok(())
    }

    fn result<'b>(&'b self, builder: RecordedIds<'b>) -> Result<ScriptResult<'b>> {
        let dump = self.state.with_extension("xattrs");
        let xattrs = xattrs::parse(&fs::read(&dump).context("reading extended attributes")?)?;
        Ok(ScriptResult { root: self.root, state: &self.state, xattrs, builder })
    }

    fn bash(&self) -> Command {
        let mut command = Command::new(&self.tools.bash);
        command
            .current_dir(self.root)
            .env("PATH", &self.tools.path)
            .env("STRATA_ARGUMENT", self.argument)
            .env("STRATA_SCRIPT", self.scratch.join(self.argument))
            .env("STRATA_FUNCTIONS", &self.tools.functions)
            // As in stdenv: files that scripts make should depend neither on a time zone nor on the current time.
            .env("TZ", "UTC")
            .env("SOURCE_DATE_EPOCH", "315532800")
            .env("STRATA_WRAPPER", WRAPPER);
        command
    }

    fn plain(&self) -> Command {
        let mut command = self.bash();
        command
            .env("PATH", format!("{}:{}", self.scratch.join(PROGRAMS).display(), self.tools.path))
            .args(["-c", WRAPPER]);
        command
    }

    /// Returns a bash command with a `faked` that has loaded `before`. The caller appends the command to run.
    fn faked(&self, before: &BTreeMap<InodeNumber, FileRecord>, owners: &Owners, limit: &str) -> Result<Command> {
        let Tools { fakeroot, attr, .. } = self.tools;
        let load = self.scratch.join("load");
        fs::write(&load, fakeroot::saved(before))
            .and_then(|()| fs::write(load.with_extension("xattrs"), fakeroot::saved_xattrs(owners)))
            .context("writing fakeroot's state")?;
        let library = ["libfakeroot-sysv.so", "libfakeroot.so", "libfakeroot-0.so"];
        let mut command = self.bash();
        command
            .env("STRATA_LOAD", &load)
            .env("STRATA_STATE", &self.state)
            .env("STRATA_FAKED", find(&fakeroot.join("bin"), &["faked-sysv", "faked"])?)
            .env("STRATA_LIBRARY", find(&fakeroot.join("lib"), &library)?)
            .env("STRATA_ATTR", attr.join("bin"))
            .env("STRATA_ROOT", self.root)
            .args(["-c", FAKED, "faked", limit]);
        Ok(command)
    }

    fn fake_root(
        &self,
        before: &BTreeMap<InodeNumber, FileRecord>,
        owners: &Owners,
        limit: &str,
        has_namespace: bool,
    ) -> Result<Command> {
        let (mut command, bash) = (self.faked(before, owners, limit)?, &self.tools.bash);
        if has_namespace {
            command.arg(self.unshare()).args(reserved_ids());
        }
        command.arg(bash).args(["-c", FAKEROOT, "fakeroot"]).arg(bash).args(["-c", WRAPPER]);
        Ok(command)
    }

    fn unshare(&self) -> PathBuf {
        self.tools.util_linux.join("bin/unshare")
    }

    /// Whether processes can have ids that no script uses for files. As root this is not needed, and root would lose
    /// its rights.
    fn has_user_namespaces(&self) -> bool {
        let mut probe = Command::new(self.unshare());
        probe.args(reserved_ids()).arg(&self.tools.bash).args(["-c", ":"]).stderr(Stdio::null());
        !rustix::process::getuid().is_root() && probe.status().is_ok_and(|status| status.success())
    }

    fn chroot(
        &self,
        before: &BTreeMap<InodeNumber, FileRecord>,
        owners: &Owners,
        limit: &str,
        mounts: &mut ScriptMounts,
    ) -> Result<Command> {
        let Tools { bash, util_linux, path, .. } = self.tools;
        let mut command = self.faked(before, owners, limit)?;
        let store = std::env::var("NIX_STORE").unwrap_or_else(|_| "/nix/store".to_owned());
        let program = |path: &Path| path.display().to_string();
        let [bash, unshare] = [program(bash), program(&self.unshare())];
        // The command runs in a second user namespace, where the mounts of the first cannot be changed.
        let script = [
            &unshare,
            "--user",
            "--map-root-user",
            "--mount",
            "--uts",
            &bash,
            "-c",
            FAKEROOT,
            "fakeroot",
            &bash,
            "-c",
            WRAPPER,
        ];
        let isolation = ScriptIsolation {
            root: self.root.to_owned(),
            store: (store.clone().into(), mounts.make(self.root, &store)?),
            scripts: (self.scratch.to_owned(), mounts.make(self.root, INSIDE)?),
            proc: mounts.make(self.root, "/proc")?,
            dev: mounts.make(self.root, "/dev")?,
            started: self.started(),
            command: script.map(str::to_owned).to_vec(),
        };
        let strata = std::env::current_exe().context("finding strata's own program")?;
        command
            .env("STRATA_SCRIPT", Path::new(INSIDE).join(self.argument))
            // The programs of the image come last. (nixpkgs: build-support/docker/default.nix, shellScript)
            .env("PATH", format!("{}:{path}:/bin", util_linux.join("bin").display()))
            .arg(unshare)
            .args(["--user", "--map-root-user", "--mount", "--pid", "--fork"])
            .arg(strata)
            .arg("enter-root")
            .arg(serde_json::to_string(&isolation)?);
        Ok(command)
    }

    /// Returns a file that exists after a script in a chroot has started.
    fn started(&self) -> PathBuf {
        self.state.with_extension("started")
    }

    fn check(&self, status: ExitStatus, mode: Mode) -> Result<()> {
        let argument = self.argument;
        ensure!(
            status.success() || mode != Mode::Chroot || self.started().exists(),
            "argument {argument}: the script could not be started, for the reason above. It needs user namespaces: set \
             kernel.apparmor_restrict_unprivileged_userns = 0 on Ubuntu, kernel.unprivileged_userns_clone = 1 and \
             user.max_user_namespaces above 0 (sysctl), or allow them in the container of the build; \
             see docs/user-namespaces.md"
        );
        ensure!(status.success(), "argument {argument}: the script failed with {status}; its output is above");
        Ok(())
    }
}

/// Options of `unshare`.
fn reserved_ids() -> [String; 3] {
    ["--user".to_owned(), format!("--map-user={RESERVED_ID}"), format!("--map-group={RESERVED_ID}")]
}

/// Returns a file of one of these names, in order of preference, anywhere below `directory`.
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

/// Mount points of a running script.
#[derive(Default)]
struct ScriptMounts {
    made: Vec<PathBuf>,
}

impl ScriptMounts {
    /// Returns the directory `place` below `root`, which is made if it is missing. Links of a base image cannot lead
    /// out of `root`.
    fn make(&mut self, root: &Path, place: &str) -> Result<PathBuf> {
        let rooted = Rooted::open(root).with_context(|| format!("opening {}", root.display()))?;
        let directory = rooted.make_noting(Path::new(place), &mut self.made);
        Ok(directory.with_context(|| format!("making {place} in the image"))?.path().to_owned())
    }

    /// Removes the directories that `make` made, the innermost first, unless the script put files into them.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_stay_in_the_image() {
        let top = tempfile::tempdir().unwrap();
        let root = top.path().join("root");
        fs::create_dir_all(root.join("var")).unwrap();
        let link = |target: &Path, name: &str| std::os::unix::fs::symlink(target, root.join(name)).unwrap();
        link(&top.path().join("elsewhere"), "nix");
        link(Path::new("../../outside"), "dev");
        link(Path::new("var/proc"), "proc");
        let mut mounts = ScriptMounts::default();
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
}
