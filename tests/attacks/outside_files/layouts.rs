//! Links, pipes and devices in layouts.

use super::*;

#[test]
fn links_in_a_layout_are_not_followed() {
    for is_layout in [true, false] {
        let home = Home::new();
        let size = home.secret_size();
        for place in [
            |home: &Home, blob: &Path| symlink(&home.secret, blob).unwrap(),
            |home: &Home, blob: &Path| {
                let up = "../".repeat(blob.components().count());
                symlink(format!("{up}{}", home.secret.display()), blob).unwrap();
            },
            |_: &Home, blob: &Path| symlink("/proc/self/environ", blob).unwrap(),
        ] {
            for (size, digest) in [(size, NO_DIGEST), (size, &home.secret_digest()), (2000, NO_DIGEST)] {
                let image = home.directory(is_layout, digest, size, |blob| {
                    drop(fs::remove_file(blob));
                    place(&home, blob);
                });
                nothing_leaves(&home, &image);
            }
        }
        // A hard link cannot be distinguished from a file, but its digest differs.
        let image = home.directory(is_layout, NO_DIGEST, size, |blob| {
            drop(fs::remove_file(blob));
            fs::hard_link(&home.secret, blob).unwrap();
        });
        nothing_leaves(&home, &image);
        fs::remove_dir_all(&home.image).unwrap();
        fs::create_dir(&home.image).unwrap();
        // A directory on the way is a link.
        if is_layout {
            let outside = home.path().join("outside");
            fs::create_dir(&outside).unwrap();
            let digest = home.secret_digest();
            let image = home.directory(true, &digest, size, |blob| fs::copy(&home.secret, blob).map(drop).unwrap());
            fs::rename(home.image.join("blobs/sha256"), outside.join("sha256")).unwrap();
            symlink(outside.join("sha256"), home.image.join("blobs/sha256")).unwrap();
            let (_, output) = uploaded(&home, &image, &[]);
            assert!(output.contains("which may be any file"), "{output}");
            nothing_leaves(&home, &image);
        }
    }
}

#[test]
fn pipes_and_devices_in_a_layout_do_not_hang_a_copy() {
    for device in [false, true] {
        let home = Home::new();
        let image = home.directory(true, NO_DIGEST, 10, |blob| match device {
            true => symlink("/dev/zero", blob).unwrap(),
            false => make_pipe(blob),
        });
        let (_, output) = uploaded(&home, &image, &[]);
        assert!(output.contains("it is a pipe") || output.contains("which may be any file"), "{output}");
        for document in ["index.json", "oci-layout"] {
            let path = home.image.join(document);
            fs::remove_file(&path).unwrap();
            make_pipe(&path);
        }
        let (_, output) = uploaded(&home, &image, &[]);
        assert!(output.contains("it is a pipe"), "{output}");
    }
}

fn make_pipe(path: &Path) {
    let status = std::process::Command::new("mkfifo").arg(path).status().unwrap();
    assert!(status.success());
}

#[test]
fn links_of_a_layout_into_the_store_are_followed() {
    let home = Home::new();
    let layer = b"layer".to_vec();
    let own = Image::new(std::slice::from_ref(&layer));
    let blobs = home.image.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let store = home.path().join("00000000000000000000000000000000-blobs");
    fs::create_dir(&store).unwrap();
    for bytes in own.blobs.iter().chain([&own.manifest]) {
        let name = Digest::sha256(bytes).hex();
        fs::write(store.join(&name), bytes).unwrap();
        symlink(store.join(&name), blobs.join(&name)).unwrap();
    }
    fs::write(home.image.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let index = json!({ "schemaVersion": 2, "manifests": [descriptor(media_type::MANIFEST, &own.manifest)] });
    fs::write(home.image.join("index.json"), index.to_string()).unwrap();
    let out = home.path().join("out");
    let image = format!("oci:{}", home.image.display());
    let mut command = strata(home.path());
    command.args(["copy", "-q", &image, &format!("oci:{}", out.display())]);
    let refused = command.output().unwrap();
    assert!(!refused.status.success() && text(&refused).contains("which may be any file"), "{}", text(&refused));
    let output = command.env("NIX_STORE_DIR", home.path()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(fs::read(out.join("blobs/sha256").join(Digest::sha256(&layer).hex())).unwrap(), layer);
}
