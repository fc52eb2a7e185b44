//! Metadata tests, which read the image's configuration (container-structure-test, pkg/types/v2/metadata.go).

use std::collections::BTreeMap;

use super::{
    results::TestResult,
    structure::{MetadataTest, Variable},
};
use crate::oci::Config;

/// Runs the metadata test.
pub fn run(test: &MetadataTest, config: &Config) -> TestResult {
    let mut errors = Vec::new();
    let env = environment(config);
    variables("envVars", &test.env_vars, &env, &mut errors);
    variables("labels", &test.labels, &config.labels, &mut errors);
    for variable in &test.unbound_env_vars {
        if let Some(value) = env.get(&variable.key) {
            errors.push(format!("unboundEnvVars: {} is {value:?}, expected none", variable.key));
        }
    }
    list("entrypoint", test.entrypoint.as_ref(), &config.entrypoint, &mut errors);
    list("cmd", test.cmd.as_ref(), &config.cmd, &mut errors);
    text("workdir", &test.workdir, &config.working_dir, &mut errors);
    text("user", &test.user, &config.user, &mut errors);
    let ports: Vec<&str> = config.exposed_ports.keys().map(|port| port.split('/').next().unwrap_or(port)).collect();
    let volumes: Vec<&str> = config.volumes.keys().map(String::as_str).collect();
    for (field, values, all, expected) in [
        ("exposedPorts", &test.exposed_ports, &ports, true),
        ("unexposedPorts", &test.unexposed_ports, &ports, false),
        ("volumes", &test.volumes, &volumes, true),
        ("unmountedVolumes", &test.unmounted_volumes, &volumes, false),
    ] {
        for value in values.iter().filter(|value| all.contains(&value.as_str()) != expected) {
            let (verb, all) = (if expected { "is not" } else { "is" }, all.join(", "));
            errors.push(format!("{field}: {value} {verb} among those of the image: {all}"));
        }
    }
    TestResult::new("Metadata Test".to_owned(), errors)
}

/// Returns the variables of a configuration.
pub fn environment(config: &Config) -> BTreeMap<String, String> {
    let pair = |text: &String| match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), value.to_owned()),
        None => (text.clone(), String::new()),
    };
    config.env.iter().map(pair).collect()
}

fn variables(field: &str, expected: &[Variable], all: &BTreeMap<String, String>, errors: &mut Vec<String>) {
    for variable in expected {
        let Variable { key, value, is_regex } = variable;
        let Some(actual) = all.get(key) else {
            errors.push(format!("{field}: {key} is not set, expected {value:?}"));
            continue;
        };
        // Malformed expressions were refused when the file was read.
        let matches = match is_regex {
            true => variable.pattern().is_ok_and(|pattern| pattern.is_match(actual)),
            false => value == actual,
        };
        if !matches {
            let kind = if *is_regex { "a match of " } else { "" };
            errors.push(format!("{field}: {key} is {actual:?}, expected {kind}{value:?}"));
        }
    }
}

fn list(field: &str, expected: Option<&Vec<String>>, actual: &[String], errors: &mut Vec<String>) {
    if let Some(expected) = expected.filter(|expected| *expected != actual) {
        errors.push(format!("{field} is {actual:?}, expected {expected:?}"));
    }
}

fn text(field: &str, expected: &str, actual: &str, errors: &mut Vec<String>) {
    if !expected.is_empty() && expected != actual {
        errors.push(format!("{field} is {actual:?}, expected {expected:?}"));
    }
}
