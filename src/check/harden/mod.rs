//! Hardening checks of an image, each finding with the argument that fixes it.
//!
//! ```text
//! config ──▶ config: user, health check, ports, volumes, variables ───────────┐
//! layers ──▶ scan: modes, owners, capabilities, programs, accounts (as merged) ┼──▶ Hardening: findings by check
//!        └─▶ secrets: known formats and entropy, in every layer ───────────────┘
//! ```
//!
//! Modes and programs are those of the merged file system, as a container has it. Secrets are searched in every layer, since a
//! layer that is hidden by a later one is still downloaded. docs/hardening.md compares the checks with dockle and with the CIS
//! Docker Benchmark.

mod capabilities;
mod config;
mod kinds;
mod scan;
mod secrets;

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::{
    closure::matches,
    image::Image,
    oci::{Digest, descriptor::media_type},
};

pub use kinds::Check;

use super::results::TestResult;

/// The findings of one check that are listed; more are counted.
const LISTED: usize = 1000;

/// The result of all checks of an image.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hardening {
    /// The name of the image, `name:tag`.
    pub reference: Option<String>,
    /// The digest of the manifest.
    pub digest: Digest,
    /// The findings, by check and place.
    pub findings: Vec<Finding>,
    /// The checks without findings.
    pub passed: Vec<Check>,
    /// The numbers of findings that are not listed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub omitted: BTreeMap<Check, usize>,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The check.
    pub check: Check,
    /// The file, or the key of the configuration.
    pub place: String,
    /// The number of the layer, counted from 1; `None` for the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<usize>,
    /// The fact.
    pub what: String,
    /// The argument that fixes it.
    pub fix: String,
}

impl Hardening {
    /// Checks an image. Every layer is read.
    ///
    /// # Errors
    ///
    /// If it is an artifact, its configuration is malformed, or a layer cannot be read.
    pub fn new(image: &Image) -> Result<Self> {
        let kind = &image.config_media_type;
        ensure!(media_type::is_config(kind), "it is an artifact of the type {kind}, not an image: it has no files");
        let config = image.parse_config().context("reading the image's configuration")?;
        let files = scan::ScannedFiles::read(image)?;
        let mut collected = Collected::default();
        config::check(image, &config.config, &files, &mut collected);
        files.check(&config.config, &mut collected);
        Ok(Self::from_findings(image, collected))
    }

    fn from_findings(image: &Image, collected: Collected) -> Self {
        let Collected { mut findings, omitted, .. } = collected;
        findings.sort();
        findings.dedup();
        let passed = Check::all().filter(|check| findings.iter().all(|finding| finding.check != *check)).collect();
        Self { reference: image.reference.clone(), digest: image.digest(), findings, passed, omitted }
    }

    /// A test for each check: it fails with the findings that no exception is for.
    pub fn results(&self, exceptions: &[Exception]) -> Vec<TestResult> {
        let violations = self.violations(exceptions).into_iter();
        violations.map(|(check, errors)| TestResult::new(format!("Hardening Test: {}", check.name()), errors)).collect()
    }

    /// The findings that no exception is for, and how many of a check are not listed, by check.
    fn violations(&self, exceptions: &[Exception]) -> BTreeMap<Check, Vec<String>> {
        let is_excepted = |finding: &&Finding| exceptions.iter().any(|exception| exception.is_for(finding));
        let mut violations: BTreeMap<Check, Vec<String>> = Check::all().map(|check| (check, Vec::new())).collect();
        for finding in self.findings.iter().filter(|finding| !is_excepted(finding)) {
            let Finding { check, place, what, fix, .. } = finding;
            violations.entry(*check).or_default().push(format!("{place}: {what}; {fix}"));
        }
        for (check, count) in &self.omitted {
            if !exceptions.iter().any(|exception| exception.check == *check && exception.place.is_none()) {
                violations.entry(*check).or_default().push(format!("{count} more findings are not listed"));
            }
        }
        violations
    }
}

/// An exception from the checks: `CHECK`, or `CHECK:PATTERN` for places that match, in which `*` stands for any characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    check: Check,
    place: Option<String>,
}

impl std::str::FromStr for Exception {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (check, place) = match text.split_once(':') {
            Some((check, place)) => (check, Some(place)),
            None => (text, None),
        };
        let known = Check::all().find(|known| known.name() == check).ok_or_else(|| {
            let all: Vec<&str> = Check::all().map(Check::name).collect();
            format!("{check:?} is not a check; the checks are {}", all.join(", "))
        })?;
        if place.is_some_and(str::is_empty) {
            return Err(format!("the pattern is empty; write {check} for all places, or {check}:PATTERN"));
        }
        Ok(Self { check: known, place: place.map(str::to_owned) })
    }
}

impl Exception {
    fn is_for(&self, finding: &Finding) -> bool {
        self.check == finding.check && self.place.as_deref().is_none_or(|pattern| matches(pattern, &finding.place))
    }
}

/// The findings so far.
#[derive(Debug, Default)]
struct Collected {
    findings: Vec<Finding>,
    counts: BTreeMap<Check, usize>,
    omitted: BTreeMap<Check, usize>,
}

impl Collected {
    fn push(&mut self, check: Check, place: impl Into<String>, layer: Option<usize>, what: String, fix: String) {
        let count = self.counts.entry(check).or_default();
        if *count >= LISTED {
            *self.omitted.entry(check).or_default() += 1;
            return;
        }
        *count += 1;
        self.findings.push(Finding { check, place: place.into(), layer, what, fix });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_are_for_a_check_and_places_that_match() {
        let finding = |check, place: &str| Finding {
            check,
            place: place.to_owned(),
            layer: None,
            what: String::new(),
            fix: String::new(),
        };
        let shell = finding(Check::Shell, "/nix/store/abc-bash-5.2/bin/bash");
        for (text, expected) in [
            ("shell", true),
            ("setuid", false),
            ("shell:*", true),
            ("shell:*bash", true),
            ("shell:/nix/*-bash-*/bin/*", true),
            ("shell:/nix/*-bash-*/bin", false),
            ("shell:bash", false),
            ("shell:/nix/store/abc-bash-5.2/bin/bash", true),
            ("shell:/nix/store/abc-bash-5.2/bin/bash*bash", false),
        ] {
            assert_eq!(text.parse::<Exception>().unwrap().is_for(&shell), expected, "{text}");
        }
        for text in ["", "shells", "shell:", "Shell"] {
            assert!(text.parse::<Exception>().is_err(), "{text}");
        }
    }

    #[test]
    fn findings_beyond_the_limit_are_counted() {
        let mut collected = Collected::default();
        for number in 0..LISTED + 5 {
            collected.push(Check::Shell, format!("/{number}"), None, String::new(), String::new());
        }
        assert_eq!((collected.findings.len(), collected.omitted[&Check::Shell]), (LISTED, 5));
    }
}
