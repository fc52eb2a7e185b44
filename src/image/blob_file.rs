//! A file that contains a blob. No byte of it is sent before its size and digest were checked.
//!
//! Recipes and layouts name files, and a malicious one may name a file that is not a blob, such as a private key of the
//! user. Checking the digest at the end of a transfer is too late, because the bytes are already sent. So the file is hashed
//! first. The bytes are then read from the same open file, which cannot be replaced in between.

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
    /// The identity of the file when its digest was checked successfully.
    checked: Mutex<Option<FileIdentity>>,
}

/// The identity of a file and its content. It changes if the file is replaced or written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileIdentity {
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
    /// Creates a blob from the file that `open` opens, which must have this size and digest. `path` is used in messages.
    pub fn new(
        path: PathBuf,
        (digest, size): (Digest, u64),
        open: impl Fn() -> io::Result<File> + Send + Sync + 'static,
    ) -> Self {
        Self { path, digest, size, open: Box::new(open), checked: Mutex::default() }
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file without a check, for readers that check the digest themselves before they use the content.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened.
    pub fn open_unchecked(&self) -> io::Result<File> {
        (self.open)()
    }

    /// Opens the file and checks its size and digest. An unchanged file is hashed only once.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or has another size or digest.
    pub fn open(&self) -> io::Result<File> {
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        let file = self.open_unchecked()?;
        if checked.is_some_and(|checked| identity(&file).is_ok_and(|current| current == checked)) {
            return Ok(file);
        }
        let (file, found) = self.hash(file)?;
        if found != self.digest {
            return Err(invalid(format!("{}: it is {found}, not {}", self.path.display(), self.digest)));
        }
        *checked = Some(identity(&file)?);
        Ok(file)
    }

    /// Opens the file and returns its actual digest, which may differ from the digest of the blob.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or has another size.
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
        let mut remaining = size;
        while remaining > 0 {
            let read = file.read(&mut buffer)?;
            if read == 0 || read as u64 > remaining {
                return Err(invalid(format!("{} changed while it was read", self.path.display())));
            }
            hasher.update(&buffer[..read]);
            remaining -= read as u64;
        }
        file.rewind()?;
        Ok((file, hasher.finish()))
    }
}

fn identity(file: &File) -> io::Result<FileIdentity> {
    let metadata = file.metadata()?;
    let changed = (metadata.ctime(), metadata.ctime_nsec());
    Ok(FileIdentity { device: metadata.dev(), inode: metadata.ino(), size: metadata.len(), changed })
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::files;

    fn blob(path: &Path, bytes: &[u8]) -> BlobFile {
        let file = path.to_owned();
        BlobFile::new(path.to_owned(), (Digest::sha256(bytes), bytes.len() as u64), move || files::open_plain(&file))
    }

    #[test]
    fn open_refuses_files_with_another_size_or_digest() {
        let top = tempfile::tempdir().unwrap();
        let path = top.path().join("blob");
        for (contents, why) in [("secret", "not sha256:"), ("secrets", "7 bytes, not 6"), ("", "0 bytes, not 6")] {
            fs::write(&path, contents).unwrap();
            let error = blob(&path, b"public").open().unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn open_checks_replaced_files_again() {
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
        // The file that is already open keeps its content.
        fs::hard_link(&secret, &path).unwrap();
        assert_eq!(text(opened).unwrap(), "public");
        assert!(blob.open().is_err());
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&secret, &path).unwrap();
        assert!(blob.open().is_err());
    }
}
