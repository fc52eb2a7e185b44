//! Files that are needed for a while, and what to do where there is no room for them.

use std::{
    env, fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

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
    fn only_a_full_disk_is_explained() {
        let full = explain_full(io::Error::from(io::ErrorKind::StorageFull)).to_string();
        assert!(full.contains("set TMPDIR to a directory with more room"), "{full}");
        let other = explain_full(io::Error::from(io::ErrorKind::NotFound)).to_string();
        assert!(!other.contains("TMPDIR"), "{other}");
    }
}
