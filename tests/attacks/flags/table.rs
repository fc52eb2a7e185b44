//! The entries of the tables of flags.

use std::collections::BTreeSet;

use super::bench::Outcome;
use crate::world::World;

/// An index of two images.
pub const MULTI: &str = "docker://in.example.com/multi:1";
pub const LAYOUT: &str = "oci:layout:t";

/// The address of the destination's registry.
#[derive(Clone, Copy, PartialEq)]
pub enum Host {
    Open,
    /// It requires credentials, and accepts all.
    Locked,
    /// It is on loopback, without TLS.
    Loopback,
    /// It fails the first request of each path.
    Flaky,
    /// A registry whose CA is in `certificates` only.
    Untrusted,
}

/// A flag of the table.
pub struct Flag {
    pub name: &'static str,
    pub arguments: Vec<&'static str>,
    /// Flags that the flag needs, which the run for comparison has too.
    pub base: Vec<&'static str>,
    pub source: &'static str,
    pub host: Host,
    /// Kinds of destination for which the flag holds without having to do anything, and why.
    pub vacuous: (&'static [&'static str], &'static str),
}

pub fn flag(name: &'static str, arguments: &[&'static str]) -> Flag {
    let arguments = [name].iter().chain(arguments).copied().collect();
    let source = "docker://in.example.com/app:1";
    Flag { name, arguments, base: Vec::new(), source, host: Host::Open, vacuous: (&[], "") }
}

impl Flag {
    pub fn with(self, base: &[&'static str]) -> Self {
        Self { base: base.to_vec(), ..self }
    }

    pub fn from(self, source: &'static str) -> Self {
        Self { source, ..self }
    }

    pub fn at(self, host: Host) -> Self {
        Self { host, ..self }
    }

    pub fn vacuous(self, kinds: &'static [&'static str], why: &'static str) -> Self {
        Self { vacuous: (kinds, why), ..self }
    }
}

/// The flags that the help of a command lists, and their aliases.
pub fn listed(command: &[&str]) -> BTreeSet<String> {
    let world = World::new();
    let help = world.run(&[command, &["--help"]].concat()).success().out;
    let mut found = BTreeSet::new();
    for line in help.lines() {
        let option = line.trim_start();
        let is_option = line.starts_with("  ") && option.starts_with('-');
        let words = option.split([' ', ',', '[', ']', '=']).filter(|word| word.starts_with("--"));
        // Help texts name other flags; an option's own name is the first, and aliases are in brackets.
        let count = if is_option { 1 } else { 0 };
        found.extend(words.take(count).map(str::to_owned));
        for alias in option.split("[alias: ").skip(1).filter_map(|rest| rest.split(']').next()) {
            found.insert(alias.to_owned());
        }
    }
    found.remove("--password-stdin,");
    found
}

/// Causes of errors that are about what a flag asks for.
const ASKED: [&str; 11] = [
    "no-such-key",
    "not signed",
    "no image matches",
    "127.0.0.1:1",
    "https://127.0.0.1",
    "false",
    "503",
    "401",
    "tls",
    "TLS",
    "certificates",
];

impl Flag {
    /// Returns the problems of the flag in the run `what`, compared with the same run without the flag.
    pub fn judge(&self, what: &str, is_vacuous: bool, baseline: &Outcome, outcome: &Outcome) -> Option<String> {
        // An error that a flag of the base causes is a refusal of both.
        let is_refused = !baseline.succeeded && self.base.iter().any(|flag| baseline.printed.contains(flag));
        if outcome == baseline && !is_vacuous && !is_refused {
            return Some(format!("{} has no effect for {what}: {outcome:?}", self.name));
        }
        // An error that the flag causes names it, or is about what the flag asks for.
        let flags = self.base.iter().chain(&self.arguments).map(|flag| {
            flag.replace("--dest-compress-format", "--compression")
                .replace("--dest-compress-level", "--compression-level")
        });
        let mut flags = flags.filter(|flag| flag.starts_with("--"));
        let explains = flags.any(|flag| outcome.printed.contains(&flag))
            || ASKED.iter().any(|cause| outcome.printed.contains(cause));
        (baseline.succeeded && !outcome.succeeded && !explains)
            .then(|| format!("{} for {what} fails without naming the flag: {}", self.name, outcome.printed))
    }
}
