//! The output of `strata explain --harden`.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Result;

use crate::{
    check::harden::{Check, Finding, Hardening},
    terminal::{self, line},
};

/// Prints the findings as JSON or as a table.
pub fn print(hardening: &Hardening, as_json: bool) -> Result<ExitCode> {
    let mut out = terminal::stdout();
    if as_json {
        serde_json::to_writer_pretty(out.exact(), hardening).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        table(&mut out, hardening)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn table(out: &mut impl Write, hardening: &Hardening) -> io::Result<()> {
    let Hardening { reference, digest, findings, passed, omitted } = hardening;
    let name = line(reference.as_deref().unwrap_or("(no name)"));
    let all = Check::all().count();
    writeln!(out, "{name}: {} findings, {} of {all} checks passed, {digest}", findings.len(), passed.len())?;
    for check in Check::all().filter(|check| !passed.contains(check)) {
        let items = [check.cis().map(|item| format!("CIS {item}")), check.dockle().map(str::to_owned)];
        let items: Vec<String> = items.into_iter().flatten().collect();
        let items = if items.is_empty() { String::new() } else { format!(" ({})", items.join(", ")) };
        writeln!(out, "\n{}{items}", check.name())?;
        for Finding { place, layer, what, fix, .. } in findings.iter().filter(|finding| finding.check == check) {
            let layer = layer.map_or_else(String::new, |number| format!(", in layer {number}"));
            writeln!(out, "  {}: {}{layer}\n    {}", line(place), line(what), line(fix))?;
        }
        if let Some(count) = omitted.get(&check) {
            writeln!(out, "  and {count} more")?;
        }
    }
    let passed: Vec<&str> = passed.iter().map(|check| check.name()).collect();
    if !passed.is_empty() {
        writeln!(out, "\npassed: {}", passed.join(", "))?;
    }
    Ok(())
}
