//! apk's [installed database](https://wiki.alpinelinux.org/wiki/Apk_spec#Installed_Database_V2): `K:value` lines, an
//! empty one after each package.

use super::Package;

pub fn installed(text: &[u8]) -> Vec<Package> {
    let text = String::from_utf8_lossy(text);
    let package = |paragraph: &str| {
        let field = |key: &str| paragraph.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        Some(Package {
            kind: "apk",
            name: field("P")?.to_owned(),
            version: field("V")?.to_owned(),
            architecture: field("A").unwrap_or("noarch").to_owned(),
        })
    };
    text.split("\n\n").filter_map(package).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_have_names_and_versions() {
        let text = b"C:Q1abc=\nP:musl\nV:1.2.5-r0\nA:x86_64\nF:lib\nR:ld-musl-x86_64.so.1\n\nP:broken\n\n";
        let expected =
            Package { kind: "apk", name: "musl".into(), version: "1.2.5-r0".into(), architecture: "x86_64".into() };
        assert_eq!(installed(text), [expected]);
    }
}
