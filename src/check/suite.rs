//! Runs all tests of a file on a prepared image, without an engine.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Result, bail, ensure};

use super::{
    Structure,
    commands::{Commands, evaluate, with_variables},
    file_tests,
    job::{CommandJob, CommandOutput},
    metadata,
    prepare::{Hosts, PreparedTests},
    results::TestResult,
    structure::ContainerRunOptions,
};

/// The remedy for options that namespaces do not support.
const ENGINE: &str = "it needs an engine: strata check --engine docker";

impl ContainerRunOptions {
    /// Refuses options that namespaces of an ordinary user do not support. `passes_on` is whether variables of the
    /// machine are available.
    ///
    /// # Errors
    ///
    /// If an option is set that cannot be honoured; the message names it.
    pub fn check_namespaces(&self, passes_on: bool) -> Result<()> {
        for (is_set, name) in [
            (self.privileged, "privileged"),
            (self.allocate_tty, "allocateTty"),
            (!self.env_file.is_empty(), "envFile"),
            (!self.capabilities.is_empty(), "capabilities"),
            (!self.bind_mounts.is_empty(), "bindMounts"),
        ] {
            ensure!(!is_set, "containerRunOptions.{name}: {ENGINE}");
        }
        if !self.env_vars.is_empty() && !passes_on {
            bail!("containerRunOptions.envVars: a build has no variables of the machine; use globalEnvVars");
        }
        Ok(())
    }

    /// Returns the variables of the machine that are passed on. Empty variables are not, as in
    /// container-structure-test.
    pub fn variables(&self) -> BTreeMap<String, String> {
        let value = |name: &String| std::env::var(name).ok().filter(|value| !value.is_empty());
        self.env_vars.iter().filter_map(|name| Some((name.clone(), value(name)?))).collect()
    }
}

/// Returns the containers of the command tests, which write to directories whose names begin with `prefix`.
///
/// # Errors
///
/// If the image lacks the user, or a directory cannot be created.
pub fn jobs(structure: &Structure, prepared: &PreparedTests, prefix: &str) -> Result<Vec<CommandJob>> {
    if structure.command_tests.is_empty() {
        return Ok(Vec::new());
    }
    let user = prepared.user(&structure.container_run_options.user)?;
    let env = with_variables(&prepared.env, &structure.global_env_vars);
    let hosts = Hosts::default();
    let job = |(at, test)| {
        let test: &super::structure::CommandTest = test;
        let writable = prepared.writable(&format!("{prefix}-command-{at}"))?;
        let mut commands = Commands::new(test, &env);
        // As in container-structure-test, these override the variables of the image only for the test's own command.
        commands.env.extend(structure.container_run_options.variables());
        let container =
            |env: &_, command| prepared.container(Path::new(&writable), &user, "container", &hosts, env, command);
        Ok(commands.job(&test.name, container))
    };
    structure.command_tests.iter().enumerate().map(job).collect()
}

/// Returns the results of the file and metadata tests, which run no program.
pub fn answered(structure: &Structure, prepared: &PreparedTests) -> Vec<TestResult> {
    let env = with_variables(&prepared.env, &structure.global_env_vars);
    let contents = structure.file_content_tests.iter().map(|test| file_tests::content(test, &prepared.files));
    let files = structure.file_existence_tests.iter().map(|test| file_tests::existence(test, &prepared.files, &env));
    let metadata = Some(&structure.metadata_test).filter(|test| !test.is_empty());
    contents.chain(files).chain(metadata.map(|test| metadata::run(test, &prepared.config))).collect()
}

/// Returns the results of the command tests.
pub fn evaluated(structure: &Structure, outputs: Vec<CommandOutput>) -> Vec<TestResult> {
    structure.command_tests.iter().zip(outputs).map(|(test, output)| evaluate(test, output)).collect()
}
