use super::*;

fn contents(files: &[(&str, &str)]) -> (tempfile::TempDir, TreeContents) {
    let top = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = top.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match text.strip_prefix("-> ") {
            Some(target) => std::os::unix::fs::symlink(target, path).unwrap(),
            None => fs::write(path, text).unwrap(),
        }
    }
    let contents = TreeContents::of_path(top.path(), Path::new("/nix/store/x")).unwrap();
    (top, contents)
}

#[test]
fn differences_have_files_and_offsets() {
    let long = "x".repeat(300_000);
    let changed = format!("{}y{}", &long[..270_000], &long[270_001..]);
    let (_one, first) = contents(&[("a/same", "1"), ("a/long", &long), ("b", "12"), ("only", ""), ("link", "-> a")]);
    let (_two, second) = contents(&[("a/same", "1"), ("a/long", &changed), ("b", "123"), ("link", "-> b")]);
    let found = first.compare_store_path(&second, Path::new("/nix/store/x")).unwrap();
    let lines: Vec<String> = found.iter().map(|found| serde_json::to_string(found).unwrap()).collect();
    assert_eq!(
        lines,
        [
            r#"{"file":"/nix/store/x/a/long","what":"bytes","offset":270000,"count":1,"firstSize":300000,"secondSize":300000,"cause":"unknown"}"#,
            r#"{"file":"/nix/store/x/b","what":"bytes","offset":2,"count":0,"firstSize":2,"secondSize":3,"cause":"unknown"}"#,
            r#"{"file":"/nix/store/x/link","what":"attribute","name":"target","first":"a","second":"b"}"#,
            r#"{"file":"/nix/store/x/only","what":"onlyFirst"}"#,
        ]
    );
    assert!(first.compare_store_path(&second, Path::new("/nix/store/x/a/same")).unwrap().is_empty());
    assert!(first.compare_store_path(&second, Path::new("/nix/store/x/a/lo")).unwrap().is_empty());
}
