//! What `strata copy` reads and writes, and that the README says so.

use std::{collections::BTreeSet, fs, path::Path};

use strata::internals::transport::{self, Holds, destination, location};

/// The README's table, made from the lists that `copy` and its help know.
fn table() -> String {
    let mut table = "| kind | source | destination |\n|---|---|---|\n| image.json: a recipe | `FILE` | |\n".to_owned();
    let mut names = BTreeSet::new();
    let sources = location::READ_SCHEMES.iter().map(|scheme| (scheme.name, scheme.about));
    for (name, about) in sources.chain(destination::WRITE_SCHEMES.iter().map(|scheme| (scheme.name, scheme.about))) {
        if !names.insert(name) {
            continue;
        }
        let read = location::READ_SCHEMES.iter().find(|scheme| scheme.name == name);
        let written = destination::WRITE_SCHEMES.iter().find(|scheme| scheme.name == name);
        let read = read.map_or_else(String::new, |scheme| format!("`{}` ", scheme.syntax));
        let written = written.map_or_else(String::new, |scheme| match scheme.holds {
            Holds::Image => format!("`{}` ", scheme.syntax),
            Holds::Index => format!("`{}`, also an index ", scheme.syntax),
        });
        // A bar inside a cell would end it.
        table.push_str(&format!("| {about} | {}| {written}|\n", read.replace('|', "\\|")));
    }
    table
}

#[test]
fn the_readme_lists_every_source_and_sink() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(path).unwrap();
    assert!(readme.contains(&table()), "README.md should have this table:\n\n{}", table());
}

#[test]
fn every_scheme_is_read_by_its_name() {
    for scheme in destination::WRITE_SCHEMES {
        assert!(scheme.syntax.starts_with(&format!("{}:", scheme.name)), "{}", scheme.syntax);
    }
    let error = "nothing:here".parse::<transport::Destination>().unwrap_err();
    for scheme in destination::WRITE_SCHEMES {
        assert!(error.contains(scheme.syntax), "{error}");
    }
    assert!("oci:dir:tag".parse::<transport::Destination>().is_ok());
    assert!("docker://localhost/name@sha256:0".parse::<transport::Destination>().is_err());
}
