//! Mounts in the namespaces of a process that becomes a script or the program of a container.

use std::{
    fs::{self, File},
    io,
    os::unix::{ffi::OsStringExt, fs::symlink},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rustix::{
    fs::{StatVfsMountFlags, XattrFlags, statvfs},
    mount::{
        MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_change,
        mount_remount, unmount,
    },
    process::{chroot, pivot_root},
};

const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Links in `/dev` that every system has.
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
/// Flags that a mount keeps when it becomes read-only: in a user namespace, none of them can be removed.
const KEPT: [(StatVfsMountFlags, MountFlags); 6] = [
    (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
    (StatVfsMountFlags::NODEV, MountFlags::NODEV),
    (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
    (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
    (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
    (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
];

/// Returns the path without links.
///
/// # Errors
///
/// If it does not exist.
pub fn canonical(path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).with_context(|| format!("reading {}", path.display()))
}

/// Hides the mounts of this process from all other processes.
///
/// # Errors
///
/// If the kernel reports an error.
pub fn make_private() -> Result<()> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).context("making the mounts private")
}

/// Mounts `from` at `to`, including the mounts below it.
///
/// # Errors
///
/// If the kernel reports an error.
pub fn bind(from: &Path, to: &Path) -> Result<()> {
    mount_bind_recursive(from, to).with_context(|| format!("mounting {} at {}", from.display(), to.display()))
}

/// Mounts `from` read-only at `to`. Both are directories, or both are files.
///
/// # Errors
///
/// If the kernel reports an error.
pub fn bind_read_only(from: &Path, to: &Path) -> Result<()> {
    bind(from, to)?;
    remount_read_only(to)
}

/// Makes the mount at `point` read-only.
fn remount_read_only(point: &Path) -> Result<()> {
    let current_flags = statvfs(point).with_context(|| format!("reading the mount at {}", point.display()))?.f_flag;
    let kept = KEPT.iter().filter(|(flag, _)| current_flags.contains(*flag));
    let flags = kept.fold(MountFlags::BIND | MountFlags::RDONLY, |flags, (_, flag)| flags | *flag);
    mount_remount(point, flags, c"").with_context(|| format!("making the mount at {} read-only", point.display()))
}

/// Mounts an overlay with the lower directory `lower` and the upper directory `top`/upper at `top`/root. Both of these
/// directories and an empty `top`/work must exist.
///
/// # Errors
///
/// If the kernel or the file system does not support it.
pub fn overlay(lower: &Path, top: &Path) -> Result<()> {
    // A directory that replaces another needs an attribute, which some file systems do not support.
    rustix::fs::setxattr(top.join("upper"), c"user.overlay.probe", b"y", XattrFlags::empty())
        .context("setting an extended attribute")?;
    // Relative names contain no character that ends an option.
    std::env::set_current_dir(top).with_context(|| format!("entering {}", top.display()))?;
    let link = top.join("lower");
    if link.symlink_metadata().is_err() {
        symlink(lower, &link).with_context(|| format!("linking {}", link.display()))?;
    }
    let options = c"userxattr,lowerdir=lower,upperdir=upper,workdir=work";
    mount("overlay", "root", "overlay", MountFlags::empty(), options).context("mounting an overlay")
}

/// Makes the mount at `place` and those below it read-only.
///
/// # Errors
///
/// If the kernel reports an error.
pub fn make_read_only(place: &Path) -> Result<()> {
    let place = canonical(place)?;
    let mounts = fs::read("/proc/self/mountinfo").context("reading the mounts")?;
    for (point, options) in mounts.split(|byte| *byte == b'\n').filter_map(mount_point).collect::<Vec<_>>() {
        if !point.starts_with(&place) || options.split(',').any(|option| option == "ro") {
            continue;
        }
        remount_read_only(&point)?;
    }
    Ok(())
}

/// Returns path and options of a mount: the fifth and sixth fields of a line (proc_pid_mountinfo(5)).
fn mount_point(line: &[u8]) -> Option<(PathBuf, String)> {
    let mut fields = line.split(|byte| *byte == b' ').skip(4);
    let (point, options) = (fields.next()?, fields.next()?);
    Some((unescape(point), String::from_utf8_lossy(options).into_owned()))
}

/// Decodes blanks and backslashes in paths, which are octal numbers: `\040`.
fn unescape(field: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                path.push(byte);
                rest = &tail[3..];
            }
            None => {
                path.push(*first);
                rest = tail;
            }
        }
    }
    std::ffi::OsString::from_vec(path).into()
}

/// Mounts `/proc` at `place`: a new one with only the processes of this namespace if the kernel allows it, or that of
/// the machine. Files outside of the directories of processes are read-only: sys, sysrq-trigger, …
///
/// # Errors
///
/// If the kernel reports an error.
pub fn mount_proc(place: &Path) -> Result<()> {
    if mount_new_proc(place).is_err() {
        bind(Path::new("/proc"), place)?;
    }
    protect_proc(place)
}

/// The same as [`mount_proc`], for programs that must not see the command lines and environments of other processes of the
/// machine.
///
/// # Errors
///
/// If the kernel refuses a new `/proc`, as in a container whose own `/proc` has masked parts (fs/namespace.c,
/// `mount_too_revealing`).
pub fn mount_own_proc(place: &Path) -> Result<()> {
    mount_new_proc(place)
        .context("mounting a /proc of its own: the kernel refuses it, as in containers that mask parts of /proc")?;
    protect_proc(place)
}

fn mount_new_proc(place: &Path) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    Ok(mount("proc", place, "proc", flags, None)?)
}

fn protect_proc(place: &Path) -> Result<()> {
    let reading = || format!("listing {}", place.display());
    for entry in fs::read_dir(place).with_context(reading)? {
        let entry = entry.with_context(reading)?;
        let (path, name) = (entry.path(), entry.file_name());
        let is_process = name.to_string_lossy().bytes().all(|byte| byte.is_ascii_digit());
        // Entries may disappear at any time.
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if !is_process && !metadata.is_symlink() {
            bind(&path, &path)?;
            make_read_only(&path)?;
        }
    }
    Ok(())
}

/// Mounts `/dev` at `place`, with the devices and directories of Nix's sandbox
/// (nix: src/libstore/unix/build/local-derivation-goal.cc).
///
/// # Errors
///
/// If the kernel reports an error.
pub fn mount_dev(place: &Path) -> Result<()> {
    let mounting = || format!("mounting {}", place.display());
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount("tmpfs", place, "tmpfs", flags, c"mode=755,size=64m").with_context(mounting)?;
    for name in DEVICES {
        let (device, node) = (Path::new("/dev").join(name), place.join(name));
        if device.exists() {
            File::create(&node).with_context(|| format!("creating {}", node.display()))?;
            mount_bind(&device, &node).with_context(|| format!("mounting {}", node.display()))?;
            // A device on a read-only mount can be written to, but its mode cannot be changed.
            make_read_only(&node)?;
        }
    }
    let (pts, shm) = (place.join("pts"), place.join("shm"));
    for directory in [&pts, &shm] {
        fs::create_dir(directory).with_context(|| format!("creating {}", directory.display()))?;
    }
    mount("tmpfs", &shm, "tmpfs", flags | MountFlags::NODEV, c"mode=1777").with_context(mounting)?;
    // The kernel may not support it; few scripts open a terminal.
    let _ = mount("devpts", &pts, "devpts", flags, c"newinstance,mode=0620,ptmxmode=0666");
    for (name, target) in DEVICE_LINKS {
        symlink(target, place.join(name)).with_context(|| format!("linking {name} in {}", place.display()))?;
    }
    Ok(())
}

/// Makes the mount `root` the root directory, and detaches the previous root.
///
/// # Errors
///
/// If the kernel reports an error.
pub fn change_root(root: &Path) -> io::Result<()> {
    std::env::set_current_dir(root)?;
    // If the previous root is not a mount (in a chroot), it cannot be detached.
    match pivot_root(".", ".") {
        Ok(()) => unmount(".", UnmountFlags::DETACH)?,
        Err(_) => chroot(".")?,
    }
    std::env::set_current_dir("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_unescaped() {
        let line = br"36 35 98:0 /mnt1 /a\040b\134c rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
        let (point, options) = mount_point(line).unwrap();
        assert_eq!((point.to_str().unwrap(), options.as_str()), (r"/a b\c", "rw,noatime"));
        assert!(mount_point(b"").is_none());
    }
}
