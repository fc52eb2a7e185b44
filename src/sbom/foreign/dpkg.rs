//! dpkg's [status](https://manpages.debian.org/bookworm/dpkg-dev/deb-control.5.en.html): paragraphs of `Field: value`.

use super::Package;

/// The packages of a whole status file that are installed.
pub fn status(text: &[u8]) -> Vec<Package> {
    let text = String::from_utf8_lossy(text);
    let installed = |paragraph: &&str| {
        field(paragraph, "Status").is_none_or(|status| status.split_whitespace().last() == Some("installed"))
    };
    text.split("\n\n").filter(installed).filter_map(package).collect()
}

/// Those of a file of `status.d`, as distroless images have one a package: without a status.
pub fn paragraphs(text: &[u8]) -> Vec<Package> {
    String::from_utf8_lossy(text).split("\n\n").filter_map(package).collect()
}

fn package(paragraph: &str) -> Option<Package> {
    Some(Package {
        kind: "deb",
        name: field(paragraph, "Package")?.to_owned(),
        version: field(paragraph, "Version")?.to_owned(),
        architecture: field(paragraph, "Architecture").unwrap_or("all").to_owned(),
    })
}

fn field<'a>(paragraph: &'a str, name: &str) -> Option<&'a str> {
    let value = paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?.trim();
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_removed_is_not_installed() {
        let text = b"Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9\nDescription: x\n y\n\n\
            Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: half\nStatus: install ok installed\n\n";
        let expected =
            Package { kind: "deb", name: "libc6".into(), version: "2.36-9".into(), architecture: "amd64".into() };
        assert_eq!(status(text), [expected]);
    }
}
