//! `strata verify IMAGE`

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, Result};
use strata::{source, verify};

pub fn run(path: &Path) -> Result<ExitCode> {
    let opened = source::open(path, true)?;
    let report = verify::verify(&opened).with_context(|| format!("verifying {}", path.display()))?;
    for problem in &report.problems {
        eprintln!("strata: {problem}");
    }
    writeln!(io::stdout(), "{}: {report}", path.display())?;
    Ok(if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
