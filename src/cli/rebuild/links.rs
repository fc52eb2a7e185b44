//! The links in the output of an image's derivation.
//!
//! An output may be a link to any file, or contain such links. The file that a link leads to is not what the derivation built,
//! and may be the image that is compared with the rebuild. Links to store paths in the closure of the output are usual, for
//! example from an image to its recipe.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::closure::StorePath;

/// Returns the store paths that are read through the links in an output. `closure` is the closure of the output.
///
/// # Errors
///
/// If a link leads out of the closure, or its target does not exist.
pub fn linked_paths(output: &StorePath, closure: &BTreeSet<StorePath>) -> Result<BTreeSet<StorePath>> {
    let store = output.as_path().parent().unwrap_or(Path::new("/"));
    let real_store = fs::canonicalize(store).with_context(|| format!("reading {}", store.display()))?;
    let in_closure = |file: &Path| -> Option<StorePath> {
        let base = file.strip_prefix(&real_store).ok()?.components().next()?;
        let path = StorePath::parse(store.join(base).to_str()?).ok()?;
        closure.contains(&path).then_some(path)
    };
    let (mut linked, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let mut left: Vec<PathBuf> = vec![output.as_path().to_owned()];
    while let Some(file) = left.pop() {
        let reading = || format!("reading {}", file.display());
        let kind = fs::symlink_metadata(&file).with_context(reading)?.file_type();
        if kind.is_symlink() {
            let target = fs::canonicalize(&file).with_context(reading)?;
            let path = in_closure(&target).with_context(|| {
                let (link, target) = (file.display(), target.display());
                format!(
                    "{output}: {link} is a link to {target}, which the derivation did not build; copy the file into the output"
                )
            })?;
            linked.insert(path);
            left.extend(seen.insert(target.clone()).then_some(target));
        } else if kind.is_dir() {
            for entry in fs::read_dir(&file).with_context(reading)? {
                left.push(entry.with_context(reading)?.path());
            }
        }
    }
    linked.remove(output);
    Ok(linked)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_out_of_the_closure_are_refused() {
        let top = tempfile::tempdir().unwrap();
        let store = top.path().canonicalize().unwrap().join("store");
        let path = |letter: &str| StorePath::parse(&format!("{}/{}-x", store.display(), letter.repeat(32))).unwrap();
        let (output, other, unrelated) = (path("a"), path("b"), path("c"));
        for path in [&output, &other, &unrelated] {
            fs::create_dir_all(path.as_path()).unwrap();
            fs::write(path.as_path().join("blob"), "x").unwrap();
        }
        let outside = top.path().join("image.tar");
        fs::write(&outside, "x").unwrap();
        let closure = BTreeSet::from([output.clone(), other.clone()]);
        let links = || linked_paths(&output, &closure);
        assert_eq!(links().unwrap(), BTreeSet::new());
        symlink("blob", output.as_path().join("own")).unwrap();
        symlink(other.as_path().join("blob"), output.as_path().join("link")).unwrap();
        symlink(other.as_path(), output.as_path().join("directory")).unwrap();
        assert_eq!(links().unwrap(), BTreeSet::from([other.clone()]));
        for target in [&outside, &unrelated.as_path().join("blob"), Path::new("/proc/self/exe"), &store] {
            // In the output, and in a directory that the output links to.
            for link in [output.as_path().join("out"), other.as_path().join("out")] {
                symlink(target, &link).unwrap();
                let error = links().unwrap_err().to_string();
                assert!(error.contains("which the derivation did not build"), "{target:?}: {error}");
                fs::remove_file(link).unwrap();
            }
        }
        // The output itself.
        fs::remove_dir_all(output.as_path()).unwrap();
        symlink(&outside, output.as_path()).unwrap();
        assert!(links().unwrap_err().to_string().contains("image.tar"));
        symlink("missing", store.join("missing")).unwrap();
        fs::remove_file(output.as_path()).unwrap();
        symlink(store.join("missing"), output.as_path()).unwrap();
        links().unwrap_err();
    }
}
