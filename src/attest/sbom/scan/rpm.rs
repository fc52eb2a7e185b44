//! rpm's [database in SQLite](https://rpm.org/docs/4.19.x/manual/dbintegrity.html), which has a blob for each package:
//! its [header](https://rpm-software-management.github.io/rpm/manual/format_header.html):
//!
//! ```text
//! entries: u32   bytes of data: u32   entries × (tag, type, offset, count: u32 each)   data
//! ```

use std::{
    fs::File,
    io::{self, Read},
};

use super::{DatabasePackage, Packages};
use crate::{
    files::Scratch,
    sqlite::{self, DatabaseError},
};

const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const ARCH: u32 = 1022;
/// The maximum number of entries in a header. No package has as many.
const ENTRIES_LIMIT: usize = 65_536;
/// The name of entries that are not packages but keys of signed packages.
const KEYS: &str = "gpg-pubkey";

/// Returns the packages of a database. If a part cannot be read, the list is incomplete.
pub fn packages(reader: &mut dyn Read) -> io::Result<Packages> {
    // SQLite reads only files.
    let scratch = Scratch::create()?;
    let path = scratch.path().join("rpmdb.sqlite");
    let size = io::copy(reader, &mut File::create(&path)?)?;
    let mut packages = Packages::default();
    let mut check = Ok(());
    let read = read(&path, size, &mut |header| {
        match package(header) {
            Some(package) if package.name == KEYS => {}
            Some(package) => check = packages.push(package),
            None => packages.is_complete = false,
        }
        check.is_ok()
    });
    check?;
    packages.is_complete &= read.is_ok();
    Ok(packages)
}

/// Passes every header of a database to `each` until it returns false.
fn read(path: &std::path::Path, size: u64, each: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), DatabaseError> {
    let database = sqlite::open(path, &["Packages"])?;
    let mut query = database.prepare("select blob from Packages not indexed")?;
    let mut rows = query.query([])?;
    let mut remaining = size;
    while let Some(row) = rows.next()? {
        let header = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
        // The file contains every blob once, unless rows of a damaged file share pages.
        remaining =
            remaining.checked_sub(header.len() as u64).ok_or_else(|| DatabaseError::NotTable("Packages".to_owned()))?;
        if !each(header) {
            break;
        }
    }
    Ok(())
}

fn package(header: &[u8]) -> Option<DatabasePackage> {
    let number = |at: usize| Some(u32::from_be_bytes(header.get(at..at.checked_add(4)?)?.try_into().ok()?));
    let entries = usize::try_from(number(0)?).ok()?;
    if entries > ENTRIES_LIMIT {
        return None;
    }
    let data = entries * 16 + 8;
    header.get(..data)?;
    let find = |wanted: u32| {
        let at = (0..entries).map(|entry| 8 + entry * 16).find(|&at| number(at) == Some(wanted))?;
        data.checked_add(usize::try_from(number(at + 8)?).ok()?)
    };
    let text = |tag: u32| {
        let rest = header.get(find(tag)?..)?;
        let end = rest.iter().position(|&byte| byte == 0)?;
        String::from_utf8(rest[..end].to_vec()).ok()
    };
    let version = format!("{}-{}", text(VERSION)?, text(RELEASE)?);
    let version = match find(EPOCH).and_then(number) {
        Some(epoch) if epoch > 0 => format!("{epoch}:{version}"),
        _ => version,
    };
    let architecture = text(ARCH).unwrap_or_else(|| "noarch".to_owned());
    DatabasePackage::new("rpm", text(NAME)?, version, &architecture)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a header with strings and an epoch.
    fn header(fields: &[(u32, &str)], epoch: Option<u32>) -> Vec<u8> {
        let (mut index, mut data) = (Vec::new(), Vec::new());
        let mut entry = |tag: u32, kind: u32, at: usize| {
            for word in [tag, kind, u32::try_from(at).unwrap(), 1] {
                index.extend(word.to_be_bytes());
            }
        };
        for (tag, text) in fields {
            entry(*tag, 6, data.len());
            data.extend(text.as_bytes());
            data.push(0);
        }
        if let Some(epoch) = epoch {
            entry(EPOCH, 4, data.len());
            data.extend(epoch.to_be_bytes());
        }
        let mut header = Vec::new();
        header.extend(u32::try_from(index.len() / 16).unwrap().to_be_bytes());
        header.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
        [header, index, data].concat()
    }

    #[test]
    fn packages_are_read_from_sqlite() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let database = rusqlite::Connection::open(file.path()).unwrap();
        database.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)", []).unwrap();
        let glibc = [(NAME, "glibc"), (VERSION, "2.39"), (RELEASE, "6.fc40"), (ARCH, "x86_64")];
        let keys = [(NAME, KEYS), (VERSION, "1"), (RELEASE, "2")];
        let read = |blobs: &[Vec<u8>]| {
            for blob in blobs {
                database.execute("INSERT INTO Packages (blob) VALUES (?1)", [blob]).unwrap();
            }
            packages(&mut File::open(file.path()).unwrap()).unwrap()
        };
        let found = read(&[header(&glibc, Some(1)), header(&keys, None)]);
        assert_eq!(found.to_lines(), ["rpm glibc 1:2.39-6.fc40 x86_64"]);
        assert!(found.is_complete);
        let found = read(&[b"broken".to_vec(), vec![0xff; 64]]);
        assert_eq!(found.to_lines(), ["rpm glibc 1:2.39-6.fc40 x86_64"]);
        assert!(!found.is_complete);
        assert!(!packages(&mut b"no database".as_slice()).unwrap().is_complete);
    }
}
