//! `strata verify IMAGE`

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Context, Result};
use strata::{source::Location, verify};

use super::Access;

pub fn run(location: &Location, access: &Access) -> Result<ExitCode> {
    let opened = location.open(&access.source()?)?;
    let report = verify::verify(&opened).with_context(|| format!("verifying {location}"))?;
    for problem in &report.problems {
        eprintln!("strata: {problem}");
    }
    writeln!(io::stdout(), "{location}: {report}")?;
    Ok(if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
