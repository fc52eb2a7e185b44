//! Enters a container: its namespaces, its files, and its program.

use std::{
    convert::Infallible,
    env,
    fs::{self, File, Permissions},
    io::{self, Read as _, Write as _},
    os::{
        fd::AsFd,
        unix::{
            fs::{PermissionsExt, symlink},
            process::CommandExt,
        },
    },
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, ensure};
use rustix::{
    process::{Pid, PidfdFlags, pidfd_open, setsid},
    system::sethostname,
    thread::{ThreadNameSpaceType, UnshareFlags, move_into_thread_name_spaces},
};

use super::{hold, namespaces, stage};
use crate::{check::job::TestContainer, layer::rooted::Rooted, mounts, run::client::exit_code};

/// The name of a file with the process ID of the program, in the namespace of the process that started the container.
pub const PROCESS: &str = "process";
/// The name of a file with the reason why the program did not start.
pub const FAILURE: &str = "failure";

/// Enters the namespaces of a container, and waits for its program.
///
/// # Errors
///
/// If the kernel reports an error.
pub fn outer(file: &Path) -> Result<ExitCode> {
    hold::end_with_parent()?;
    // A new session has no terminal. Otherwise a program could write to the input of the terminal.
    setsid().context("leaving the terminal")?;
    let container: TestContainer = super::read(file)?;
    let new = UnshareFlags::NEWNS | UnshareFlags::NEWPID | UnshareFlags::NEWUTS | UnshareFlags::NEWIPC;
    namespaces::enter_user_namespace(new, 0, 0)?;
    let mut child = stage("inner", file)?.spawn().context("starting strata in a container")?;
    let place = container.writable.join(PROCESS);
    // The rename makes sure that readers see the whole file.
    let new = place.with_extension("new");
    fs::write(&new, child.id().to_string())
        .and_then(|()| fs::rename(&new, &place))
        .with_context(|| format!("writing {}", place.display()))?;
    let status = child.wait().context("waiting for the container")?;
    Ok(ExitCode::from(exit_code(status)))
}

/// Becomes the program of a container.
///
/// # Errors
///
/// If a mount is refused or the program cannot be started. The reason is then in a file.
pub fn inner(container: &TestContainer) -> Result<Infallible> {
    let place = container.writable.join(FAILURE);
    let mut failure = File::create(&place).with_context(|| format!("creating {}", place.display()))?;
    let Err(error) = enter(container);
    let _ = write!(failure, "{error:#}");
    Err(error)
}

fn enter(container: &TestContainer) -> Result<Infallible> {
    mounts::make_private()?;
    let root = files(container)?;
    let rooted = Rooted::open(&root).with_context(|| format!("opening {}", root.display()))?;
    let make = |place: &Path| {
        let directory = rooted.make(place);
        directory.map(|directory| directory.path().to_owned()).with_context(|| format!("making {}", place.display()))
    };
    for directory in container.directories.iter().chain([&container.directory]) {
        make(directory)?;
    }
    for path in &container.mounts {
        let above =
            rooted.find(path.parent().unwrap_or(path)).with_context(|| format!("mounting {}", path.display()))?;
        let place = above.path().join(path.file_name().unwrap_or_default());
        // A mount follows links, which may lead out of the root.
        let is_link = place.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
        ensure!(!is_link, "mounting {}: the image has a symbolic link in its place", path.display());
        mounts::bind_read_only(path, &place)?;
    }
    mounts::mount_own_proc(&make(Path::new("/proc"))?)
        .context("strata check --engine ENGINE tests the image in an engine instead")?;
    mounts::mount_dev(&make(Path::new("/dev"))?)?;
    make(Path::new("/sys"))?;
    write_names(container, &make(Path::new("/etc"))?);
    sethostname(container.hostname.as_bytes()).context("setting the host name")?;
    mounts::change_root(&root).with_context(|| format!("changing the root to {}", root.display()))?;
    namespaces::enter_user_namespace(UnshareFlags::NEWNS, container.uid, container.gid)?;
    become_program(container)
}

fn become_program(container: &TestContainer) -> Result<Infallible> {
    let (program, mut command) = program(container)?;
    hold::restore_signals()?;
    Err(command.exec()).with_context(|| format!("starting {program}"))
}

/// Returns the name of the program of a container, and its command.
///
/// # Errors
///
/// If the kernel does not execute the program. The C library would run such a file with `/bin/sh` (execvp(3)), but an engine
/// does not start it.
fn program(container: &TestContainer) -> Result<(&String, Command)> {
    let (program, arguments) = container.command.split_first().context("no program")?;
    let mut start = [0; 4];
    let opened = executable(container, program).and_then(|path| File::open(path).ok());
    // A program that cannot be read can be executable.
    if let Some(mut file) = opened
        && let Ok(read) = file.read(&mut start)
    {
        let is_known = start.starts_with(b"#!") || start[..read] == *b"\x7fELF";
        ensure!(
            is_known,
            "starting {program}: exec format error: neither an ELF program nor a script with #! in its first line"
        );
    }
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(container.env.iter().map(|(name, value)| (name, value)));
    command.current_dir(&container.directory);
    Ok((program, command))
}

/// Returns the executable file of a program, which is searched as the kernel and the C library do.
fn executable(container: &TestContainer, program: &str) -> Option<PathBuf> {
    let is_executable =
        |path: &PathBuf| path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    if program.contains('/') {
        return Some(container.directory.join(program)).filter(is_executable);
    }
    let path = container.env.iter().rev().find(|(name, _)| name == "PATH").map(|(_, value)| value)?;
    env::split_paths(path).map(|directory| container.directory.join(directory).join(program)).find(is_executable)
}

/// Mounts the root of the container: its files, below a writable layer.
fn files(container: &TestContainer) -> Result<PathBuf> {
    let top = &container.writable;
    let root = top.join("root");
    for directory in [&root, &top.join("upper"), &top.join("work")] {
        fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))?;
    }
    let copied = top.join("copied");
    if copied.exists() || mounts::overlay(&container.files, top).is_err() {
        if !copied.exists() {
            copy(&container.files, &root).with_context(|| format!("copying {}", container.files.display()))?;
            File::create(&copied).with_context(|| format!("creating {}", copied.display()))?;
        }
        mounts::bind(&root, &root)?;
    }
    Ok(root)
}

/// Copies the contents of a directory with their modes.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target, metadata) = (entry.path(), to.join(entry.file_name()), entry.metadata()?);
        if metadata.is_symlink() {
            symlink(fs::read_link(&source)?, &target)?;
        } else if metadata.is_dir() {
            fs::create_dir(&target)?;
            copy(&source, &target)?;
            fs::set_permissions(&target, Permissions::from_mode(metadata.permissions().mode()))?;
        } else {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

/// Writes the files of `/etc` that engines mount. In a read-only directory, the files of the image stay.
fn write_names(container: &TestContainer, etc: &Path) {
    let hostname = format!("{}\n", container.hostname);
    for (name, text) in
        [("hosts", container.hosts.as_str()), ("hostname", &hostname), ("resolv.conf", "# There is no name server.\n")]
    {
        let path = etc.join(name);
        if path.is_symlink() {
            let _ = fs::remove_file(&path);
        }
        let _ = fs::write(&path, text);
    }
}

/// Runs a program in the container of `process`.
///
/// # Errors
///
/// If the container has ended.
pub fn exec(container: &TestContainer, process: i32) -> Result<ExitCode> {
    hold::end_with_parent()?;
    setsid().context("leaving the terminal")?;
    let process = Pid::from_raw(process).context("enter-check exec: no process")?;
    let handle = pidfd_open(process, PidfdFlags::empty()).context("opening the process of the container")?;
    let kinds = ThreadNameSpaceType::USER
        | ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::PROCESS_ID
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION;
    move_into_thread_name_spaces(handle.as_fd(), kinds).context("entering the container")?;
    let (program, mut command) = self::program(container)?;
    hold::restore_signals()?;
    let status = command.status().with_context(|| format!("starting {program}"))?;
    Ok(ExitCode::from(exit_code(status)))
}
