//! README.md and docs/: they list every transport and every command, and keep to the rules of CONTRIBUTING.md.

use std::{fs, path::Path};

use strata::internals::transport::table::TRANSPORTS;

#[path = "it/commands.rs"]
mod commands;
use commands::commands;
#[path = "pages/units.rs"]
mod units;
#[path = "it/words.rs"]
mod words;
use words::unwanted;

#[test]
fn the_manual_has_every_command() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/commands.md")).unwrap();
    for command in commands() {
        assert!(page.contains(&format!("\n## strata {command}\n")), "docs/commands.md lacks {command}");
    }
}

/// Returns the rows of the table in SECURITY.md that lists the guarantees of each command and their tests.
fn threats() -> Vec<Vec<String>> {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/SECURITY.md")).unwrap();
    let rows = page.split("| command | untrusted input |").nth(1).unwrap().lines().skip(2);
    let cells = |row: &str| row.trim_matches('|').split(" | ").map(str::to_owned).collect();
    rows.take_while(|row| row.starts_with('|')).map(cells).collect()
}

#[test]
fn the_threat_model_has_every_command_and_names_tests_that_exist() {
    let (rows, root) = (threats(), Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(rows.len() > 15 && rows.iter().all(|row| row.len() == 4), "{rows:#?}");
    for command in commands() {
        let starts = [format!("`{command}`"), format!("`{command} ")];
        let has_row = rows.iter().any(|row| starts.iter().any(|start| row[0].contains(start)));
        assert!(has_row, "SECURITY.md has no row for {command}");
    }
    let named: Vec<&str> = rows.iter().flat_map(|row| row[3].split('`').skip(1).step_by(2)).collect();
    for test in &named {
        assert!(root.join(test).exists(), "SECURITY.md names {test}, which does not exist");
    }
    for row in &rows {
        assert!(row[3].contains('`'), "no test holds: {row:?}");
    }
    // Modules with tests are named; the others help them.
    for directory in ["tests/attacks", "tests/attacks/flags"] {
        let files = fs::read_dir(root.join(directory)).unwrap().map(|entry| entry.unwrap().path());
        for path in files.filter(|path| path.is_file()) {
            let name = format!("{directory}/{}", path.file_name().unwrap().to_str().unwrap());
            let has_tests = fs::read_to_string(&path).unwrap().contains("#[test]");
            assert!(!has_tests || named.contains(&name.as_str()), "SECURITY.md does not name {name}");
        }
    }
}

/// The README's table, made from the table of transports.
fn table() -> String {
    let mut table = "| kind | source | destination |\n|---|---|---|\n| image.json: a recipe | `FILE` | |\n".to_owned();
    for transport in TRANSPORTS {
        // A bar inside a cell would end it.
        let read =
            transport.read.iter().map(|read| format!("`{}`", read.syntax.replace('|', "\\|"))).collect::<String>();
        let index = if transport.write.holds.index { ", also an index" } else { "" };
        table.push_str(&format!("| {} | {read} | `{}`{index} |\n", transport.about, transport.write.syntax));
    }
    table
}

#[test]
fn the_readme_lists_every_source_and_sink() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(path).unwrap();
    assert!(readme.contains(&table()), "README.md should have this table:\n\n{}", table());
}

/// The pages of docs/, by name, and README.md.
fn pages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names: Vec<String> = fs::read_dir(root.join("docs"))
        .unwrap()
        .map(|entry| format!("docs/{}", entry.unwrap().file_name().into_string().unwrap()))
        .filter(|name| name.ends_with(".md"))
        .collect();
    names.push("README.md".to_owned());
    names.sort();
    assert!(names.len() > 20, "{names:?}");
    names.into_iter().map(|name| (name.clone(), fs::read_to_string(root.join(&name)).unwrap())).collect()
}

/// A page without its code: blocks, quotes, addresses and comments.
fn prose(page: &str) -> String {
    let blocks = page.split("\n```").step_by(2).collect::<Vec<_>>().join("\n");
    let mut text = String::new();
    for (at, part) in blocks.split('`').enumerate() {
        text.push_str(if at % 2 == 0 { part } else { "code" });
    }
    // Addresses of links name other projects' pages.
    let mut parts = text.split("](");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + " " + part.split_once(')').map_or(part, |(_, rest)| rest))
}

#[test]
fn pages_use_the_vocabulary() {
    let mut wrong = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let others = ["CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"];
    let others = others.map(|name| (name.to_owned(), fs::read_to_string(root.join(name)).unwrap()));
    for (name, text) in pages().into_iter().chain(others) {
        wrong.extend(unwanted(&prose(&text)).into_iter().map(|word| format!("{name}: {word}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Pages are read in ten minutes; the generated reference and the contributors' measurements are looked up.
#[test]
fn pages_have_a_limit_of_lines() {
    for (name, text) in pages() {
        let limit = match name.as_str() {
            "README.md" => 120,
            "docs/reference.md" => continue,
            "docs/measurements.md" => 320,
            // It has a section for each command.
            "docs/commands.md" => 360,
            _ => 220,
        };
        let lines = text.lines().count();
        assert!(lines <= limit, "{name} has {lines} lines, more than {limit}; split or shorten it");
    }
}

/// A page about a job begins with the command that does it.
#[test]
fn pages_begin_with_a_command() {
    let without = [
        "README",
        "architecture",
        "benchmarks",
        "extending",
        "limits",
        "measurements",
        "reference",
        "releasing",
        "starts",
        "troubleshooting",
    ];
    for (name, text) in pages() {
        let stem = name.trim_start_matches("docs/").trim_end_matches(".md");
        if without.contains(&stem) {
            continue;
        }
        let begin: Vec<&str> = text.lines().take(3).collect();
        assert!(begin[0].starts_with("# ") && begin[1].is_empty() && begin[2].starts_with("```"), "{name}: {begin:?}");
    }
}

/// The tags of an SVG document close in order; the error is what is wrong.
fn well_formed(text: &str) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        if before.contains('&')
            && !["&amp;", "&lt;", "&gt;", "&quot;", "&#x27;"].iter().any(|entity| before.contains(entity))
        {
            return Err(format!("an unescaped & in {before:?}"));
        }
        let (tag, next) = after.split_once('>').ok_or_else(|| format!("a tag that does not end: {after:?}"))?;
        rest = next;
        if tag.matches('"').count() % 2 == 1 {
            return Err(format!("an odd number of quotes in <{tag}>"));
        }
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap_or_default();
        if tag.starts_with('/') {
            let opened = open.pop();
            if opened != Some(name) {
                return Err(format!("</{name}> closes {opened:?}"));
            }
        } else if !tag.ends_with('/') {
            open.push(name);
        }
    }
    if open.is_empty() { Ok(()) } else { Err(format!("not closed: {open:?}")) }
}

#[test]
fn pictures_are_well_formed_readable_in_dark_mode_and_shown() {
    for broken in ["<svg>", "<svg></g>", "<svg><a b=\"c/></svg>", "<svg>a & b</svg>", "<svg"] {
        assert!(well_formed(broken).is_err(), "{broken}");
    }
    let pages = pages();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pictures");
    let mut count = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let (name, text) = (path.file_name().unwrap().to_str().unwrap(), fs::read_to_string(&path).unwrap());
        well_formed(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(text.starts_with("<svg xmlns=") && text.contains("<title>"), "{name} has no title");
        assert!(text.contains("prefers-color-scheme: dark"), "{name} is not readable in dark mode");
        assert!(text.len() < 6000 && !text.contains("href"), "{name} is large or refers to other files");
        assert!(unwanted(&text).is_empty(), "{name}: {:?}", unwanted(&text));
        assert!(pages.iter().any(|(_, page)| page.contains(&format!("](pictures/{name})"))), "no page shows {name}");
        count += 1;
    }
    assert_eq!(count, 4);
}
