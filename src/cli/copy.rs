//! `strata copy IMAGE DEST`

use std::process::ExitCode;

use super::{
    copy_arguments::CopyArguments,
    fleet,
    outcome::{CopyReport, OutputMode, outcome_act},
    progress::Display,
    transfer::{Copied, CopySession},
};
use crate::files;
use anyhow::{Context, Result};

pub fn run(arguments: &CopyArguments) -> Result<ExitCode> {
    let is_fleet = arguments.fleet.fleet.is_some();
    let display = Display::choose(arguments.quiet || is_fleet, arguments.json);
    let transfer = CopySession::new(arguments, &display)?;
    let (Some(image), Some(destination)) = (&arguments.image, &arguments.destination) else {
        return fleet::run(&arguments.fleet, &transfer, OutputMode { quiet: arguments.quiet, json: arguments.json });
    };
    let copied = transfer.copy(image, destination);
    if copied.is_err() {
        display.abandon();
    }
    let Copied { outcome, notes } = copied?;
    let summary = display.finish(outcome_act(&outcome));
    if let Some(path) = &arguments.skopeo.digestfile {
        files::save(path, outcome.digest.to_string().as_bytes())
            .with_context(|| format!("writing {}", path.display()))?;
    }
    let report = CopyReport { outcome: &outcome, destination, cache_to: arguments.cache_to.as_deref(), notes: &notes };
    report.print(summary.as_deref(), OutputMode { quiet: arguments.quiet, json: arguments.json })?;
    Ok(ExitCode::SUCCESS)
}
