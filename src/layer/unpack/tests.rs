use super::*;

fn layer(name: &str, size: usize) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(size as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, name, vec![7; size].as_slice()).unwrap();
    tar.into_inner().unwrap()
}

#[test]
fn all_layers_of_an_image_take_from_one_budget() {
    const LIMITS: Limits = Limits { input: "the unpacked image", bytes: 250, parts: 10, part: "files" };
    let top = tempfile::tempdir().unwrap();
    let root = top.path().join("root");
    fs::create_dir(&root).unwrap();
    let mut disk = Disk::new(&LIMITS);
    let mut unpack = |name| unpack_within(layer(name, 100).as_slice(), &root, &mut Owners::new(), &mut disk);
    unpack("a").unwrap();
    unpack("b").unwrap();
    let error = unpack("c").unwrap_err().to_string();
    assert!(error.contains("the unpacked image has more than 250 bytes"), "{error}");
}

#[test]
fn unpacking_leaves_space_to_other_programs() {
    let top = tempfile::tempdir().unwrap();
    // No file system has all of its blocks free.
    let full = || Disk { space: FreeSpace::new(u64::MAX, 1), ..Disk::default() };
    let layer = layer("big", 20 << 20);
    let error = unpack_within(layer.as_slice(), top.path(), &mut Owners::new(), &mut full()).unwrap_err();
    assert!(error.to_string().contains("of the file system are free"), "{error}");
}
