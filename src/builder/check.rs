//! Kind `check`: tests of an image, in containers that the build starts. The output is an empty file.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;

use super::{attributes::Attributes, work_directory};
use crate::{
    check::{
        self, Structure,
        job::{Ready, Script, TestPlan, TestService},
        prepare::{Hosts, PreparedTests},
        results::{TestReport, TestResult},
        signal, suite,
    },
    image::Opened,
    terminal::note,
    transport,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    image: PathBuf,
    structure: Option<PathBuf>,
    /// Another container-structure-test file, as text.
    #[serde(rename = "structureText")]
    structure_text: Option<String>,
    /// Services in the order in which they start.
    services: Vec<ServiceRequest>,
    scripts: Vec<Script>,
}

/// An element of the argument `services`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ServiceRequest {
    name: String,
    image: PathBuf,
    ready: Ready,
    /// In seconds.
    timeout: u64,
    /// In seconds. The default is the value of the image's configuration, or 10.
    stop_timeout: Option<u64>,
    env: BTreeMap<String, String>,
    /// Replaces the command of the image.
    command: Option<Vec<String>>,
}

pub fn build(attributes: &Attributes) -> Result<()> {
    let request: Request = attributes.request()?;
    let work = work_directory()?.join("check");
    std::fs::create_dir(&work).with_context(|| format!("creating {}", work.display()))?;
    let mut checking = Checking { images: BTreeMap::new(), work: work.clone() };
    let structure = request.structure()?;
    let tested = checking.prepare(&request.image)?;
    let answered = structure.as_ref().map(|structure| suite::answered(structure, tested));
    let commands = structure.as_ref().map(|structure| suite::jobs(structure, tested, "tests")).transpose()?;
    let hosts = Hosts { names: request.services.iter().map(|service| service.name.clone()).collect() };
    let services = request.services.iter().map(|service| checking.service(service, &hosts)).collect::<Result<_>>()?;
    for image in checking.images.values() {
        image.files.set_permissions()?;
    }
    let commands = commands.unwrap_or_default();
    let plan = TestPlan { commands, services, scripts: request.scripts, hosts: hosts.text(), work };
    let is_empty = plan.commands.is_empty() && plan.services.is_empty();
    let answer = if is_empty { check::job::PlanResults::default() } else { check::run(&plan)? };
    let mut results = structure.map(|structure| suite::evaluated(&structure, answer.commands)).unwrap_or_default();
    results.extend(answered.unwrap_or_default());
    results.extend(answer.services.into_iter().map(TestResult::from));
    report(results)?;
    File::create_new(attributes.out()).with_context(|| format!("writing {}", attributes.out().display()))?;
    Ok(())
}

impl Request {
    fn structure(&self) -> Result<Option<Structure>> {
        let read = match (&self.structure, &self.structure_text) {
            (Some(path), _) => Structure::read(path).map_err(|error| anyhow!("{}: {error}", path.display())),
            (None, Some(text)) => Structure::parse(text).map_err(Into::into),
            (None, None) => return Ok(None),
        };
        let structure = read.context("argument structure")?;
        structure.container_run_options.check_namespaces(false).context("argument structure")?;
        Ok(Some(structure))
    }
}

fn report(results: Vec<TestResult>) -> Result<()> {
    ensure!(!results.is_empty(), "there is nothing to check; give the argument structure, service or services");
    let report = TestReport::new(results);
    report.to_string().lines().for_each(|line| note!("{line}"));
    if report.fail > 0 {
        bail!("{} of {} tests failed; their errors are above", report.fail, report.total);
    }
    Ok(())
}

/// The images of a check, each of which is prepared once.
struct Checking {
    images: BTreeMap<PathBuf, PreparedTests>,
    work: PathBuf,
}

impl Checking {
    fn prepare(&mut self, image: &Path) -> Result<&PreparedTests> {
        let top = self.work.join(format!("image-{}", self.images.len()));
        Ok(match self.images.entry(image.to_owned()) {
            Entry::Occupied(prepared) => prepared.into_mut(),
            Entry::Vacant(absent) => {
                let context = || format!("argument image: {}", image.display());
                let opened: Opened = transport::open(image).with_context(context)?;
                absent.insert(PreparedTests::new(&opened, None, &top).with_context(context)?)
            }
        })
    }

    fn service(&mut self, request: &ServiceRequest, hosts: &Hosts) -> Result<TestService> {
        let context = || format!("service {}", request.name);
        let prepared = self.prepare(&request.image).with_context(context)?;
        let user = prepared.user("").with_context(context)?;
        let mut env = prepared.env.clone();
        env.extend(request.env.clone());
        let command = match &request.command {
            Some(command) => prepared.config.entrypoint.iter().chain(command).cloned().collect(),
            None => prepared.entrypoint().with_context(context)?,
        };
        let writable = prepared.writable(&format!("service-{}", request.name))?;
        Ok(TestService {
            name: request.name.clone(),
            container: prepared.container(&writable, &user, &request.name, hosts, &env, command),
            ready: request.ready(prepared).with_context(context)?,
            timeout: request.timeout,
            stop_signal: signal::parse(&prepared.config.stop_signal).with_context(context)?,
            stop_timeout: request.stop_timeout.or(prepared.config.stop_timeout).unwrap_or(10),
        })
    }
}

impl ServiceRequest {
    /// Returns the conditions of a service. An HTTP path without a port refers to the only port that the image exposes.
    fn ready(&self, image: &PreparedTests) -> Result<Ready> {
        let mut ready = self.ready.clone();
        if ready.http.is_some() && ready.port.is_none() {
            let exposed = &image.config.exposed_ports;
            let mut ports = exposed.keys().filter_map(|port| port.split('/').next()?.parse().ok());
            ready.port = match (ports.next(), ports.next()) {
                (Some(port), None) => Some(port),
                _ => bail!("ready.http needs a port: the image exposes {}; give ready.port", exposed.len()),
            };
        }
        Ok(ready)
    }
}
