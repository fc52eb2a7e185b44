//! A file that holds a blob: no byte of it is read by others before its size and digest are right.
//!
//! A recipe or a layout names files, and may name one that is no blob at all, such as a key of the user. The digest at
//! the end of a transfer comes too late for that: the bytes have left by then. So the file is hashed first, and what is
//! sent comes from the same open file, which nothing can replace any more.

use std::{
    fmt,
    fs::File,
    io::{self, Read, Seek},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::oci::Digest;

/// A file with the blob of a digest.
pub struct BlobFile {
    path: PathBuf,
    digest: Digest,
    size: u64,
    open: Box<dyn Fn() -> io::Result<File> + Send + Sync>,
    /// The file whose digest was right.
    checked: Mutex<Option<Identity>>,
}

/// A file in one state: writing to it, or replacing it, changes this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl fmt::Debug for BlobFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BlobFile").field(&self.path).finish()
    }
}

impl BlobFile {
    /// The file that `open` opens, which should hold `size` bytes with this digest; `path` is where it is.
    pub fn new(
        path: PathBuf,
        (digest, size): (Digest, u64),
        open: impl Fn() -> io::Result<File> + Send + Sync + 'static,
    ) -> Self {
        Self { path, digest, size, open: Box::new(open), checked: Mutex::default() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file as it is, for readers that keep nothing of it unless its digest is right.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub fn open_unchecked(&self) -> io::Result<File> {
        (self.open)()
    }

    /// The file, after its size and digest were compared.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is not the blob.
    pub fn open(&self) -> io::Result<File> {
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        let file = self.open_unchecked()?;
        if checked.is_some_and(|checked| identity(&file).is_ok_and(|own| own == checked)) {
            return Ok(file);
        }
        let (file, found) = self.hash(file)?;
        if found != self.digest {
            return Err(invalid(format!("{}: it is {found}, not {}", self.path.display(), self.digest)));
        }
        *checked = Some(identity(&file)?);
        Ok(file)
    }

    /// The file and its digest, which may be another than the blob's.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or has another size.
    pub(super) fn open_hashed(&self) -> io::Result<(File, Digest)> {
        self.hash(self.open_unchecked()?)
    }

    fn hash(&self, mut file: File) -> io::Result<(File, Digest)> {
        let size = file.metadata()?.len();
        if size != self.size {
            return Err(invalid(format!("{}: it has {size} bytes, not {}", self.path.display(), self.size)));
        }
        let mut hasher = self.digest.hasher();
        let mut buffer = vec![0; 128 * 1024];
        let mut left = size;
        while left > 0 {
            let read = file.read(&mut buffer)?;
            if read == 0 || read as u64 > left {
                return Err(invalid(format!("{} changed while it was read", self.path.display())));
            }
            hasher.update(&buffer[..read]);
            left -= read as u64;
        }
        file.rewind()?;
        Ok((file, hasher.finish()))
    }
}

fn identity(file: &File) -> io::Result<Identity> {
    let own = file.metadata()?;
    let changed = (own.ctime(), own.ctime_nsec());
    Ok(Identity { device: own.dev(), inode: own.ino(), size: own.len(), changed })
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::files;

    fn blob(path: &Path, bytes: &[u8]) -> BlobFile {
        let own = path.to_owned();
        BlobFile::new(path.to_owned(), (Digest::of(bytes), bytes.len() as u64), move || files::open_plain(&own))
    }

    #[test]
    fn a_file_with_other_contents_is_never_opened() {
        let top = tempfile::tempdir().unwrap();
        let path = top.path().join("blob");
        for (contents, why) in [("secret", "not sha256:"), ("secrets", "7 bytes, not 6"), ("", "0 bytes, not 6")] {
            fs::write(&path, contents).unwrap();
            let error = blob(&path, b"public").open().unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_file_that_replaces_a_checked_one_is_checked_again() {
        let top = tempfile::tempdir().unwrap();
        let (path, secret) = (top.path().join("blob"), top.path().join("secret"));
        fs::write(&path, "public").unwrap();
        fs::write(&secret, "secret").unwrap();
        let blob = blob(&path, b"public");
        blob.open().unwrap();
        let text = |mut file: File| {
            let mut text = String::new();
            file.read_to_string(&mut text).map(|_| text)
        };
        let opened = blob.open().unwrap();
        fs::remove_file(&path).unwrap();
        // What was opened stays what it was.
        fs::hard_link(&secret, &path).unwrap();
        assert_eq!(text(opened).unwrap(), "public");
        assert!(blob.open().is_err());
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&secret, &path).unwrap();
        assert!(blob.open().is_err());
    }
}
