//! Containers without an engine, in namespaces of an ordinary user. They work inside of Nix's sandbox, too.
//!
//! ```text
//! strata build, strata check
//! enter-check network      a user namespace with its own network, which has only loopback
//! enter-check plan       PID 1 of it: runs commands, services and scripts; all of them end with it
//!       enter-check outer    for each container: user, mount, PID, IPC and host name namespaces
//!         enter-check inner  PID 1 of them: mounts the files, and becomes the program in another user namespace, in which
//!                            no mount can be changed and the user of the container is the only one
//! ```
//!
//! Each stage is a separate process, because only a process with a single thread can enter a user namespace. A process
//! ends if its parent is killed.

mod container;
mod hold;
mod namespaces;
mod network;
mod output;
mod ready;
mod service;

use std::{
    env, fs,
    fs::File,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail};
use rustix::thread::UnshareFlags;
use serde::{Serialize, de::DeserializeOwned};

use super::job::{PlanResults, TestContainer, TestPlan};
use crate::{mounts, terminal::note};

/// Runs a plan in new namespaces.
///
/// # Errors
///
/// If the kernel allows no namespaces, or a file cannot be written.
pub fn run(plan: &TestPlan) -> Result<PlanResults> {
    let file = plan.work.join("plan.json");
    write(&file, plan)?;
    let mut command = stage("network", &file)?;
    let status = command.status().context("starting strata for the containers")?;
    if !started(&plan.work).exists() {
        bail!(
            "the containers could not be started, for the reason above. They need user namespaces: set \
             kernel.apparmor_restrict_unprivileged_userns = 0 on Ubuntu, kernel.unprivileged_userns_clone = 1 and \
             user.max_user_namespaces above 0 (sysctl), or allow them in the container of the build; \
             see docs/user-namespaces.md"
        );
    }
    let answer = answer(&plan.work);
    if !status.success() || !answer.exists() {
        bail!("the containers ended with {status}, for the reason above");
    }
    read(&answer)
}

/// Runs the hidden command `enter-check`.
///
/// # Errors
///
/// If a namespace or a mount is refused, or the program of a container cannot be started.
pub fn enter(name: &str, file: &Path, process: Option<i32>) -> Result<ExitCode> {
    match name {
        "network" => {
            hold::end_with_parent()?;
            let new = UnshareFlags::NEWNET | UnshareFlags::NEWPID | UnshareFlags::NEWNS | UnshareFlags::NEWIPC;
            namespaces::enter_user_namespace(new, 0, 0)?;
            hold::wait(stage("plan", file)?)
        }
        "plan" => {
            hold::end_with_parent()?;
            let plan: TestPlan = read(file)?;
            network::start()?;
            if !plan.scripts.is_empty() {
                name_hosts(&plan);
            }
            let started = started(&plan.work);
            File::create(&started).with_context(|| format!("creating {}", started.display()))?;
            write(&answer(&plan.work), &service::run_plan(&plan)?)?;
            Ok(ExitCode::SUCCESS)
        }
        "outer" => container::outer(file),
        // The reason is in a file, since the output belongs to the program.
        "inner" => {
            Ok(container::inner(&read::<TestContainer>(file)?).map_or(ExitCode::from(127), |never| match never {}))
        }
        "exec" => container::exec(&read::<TestContainer>(file)?, process.context("enter-check exec: no process")?),
        other => bail!("enter-check {other}: not a stage"),
    }
}

/// Makes the names of services resolvable for scripts, if this machine has a file `/etc/hosts`.
fn name_hosts(plan: &TestPlan) {
    let hosts = plan.work.join("hosts");
    let named = fs::write(&hosts, &plan.hosts).map_err(anyhow::Error::from).and_then(|()| {
        mounts::make_private()?;
        mounts::bind(&hosts, Path::new("/etc/hosts"))
    });
    if let Err(error) = named {
        note!("scripts do not know the names of services: {error:#}");
    }
}

fn started(work: &Path) -> PathBuf {
    work.join("started")
}

fn answer(work: &Path) -> PathBuf {
    work.join("answer.json")
}

/// Returns the command of the next stage.
fn stage(name: &str, file: &Path) -> Result<Command> {
    let mut command = Command::new(env::current_exe().context("finding the program")?);
    command.arg("enter-check").arg(name).arg(file);
    Ok(command)
}

fn write(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec(value)?;
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))
}
