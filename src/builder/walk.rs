//! Visits all files of a tree.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use anyhow::{Context, Result};

use crate::layer::Owner;

/// Visits `root` and everything below it, parents first, in order of names.
pub fn walk(root: &Path, visit: &mut dyn FnMut(&Path, &fs::Metadata) -> Result<()>) -> Result<()> {
    let reading = || format!("reading {}", root.display());
    let metadata = fs::symlink_metadata(root).with_context(reading)?;
    visit(root, &metadata)?;
    if metadata.is_dir() {
        let mut names = fs::read_dir(root)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>())
            .with_context(reading)?;
        names.sort();
        names.iter().try_for_each(|path| walk(path, visit))?;
    }
    Ok(())
}

/// Returns the owner of a file without a record: root, with the mode of the file.
pub fn plain_owner(file: &fs::Metadata) -> Owner {
    Owner { mode: file.mode(), ..Owner::default() }
}
