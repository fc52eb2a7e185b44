//! Commands, services and scripts, run by PID 1 of the namespace that they share.

use std::{
    fs,
    io::Read,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::{
    container::{FAILURE, PROCESS},
    output::Lines,
    ready, stage, write,
};
use crate::{
    check::{
        job::{Answer, Container, Finding, Output, Plan, Script, Service},
        pattern::Pattern,
        signal, streams,
    },
    run::client::exit_code,
    terminal::note,
};

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(20);

/// Runs everything.
///
/// # Errors
///
/// If strata cannot be started or a file cannot be written. What is wrong with a program is in the answer.
pub fn run_plan(plan: &Plan) -> Result<Answer> {
    let commands = plan.commands.iter().map(|job| job.run(|step, _| run_container(step))).collect::<Result<_>>()?;
    let mut running = Vec::new();
    let mut findings = Vec::new();
    let mut is_ready = true;
    for service in &plan.services {
        match Running::start(service, &plan.work)? {
            Ok(started) => running.push(started),
            Err(finding) => {
                findings.push(finding);
                is_ready = false;
                break;
            }
        }
    }
    for script in plan.scripts.iter().filter(|_| is_ready) {
        findings.push(run_script(script, &plan.work, &mut running)?);
    }
    // The first to start is the last to stop.
    for service in running.into_iter().rev() {
        findings.insert(0, service.stop()?);
    }
    Ok(Answer { commands, services: findings })
}

/// Starts the process that enters a container.
fn spawn(container: &Container) -> Result<Child> {
    let file = container.writable.join("container.json");
    write(&file, container)?;
    for name in [FAILURE, PROCESS] {
        let _ = fs::remove_file(container.writable.join(name));
    }
    let mut command = stage("outer", &file)?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().context("starting strata for a container")
}

/// Why the program of a container did not start, if it did not.
fn failure(container: &Container) -> Option<String> {
    let text = fs::read_to_string(container.writable.join(FAILURE));
    text.map_or_else(|_| Some("the container did not start".to_owned()), Some).filter(|text| !text.is_empty())
}

fn run_container(container: &Container) -> Result<Output> {
    let start = Instant::now();
    let mut child = spawn(container)?;
    let (stdout, stderr) = streams::capture(&mut child);
    let status = exit_code(child.wait().context("waiting for a container")?).into();
    let duration = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let error = failure(container);
    let stderr = if error.is_some() { String::new() } else { stderr };
    Ok(Output { status, stdout, stderr, error, duration })
}

/// A service that runs.
struct Running<'a> {
    service: &'a Service,
    child: Child,
    file: PathBuf,
    lines: Lines,
    start: Instant,
    errors: Vec<String>,
}

impl<'a> Running<'a> {
    /// Starts a service and waits until it is ready; what is wrong with it if it does not become so.
    fn start(service: &'a Service, work: &Path) -> Result<Result<Self, Finding>> {
        let start = Instant::now();
        let mut child = spawn(&service.container)?;
        let pattern = service.ready.log.as_deref().map(Pattern::new).transpose().context("ready.log")?;
        let lines = Lines::read(&service.name, streams(&mut child), pattern);
        // The command that asks whether it is ready runs in the same container.
        let command = service.ready.exec.clone().unwrap_or_default();
        let file = work.join(format!("{}-exec.json", service.name));
        write(&file, &Container { command, ..service.container.clone() })?;
        let mut running = Self { service, child, file, lines, start, errors: Vec::new() };
        match running.wait_ready()? {
            None => {
                note!("{}: ready after {:.2} s", service.name, start.elapsed().as_secs_f64());
                Ok(Ok(running))
            }
            Some(why) => {
                running.errors.push(why);
                running.kill();
                Ok(Err(running.finish()))
            }
        }
    }

    /// Why it does not become ready; `None` if it has.
    fn wait_ready(&mut self) -> Result<Option<String>> {
        let Service { ready, timeout, .. } = self.service;
        // `None` is a time that no clock has.
        let deadline = self.start.checked_add(Duration::from_secs(*timeout));
        loop {
            if let Some(why) = self.ended("before it was ready")? {
                return Ok(Some(why));
            }
            let missing = match self.process() {
                Some(process) => ready::missing(ready, self.lines.is_matched(), &self.file, process, deadline),
                None => Some("it has not started".to_owned()),
            };
            let Some(missing) = missing else { return Ok(None) };
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(Some(format!("it is not ready after {timeout} s: {missing}")));
            }
            thread::sleep(INTERVAL);
        }
    }

    /// How it ended, if it has; `when` says what it should have waited for.
    fn ended(&mut self, when: &str) -> Result<Option<String>> {
        let status = self.child.try_wait().context("waiting for a container")?;
        Ok(status.map(|status| match failure(&self.service.container) {
            Some(error) => error,
            None => format!("the program ended with status {} {when}", exit_code(status)),
        }))
    }

    /// The process ID of its program.
    fn process(&self) -> Option<i32> {
        fs::read_to_string(self.service.container.writable.join(PROCESS)).ok()?.parse().ok()
    }

    fn signal(&self, signal: Signal) {
        if let Some(process) = self.process().and_then(Pid::from_raw) {
            // It may have ended just now.
            let _ = kill_process(process, signal);
        }
    }

    fn kill(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Stops it as engines do.
    fn stop(mut self) -> Result<Finding> {
        if !self.errors.is_empty() {
            return Ok(self.finish());
        }
        if let Some(why) = self.ended("before it was stopped")? {
            self.errors.push(why);
            return Ok(self.finish());
        }
        let Service { name, stop_signal, stop_timeout, .. } = self.service;
        let signal = Signal::from_named_raw(*stop_signal).context("an unknown stop signal")?;
        let start = Instant::now();
        self.signal(signal);
        while self.child.try_wait().context("waiting for a container")?.is_none() {
            if start.elapsed() > Duration::from_secs(*stop_timeout) {
                self.errors
                    .push(format!("it did not end within {stop_timeout} s after {}", signal::name(*stop_signal)));
                self.kill();
                return Ok(self.finish());
            }
            thread::sleep(INTERVAL);
        }
        note!("{name}: stopped after {:.2} s", start.elapsed().as_secs_f64());
        Ok(self.finish())
    }

    fn finish(self) -> Finding {
        let duration = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let name = format!("Service: {}", self.service.name);
        Finding { name, errors: self.errors, last_lines: self.lines.finish(), duration }
    }
}

fn streams(child: &mut Child) -> Vec<Box<dyn Read + Send>> {
    let stdout = child.stdout.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>);
    let stderr = child.stderr.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>);
    stdout.into_iter().chain(stderr).collect()
}

/// Runs a script while the services run; it fails if one of them ends.
fn run_script(script: &Script, work: &Path, running: &mut [Running<'_>]) -> Result<Finding> {
    let start = Instant::now();
    let directory = work.join("script");
    fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
    let mut command = Command::new(&script.shell);
    command.args(["-euo", "pipefail", "-c", &script.text, "script"]).current_dir(&directory);
    command.env_clear().env("PATH", &script.path).env("HOME", &directory).env("TMPDIR", &directory);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().with_context(|| format!("starting {}", script.shell.display()))?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("the script has no process ID")?;
    let lines = Lines::read("script", streams(&mut child), None);
    let mut errors = Vec::new();
    let status = loop {
        if let Some(status) = child.try_wait().context("waiting for a script")? {
            break status;
        }
        for service in running.iter_mut() {
            if let Some(why) = service.ended("while the script ran")?.filter(|_| service.errors.is_empty()) {
                service.errors.push(why);
                let _ = kill_process_group(group, Signal::KILL);
            }
        }
        thread::sleep(INTERVAL);
    };
    if !status.success() {
        errors.push(format!("it ended with status {}", exit_code(status)));
    }
    let duration = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    // What the script has left behind; everything may have ended already.
    let _ = kill_process_group(group, Signal::KILL);
    Ok(Finding { name: format!("Script: {}", script.name), errors, last_lines: lines.finish(), duration })
}
