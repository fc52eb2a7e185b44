//! Archives: a docker-archive or an OCI layout in a tar, plain, gzip, zstd or xz.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tar::EntryType;

use crate::layer::{Packing, explain_full, open_packed, untar::TarReader};

use super::{
    SourceError,
    contents::{Blob, Contents},
};

/// A tar whose entries are read by their place in it.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    /// The plain tar; one that is compressed is unpacked to a nameless file when its first blob is read.
    plain: Mutex<Option<Arc<File>>>,
}

impl Archive {
    /// `size` bytes from `offset` on.
    pub(super) fn read(&self, offset: u64, size: u64) -> io::Result<Section> {
        // Whoever comes second waits, and unpacks nothing.
        let mut plain = self.plain.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match &*plain {
            Some(file) => Arc::clone(file),
            None => Arc::clone(plain.insert(Arc::new(self.unpack()?))),
        };
        Ok(Section { file, at: offset, end: offset.saturating_add(size) })
    }

    fn unpack(&self) -> io::Result<File> {
        let (file, packing) = open_packed(&self.path)?;
        if packing == Packing::Plain {
            return Ok(file);
        }
        let size = file.metadata()?.len();
        let mut plain = tempfile::tempfile()?;
        io::copy(&mut packing.reader(file, size)?, &mut plain).map_err(explain_full)?;
        Ok(plain)
    }
}

/// A part of a file that others read too.
pub(super) struct Section {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(&mut buffer[..left], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// Reads the archive at `path` once, from front to back.
pub fn scan(path: &Path) -> Result<Contents, SourceError> {
    let opening = |source| SourceError::Io { act: "opening".to_owned(), path: path.to_owned(), source };
    let (file, packing) = open_packed(path).map_err(opening)?;
    scan_packed(file, packing, path, None)
}

/// The same for a plain archive that has no path; `name` is for messages.
#[cfg(feature = "net")]
pub fn scan_file(file: File, name: &str) -> Result<Contents, SourceError> {
    let fail = |source| SourceError::Io { act: "keeping the archive of".to_owned(), path: name.into(), source };
    let kept = Arc::new(file.try_clone().map_err(fail)?);
    scan_packed(file, Packing::Plain, Path::new(name), Some(kept))
}

fn scan_packed(file: File, packing: Packing, path: &Path, plain: Option<Arc<File>>) -> Result<Contents, SourceError> {
    let fail = |act: String, source| SourceError::Io { act, path: path.to_owned(), source };
    let opening = |error| fail("opening".to_owned(), error);
    let size = file.metadata().map_err(opening)?.len();
    let mut contents = Contents::new(Archive { path: path.to_owned(), plain: Mutex::new(plain) });
    if packing == Packing::Plain {
        scan_entries(TarReader::seeking(file), &mut contents, &fail)?;
    } else {
        scan_entries(TarReader::new(packing.reader(file, size).map_err(opening)?), &mut contents, &fail)?;
    }
    Ok(contents)
}

fn scan_entries<R: Read>(
    mut archive: TarReader<R>,
    contents: &mut Contents,
    fail: &dyn Fn(String, io::Error) -> SourceError,
) -> Result<(), SourceError> {
    let mut last = "the start".to_owned();
    loop {
        let next = archive.next_entry().map_err(|error| fail(format!("reading what follows {last} in"), error))?;
        let Some(entry) = next else { break };
        let name = String::from_utf8_lossy(&entry.name).into_owned();
        let name = name.trim_start_matches("./").to_owned();
        match entry.kind {
            EntryType::Regular | EntryType::Continuous => {
                let blob = Blob { size: entry.size, offset: entry.position };
                contents
                    .add(name.clone(), blob, &mut archive)
                    .map_err(|error| fail(format!("reading {name} in"), error))?;
            }
            // docker writes a layer that two images share once, and links to it.
            EntryType::Symlink | EntryType::Link => {
                let target = String::from_utf8_lossy(&entry.link).into_owned();
                let target = match entry.kind {
                    EntryType::Symlink => beside(&name, &target),
                    _ => target,
                };
                contents.alias(name.clone(), target);
            }
            _ => {}
        }
        last = name;
    }
    Ok(())
}

/// The name that a link `target` leads to, from the entry `name`; nothing outside of the archive has one.
fn beside(name: &str, target: &str) -> String {
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_names_in_the_archive() {
        assert_eq!(beside("one/layer.tar", "../two/layer.tar"), "two/layer.tar");
        assert_eq!(beside("one/layer.tar", "../../../etc/passwd"), "etc/passwd");
        assert_eq!(beside("a", "./b"), "b");
    }
}
