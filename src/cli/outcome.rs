//! The output of a copy: the digest or name on stdout, and notes, or with `--json` an event, on stderr.

use std::io::Write;

use crate::{
    terminal::{self, line},
    transport::{Destination, Details, Loaded, Outcome, PushDetails, progress::EvidenceCounts},
};
use anyhow::Result;
use serde_json::{Value, json};

/// The form of the output.
#[derive(Clone, Copy, Debug)]
pub struct OutputMode {
    pub quiet: bool,
    pub json: bool,
}

/// One finished copy.
pub struct CopyReport<'a> {
    pub outcome: &'a Outcome,
    pub destination: &'a Destination,
    /// The tag of `--cache-to`.
    pub cache_to: Option<&'a str>,
    /// The attachments, one per line.
    pub notes: &'a [String],
}

/// Returns a word for the way in which the layers were transferred.
pub fn outcome_act(outcome: &Outcome) -> &'static str {
    match outcome.details {
        Details::Pushed(_) => "pushed",
        Details::Written | Details::Cached { .. } | Details::Loaded(_) => "copied",
    }
}

impl CopyReport<'_> {
    /// Prints the report. `summary` is the last line of the progress display.
    pub fn print(&self, summary: Option<&str>, output: OutputMode) -> Result<()> {
        if output.json {
            self.events().iter().try_for_each(|event| writeln!(terminal::stderr().exact(), "{event}"))?;
        } else if !output.quiet {
            let lines = self.lines();
            let mut lines = lines.iter().map(String::as_str).chain(summary);
            lines.try_for_each(|line| writeln!(terminal::stderr(), "{line}"))?;
        }
        let Outcome { digest, reference, on_stdout, .. } = self.outcome;
        match reference {
            _ if *on_stdout => {}
            Some(reference) => writeln!(terminal::stdout(), "{}", line(reference))?,
            None => writeln!(terminal::stdout(), "{digest}")?,
        }
        Ok(())
    }

    /// Returns the events for programs: one object, or one for each node of a cluster.
    pub fn events(&self) -> Vec<Value> {
        let Outcome { digest, sent, details, .. } = self.outcome;
        match details {
            Details::Written => {
                vec![json!({ "event": "copied", "destination": self.destination.to_string(), "digest": digest })]
            }
            Details::Cached { present, removed } => {
                vec![json!({ "event": "copied", "destination": self.destination.to_string(), "digest": digest,
                    "layers": sent.blobs, "bytes": sent.bytes, "layersPresent": present, "layersRemoved": removed })]
            }
            Details::Pushed(push) => {
                let EvidenceCounts { trusted, verified, made } = push.evidence;
                vec![json!({ "event": "pushed", "reference": push.reference, "digest": digest,
                    "blobs": sent.blobs, "bytes": sent.bytes, "attestationsLeft": push.attestations_left,
                    "recorded": push.recorded, "trusted": trusted, "verified": verified, "made": made,
                    "warnings": push.warnings })]
            }
            Details::Loaded(nodes) => {
                let event = |node: &Loaded| {
                    json!({ "event": "loaded", "reference": node.reference, "id": node.id, "bytes": node.bytes,
                        "layers": node.layers, "layersPresent": node.present, "repaired": node.repaired })
                };
                nodes.iter().map(event).collect()
            }
        }
    }

    /// Returns the lines for a terminal or a log.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = match &self.outcome.details {
            Details::Written => Vec::new(),
            Details::Cached { present, removed } => vec![cache_line(self.outcome, *present, *removed)],
            Details::Pushed(push) => self.push_lines(push),
            Details::Loaded(nodes) => nodes.iter().flat_map(load_lines).collect(),
        };
        lines.extend(self.notes.iter().cloned());
        lines
    }

    fn push_lines(&self, push: &PushDetails) -> Vec<String> {
        let mut lines = push.warnings.clone();
        if push.unrecorded > 0 {
            let repository = push.reference.rsplit_once(':').map_or(push.reference.as_str(), |(name, _)| name);
            lines.push(format!(
                "{} layers are not recorded in {}: the registry does not mount blobs of {repository} there; give --cache-to a tag of {repository} itself",
                push.unrecorded,
                self.cache_to.unwrap_or_default(),
            ));
        }
        if let Some(before) = push.digest_before {
            let skipped_note = match push.attestations_left {
                0 => String::new(),
                skipped_note => format!(" and {skipped_note} attestations for the uncompressed images were not copied"),
            };
            lines.push(format!(
                "layers were compressed: the digest was {before}{skipped_note}; --preserve-digests keeps it"
            ));
        }
        lines
    }
}

fn cache_line(outcome: &Outcome, present: usize, removed: usize) -> String {
    let Outcome { sent, .. } = outcome;
    let removed = match removed {
        0 => String::new(),
        removed => format!(", {removed} of other images removed"),
    };
    format!(
        "{present} layers were already present, {} written ({}){removed}",
        sent.blobs,
        crate::report::bytes(sent.bytes)
    )
}

fn load_lines(node: &Loaded) -> Vec<String> {
    let Loaded { reference, layers, present, repaired, .. } = node;
    let why = repaired.as_ref().map(|why| format!("sending layers that seemed to be present: {why}"));
    let count = format!(
        "{reference}: {present} of {layers} layers were already present, {} sent",
        crate::report::bytes(node.bytes)
    );
    why.into_iter().chain([count]).collect()
}
