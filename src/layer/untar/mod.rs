//! Untrusted tars, read as by Go's `archive/tar`, which docker and containerd use to unpack layers.
//!
//! ```text
//! x "30 mtime=…\n22 SCHILY.xattr.user.a=…\n"   for the next entry: name, link, size, owner, extended attributes
//! L, K                                          GNU's long name and long link, for the next entry
//! g                                             for all entries that follow: see below
//! header, data, up to 512 bytes
//! two blocks of zeros, or the end
//! ```
//!
//! The reader of the `tar` crate is not used. It reads names from some headers that Go does not read from them, and it
//! splits PAX records at line ends, which file capabilities may contain, so that strata and engines would read different
//! files. It also keeps records of any size.
//!
//! Go passes a global header (type `g`) to the engine as an entry. containerd (pkg/archive/tar.go, `applyNaive`) and
//! docker (moby/go-archive, diff.go, `UnpackLayer`) create the parent directories of its name, remove an existing file
//! of this name, and treat a name with the prefix `.wh.` as a whiteout. strata accepts only the name that `git archive`
//! writes. PAX records before a global header apply to no entry.

mod extended;
mod fields;

use std::{
    collections::BTreeMap,
    io::{self, Read, Seek, SeekFrom},
};

use tar::EntryType;

use extended::Extended;
use fields::{Block, Fields, HeaderFormat, natural};

use crate::budget::{self, Budget, NAME_OVERHEAD};

const BLOCK: u64 = 512;

/// The name of a global header, as `git archive` writes it.
const GLOBAL_HEADER: &[u8] = b"pax_global_header";

/// The prefix of the name of an extended attribute in a PAX record.
pub(super) const XATTR: &[u8] = b"SCHILY.xattr.";

/// Extended attributes by name: `security.capability`, `user.…`.
pub type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// An entry of a tar.
#[derive(Clone, Debug)]
pub struct TarEntry {
    /// The path, unchanged.
    pub name: Vec<u8>,
    pub kind: EntryType,
    /// Permission bits, including setuid, setgid and sticky.
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    /// The number of bytes of data after the header.
    pub size: u64,
    /// The target of a link.
    pub link: Vec<u8>,
    /// Major and minor number of a device.
    pub device: (u64, u64),
    pub xattrs: Xattrs,
    /// Modification time in seconds since the epoch, rounded as by Go's `archive/tar`, or `None` before 1970.
    pub mtime: Option<u64>,
    /// The position of the first data byte in the tar.
    pub position: u64,
    /// Set for a file with holes.
    pub holes: Option<Sparse>,
}

/// A file with holes.
#[derive(Clone, Debug)]
pub struct Sparse {
    /// The size of the file, including holes, in bytes.
    pub size: u64,
    /// The parts with data, in order: offset and length in bytes.
    pub parts: Vec<(u64, u64)>,
}

/// Reads the entries of a tar in order.
///
/// As a [`Read`], it returns the data of the last entry of [`next_entry`](Self::next_entry).
pub struct TarReader<R> {
    inner: R,
    skip: fn(&mut R, u64) -> io::Result<()>,
    position: u64,
    /// The remaining data and padding of the last entry.
    data: u64,
    padding: u64,
    /// The remaining memory for extended attributes.
    xattrs: Budget,
}

impl<R: Read> TarReader<R> {
    /// Reads a stream.
    pub fn new(inner: R) -> Self {
        let skip = |inner: &mut R, count| match io::copy(&mut inner.take(count), &mut io::sink())? {
            skipped if skipped == count => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        };
        Self { inner, skip, position: 0, data: 0, padding: 0, xattrs: Budget::new(&budget::XATTRS) }
    }

    /// Reads a file, and skips data without reading it.
    pub fn seeking(inner: R) -> Self
    where
        R: Seek,
    {
        let skip = |inner: &mut R, count| {
            let count = i64::try_from(count).map_err(|_| invalid("an entry is bigger than any file"))?;
            if count == 0 {
                return Ok(());
            }
            // A seek beyond the end of a truncated file succeeds, but reading the last byte fails.
            inner.seek(SeekFrom::Current(count - 1))?;
            inner.read_exact(&mut [0]).map_err(|error| error.kind().into())
        };
        Self { skip, ..Self::new(inner) }
    }

    /// Returns the inner reader, after the part that was read.
    pub fn inner(&mut self) -> &mut R {
        &mut self.inner
    }

    /// Returns the next entry.
    ///
    /// # Errors
    ///
    /// If the tar is malformed, or exceeds a limit.
    pub fn next_entry(&mut self) -> io::Result<Option<TarEntry>> {
        let mut extended = Extended::default();
        loop {
            let Some((block, fields)) = self.header()? else { return Ok(None) };
            // Go ignores an empty name.
            let long_name = |data: Vec<u8>| Some(text(&data).to_vec()).filter(|name| !name.is_empty());
            match fields.kind {
                EntryType::XHeader => extended.records(&self.extension(fields.size)?)?,
                EntryType::GNULongName => extended.name[0] = long_name(self.extension(fields.size)?),
                EntryType::GNULongLink => extended.link[0] = long_name(self.extension(fields.size)?),
                EntryType::XGlobalHeader => {
                    self.global_header(&fields)?;
                    extended = Extended::default();
                }
                _ => return self.entry(&block, fields, extended).map(Some),
            }
        }
    }

    /// Reads the records of a global header, which apply to no entry in Go, and checks its name.
    fn global_header(&mut self, fields: &Fields) -> io::Result<()> {
        let mut records = Extended::default();
        records.records(&self.extension(fields.size)?)?;
        if fields.name != GLOBAL_HEADER || records.name[1].is_some() {
            return Err(invalid(
                "a global header whose name engines take for a file; write the layer without global headers",
            ));
        }
        Ok(())
    }

    fn entry(&mut self, block: &Block, fields: Fields, extended: Extended) -> io::Result<TarEntry> {
        let first_of = |[gnu, pax]: [Option<Vec<u8>>; 2]| gnu.or(pax);
        let name = first_of(extended.name).unwrap_or(fields.name);
        let link = first_of(extended.link).unwrap_or(fields.link);
        let kind = match fields.kind {
            // In old tars without a type for directories, a slash at the end of the name marks a directory.
            EntryType::Regular if fields.is_of_old_type && name.ends_with(b"/") => EntryType::Directory,
            kind => kind,
        };
        let size = match kind {
            EntryType::Link | EntryType::Symlink | EntryType::Directory => 0,
            EntryType::Char | EntryType::Block | EntryType::Fifo => 0,
            _ => extended.size.unwrap_or(fields.size),
        };
        let device = match kind {
            EntryType::Char | EntryType::Block => {
                let natural = |number: i64| u64::try_from(number).unwrap_or(u64::MAX);
                let device = (natural(fields.device.0), natural(fields.device.1));
                // Linux has 12 and 20 bits for device numbers (include/linux/kdev_t.h). Larger ones would be written as
                // 0.
                if device.0 >> 12 != 0 || device.1 >> 20 != 0 {
                    return Err(invalid("a device whose number no kernel has"));
                }
                device
            }
            _ => (0, 0),
        };
        let is_gnu = fields.format == HeaderFormat::Gnu;
        let holes = if kind == EntryType::GNUSparse { Some(self.sparse(block, is_gnu, size)?) } else { None };
        let bytes = extended.xattrs.iter().map(|(name, value)| name.len() + value.len() + NAME_OVERHEAD).sum::<usize>();
        self.xattrs.take_bytes(bytes as u64)?;
        self.begin(size)?;
        Ok(TarEntry {
            name,
            kind,
            mode: fields.mode,
            uid: extended.uid.unwrap_or(fields.uid),
            gid: extended.gid.unwrap_or(fields.gid),
            size,
            link,
            device,
            xattrs: extended.xattrs,
            mtime: match extended.mtime {
                Some(text) => parse_seconds(&text)?,
                None => fields.mtime,
            },
            position: self.position,
            holes,
        })
    }

    /// Returns the next header that is not all zeros.
    fn header(&mut self) -> io::Result<Option<(Block, Fields)>> {
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
        let mut block = [0; BLOCK as usize];
        if !self.block(&mut block)? {
            return Ok(None);
        }
        if block == [0; BLOCK as usize] {
            return match self.block(&mut block)? && block != [0; BLOCK as usize] {
                true => Err(invalid("a block of zeros between its entries")),
                false => Ok(None),
            };
        }
        Ok(Some((block, Fields::parse(&block)?)))
    }

    /// Reads a block. Returns whether there is one.
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

    /// Reads the data of an entry that describes the next entry.
    fn extension(&mut self, size: u64) -> io::Result<Vec<u8>> {
        Budget::new(&budget::EXTENSION).take_bytes(size)?;
        self.begin(size)?;
        let mut data = Vec::new();
        self.take(size).read_to_end(&mut data)?;
        Ok(data)
    }

    /// Reads which parts of a file with holes have data, as Go's `readOldGNUSparseMap` (reader.go). Together they have
    /// `size` bytes.
    fn sparse(&mut self, block: &Block, is_gnu: bool, size: u64) -> io::Result<Sparse> {
        if !is_gnu {
            return Err(invalid("a file with holes that is not GNU's"));
        }
        let whole = natural(&block[483..495])?;
        let (mut parts, mut budget) = (Vec::<(u64, u64)>::new(), Budget::new(&budget::SPARSE_FILE));
        let mut add = |described: &[u8]| -> io::Result<()> {
            // The list ends at an offset that begins with NUL.
            for part in described.chunks_exact(24).take_while(|part| part[0] != 0) {
                let (offset, length) = (natural(&part[..12])?, natural(&part[12..])?);
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
        add(&block[386..482])?;
        let mut more = block[482] > 0;
        while more {
            let mut extended = [0; BLOCK as usize];
            if !self.block(&mut extended)? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            add(&extended[..504])?;
            more = extended[504] > 0;
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

/// Rounds seconds with a fraction, such as `1350244992.023`. Returns `None` for times before 1970.
fn parse_seconds(text: &[u8]) -> io::Result<Option<u64>> {
    let malformed = || invalid("a PAX record whose time is not a number");
    let text = std::str::from_utf8(text).map_err(|_| malformed())?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: i64 = seconds.parse().map_err(|_| malformed())?;
    if !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(malformed());
    }
    let is_upper_half = fraction.as_bytes().first().is_some_and(|digit| (b'5'..=b'9').contains(digit));
    let positive = u64::try_from(whole).ok().filter(|_| !seconds.starts_with('-'));
    Ok(positive.and_then(|whole| whole.checked_add(is_upper_half.into())))
}

/// Returns the bytes before the first NUL.
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
            let mut header = tar::Header::new_gnu();
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
        let mut header = tar::Header::new_gnu();
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
