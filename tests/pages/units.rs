//! Sizes are in bytes, kB, MB and GB wherever people read them: options, messages, the documentation and that of Nix functions.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn files(below: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(below).unwrap_or_else(|error| panic!("{}: {error}", below.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// Whether a line has a binary unit as a word, or as the name of an option's value.
fn has_binary_unit(line: &str) -> bool {
    let mut words = line.split(|letter: char| !letter.is_ascii_alphabetic());
    let names = ["KIB", "MIB", "GIB"].map(|unit| format!("\"{unit}\""));
    words.any(|word| ["KiB", "MiB", "GiB", "TiB", "KB"].contains(&word)) || names.iter().any(|name| line.contains(name))
}

#[test]
fn sizes_have_decimal_units() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut check = |path: &Path, is_read: &dyn Fn(&str) -> bool| {
        let Ok(text) = fs::read_to_string(path) else { return };
        for (number, line) in text.lines().enumerate().filter(|(_, line)| is_read(line) && has_binary_unit(line)) {
            found.push(format!("{}:{}: {}", path.strip_prefix(root).unwrap().display(), number + 1, line.trim()));
        }
    };
    for path in files(&root.join("src")) {
        // Documentation of options is what `--help` prints; other comments name constants, and constants have binary names.
        let is_command = path.starts_with(root.join("src/cli"));
        check(&path, &|line| {
            let line = line.trim_start();
            if line.starts_with("//") { is_command && line.starts_with("///") } else { line.contains('"') }
        });
    }
    for directory in ["docs", "nix", "templates", "examples"] {
        // The tables of this page compare constants, which are powers of two.
        let is_table_of_constants = |path: &PathBuf| path.ends_with("docs/measurements.md");
        let pages = files(&root.join(directory)).into_iter().filter(|path| !is_table_of_constants(path));
        pages.for_each(|path| check(&path, &|_| true));
    }
    ["README.md", "SECURITY.md", "CHANGELOG.md"].iter().for_each(|page| check(&root.join(page), &|_| true));
    assert!(found.is_empty(), "write kB, MB or GB:\n{}", found.join("\n"));
    assert!(
        has_binary_unit("at most 2 MiB.") && has_binary_unit("value_name = \"MIB\"") && !has_binary_unit("4 * MIB kB")
    );
}
