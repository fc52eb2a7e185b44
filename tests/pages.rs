//! README.md and docs/ list every transport and every command.

use std::{fs, path::Path};

use strata::internals::transport::table::TRANSPORTS;

#[path = "it/commands.rs"]
mod commands;
use commands::commands;

#[test]
fn the_manual_has_every_command() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/commands.md")).unwrap();
    for command in commands() {
        assert!(page.contains(&format!("\n## strata {command}\n")), "docs/commands.md lacks {command}");
    }
}

/// The README's table, made from the table of transports.
fn table() -> String {
    let mut table = "| kind | source | destination |\n|---|---|---|\n| image.json: a recipe | `FILE` | |\n".to_owned();
    for transport in TRANSPORTS {
        // A bar inside a cell would end it.
        let read = transport.read.syntax.replace('|', "\\|");
        let index = if transport.write.holds.index { ", also an index" } else { "" };
        table.push_str(&format!("| {} | `{read}` | `{}`{index} |\n", transport.about, transport.write.syntax));
    }
    table
}

#[test]
fn the_readme_lists_every_source_and_sink() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(path).unwrap();
    assert!(readme.contains(&table()), "README.md should have this table:\n\n{}", table());
}
