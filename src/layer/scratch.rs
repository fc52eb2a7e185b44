//! Temporary files of archives, and the error if their file system is full.

use std::{
    env,
    fs::{self, File},
    io::{self, Read, Seek},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::budget::{self, Budget};

/// The bytes between two checks of the free space. Smaller archives are always kept.
pub(super) const INTERVAL: u64 = 16 << 20;
/// The bytes that the budget counts for a file besides its contents.
const FILE: u64 = 4096;

/// Checks, after each [`INTERVAL`] of bytes, that the file system of written files has free space for other programs.
#[derive(Debug)]
pub(super) struct FreeSpace {
    least: u64,
    /// On a small file system, the least space is its size divided by this number.
    divisor: u64,
    unchecked: u64,
}

impl Default for FreeSpace {
    fn default() -> Self {
        Self::new(budget::FREE_SPACE, 20)
    }
}

impl FreeSpace {
    pub fn new(least: u64, divisor: u64) -> Self {
        Self { least, divisor, unchecked: 0 }
    }

    /// Counts a new file.
    pub fn add_file(&mut self, file: &File) -> io::Result<()> {
        self.add(file, FILE)
    }

    /// Counts bytes that were written to `file`.
    pub fn add(&mut self, file: &File, bytes: u64) -> io::Result<()> {
        self.unchecked += bytes;
        if self.unchecked < INTERVAL {
            return Ok(());
        }
        self.unchecked = 0;
        let space = rustix::fs::fstatvfs(file)?;
        let least = self.least.min(space.f_blocks.saturating_mul(space.f_frsize) / self.divisor);
        if space.f_bavail.saturating_mul(space.f_frsize) < least {
            let why = format!("less than {least} bytes of the file system are free");
            return Err(io::Error::new(io::ErrorKind::StorageFull, why));
        }
        // Some file systems have no fixed number of files.
        let files = (self.least / FILE).min(space.f_files / self.divisor);
        if space.f_favail < files {
            let why = format!("less than {files} files can be created in the file system");
            return Err(io::Error::new(io::ErrorKind::StorageFull, why));
        }
        Ok(())
    }
}

/// Copies `reader` to a nameless file, and returns it at its start.
///
/// # Errors
///
/// If `reader` exceeds [`budget::SPOOLED`], or the file system of temporary files would have less free space than
/// [`budget::FREE_SPACE`], which other programs need.
pub fn spool(reader: impl Read) -> io::Result<File> {
    spool_leaving(reader, FreeSpace::default()).map_err(explain_full)
}

fn spool_leaving(reader: impl Read, mut space: FreeSpace) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    let mut budget = Budget::new(&budget::SPOOLED);
    let mut reader = budget.reader(reader);
    while io::copy(&mut (&mut reader).take(INTERVAL), &mut file)? == INTERVAL {
        space.add(&file, INTERVAL)?;
    }
    file.rewind()?;
    Ok(file)
}

/// Adds the file system of temporary files, and the variable that moves them, to the error of a full disk. Other errors are
/// returned unchanged.
pub fn explain_full(error: io::Error) -> io::Error {
    if !matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        return error;
    }
    let directory = env::temp_dir();
    let mount_point = file_system(&directory).unwrap_or_else(|_| directory.clone());
    let what = format!(
        "{error}: temporary files are in {}, on the file system {}; set TMPDIR to a directory with more room",
        directory.display(),
        mount_point.display()
    );
    io::Error::new(error.kind(), what)
}

/// Returns the mount point of the file system that contains `path`.
fn file_system(path: &Path) -> io::Result<PathBuf> {
    let path = fs::canonicalize(path)?;
    let device = fs::metadata(&path)?.dev();
    let same = path.ancestors().take_while(|above| fs::metadata(above).is_ok_and(|found| found.dev() == device));
    Ok(same.last().unwrap_or(&path).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_system_is_where_it_is_mounted() {
        assert_eq!(file_system(Path::new("/proc/self/..")).unwrap(), Path::new("/proc"));
        assert_eq!(file_system(Path::new("/")).unwrap(), Path::new("/"));
    }

    #[test]
    fn temporary_files_leave_space_to_others() {
        let bytes = vec![7; 100_000];
        let mut read = Vec::new();
        spool(bytes.as_slice()).unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read, bytes);
        // No file system has all of its blocks free.
        let error = spool_leaving(io::repeat(0), FreeSpace::new(u64::MAX, 1)).unwrap_err();
        assert!(error.to_string().contains("of the file system are free"), "{error}");
    }

    #[test]
    fn only_a_full_disk_is_explained() {
        let full = explain_full(io::Error::from(io::ErrorKind::StorageFull)).to_string();
        assert!(full.contains("set TMPDIR to a directory with more room"), "{full}");
        let other = explain_full(io::Error::from(io::ErrorKind::NotFound)).to_string();
        assert!(!other.contains("TMPDIR"), "{other}");
    }
}
