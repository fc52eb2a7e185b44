use super::*;

/// Returns an entry: `name/` is a directory, `name -> target` a link, all others are files.
fn entry(text: &str) -> TarEntry {
    let (name, link) = text.split_once(" -> ").unwrap_or((text, ""));
    let kind = match (link.is_empty(), name.ends_with('/')) {
        (false, _) => EntryType::Symlink,
        (true, true) => EntryType::Directory,
        (true, false) => EntryType::Regular,
    };
    TarEntry {
        name: name.into(),
        kind,
        mode: 0o755,
        uid: 0,
        gid: 0,
        size: 0,
        link: link.into(),
        device: (0, 0),
        mtime: None,
        xattrs: Default::default(),
        position: 0,
        holes: None,
    }
}

#[test]
fn names_are_cleaned_as_docker_cleans_them() {
    for (name, cleaned) in [
        ("a/b", "a/b"),
        ("./a/b/", "a/b"),
        ("/a//b", "a/b"),
        ("a/x/../b", "a/b"),
        ("a/./b/.", "a/b"),
        ("", ""),
        ("/", ""),
        ("./", ""),
        ("a/..", ""),
    ] {
        assert_eq!(clean(name.as_bytes()).unwrap(), cleaned.as_bytes(), "{name}");
    }
    for name in ["../a", "a/../../b", "/../a"] {
        assert!(clean(name.as_bytes()).is_err(), "{name}");
    }
}

/// Returns the place of the last of these entries of one layer.
fn last_place(entries: &[&str]) -> io::Result<Option<LayerEffect>> {
    let mut links = LayerLinks::default();
    let (last, first) = entries.split_last().unwrap();
    for text in first {
        links.place(&entry(text)).unwrap();
    }
    links.place(&entry(last))
}

#[test]
fn links_of_the_same_layer_are_followed() {
    for (entries, path) in [
        (&["bin -> usr/bin", "bin/tool"] as &[&str], "usr/bin/tool"),
        (&["bin -> /usr/bin", "bin/tool"], "usr/bin/tool"),
        (&["a/up -> ../b", "a/up/x"], "b/x"),
        (&["a/up -> ../../../etc", "a/up/x"], "etc/x"),
        (&["one -> two", "two -> three/four", "one/x"], "three/four/x"),
        (&["bin -> usr/bin", "bin/", "bin/tool"], "bin/tool"),
        (&["bin -> usr/bin", "bin", "bin/tool"], "bin/tool"),
        (&["a/l -> x", "a", "a/l/y"], "a/l/y"),
        (&["bin/tool", "bin -> usr/bin", "bin"], "bin"),
        (&["top -> .", "top/top/x"], "x"),
    ] {
        assert_eq!(last_place(entries).unwrap(), Some(LayerEffect::At(path.into())), "{entries:?}");
    }
    assert_eq!(
        last_place(&["bin -> usr/bin", "bin/.wh.sh"]).unwrap(),
        Some(LayerEffect::Whiteout(b"usr/bin/sh".into()))
    );
    assert_eq!(last_place(&["bin -> usr", "bin/.wh..wh..opq"]).unwrap(), Some(LayerEffect::Opaque(b"usr".into())));
    assert_eq!(last_place(&["./"]).unwrap(), None);
    for (entries, why) in [
        (&["a -> b", "b -> a", "a/x"] as &[&str], "too many levels of symlinks"),
        (&["../x"], "points outside the image"),
        (&["a/.wh."], "a whiteout of no file"),
        (&["a/.wh..."], "a whiteout of no file"),
    ] {
        let error = last_place(entries).unwrap_err().to_string();
        assert!(error.contains(why), "{entries:?}: {error}");
    }
}

/// Returns the visible files of layers of entries.
fn visible(layers: &[&[&str]]) -> Vec<String> {
    let mut overlay = Overlay::default();
    for layer in layers {
        let mut links = LayerLinks::default();
        for text in *layer {
            let entry = entry(text);
            let Some(place) = links.place(&entry).unwrap() else { continue };
            let is_directory = entry.kind == EntryType::Directory;
            overlay.apply(&place, is_directory);
            if let (LayerEffect::At(path), false) = (place, is_directory) {
                overlay.insert(path, ());
            }
        }
        overlay.end_layer();
    }
    overlay.iter().map(|(path, ())| String::from_utf8_lossy(path).into_owned()).collect()
}

#[test]
fn whiteouts_hide_files_of_lower_layers_only() {
    let lower: &[&str] = &["a/b", "a/b.c", "a/bc", "a/d/e", "f"];
    for (upper, expected) in [
        (&["a/.wh.b"] as &[&str], &["a/b.c", "a/bc", "a/d/e", "f"] as &[&str]),
        (&["a/.wh.d"], &["a/b", "a/b.c", "a/bc", "f"]),
        (&[".wh.a"], &["f"]),
        (&["./a/../.wh.a"], &["f"]),
        (&["a/.wh..wh..opq"], &["f"]),
        (&[".wh..wh..opq"], &[]),
        (&["a/"], &["a/b", "a/b.c", "a/bc", "a/d/e", "f"]),
        (&["a"], &["a", "f"]),
        (&["a/d"], &["a/b", "a/b.c", "a/bc", "a/d", "f"]),
        (&["a/b", "a/.wh..wh..opq"], &["a/b", "f"]),
        (&["a/.wh..wh..opq", "a/b"], &["a/b", "f"]),
        (&["a/b", "a/.wh.b"], &["a/b", "a/b.c", "a/bc", "a/d/e", "f"]),
        (&["a/b", ".wh.a"], &["a/b", "f"]),
        // umoci#546: a directory replaces a file.
        (&["f/x"], &["a/b", "a/b.c", "a/bc", "a/d/e", "f/x"]),
        (&["f/"], &["a/b", "a/b.c", "a/bc", "a/d/e"]),
        (&["f/.wh.x"], &["a/b", "a/b.c", "a/bc", "a/d/e"]),
        // A later entry of the same layer replaces an earlier one.
        (&["g/x", "g"], &["a/b", "a/b.c", "a/bc", "a/d/e", "f", "g"]),
    ] {
        assert_eq!(visible(&[lower, upper]), expected, "{upper:?}");
    }
    assert_eq!(visible(&[lower, &[".wh.a"], &["a/x"]]), ["a/x", "f"]);
}

/// rules_oci#857, stereoscope#694.
#[test]
fn links_of_lower_layers_are_replaced() {
    let lower: &[&str] = &["usr/bin/sh", "bin -> usr/bin"];
    assert_eq!(visible(&[lower, &["bin/tool"]]), ["bin/tool", "usr/bin/sh"]);
    assert_eq!(visible(&[lower, &["bin/.wh.sh"]]), ["usr/bin/sh"]);
    assert_eq!(visible(&[lower, &["bin/.wh..wh..opq"]]), ["usr/bin/sh"]);
    assert_eq!(visible(&[lower, &["bin -> usr/bin", "bin/.wh.sh"]]), ["bin"]);
}
