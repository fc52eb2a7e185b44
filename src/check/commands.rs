//! Command tests: the containers that they need, and what their output must be (container-structure-test,
//! pkg/types/v2/command.go and pkg/drivers/docker_driver.go).
//!
//! ```text
//! globalEnvVars     set in the image: $NAME in them is a variable of the image, and they hold for $NAME in commands
//! envVars           set for setup, command and teardown; $NAME in them is replaced for setup alone, as there
//! setup, teardown   run in containers of their own, whose files the next one has
//! ```

use std::collections::BTreeMap;

use super::{
    expand::expand,
    file_tests::shown,
    job::{CommandJob, Output},
    pattern::Pattern,
    results::TestResult,
    structure::{CommandTest, Variable},
};

/// The programs of a container whose image has no `PATH` (moby, oci/defaults.go; containers/common, pkg/config).
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The variables of an image with `variables` set in it.
pub fn with_variables(env: &BTreeMap<String, String>, variables: &[Variable]) -> BTreeMap<String, String> {
    let mut all = env.clone();
    all.extend(variables.iter().map(|variable| (variable.key.clone(), expand(&variable.value, env))));
    all
}

/// The commands of a test, and the variables of each.
#[derive(Debug)]
pub struct Commands {
    /// Run before.
    pub setup: Vec<Vec<String>>,
    /// The variables of those.
    pub setup_env: BTreeMap<String, String>,
    /// The command itself.
    pub command: Vec<String>,
    /// Its variables.
    pub env: BTreeMap<String, String>,
    /// Run after.
    pub teardown: Vec<Vec<String>>,
}

impl Commands {
    /// Those of a test; `env` has the variables of the image and of all tests.
    pub fn new(test: &CommandTest, env: &BTreeMap<String, String>) -> Self {
        let setup_env = with_variables(env, &test.env_vars);
        // Containers of setup are committed with their variables.
        let mut own = if test.setup.is_empty() { env.clone() } else { setup_env.clone() };
        let command = [&test.command].into_iter().chain(&test.args).map(|word| expand(word, &own)).collect();
        own.extend(test.env_vars.iter().map(|variable| (variable.key.clone(), variable.value.clone())));
        Self { setup: test.setup.clone(), setup_env, command, env: own, teardown: test.teardown.clone() }
    }

    /// The same as a job; `container` makes the container of a command with its variables.
    pub fn job<C>(self, name: &str, container: impl Fn(&BTreeMap<String, String>, Vec<String>) -> C) -> CommandJob<C> {
        let all = |commands: Vec<Vec<String>>| {
            commands.into_iter().map(|command| container(&self.setup_env, command)).collect::<Vec<_>>()
        };
        CommandJob {
            name: name.to_owned(),
            setup: all(self.setup),
            command: container(&self.env, self.command),
            teardown: all(self.teardown),
        }
    }
}

/// What is right and wrong with the output of a test's command.
pub fn evaluate(test: &CommandTest, output: Output) -> TestResult {
    let mut errors = Vec::new();
    match &output.error {
        Some(error) => errors.push(error.clone()),
        None => {
            matches("standard error", &test.expected_error, &test.excluded_error, &output.stderr, &mut errors);
            matches("output", &test.expected_output, &test.excluded_output, &output.stdout, &mut errors);
            if test.exit_code != output.status {
                errors.push(format!("exit status is {}, expected {}", output.status, test.exit_code));
            }
        }
    }
    let result = TestResult::new(format!("Command Test: {}", test.name), errors);
    TestResult { stdout: output.stdout, stderr: output.stderr, duration: output.duration, ..result }
}

fn matches(what: &str, expected: &[Pattern], excluded: &[Pattern], text: &str, errors: &mut Vec<String>) {
    for pattern in expected.iter().filter(|pattern| !pattern.is_match(text)) {
        errors.push(format!("{what} does not match {:?}; it is {}", pattern.as_str(), shown(text)));
    }
    for pattern in excluded.iter().filter(|pattern| pattern.is_match(text)) {
        errors.push(format!("{what} matches {:?}, which is excluded; it is {}", pattern.as_str(), shown(text)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(key: &str, value: &str) -> Variable {
        Variable { key: key.to_owned(), value: value.to_owned(), is_regex: false }
    }

    #[test]
    fn variables_are_replaced_where_container_structure_test_replaces_them() {
        let image = BTreeMap::from([("PATH".to_owned(), "/bin".to_owned())]);
        let env = with_variables(&image, &[variable("PATH", "/x:$PATH"), variable("A", "$PATH")]);
        assert_eq!((env["PATH"].as_str(), env["A"].as_str()), ("/x:/bin", "/bin"));
        let mut test = CommandTest {
            command: "echo".to_owned(),
            args: vec!["$A $B $$".to_owned()],
            env_vars: vec![variable("B", "b$A")],
            ..CommandTest::default()
        };
        let commands = Commands::new(&test, &env);
        assert_eq!(commands.command, ["echo", "/bin  "]);
        assert_eq!((commands.env["B"].as_str(), commands.setup_env["B"].as_str()), ("b$A", "b/bin"));
        test.setup.push(vec!["true".to_owned()]);
        assert_eq!(Commands::new(&test, &env).command, ["echo", "/bin b/bin "]);
    }

    #[test]
    fn errors_have_expected_and_actual_values() {
        let test = CommandTest {
            name: "x".to_owned(),
            expected_output: vec![Pattern::new("^a$").unwrap()],
            excluded_error: vec![Pattern::new("warn").unwrap()],
            ..CommandTest::default()
        };
        let output = Output { status: 3, stdout: "b".to_owned(), stderr: "warning".to_owned(), ..Output::default() };
        let result = evaluate(&test, output);
        assert_eq!(
            result.errors,
            [
                "standard error matches \"warn\", which is excluded; it is \"warning\"",
                "output does not match \"^a$\"; it is \"b\"",
                "exit status is 3, expected 0"
            ]
        );
    }
}
