//! Layouts with links: a copy writes no file outside of the directory of the destination.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use strata::internals::oci::Digest;

use crate::{
    images::{Image, tar, write_layout},
    run::{strata, text},
};

/// The files of a directory with their contents.
fn files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.map(|path| (path.clone(), fs::read(&path).unwrap())).collect();
    files.sort();
    files
}

/// Copies an image to the layout at `to`. Returns whether it succeeded, and the output.
fn copy(home: &Path, to: &Path) -> (bool, String) {
    let from = home.join("from");
    if !from.exists() {
        write_layout(&from, &Image::new(&[tar(&[("file", b"content")])]));
    }
    let [from, to] = [&from, to].map(|path| format!("oci:{}", path.display()));
    let output = strata(home).args(["copy", &from, &to]).output().unwrap();
    (output.status.success(), text(&output))
}

#[test]
fn blobs_are_not_written_through_links_of_the_layout() {
    for (link, target) in [("blobs/sha256", ""), ("blobs", ""), ("blobs", "..")] {
        let home = tempfile::tempdir().unwrap();
        let (layout, outside) = (home.path().join("to"), home.path().join("outside"));
        fs::create_dir_all(&layout).unwrap();
        fs::create_dir_all(&outside).unwrap();
        // The removal of old temporary files would remove this file.
        fs::write(outside.join(".strata-1-1.tmp"), "content").unwrap();
        if link == "blobs/sha256" {
            fs::create_dir(layout.join("blobs")).unwrap();
        }
        symlink(
            if target.is_empty() { outside.clone() } else { home.path().join("outside").join(target) },
            layout.join(link),
        )
        .unwrap();
        let (before, above) = (files(&outside), fs::read_dir(home.path()).unwrap().count());
        let (succeeded, output) = copy(home.path(), &layout);
        assert!(!succeeded && output.contains("it is a link or a file, not a directory"), "{link}: {output}");
        assert_eq!(files(&outside), before, "{link}");
        // The source is the only new directory.
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), above + 1, "{link}");
    }
}

#[test]
fn a_link_in_place_of_a_blob_is_replaced() {
    let home = tempfile::tempdir().unwrap();
    let (layout, outside) = (home.path().join("to"), home.path().join("outside"));
    let (succeeded, output) = copy(home.path(), &layout);
    assert!(succeeded, "{output}");
    let written = files(&layout.join("blobs/sha256"));
    for (path, contents) in &written {
        fs::write(&outside, contents).unwrap();
        fs::remove_file(path).unwrap();
        symlink(&outside, path).unwrap();
        let (succeeded, output) = copy(home.path(), &layout);
        assert!(succeeded, "{output}");
        assert!(fs::symlink_metadata(path).unwrap().is_file(), "{}", path.display());
        assert_eq!(fs::read(&outside).unwrap(), *contents);
    }
    assert_eq!(files(&layout.join("blobs/sha256")), written);
}

#[test]
fn a_hard_link_in_place_of_the_lock_file_keeps_its_contents() {
    let home = tempfile::tempdir().unwrap();
    let (layout, victim) = (home.path().join("to"), home.path().join("victim"));
    fs::create_dir(&layout).unwrap();
    fs::write(&victim, "content").unwrap();
    fs::hard_link(&victim, layout.join(".strata.lock")).unwrap();
    let (succeeded, output) = copy(home.path(), &layout);
    assert!(!succeeded && output.contains("is not a lock file"), "{output}");
    assert_eq!(fs::read(&victim).unwrap(), b"content");
}

/// Copies an image to the cache of layers at `to`. Returns whether it succeeded, and the output.
fn cache(home: &Path, to: &Path, flags: &[&str]) -> (bool, String) {
    let from = home.join("from");
    if !from.exists() {
        write_layout(&from, &Image::new(&[tar(&[("file", b"content")])]));
    }
    let [from, to] = [format!("oci:{}", from.display()), format!("erofs-cache:{}", to.display())];
    let output = strata(home).args(["copy", &from, &to]).args(flags).output().unwrap();
    (output.status.success(), text(&output))
}

#[test]
fn layers_are_not_written_to_or_pruned_from_linked_directories_of_a_cache() {
    let layer = Digest::sha256(&tar(&[("file", b"content")])).hex();
    let other = format!("{}.erofs", "0".repeat(64));
    for link in ["sha256".to_owned(), format!("sha256/{}", &layer[..2]), "sha256/00".to_owned()] {
        let home = tempfile::tempdir().unwrap();
        let (directory, outside) = (home.path().join("to"), home.path().join("outside"));
        fs::create_dir_all(directory.join("sha256")).unwrap();
        fs::create_dir_all(outside.join("00")).unwrap();
        for name in [".strata-1-1.tmp", &other, "00/.strata-1-1.tmp", &format!("00/{other}")] {
            fs::write(outside.join(name), "content").unwrap();
        }
        if link == "sha256" {
            fs::remove_dir(directory.join("sha256")).unwrap();
        }
        symlink(&outside, directory.join(&link)).unwrap();
        let count = |path: &Path| fs::read_dir(path).unwrap().count();
        let before = (count(&outside), count(&outside.join("00")));
        let (succeeded, output) = cache(home.path(), &directory, &["--prune"]);
        // A linked directory without a layer of the image is no obstacle.
        assert_eq!(succeeded, link == "sha256/00", "{link}: {output}");
        assert!(succeeded || output.contains("it is a link or a file, not a directory"), "{link}: {output}");
        assert_eq!((count(&outside), count(&outside.join("00"))), before, "{link}");
    }
}

#[test]
fn pruning_a_cache_removes_only_files_of_layers() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("to");
    let shard = directory.join("sha256/00");
    fs::create_dir_all(&shard).unwrap();
    let hex = "0".repeat(64);
    let kept =
        [format!("{hex}.erofs.bak"), format!("{hex}.img"), "notes.erofs".to_owned(), format!("1{}.erofs", &hex[1..])];
    for name in &kept {
        fs::write(shard.join(name), "content").unwrap();
    }
    fs::create_dir(shard.join(format!("{}1.erofs", &hex[1..]))).unwrap();
    for name in [format!("{hex}.erofs"), format!("{hex}.erofs.dmverity")] {
        fs::write(shard.join(name), "content").unwrap();
    }
    let (succeeded, output) = cache(home.path(), &directory, &["--prune"]);
    assert!(succeeded, "{output}");
    let mut left: Vec<String> =
        fs::read_dir(&shard).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    let mut expected = [&kept[..], &[format!("{}1.erofs", &hex[1..])]].concat();
    expected.sort();
    assert_eq!(left, expected);
}

#[test]
fn a_link_in_place_of_a_layer_of_a_cache_is_replaced() {
    let home = tempfile::tempdir().unwrap();
    let (directory, outside) = (home.path().join("to"), home.path().join("outside"));
    let (succeeded, output) = cache(home.path(), &directory, &[]);
    assert!(succeeded, "{output}");
    let hex = Digest::sha256(&tar(&[("file", b"content")])).hex();
    let path = directory.join(format!("sha256/{}/{hex}.erofs", &hex[..2]));
    let written = fs::read(&path).unwrap();
    fs::rename(&path, &outside).unwrap();
    symlink(&outside, &path).unwrap();
    let (succeeded, output) = cache(home.path(), &directory, &[]);
    assert!(succeeded, "{output}");
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
    assert_eq!(fs::read(&path).unwrap(), written);
}
