//! Records before an entry: those of PAX, and long names of GNU.

use std::{io, mem};

use super::{XATTR, Xattrs, invalid, parse_seconds};

/// Fields that do not fit into the header of an entry.
#[derive(Default)]
pub(super) struct Extended {
    /// The name of GNU, which takes precedence, and that of PAX.
    pub name: [Option<Vec<u8>>; 2],
    pub link: [Option<Vec<u8>>; 2],
    pub size: Option<u64>,
    pub uid: Option<u64>,
    pub gid: Option<u64>,
    pub xattrs: Xattrs,
    /// The text of the record.
    pub mtime: Option<Vec<u8>>,
}

impl Extended {
    /// Reads PAX records, `LEN key=value\n`, which replace earlier records.
    pub fn records(&mut self, mut rest: &[u8]) -> io::Result<()> {
        let ([name, _], [link, _]) = (mem::take(&mut self.name), mem::take(&mut self.link));
        *self = Self { name: [name, None], link: [link, None], ..Self::default() };
        while !rest.is_empty() {
            let (key, value, following) = record(rest).ok_or_else(|| invalid("a malformed PAX record"))?;
            self.record(key, value)?;
            rest = following;
        }
        Ok(())
    }

    /// Sets a field. An empty value removes an earlier record.
    fn record(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let text = || Some(value.to_vec()).filter(|value| !value.is_empty());
        let number = || {
            let digits = std::str::from_utf8(value).ok().filter(|digits| !digits.is_empty());
            let number = digits.map(str::parse).transpose();
            number.map_err(|_| invalid(&format!("the PAX record {} is not a number", key.escape_ascii())))
        };
        match key {
            b"path" => self.name[1] = text(),
            b"linkpath" => self.link[1] = text(),
            b"size" => self.size = number()?,
            b"uid" => self.uid = number()?,
            b"gid" => self.gid = number()?,
            b"mtime" => self.mtime = text(),
            b"atime" | b"ctime" => drop(text().map(|text| parse_seconds(&text)).transpose()?),
            key if key.starts_with(b"GNU.sparse.") => {
                return Err(invalid("a file with holes in PAX records; write the layer without them"));
            }
            key => {
                if let Some(name) = key.strip_prefix(XATTR) {
                    self.xattrs.insert(name.to_vec(), value.to_vec());
                }
            }
        }
        Ok(())
    }
}

/// Splits off key and value of the first record. Neither may contain NUL where Go refuses it.
fn record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().take(20).position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&records[..space]).ok()?.parse().ok()?;
    let (record, rest) = records.split_at_checked(length)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (&record[..equals], &record[equals + 1..]);
    let is_text = matches!(key, b"path" | b"linkpath" | b"uname" | b"gname");
    let is_allowed = !key.is_empty() && !key.contains(&0) && (!is_text || !value.contains(&0));
    is_allowed.then_some((key, value, rest))
}
