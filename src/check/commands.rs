//! Command tests: the containers that they need, and checks of their output (container-structure-test,
//! pkg/types/v2/command.go and pkg/drivers/docker_driver.go).
//!
//! ```text
//! globalEnvVars     set in the image: $NAME in them is a variable of the image, and they replace $NAME in commands
//! envVars           set for setup, command and teardown; $NAME in them is replaced only in setup, as in its source
//! setup, teardown   run in their own containers; the next container has the files of the previous one
//! ```

use std::collections::BTreeMap;

use super::{
    expand::expand,
    file_tests::shown,
    job::{CommandJob, CommandOutput},
    pattern::Pattern,
    results::TestResult,
    structure::{CommandTest, Variable},
};

/// Returns the variables of an image after setting `variables`.
pub fn with_variables(env: &BTreeMap<String, String>, variables: &[Variable]) -> BTreeMap<String, String> {
    let mut all = env.clone();
    all.extend(variables.iter().map(|variable| (variable.key.clone(), expand(&variable.value, env))));
    all
}

/// The commands of a test, with their variables.
#[derive(Debug)]
pub struct Commands {
    /// Commands that run before the test.
    pub setup: Vec<Vec<String>>,
    /// The variables of `setup`.
    pub setup_env: BTreeMap<String, String>,
    /// The command of the test.
    pub command: Vec<String>,
    /// The variables of `command` and `teardown`.
    pub env: BTreeMap<String, String>,
    /// Commands that run after the test.
    pub teardown: Vec<Vec<String>>,
}

impl Commands {
    /// Returns the commands of a test. `env` has the variables of the image and of all tests.
    pub fn new(test: &CommandTest, env: &BTreeMap<String, String>) -> Self {
        let setup_env = with_variables(env, &test.env_vars);
        // Containers of setup are committed with their variables.
        let mut command_env = if test.setup.is_empty() { env.clone() } else { setup_env.clone() };
        let command = [&test.command].into_iter().chain(&test.args).map(|word| expand(word, &command_env)).collect();
        command_env.extend(test.env_vars.iter().map(|variable| (variable.key.clone(), variable.value.clone())));
        Self { setup: test.setup.clone(), setup_env, command, env: command_env, teardown: test.teardown.clone() }
    }

    /// Returns the commands as a job. `container` makes the container of a command with its variables.
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

/// Compares the output of a test's command with the expected output.
pub fn evaluate(test: &CommandTest, output: CommandOutput) -> TestResult {
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
        let output = CommandOutput {
            status: 3,
            stdout: "b".to_owned(),
            stderr: "warning".to_owned(),
            ..CommandOutput::default()
        };
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
