//! The schema 2.0.0 of container-structure-test.
//!
//! Names and meanings are those of its source (GoogleContainerTools/container-structure-test, pkg/types/v2 and
//! pkg/types/unversioned). Unknown fields are errors, as in its source. Licence tests and version 1.0.0 are refused.

use std::path::Path;

use serde::{Deserialize, de::IgnoredAny};

use super::{
    pattern::Pattern,
    yaml::{self, YamlError},
};
use crate::{budget, files, oci::wording};

/// The supported version of the schema.
const VERSION: &str = "2.0.0";

/// A test file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Structure {
    schema_version: String,
    /// Variables of every command, in addition to those of the image.
    pub global_env_vars: Vec<Variable>,
    /// Commands that run in a container.
    pub command_tests: Vec<CommandTest>,
    /// Files that must exist or must not exist.
    pub file_existence_tests: Vec<FileExistenceTest>,
    /// Files with expected contents.
    pub file_content_tests: Vec<FileContentTest>,
    /// The expected configuration of the image.
    pub metadata_test: MetadataTest,
    license_tests: Option<IgnoredAny>,
    /// Options of the containers for command tests.
    pub container_run_options: ContainerRunOptions,
}

/// A variable or a label.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Variable {
    pub key: String,
    /// The value, or a regular expression.
    pub value: String,
    /// Whether the value is a regular expression.
    pub is_regex: bool,
}

/// A command and its expected result.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct CommandTest {
    pub name: String,
    /// Commands that run before, each with its arguments. Their changes to files stay.
    pub setup: Vec<Vec<String>>,
    /// Commands that run after the test.
    pub teardown: Vec<Vec<String>>,
    /// Additional variables.
    pub env_vars: Vec<Variable>,
    /// The expected exit status.
    pub exit_code: i64,
    pub command: String,
    pub args: Vec<String>,
    /// Patterns that must match the output.
    pub expected_output: Vec<Pattern>,
    /// Patterns that must not match the output.
    pub excluded_output: Vec<Pattern>,
    /// Patterns that must match the error output.
    pub expected_error: Vec<Pattern>,
    /// Patterns that must not match the error output.
    pub excluded_error: Vec<Pattern>,
}

/// A file that must exist with an owner and a mode, or must not exist.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct FileExistenceTest {
    pub name: String,
    /// The path, which may contain variables of the image.
    pub path: String,
    pub should_exist: bool,
    /// Type and permissions in the format of Go, such as `drwxr-xr-x`.
    pub permissions: String,
    /// The owner, or -1 for any.
    pub uid: i64,
    /// The group, or -1 for any.
    pub gid: i64,
    /// `owner`, `group`, `other` or `any`.
    pub is_executable_by: String,
}

impl Default for FileExistenceTest {
    fn default() -> Self {
        Self {
            name: String::new(),
            path: String::new(),
            should_exist: true,
            permissions: String::new(),
            uid: -1,
            gid: -1,
            is_executable_by: String::new(),
        }
    }
}

/// A file with expected contents.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct FileContentTest {
    pub name: String,
    pub path: String,
    /// Patterns that must match the contents.
    pub expected_contents: Vec<Pattern>,
    /// Patterns that must not match the contents.
    pub excluded_contents: Vec<Pattern>,
}

/// The expected configuration of the image.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct MetadataTest {
    /// Variables with their values.
    pub env_vars: Vec<Variable>,
    /// Variables that must not be set.
    pub unbound_env_vars: Vec<Variable>,
    /// Ports without a protocol.
    pub exposed_ports: Vec<String>,
    /// Ports that must not be exposed.
    pub unexposed_ports: Vec<String>,
    pub entrypoint: Option<Vec<String>>,
    /// The arguments, or the command if there is no entrypoint.
    pub cmd: Option<Vec<String>>,
    pub workdir: String,
    pub volumes: Vec<String>,
    /// Directories that must not be volumes.
    pub unmounted_volumes: Vec<String>,
    /// Labels with their values.
    pub labels: Vec<Variable>,
    pub user: String,
}

/// Options of the containers of commands.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct ContainerRunOptions {
    /// Replaces the user of the image.
    pub user: String,
    /// Whether the container has all privileges.
    pub privileged: bool,
    /// Whether the container has a terminal.
    pub allocate_tty: bool,
    /// Variables of the machine that are passed on.
    pub env_vars: Vec<String>,
    /// A file of variables.
    pub env_file: String,
    /// Capabilities that are added.
    pub capabilities: Vec<String>,
    /// Directories of the machine that are mounted.
    pub bind_mounts: Vec<String>,
}

/// The error of an invalid test file.
#[derive(Debug, thiserror::Error)]
pub enum StructureError {
    #[error("{0}")]
    Read(#[from] std::io::Error),
    #[error("it is not UTF-8")]
    Encoding(#[from] std::str::Utf8Error),
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// A field is unknown, or has a wrong value.
    #[error("{0}")]
    Field(String),
}

fn field(message: impl Into<String>) -> StructureError {
    StructureError::Field(message.into())
}

impl Structure {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is not a valid set of tests.
    pub fn read(path: &Path) -> Result<Self, StructureError> {
        let bytes = files::read_bounded(path, &budget::STRUCTURE_TEST)?;
        Self::parse(std::str::from_utf8(&bytes)?)
    }

    /// Parses the text of a file.
    ///
    /// # Errors
    ///
    /// If it is not a valid set of tests; the message names the field.
    pub fn parse(text: &str) -> Result<Self, StructureError> {
        let parsed: Self = serde_path_to_error::deserialize(yaml::parse(text)?).map_err(|error| {
            let (place, inner) = (error.path().to_string(), error.inner().to_string());
            let is_typed = inner.starts_with("invalid type") || inner.starts_with("invalid value");
            match place.as_str() {
                "." => field(if is_typed { format!("it {}", wording::type_error(&inner)) } else { inner }),
                _ if is_typed => field(format!("{place} {}", wording::type_error(&inner))),
                _ => field(format!("{place}: {inner}")),
            }
        })?;
        parsed.validate()?;
        Ok(parsed)
    }

    /// Checks values that the types do not restrict. container-structure-test checks these when it runs a test.
    ///
    /// # Errors
    ///
    /// If a value is missing or refused; the message names the field.
    pub fn validate(&self) -> Result<(), StructureError> {
        match self.schema_version.as_str() {
            VERSION => {}
            "" => return Err(field("schemaVersion is missing; write schemaVersion: 2.0.0")),
            other => return Err(field(format!("schemaVersion is {other}; only {VERSION} is supported"))),
        }
        if self.license_tests.is_some() {
            return Err(field(
                "licenseTests are not supported: they forbid licences by a list of their own; use the image's SBOM \
                 (strata sbom), or fileContentTests",
            ));
        }
        if self.is_empty() {
            return Err(field("it has no tests"));
        }
        for (at, test) in self.command_tests.iter().enumerate() {
            test.validate().map_err(|why| field(format!("commandTests[{at}]: {why}")))?;
        }
        let files = self.file_existence_tests.iter().map(|test| ("fileExistenceTests", &test.name, &test.path));
        let contents = self.file_content_tests.iter().map(|test| ("fileContentTests", &test.name, &test.path));
        for (list, name, path) in files.chain(contents) {
            if name.is_empty() || path.is_empty() {
                return Err(field(format!("{list}: a test without a name or a path; each needs both")));
            }
        }
        for test in &self.file_existence_tests {
            if !matches!(test.is_executable_by.as_str(), "" | "any" | "owner" | "group" | "other") {
                let (name, value) = (&test.name, &test.is_executable_by);
                return Err(field(format!(
                    "fileExistenceTests, {name}: isExecutableBy is {value}; write owner, group, other or any"
                )));
            }
        }
        self.metadata_test.validate().map_err(|why| field(format!("metadataTest: {why}")))
    }

    fn is_empty(&self) -> bool {
        self.command_tests.is_empty()
            && self.file_existence_tests.is_empty()
            && self.file_content_tests.is_empty()
            && self.metadata_test.is_empty()
    }
}

impl CommandTest {
    fn validate(&self) -> Result<(), &'static str> {
        if self.name.is_empty() {
            return Err("a test without a name");
        }
        if self.command.is_empty() {
            return Err("a test without a command");
        }
        if self.setup.iter().chain(&self.teardown).any(Vec::is_empty) {
            return Err("an empty command in setup or teardown");
        }
        if self.env_vars.iter().any(|variable| variable.key.is_empty() || variable.value.is_empty()) {
            return Err("envVars: a variable without a key or a value; each needs both");
        }
        Ok(())
    }
}

impl MetadataTest {
    /// Whether the file contains no tests.
    pub fn is_empty(&self) -> bool {
        let lists = [&self.env_vars, &self.unbound_env_vars, &self.labels];
        let names = [&self.exposed_ports, &self.unexposed_ports, &self.volumes, &self.unmounted_volumes];
        lists.iter().all(|list| list.is_empty())
            && names.iter().all(|list| list.is_empty())
            && self.entrypoint.is_none()
            && self.cmd.is_none()
            && self.workdir.is_empty()
            && self.user.is_empty()
    }

    fn validate(&self) -> Result<(), String> {
        let variables = self.env_vars.iter().chain(&self.unbound_env_vars).chain(&self.labels);
        if variables.clone().any(|variable| variable.key.is_empty()) {
            return Err("a variable or a label without a key".to_owned());
        }
        if self.exposed_ports.iter().chain(&self.volumes).any(String::is_empty) {
            return Err("an empty port or volume".to_owned());
        }
        for variable in variables.filter(|variable| variable.is_regex) {
            variable.pattern().map_err(|error| format!("{}: {error}", variable.key))?;
        }
        Ok(())
    }
}

impl Variable {
    /// Returns the value as a regular expression.
    ///
    /// # Errors
    ///
    /// If it is malformed.
    pub fn pattern(&self) -> Result<Pattern, super::pattern::PatternError> {
        Pattern::new(&self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Structure::parse(text).expect_err(text).to_string()
    }

    #[test]
    fn fields_have_the_types_of_the_schema() {
        let parsed = Structure::parse(
            "schemaVersion: '2.0.0'\nglobalEnvVars: [{key: A, value: 1}]\ncommandTests:\n- name: x\n  setup: [[a, b]]\n  \
             command: sh\n  args: [-c, 1]\n  exitCode: 0x2\n  expectedOutput: ['^a', 1.5]\nfileExistenceTests:\n- {name: \
             x, path: /, uid: 0, shouldExist: no}\nfileContentTests:\n- {name: x, path: /x, expectedContents: [yes]}\n\
             metadataTest:\n  exposedPorts: [80]\n  cmd:\n  entrypoint: []\n",
        )
        .unwrap();
        assert_eq!(parsed.global_env_vars[0].value, "1");
        assert_eq!((parsed.command_tests[0].exit_code, parsed.command_tests[0].args[1].as_str()), (2, "1"));
        assert_eq!(parsed.command_tests[0].expected_output[1].as_str(), "1.5");
        let file = &parsed.file_existence_tests[0];
        assert_eq!((file.uid, file.gid, file.should_exist), (0, -1, false));
        assert_eq!(parsed.file_content_tests[0].expected_contents[0].as_str(), "yes");
        assert_eq!(parsed.metadata_test.exposed_ports, ["80"]);
        assert_eq!((parsed.metadata_test.cmd, parsed.metadata_test.entrypoint), (None, Some(Vec::new())));
    }

    #[test]
    fn errors_name_the_field() {
        for (text, message) in [
            ("metadataTest: {cmd: [x]}", "schemaVersion is missing"),
            ("schemaVersion: 1.0.0", "schemaVersion is 1.0.0; only 2.0.0"),
            ("schemaVersion: 2.0.0", "it has no tests"),
            ("[a]", "it must be an attribute set, not a list"),
            ("schemaVersion: 2.0.0\ncommandTest: []", "unknown field `commandTest`, expected one of `schemaVersion`"),
            ("commandTests:\n- {name: x, cmd: y}", "commandTests[0].cmd: unknown field `cmd`"),
            ("commandTests:\n- {name: x, exitCode: '1'}", "commandTests[0].exitCode must be a number, not \"1\""),
            (
                "fileExistenceTests:\n- {shouldExist: 1}",
                "fileExistenceTests[0].shouldExist must be true or false, not 1",
            ),
            ("commandTests: {}", "commandTests must be a list, not an attribute set"),
            ("commandTests:\n- {expectedOutput: ['(']}", "commandTests[0].expectedOutput[0]: regular expression \"(\""),
            ("schemaVersion: 2.0.0\nlicenseTests: []", "licenseTests are not supported"),
            ("schemaVersion: 2.0.0\ncommandTests: [{name: x}]", "commandTests[0]: a test without a command"),
            ("schemaVersion: 2.0.0\ncommandTests: [{name: x, command: y, setup: [[]]}]", "empty command in setup"),
            (
                "schemaVersion: 2.0.0\nfileContentTests: [{name: x}]",
                "fileContentTests: a test without a name or a path",
            ),
            (
                "schemaVersion: 2.0.0\nfileExistenceTests: [{name: x, path: /, isExecutableBy: all}]",
                "isExecutableBy is all; write owner",
            ),
            (
                "schemaVersion: 2.0.0\nmetadataTest: {labels: [{key: a, value: '(', isRegex: true}]}",
                "metadataTest: a: regular",
            ),
            ("a: 'b", "line "),
        ] {
            let found = error(text);
            assert!(found.contains(message), "{text}: {found}");
        }
    }
}
