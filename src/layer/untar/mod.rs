//! Tars of strangers, read as Go's `archive/tar` reads them, which is what docker and containerd unpack with.
//!
//! ```text
//! x "30 mtime=…\n22 SCHILY.xattr.user.a=…\n"   for the next entry: name, link, size, owner, extended attributes
//! L, K                                          GNU's long name and long link, for the next entry
//! g                                             for all that follow: ignored, as Go does
//! header, data, up to 512 bytes
//! two blocks of zeros, or the end
//! ```
//!
//! The `tar` crate reads the fields of a header. Its own reader splits PAX records at line ends, which file capabilities
//! may contain, so that a layer could be one thing here and another at runtime; and it keeps records of any size.

mod extended;

use std::{
    collections::BTreeMap,
    io::{self, Read, Seek, SeekFrom},
};

use tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

use extended::Extended;

use crate::budget::{self, Budget, NAME_OVERHEAD};

const BLOCK: u64 = 512;

/// What stands before the name of an extended attribute in a PAX record.
pub(super) const XATTR: &[u8] = b"SCHILY.xattr.";

/// Extended attributes by name: `security.capability`, `user.…`.
pub type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// What a tar says of one of its files.
#[derive(Clone, Debug)]
pub struct TarEntry {
    /// Its path, as it stands there.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: EntryType,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u64,
    /// Numeric group.
    pub gid: u64,
    /// Bytes of data that follow in the tar.
    pub size: u64,
    /// Where a link leads.
    pub link: Vec<u8>,
    /// Major and minor number of a device.
    pub device: (u64, u64),
    /// Extended attributes.
    pub xattrs: Xattrs,
    /// Modification time in seconds since the epoch, rounded as Go's `archive/tar` rounds it; none before 1970.
    pub mtime: Option<u64>,
    /// The first data byte's place in the tar.
    pub position: u64,
    /// Of a file with holes.
    pub holes: Option<Sparse>,
}

/// A file with holes.
#[derive(Clone, Debug)]
pub struct Sparse {
    /// Bytes of the whole file.
    pub size: u64,
    /// Where the data goes, in order: offset and length in bytes.
    pub parts: Vec<(u64, u64)>,
}

/// Reads a tar's entries one after the other.
///
/// As a [`Read`] it gives the data of the entry that [`next_entry`](Self::next_entry) gave last.
pub struct TarReader<R> {
    inner: R,
    skip: fn(&mut R, u64) -> io::Result<()>,
    position: u64,
    /// Data and padding that are left of the last entry.
    data: u64,
    padding: u64,
    /// What all extended attributes may still take.
    xattrs: Budget,
}

impl<R: Read> TarReader<R> {
    /// A reader of a stream.
    pub fn new(inner: R) -> Self {
        let skip = |inner: &mut R, count| match io::copy(&mut inner.take(count), &mut io::sink())? {
            skipped if skipped == count => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        };
        Self { inner, skip, position: 0, data: 0, padding: 0, xattrs: Budget::new(&budget::XATTRS) }
    }

    /// A reader of a file, which skips data without reading it.
    pub fn seeking(inner: R) -> Self
    where
        R: Seek,
    {
        let skip = |inner: &mut R, count| {
            let count = i64::try_from(count).map_err(|_| invalid("an entry is bigger than any file"))?;
            if count == 0 {
                return Ok(());
            }
            // A seek leads beyond the end of a file that was cut off; its last byte is not there.
            inner.seek(SeekFrom::Current(count - 1))?;
            inner.read_exact(&mut [0]).map_err(|error| error.kind().into())
        };
        Self { skip, ..Self::new(inner) }
    }

    /// The reader of the tar, after what was read of it.
    pub fn inner(&mut self) -> &mut R {
        &mut self.inner
    }

    /// The next entry, if there is one more.
    ///
    /// # Errors
    ///
    /// When it is no tar, or something in it is beyond any bound.
    pub fn next_entry(&mut self) -> io::Result<Option<TarEntry>> {
        let mut extended = Extended::default();
        loop {
            let Some(header) = self.header()? else { return Ok(None) };
            let size = number(&header.as_old().size)?;
            match header.entry_type() {
                EntryType::XHeader => extended.records(&self.extension(size)?)?,
                EntryType::GNULongName => extended.name[0] = Some(text(&self.extension(size)?).to_vec()),
                EntryType::GNULongLink => extended.link[0] = Some(text(&self.extension(size)?).to_vec()),
                EntryType::XGlobalHeader => self.begin(size)?,
                _ => return self.entry(&header, size, extended).map(Some),
            }
        }
    }

    fn entry(&mut self, header: &Header, size: u64, extended: Extended) -> io::Result<TarEntry> {
        let said = |[gnu, pax]: [Option<Vec<u8>>; 2]| gnu.or(pax);
        let name = said(extended.name).unwrap_or_else(|| header.path_bytes().into_owned());
        let link = said(extended.link).unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned());
        let kind = match header.entry_type() {
            // Tars from before directories had a type.
            EntryType::Regular if header.as_old().linkflag == [0] && name.ends_with(b"/") => EntryType::Directory,
            kind => kind,
        };
        let size = match kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => extended.size.unwrap_or(size),
            EntryType::Link | EntryType::Symlink | EntryType::Directory => 0,
            EntryType::Char | EntryType::Block | EntryType::Fifo => 0,
            _ => extended.size.unwrap_or(size),
        };
        let device = match kind {
            EntryType::Char | EntryType::Block if &header.as_bytes()[257..262] == b"ustar" => {
                let device = (number(&header.as_bytes()[329..337])?, number(&header.as_bytes()[337..345])?);
                // Linux has 12 and 20 bits for them (include/linux/kdev_t.h); bigger ones would be written as 0.
                if device.0 >> 12 != 0 || device.1 >> 20 != 0 {
                    return Err(invalid("a device whose number no kernel has"));
                }
                device
            }
            _ => (0, 0),
        };
        let holes = if kind == EntryType::GNUSparse { Some(self.sparse(header, size)?) } else { None };
        let bytes = extended.xattrs.iter().map(|(name, value)| name.len() + value.len() + NAME_OVERHEAD).sum::<usize>();
        self.xattrs.take_bytes(bytes as u64)?;
        self.begin(size)?;
        Ok(TarEntry {
            name,
            kind,
            mode: number(&header.as_old().mode)? as u32 & 0o7777,
            uid: extended.uid.map_or_else(|| number(&header.as_old().uid), Ok)?,
            gid: extended.gid.map_or_else(|| number(&header.as_old().gid), Ok)?,
            size,
            link,
            device,
            xattrs: extended.xattrs,
            mtime: match extended.mtime {
                Some(text) => parse_seconds(&text),
                None => number(&header.as_old().mtime).ok().filter(|time| time >> 62 == 0),
            },
            position: self.position,
            holes,
        })
    }

    /// The next header that is none of zeros.
    fn header(&mut self) -> io::Result<Option<Header>> {
        let data = std::mem::take(&mut self.data);
        if data > 0 {
            (self.skip)(&mut self.inner, data)?;
            self.position += data;
        }
        // A tar may end in the padding of its last entry: `umoci insert` does not close its writer, and Go's reader takes such an
        // end for the end of the tar (archive/tar/reader.go, `next`: tryReadFull of the padding).
        let padding = std::mem::take(&mut self.padding);
        let skipped = io::copy(&mut self.inner.by_ref().take(padding), &mut io::sink())?;
        self.position += skipped;
        if skipped < padding {
            return Ok(None);
        }
        let mut header = Header::new_old();
        if !self.block(header.as_mut_bytes())? {
            return Ok(None);
        }
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            let mut second = [0; BLOCK as usize];
            return match self.block(&mut second)? && second != [0; BLOCK as usize] {
                true => Err(invalid("a block of zeros between its entries")),
                false => Ok(None),
            };
        }
        let bytes = header.as_bytes();
        let sum = bytes[..148].iter().chain(&bytes[156..]).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
        if number(&header.as_old().cksum)? != u64::from(sum) {
            return Err(invalid("a header whose checksum is wrong"));
        }
        Ok(Some(header))
    }

    /// Reads a block; whether there is one.
    fn block(&mut self, block: &mut [u8; BLOCK as usize]) -> io::Result<bool> {
        let mut read = 0;
        while read < block.len() {
            match self.inner.read(&mut block[read..]) {
                Ok(0) if read == 0 => return Ok(false),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.position += BLOCK;
        Ok(true)
    }

    fn begin(&mut self, size: u64) -> io::Result<()> {
        let end = size.checked_next_multiple_of(BLOCK).and_then(|whole| self.position.checked_add(whole));
        if end.is_none_or(|end| i64::try_from(end).is_err()) {
            return Err(invalid("an entry is bigger than any file"));
        }
        (self.data, self.padding) = (size, size.next_multiple_of(BLOCK) - size);
        Ok(())
    }

    /// All data of an entry that says something of the next one.
    fn extension(&mut self, size: u64) -> io::Result<Vec<u8>> {
        Budget::new(&budget::EXTENSION).take_bytes(size)?;
        self.begin(size)?;
        let mut data = Vec::new();
        self.take(size).read_to_end(&mut data)?;
        Ok(data)
    }

    /// Which parts of a file with holes are there; `size` bytes together.
    fn sparse(&mut self, header: &Header, size: u64) -> io::Result<Sparse> {
        let gnu = header.as_gnu().ok_or_else(|| invalid("a file with holes that is not GNU's"))?;
        let whole = gnu.real_size()?;
        let (mut parts, mut budget) = (Vec::new(), Budget::new(&budget::SPARSE_FILE));
        let mut add = |described: &[GnuSparseHeader]| -> io::Result<()> {
            for part in described.iter().filter(|part| !part.is_empty()) {
                let (offset, length) = (part.offset()?, part.length()?);
                let end = offset.checked_add(length).filter(|end| *end <= whole);
                let before = parts.last().map_or(0, |(offset, length)| offset + length);
                if end.is_none() || offset < before {
                    return Err(invalid("a file with holes whose parts overlap"));
                }
                budget.take_parts(1)?;
                parts.push((offset, length));
            }
            Ok(())
        };
        add(&gnu.sparse)?;
        let mut more = gnu.is_extended();
        while more {
            let mut extended = GnuExtSparseHeader::new();
            if !self.block(extended.as_mut_bytes())? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            add(&extended.sparse)?;
            more = extended.is_extended();
        }
        if parts.iter().map(|(_, length)| length).sum::<u64>() != size {
            return Err(invalid("a file with holes whose parts are not its size"));
        }
        Ok(Sparse { size: whole, parts })
    }
}

impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.data).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.inner.read(&mut buffer[..most])?;
        if read == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.data -= read as u64;
        self.position += read as u64;
        Ok(read)
    }
}

/// A header's number: octal, or GNU's base 256. An empty field is 0, as for Go.
fn number(field: &[u8]) -> io::Result<u64> {
    let bad = || invalid("a header with a number that is none");
    if let [first @ 0x80..=0xff, rest @ ..] = field {
        let add = |sum: u64, byte: &u8| sum.checked_mul(256).map(|sum| sum + u64::from(*byte));
        return rest.iter().try_fold(u64::from(first & 0x7f), add).ok_or_else(bad);
    }
    let digits = std::str::from_utf8(field).map_err(|_| bad())?.trim_matches([' ', '\0']);
    // What stands behind a NUL is left over from something longer.
    let digits = digits.split('\0').next().unwrap_or_default();
    let digit = |sum: u64, digit: u8| match digit {
        b'0'..=b'7' => sum.checked_mul(8).map(|sum| sum + u64::from(digit - b'0')),
        _ => None,
    };
    digits.bytes().try_fold(0, digit).ok_or_else(bad)
}

/// Seconds with a fraction, `1350244992.023`, to the nearest second.
fn parse_seconds(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_upper_half = fraction.as_bytes().first().is_some_and(|digit| (b'5'..=b'9').contains(digit));
    seconds.parse::<u64>().ok()?.checked_add(is_upper_half.into())
}

/// Up to the first NUL.
fn text(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extended_attributes_of_a_tar_are_bounded() {
        let value = vec![b'a'; 900_000];
        let mut tar = tar::Builder::new(Vec::new());
        for at in 0..80 {
            tar.append_pax_extensions([("SCHILY.xattr.user.a", value.as_slice())]).unwrap();
            let mut header = Header::new_gnu();
            header.set_size(0);
            header.set_mode(0o644);
            tar.append_data(&mut header, format!("file-{at}"), io::empty()).unwrap();
        }
        let bytes = tar.into_inner().unwrap();
        let mut reader = TarReader::new(bytes.as_slice());
        let mut read = 0;
        let error = loop {
            match reader.next_entry() {
                Ok(entry) => assert!(entry.is_some_and(|entry| entry.xattrs.len() == 1)),
                Err(error) => break error,
            }
            read += 1;
        };
        assert!(read > 60 && error.to_string().contains("extended attributes has more than"), "{read}: {error}");
    }
    #[test]
    fn a_tar_may_end_in_the_padding_of_its_last_entry() {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = Header::new_gnu();
        header.set_size(5);
        tar.append_data(&mut header, "file", &b"hello"[..]).unwrap();
        let bytes = tar.into_inner().unwrap();
        let read = |length: usize| {
            let mut stream = TarReader::new(&bytes[..length]);
            let mut file = TarReader::seeking(io::Cursor::new(&bytes[..length]));
            [stream.next_entry().and_then(|_| stream.next_entry()), file.next_entry().and_then(|_| file.next_entry())]
        };
        for length in [517, 700, 1023, 1024, 1536, 2048] {
            assert!(read(length).iter().all(|next| matches!(next, Ok(None))), "{length}");
        }
        for length in [100, 513, 516, 1300] {
            assert!(read(length).iter().all(Result::is_err), "{length}");
        }
    }
}
