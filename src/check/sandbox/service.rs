//! Runs commands, services and scripts as PID 1 of their common namespace.

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
        job::{CommandOutput, PlanResults, Script, ServiceResult, TestContainer, TestPlan, TestService},
        pattern::Pattern,
        signal, streams,
    },
    run::client::exit_code,
    terminal::note,
};

/// The interval in which a condition is checked.
const INTERVAL: Duration = Duration::from_millis(20);

/// Runs all commands, services and scripts.
///
/// # Errors
///
/// If strata cannot be started or a file cannot be written. Failures of programs are in the answer.
pub fn run_plan(plan: &TestPlan) -> Result<PlanResults> {
    let commands = plan.commands.iter().map(|job| job.run(|step, _| run_container(step))).collect::<Result<_>>()?;
    let mut running = Vec::new();
    let mut findings = Vec::new();
    let mut is_ready = true;
    for service in &plan.services {
        match RunningService::start(service, &plan.work)? {
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
    // Services stop in reverse order.
    for service in running.into_iter().rev() {
        findings.insert(0, service.stop()?);
    }
    Ok(PlanResults { commands, services: findings })
}

/// Starts the process that enters a container.
fn spawn(container: &TestContainer) -> Result<Child> {
    let file = container.writable.join("container.json");
    write(&file, container)?;
    for name in [FAILURE, PROCESS] {
        let _ = fs::remove_file(container.writable.join(name));
    }
    let mut command = stage("outer", &file)?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().context("starting strata for a container")
}

/// Returns the reason why the program of a container did not start.
fn failure(container: &TestContainer) -> Option<String> {
    let text = fs::read_to_string(container.writable.join(FAILURE));
    text.map_or_else(|_| Some("the container did not start".to_owned()), Some).filter(|text| !text.is_empty())
}

fn run_container(container: &TestContainer) -> Result<CommandOutput> {
    let start = Instant::now();
    let mut child = spawn(container)?;
    let (stdout, stderr) = streams::capture(&mut child);
    let status = exit_code(child.wait().context("waiting for a container")?).into();
    let duration = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let error = failure(container);
    let stderr = if error.is_some() { String::new() } else { stderr };
    Ok(CommandOutput { status, stdout, stderr, error, duration })
}

/// A running service.
struct RunningService<'a> {
    service: &'a TestService,
    child: Child,
    file: PathBuf,
    lines: Lines,
    start: Instant,
    errors: Vec<String>,
}

impl<'a> RunningService<'a> {
    /// Starts a service and waits until it is ready. The inner error describes why it does not become ready.
    fn start(service: &'a TestService, work: &Path) -> Result<Result<Self, ServiceResult>> {
        let start = Instant::now();
        let mut child = spawn(&service.container)?;
        let pattern = service.ready.log.as_deref().map(Pattern::new).transpose().context("ready.log")?;
        let lines = Lines::read(&service.name, streams(&mut child), pattern);
        // The command that checks the readiness runs in the same container.
        let command = service.ready.exec.clone().unwrap_or_default();
        let file = work.join(format!("{}-exec.json", service.name));
        write(&file, &TestContainer { command, ..service.container.clone() })?;
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

    /// Waits until the service is ready. Returns the reason if it does not become ready.
    fn wait_ready(&mut self) -> Result<Option<String>> {
        let TestService { ready, timeout, .. } = self.service;
        // `None` stands for a time that the clock cannot represent.
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

    /// Returns how the program ended, if it has. `when` describes the moment for the message.
    fn ended(&mut self, when: &str) -> Result<Option<String>> {
        let status = self.child.try_wait().context("waiting for a container")?;
        Ok(status.map(|status| match failure(&self.service.container) {
            Some(error) => error,
            None => format!("the program ended with status {} {when}", exit_code(status)),
        }))
    }

    /// Returns the process ID of the program.
    fn process(&self) -> Option<i32> {
        fs::read_to_string(self.service.container.writable.join(PROCESS)).ok()?.parse().ok()
    }

    fn signal(&self, signal: Signal) {
        if let Some(process) = self.process().and_then(Pid::from_raw) {
            // The process may have ended in the meantime.
            let _ = kill_process(process, signal);
        }
    }

    fn kill(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Stops the service as engines do.
    fn stop(mut self) -> Result<ServiceResult> {
        if !self.errors.is_empty() {
            return Ok(self.finish());
        }
        if let Some(why) = self.ended("before it was stopped")? {
            self.errors.push(why);
            return Ok(self.finish());
        }
        let TestService { name, stop_signal, stop_timeout, .. } = self.service;
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

    fn finish(self) -> ServiceResult {
        let duration = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let name = format!("Service: {}", self.service.name);
        ServiceResult { name, errors: self.errors, last_lines: self.lines.finish(), duration }
    }
}

fn streams(child: &mut Child) -> Vec<Box<dyn Read + Send>> {
    let stdout = child.stdout.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>);
    let stderr = child.stderr.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>);
    stdout.into_iter().chain(stderr).collect()
}

/// Runs a script while the services run. The script fails if one of them ends.
fn run_script(script: &Script, work: &Path, running: &mut [RunningService<'_>]) -> Result<ServiceResult> {
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
    // Kills processes that the script left. All of them may have ended already.
    let _ = kill_process_group(group, Signal::KILL);
    Ok(ServiceResult { name: format!("Script: {}", script.name), errors, last_lines: lines.finish(), duration })
}
