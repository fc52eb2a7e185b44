//! Sources merged into one tree: what merges silently, and what is an error that names both.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use strata::internals::{
    layer::{self, LayerError, PathOptions, Rewrite, Source, Tree},
    oci::Sha256Writer,
};

fn rewritten(path: &Path, repl: &str) -> Source {
    let rewrite = Rewrite { regex: format!("^{}", path.display()), repl: repl.into() };
    Source {
        path: path.to_owned(),
        files: Default::default(),
        options: PathOptions { rewrite, ..PathOptions::default() },
        follow: false,
    }
}

fn stays(path: &Path) -> Source {
    Source { path: path.to_owned(), files: Default::default(), options: PathOptions::default(), follow: false }
}

/// A directory with these files, name and contents.
fn directory(top: &Path, name: &str, files: &[(&str, &str)]) -> PathBuf {
    let root = top.join(name);
    fs::create_dir_all(&root).unwrap();
    for (file, contents) in files {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match contents.strip_prefix("-> ") {
            Some(target) => symlink(target, path).unwrap(),
            None => fs::write(path, contents).unwrap(),
        }
    }
    root
}

fn names(sources: &[Source]) -> Result<Vec<String>, LayerError> {
    let bytes = layer::write(&Tree::new(sources)?, Vec::new())?;
    let mut archive = tar::Archive::new(&bytes[..]);
    let entries = archive.entries().unwrap().map(|entry| entry.unwrap());
    Ok(entries.map(|entry| String::from_utf8(entry.path_bytes().into_owned()).unwrap()).collect())
}

#[test]
fn equal_files_and_directories_merge_silently() {
    let top = tempfile::tempdir().unwrap();
    let files = [("bin/a", "1"), ("link", "-> bin")];
    let one = directory(top.path(), "one", &files);
    let two = directory(top.path(), "two", &[files[0], files[1], ("bin/b", "2")]);
    let names = names(&[rewritten(&one, ""), rewritten(&two, "")]).unwrap();
    assert_eq!(names, ["/", "/bin", "/bin/a", "/bin/b", "/link"]);
}

#[test]
fn a_clash_names_both_sources_and_a_way_out() {
    let top = tempfile::tempdir().unwrap();
    let one = directory(top.path(), "one", &[("etc/x", "1")]);
    for (at, (files, why)) in [
        (("etc/x", "2"), "their contents differ"),
        (("etc/x", "longer"), "their contents differ"),
        (("etc/x", "-> y"), "modes or owners differ"),
        (("etc/x/y", "1"), "one is not a directory"),
        (("etc", "1"), "one is a directory"),
    ]
    .into_iter()
    .enumerate()
    {
        let two = directory(top.path(), &format!("two-{at}"), &[files]);
        for sources in [[&one, &two], [&two, &one]] {
            let error = names(&[rewritten(sources[0], ""), rewritten(sources[1], "")]).unwrap_err().to_string();
            for part in [one.to_str().unwrap(), two.to_str().unwrap(), "pathsToLink"] {
                assert!(error.contains(part), "{files:?}: {error}");
            }
            let shown = error.contains(why) || error.contains("one is a");
            assert!(shown, "{files:?}: {error}");
        }
    }
}

#[test]
fn clashing_package_metadata_at_the_root_is_named() {
    let top = tempfile::tempdir().unwrap();
    let one = directory(top.path(), "one", &[("nix-support/propagated", "1")]);
    let two = directory(top.path(), "two", &[("nix-support/propagated", "2")]);
    let error = names(&[rewritten(&one, ""), rewritten(&two, "")]).unwrap_err().to_string();
    assert!(error.contains("/nix-support describes the package"), "{error}");
}

#[test]
fn differing_modes_of_a_directory_clash() {
    let top = tempfile::tempdir().unwrap();
    let one = directory(top.path(), "one", &[("etc/a", "1")]);
    let two = directory(top.path(), "two", &[("etc/b", "1")]);
    fs::set_permissions(two.join("etc"), fs::Permissions::from_mode(0o700)).unwrap();
    let error = names(&[rewritten(&one, ""), rewritten(&two, "")]).unwrap_err().to_string();
    assert!(error.contains("modes or owners differ") && error.contains("/etc in the image"), "{error}");
}

#[test]
fn rewritten_files_merge_with_unchanged_trees() {
    let top = tempfile::tempdir().unwrap();
    let one = directory(top.path(), "one", &[("bin/a", "1")]);
    let two = directory(top.path(), "two", &[("b", "1")]);
    let below = format!("{}/bin", one.display());
    let mut names = names(&[stays(&one), rewritten(&two, &below)]).unwrap();
    names.retain(|name| name.starts_with(one.to_str().unwrap()));
    assert_eq!(names.len(), 4, "{names:?}");
    assert!(names[3].ends_with("/bin/b"));
}

#[test]
fn destinations_are_absolute_and_have_no_dots() {
    let top = tempfile::tempdir().unwrap();
    let one = directory(top.path(), "one", &[("a", "1")]);
    for bad in ["relative", "/a/../../b", "/./a", "../x"] {
        let error = names(&[rewritten(&one, bad)]).unwrap_err();
        assert!(matches!(error, LayerError::Destination { .. }), "{bad}: {error}");
    }
    let error = names(&[rewritten(&one.join("a"), "")]).unwrap_err();
    assert!(matches!(error, LayerError::RootFile(_)), "{error}");
}

#[test]
fn trees_do_not_depend_on_the_order_of_creation_and_sources() {
    let top = tempfile::tempdir().unwrap();
    let mut files = [("b", "1"), ("a/x", "2"), ("a.b", "3"), ("c/d/e", "4"), ("A", "5")];
    let one = directory(top.path(), "one", &files);
    let other = directory(top.path(), "other", &[("z", "6")]);
    let digest = |sources: &[Source]| {
        layer::write(&Tree::new(sources).unwrap(), Sha256Writer::new(std::io::sink())).unwrap().finish().1
    };
    let first = digest(&[rewritten(&one, ""), rewritten(&other, "")]);
    fs::remove_dir_all(&one).unwrap();
    files.reverse();
    directory(top.path(), "one", &files);
    assert_eq!(first, digest(&[rewritten(&other, ""), rewritten(&one, "")]));
}

#[test]
fn disappearing_files_are_named() {
    let top = tempfile::tempdir().unwrap();
    let one = directory(top.path(), "one", &[("a", "1")]);
    let tree = Tree::new(&[stays(&one), rewritten(&one, "/copy")]).unwrap();
    fs::remove_file(one.join("a")).unwrap();
    let error = layer::write(&tree, std::io::sink()).map(drop).expect_err("a file is gone");
    assert!(error.to_string().contains(one.join("a").to_str().unwrap()), "{error}");
    fs::remove_dir_all(&one).unwrap();
    let error = layer::write(&Tree::new(&[stays(&one)]).unwrap(), std::io::sink()).map(drop).expect_err("all is gone");
    assert!(error.to_string().contains(one.to_str().unwrap()), "{error}");
}

#[test]
fn sockets_and_the_like_are_refused() {
    let top = tempfile::tempdir().unwrap();
    let one = directory(top.path(), "one", &[("a", "1")]);
    let _socket = std::os::unix::net::UnixListener::bind(one.join("socket")).unwrap();
    assert!(matches!(names(&[rewritten(&one, "")]), Err(LayerError::Kind(_))));
}

/// podman issue 3582: `etc/.wh.passwd` of a package deletes `/etc/passwd`, and never arrives.
#[test]
fn names_of_whiteouts_are_refused_with_their_source() {
    let top = tempfile::tempdir().unwrap();
    for file in ["etc/.wh.passwd", ".wh.etc/passwd", ".wh..wh..opq", ".wh."] {
        let path = directory(top.path(), &format!("with-{}", file.replace('/', "-")), &[(file, "x")]);
        for source in [stays(&path), rewritten(&path, "")] {
            let error = names(&[source]).unwrap_err().to_string();
            assert!(error.contains(path.to_str().unwrap()) && error.contains("begins with .wh."), "{error}");
        }
    }
    let path = directory(top.path(), "plain", &[("etc/wh.x", "x"), ("etc/x.wh.", "x"), ("etc/.whx", "x")]);
    names(&[stays(&path)]).unwrap();
    let error = names(&[rewritten(&path, "/.wh.implied/x")]).unwrap_err().to_string();
    assert!(error.contains("/.wh.implied"), "{error}");
}
