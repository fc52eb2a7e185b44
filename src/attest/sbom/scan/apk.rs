//! apk's [installed database](https://wiki.alpinelinux.org/wiki/Apk_spec#Installed_Database_V2): lines such as
//! `K:value`, with an empty line after each package.

use std::io::{self, Read};

use super::{Packages, paragraphs};

pub fn installed(reader: &mut dyn Read) -> io::Result<Packages> {
    let mut packages = Packages::default();
    let is_name = |one: &[u8], other: &[u8]| one == other;
    paragraphs::read(reader, ["P", "V", "A"], is_name, &mut |[name, version, architecture]| {
        packages.add("apk", name.value(), version.value(), architecture.value().as_deref().unwrap_or("noarch"))
    })?;
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_have_names_and_versions() {
        let text = b"C:Q1abc=\nP:musl\nV:1.2.5-r0\nA:x86_64\nF:lib\nR:ld-musl-x86_64.so.1\np:so:libc.so=1\n\n";
        let packages = installed(&mut text.as_slice()).unwrap();
        assert_eq!(packages.to_lines(), ["apk musl 1.2.5-r0 x86_64"]);
        assert!(packages.is_complete);
    }

    #[test]
    fn a_package_without_version_makes_the_list_incomplete() {
        let packages = installed(&mut b"P:musl\nV:1\n\nP:broken\n\n".as_slice()).unwrap();
        assert_eq!(packages.to_lines(), ["apk musl 1 noarch"]);
        assert!(!packages.is_complete);
    }
}
