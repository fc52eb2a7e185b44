//! The results of tests, with the field names of container-structure-test's JSON (pkg/types/unversioned/types.go).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::job::ServiceResult;

/// The maximum number of lines of a failed command's output that are printed.
const SHOWN_LINES: usize = 20;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TestResult {
    /// The kind and the name of the test.
    pub name: String,
    pub pass: bool,
    /// The output of the command.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stdout: String,
    /// The error output of the command.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stderr: String,
    /// The differences, with expected and actual values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// In nanoseconds.
    pub duration: u64,
}

/// The results of all tests of an image.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TestReport {
    /// The number of tests that passed.
    pub pass: usize,
    /// The number of tests that failed.
    pub fail: usize,
    /// The number of tests.
    pub total: usize,
    /// In nanoseconds.
    pub duration: u64,
    pub results: Vec<TestResult>,
}

impl TestResult {
    /// Returns a result with these errors. Without errors, the test passed.
    pub fn new(name: String, errors: Vec<String>) -> Self {
        Self { name, pass: errors.is_empty(), errors, ..Self::default() }
    }
}

impl TestReport {
    /// Counts the results.
    pub fn new(results: Vec<TestResult>) -> Self {
        let pass = results.iter().filter(|result| result.pass).count();
        let duration = results.iter().map(|result| result.duration).sum();
        Self { pass, fail: results.len() - pass, total: results.len(), duration, results }
    }
}

impl From<ServiceResult> for TestResult {
    fn from(finding: ServiceResult) -> Self {
        let ServiceResult { name, errors, last_lines, duration } = finding;
        let stdout = if errors.is_empty() { String::new() } else { last_lines.join("\n") };
        Self { stdout, duration, ..Self::new(name, errors) }
    }
}

impl fmt::Display for TestReport {
    /// Prints a line for each test. Failed tests are followed by their errors and the last lines of their output.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for result in &self.results {
            writeln!(f, "{} {}", if result.pass { "ok  " } else { "FAIL" }, result.name)?;
            for error in &result.errors {
                writeln!(f, "     {error}")?;
            }
            for (name, text) in [("output", &result.stdout), ("standard error", &result.stderr)] {
                if !result.pass && !text.is_empty() {
                    writeln!(f, "     {name}, last lines:")?;
                    let lines: Vec<&str> = text.lines().collect();
                    let start = lines.len().saturating_sub(SHOWN_LINES);
                    lines[start..].iter().try_for_each(|line| writeln!(f, "       {line}"))?;
                }
            }
        }
        let noun = if self.total == 1 { "test" } else { "tests" };
        writeln!(f, "{} {noun}: {} passed, {} failed", self.total, self.pass, self.fail)
    }
}
