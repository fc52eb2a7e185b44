//! Files that are needed for a while, and what to do where there is no room for them.

use std::{
    env,
    fs::{self, File},
    io::{self, Read, Seek},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::budget::{self, Budget};

/// Bytes between two looks at the free space. Smaller archives are kept in any case.
const INTERVAL: u64 = 16 << 20;

/// The contents of `reader` in a nameless file, from the start on.
///
/// # Errors
///
/// If `reader` exceeds [`budget::SPOOLED`], or the file system of temporary files would have less than
/// [`budget::FREE_SPACE`] left, which other programs need.
pub fn spool(reader: impl Read) -> io::Result<File> {
    spool_leaving(reader, budget::FREE_SPACE, 20).map_err(explain_full)
}

/// As [`spool`]; `free` bytes are left, or this part of a small file system.
fn spool_leaving(reader: impl Read, free: u64, part: u64) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    let mut budget = Budget::new(&budget::SPOOLED);
    let mut reader = budget.reader(reader);
    while io::copy(&mut (&mut reader).take(INTERVAL), &mut file)? == INTERVAL {
        let space = rustix::fs::fstatvfs(&file)?;
        let least = free.min(space.f_blocks.saturating_mul(space.f_frsize) / part);
        if space.f_bavail.saturating_mul(space.f_frsize) < least {
            let why = format!("less than {least} bytes of the file system are free");
            return Err(io::Error::new(io::ErrorKind::StorageFull, why));
        }
    }
    file.rewind()?;
    Ok(file)
}

/// A full disk's error, with the file system that temporary files are on and the variable that moves them; any other
/// error as it is.
pub fn explain_full(error: io::Error) -> io::Error {
    if !matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        return error;
    }
    let folder = env::temp_dir();
    let place = file_system(&folder).unwrap_or_else(|_| folder.clone());
    let what = format!(
        "{error}: temporary files are in {}, on the file system {}; set TMPDIR to a directory with more room",
        folder.display(),
        place.display()
    );
    io::Error::new(error.kind(), what)
}

/// Where the file system that holds `path` is mounted.
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
        let error = spool_leaving(io::repeat(0), u64::MAX, 1).unwrap_err();
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
