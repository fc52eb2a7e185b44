//! rpm's [database in SQLite](https://rpm.org/docs/4.19.x/manual/dbintegrity.html): a blob a package, which is its
//! [header](https://rpm-software-management.github.io/rpm/manual/format_header.html):
//!
//! ```text
//! entries: u32   bytes of data: u32   entries × (tag, type, offset, count: u32 each)   data
//! ```

use std::fs;

use super::Package;
use crate::files::Scratch;

const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const ARCH: u32 = 1022;
/// The key that signed a package is kept as a package of this name.
const KEYS: &str = "gpg-pubkey";

/// The packages of a database; none where it cannot be read.
pub fn sqlite(bytes: &[u8]) -> Vec<Package> {
    read(bytes).unwrap_or_default()
}

fn read(bytes: &[u8]) -> Option<Vec<Package>> {
    // SQLite wants a file.
    let scratch = Scratch::create().ok()?;
    let file = scratch.path().join("rpmdb.sqlite");
    fs::write(&file, bytes).ok()?;
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let database = rusqlite::Connection::open_with_flags(&file, flags).ok()?;
    let mut query = database.prepare("SELECT blob FROM Packages").ok()?;
    let blobs = query.query_map([], |row| row.get::<_, Vec<u8>>(0)).ok()?;
    Some(blobs.filter_map(|blob| package(&blob.ok()?)).filter(|package| package.name != KEYS).collect())
}

fn package(header: &[u8]) -> Option<Package> {
    let number = |at: usize| Some(u32::from_be_bytes(header.get(at..at.checked_add(4)?)?.try_into().ok()?));
    let entries = usize::try_from(number(0)?).ok()?;
    let data = entries.checked_mul(16)?.checked_add(8)?;
    // Nobody looks through four billion entries that are not there.
    header.get(..data)?;
    let find = |wanted: u32| {
        let at = (0..entries).map(|entry| 8 + entry * 16).find(|&at| number(at) == Some(wanted))?;
        data.checked_add(usize::try_from(number(at + 8)?).ok()?)
    };
    let text = |tag: u32| {
        let rest = header.get(find(tag)?..)?;
        let end = rest.iter().position(|&byte| byte == 0)?;
        Some(String::from_utf8_lossy(&rest[..end]).into_owned())
    };
    let version = format!("{}-{}", text(VERSION)?, text(RELEASE)?);
    let version = match find(EPOCH).and_then(number) {
        Some(epoch) if epoch > 0 => format!("{epoch}:{version}"),
        _ => version,
    };
    let architecture = text(ARCH).unwrap_or_else(|| "noarch".to_owned());
    Some(Package { kind: "rpm", name: text(NAME)?, version, architecture })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of strings, and of an epoch.
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
        for blob in [header(&glibc, Some(1)), header(&keys, None), b"broken".to_vec(), vec![0xff; 64]] {
            database.execute("INSERT INTO Packages (blob) VALUES (?1)", [blob]).unwrap();
        }
        drop(database);
        let expected = Package {
            kind: "rpm",
            name: "glibc".into(),
            version: "1:2.39-6.fc40".into(),
            architecture: "x86_64".into(),
        };
        assert_eq!(sqlite(&std::fs::read(file.path()).unwrap()), [expected]);
        assert!(sqlite(b"no database").is_empty());
    }
}
