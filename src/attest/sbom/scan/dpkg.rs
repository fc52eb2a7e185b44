//! dpkg's [status](https://manpages.debian.org/bookworm/dpkg-dev/deb-control.5.en.html): paragraphs of `Field: value`.

use std::io::{self, Read};

use super::{
    Packages,
    paragraphs::{self, Field},
};

/// States in which a package has no files in the file system
/// ([dpkg(1)](https://manpages.debian.org/bookworm/dpkg/dpkg.1.en.html#INFORMATION_ABOUT_PACKAGES)).
const WITHOUT_FILES: [&str; 2] = ["not-installed", "config-files"];

/// Returns the packages with files in a status file, including those that are not configured yet. Files of `status.d`,
/// of which distroless images have one for each package, have no status.
pub fn status(reader: &mut dyn Read) -> io::Result<Packages> {
    let mut packages = Packages::default();
    let names = ["Package", "Version", "Architecture", "Status"];
    paragraphs::read(reader, names, <[u8]>::eq_ignore_ascii_case, &mut |[name, version, architecture, status]| {
        match has_files(&status) {
            true => {
                packages.add("deb", name.value(), version.value(), architecture.value().as_deref().unwrap_or("all"))
            }
            false => Ok(()),
        }
    })?;
    Ok(packages)
}

fn has_files(status: &Field) -> bool {
    match status {
        Field::Value(status) => status.split_whitespace().last().is_none_or(|state| !WITHOUT_FILES.contains(&state)),
        Field::Missing | Field::Malformed => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Packages {
        status(&mut text.as_bytes()).unwrap()
    }

    #[test]
    fn every_state_with_files_counts() {
        for state in [
            "install ok installed",
            "install ok unpacked",
            "install reinstreq unpacked",
            "install ok half-configured",
            "install ok half-installed",
            "install ok triggers-pending",
            "install ok triggers-awaited",
            "deinstall ok installed",
            "hold ok installed",
        ] {
            let packages = read(&format!("Package: libc6\nStatus: {state}\nArchitecture: amd64\nVersion: 2.36-9\n"));
            assert_eq!(packages.to_lines(), ["deb libc6 2.36-9 amd64"], "{state}");
            assert!(packages.is_complete);
        }
        for state in ["deinstall ok config-files", "unknown ok not-installed", "purge ok not-installed"] {
            let packages = read(&format!("Package: gone\nStatus: {state}\nVersion: 1\n"));
            assert!(packages.list.is_empty() && packages.is_complete, "{state}");
        }
    }

    #[test]
    fn fields_are_found_in_any_case_and_order() {
        let text = "version: 1:2\nDescription: x\n Package: not this\nPACKAGE: a\n\nPackage: b\nVersion: 1\n";
        assert_eq!(read(text).to_lines(), ["deb a 1:2 all", "deb b 1 all"]);
    }

    #[test]
    fn malformed_packages_make_the_list_incomplete() {
        for text in [
            "Package: half\nStatus: install ok installed\n".to_owned(),
            "Version: 1\n".to_owned(),
            format!("Package: {}\nVersion: 1\n", "x".repeat(5000)),
            "Package: a b\nVersion: 1\n".to_owned(),
            "Package: a\u{1b}[2J\nVersion: 1\n".to_owned(),
            "Package: a@b\nVersion: 1\n".to_owned(),
        ] {
            let packages = read(&text);
            assert!(packages.list.is_empty() && !packages.is_complete, "{text:.60}");
        }
    }
}
