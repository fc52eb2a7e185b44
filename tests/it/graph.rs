//! Copies of generated graphs of indexes, images and referrers: each destination that can hold the graph has the same graph
//! after the copy, and files are complete or absent.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    thread,
};

use super::hostile::tar;
use proptest::prelude::*;
use strata::internals::{
    image::{self, ManifestGraph, rehash},
    oci::{
        Algorithm, Descriptor, Digest, Index, Manifest, Platform,
        descriptor::{annotation, media_type},
    },
    transport::{Destination, Location, ReadOptions, WriteOptions, table::TRANSPORTS},
};

/// A graph, before it has digests.
#[derive(Clone, Debug)]
enum Node {
    /// Architecture and layers.
    Image(u8, Vec<Vec<u8>>),
    /// A config of any kind, and blobs.
    Artifact(Vec<u8>, Vec<Vec<u8>>),
    Index(Vec<Node>),
}

fn node() -> impl Strategy<Value = Node> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    let layer = bytes().prop_map(|bytes| tar(&[("file", &bytes)]));
    let image = (0..4_u8, prop::collection::vec(layer, 0..3)).prop_map(|(arch, layers)| Node::Image(arch, layers));
    let artifact =
        (bytes(), prop::collection::vec(bytes(), 0..3)).prop_map(|(config, blobs)| Node::Artifact(config, blobs));
    let leaf = prop_oneof![image, artifact];
    leaf.prop_recursive(3, 12, 4, |inner| prop::collection::vec(inner, 0..4).prop_map(Node::Index))
}

/// A layout on the disk, made by hand.
struct Layout {
    path: PathBuf,
    algorithm: Algorithm,
}

impl Layout {
    fn new(path: PathBuf) -> Self {
        for algorithm in ["sha256", "sha512"] {
            fs::create_dir_all(path.join("blobs").join(algorithm)).unwrap();
        }
        fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        Self { path, algorithm: Algorithm::Sha256 }
    }

    fn put(&self, kind: &str, bytes: &[u8]) -> Descriptor {
        let digest = self.algorithm.digest(bytes);
        fs::write(self.path.join(digest.blob_name()), bytes).unwrap();
        Descriptor::new(kind, digest, bytes.len() as u64)
    }

    fn document<T: serde::Serialize>(&self, kind: &str, document: &T) -> Descriptor {
        // The document is not in strata's form, because documents are copied byte for byte.
        self.put(kind, &serde_json::to_vec_pretty(document).unwrap())
    }

    fn add(&self, node: &Node) -> Descriptor {
        match node {
            Node::Image(arch, layers) => {
                let layers: Vec<Descriptor> =
                    layers.iter().map(|layer| self.put(media_type::LAYER_TAR, layer)).collect();
                let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.digest).collect();
                let arch = ["amd64", "arm64", "s390x", "riscv64"][usize::from(*arch)];
                let config = serde_json::json!({ "architecture": arch, "os": "linux",
                    "rootfs": { "type": "layers", "diff_ids": diff_ids }, "unknown": { "kept": true } });
                let config = self.document(media_type::CONFIG, &config);
                let descriptor = self.document(media_type::MANIFEST, &Manifest::new(config, layers));
                Descriptor { platform: Some(Platform::linux(arch, None)), ..descriptor }
            }
            Node::Artifact(config, blobs) => {
                let blobs = blobs.iter().map(|blob| self.put("application/x-blob", blob)).collect();
                let config = self.put("application/x-config", config);
                let mut manifest = Manifest::new(config, blobs);
                manifest.artifact_type = Some("application/x-artifact".to_owned());
                manifest.other.insert("future".to_owned(), 1.into());
                self.document(media_type::MANIFEST, &manifest)
            }
            Node::Index(children) => {
                self.document(media_type::INDEX, &Index::new(children.iter().map(|child| self.add(child)).collect()))
            }
        }
    }

    fn tag(&self, descriptor: Descriptor, tag: &str) {
        let annotations = [(annotation::REF_NAME.to_owned(), tag.to_owned())].into();
        let index = Index::new(vec![Descriptor { annotations, ..descriptor }]);
        fs::write(self.path.join("index.json"), serde_json::to_vec(&index).unwrap()).unwrap();
    }
}

fn open(location: &str) -> image::Opened {
    location.parse::<Location>().unwrap().open(&ReadOptions::default()).unwrap()
}

fn copy(content: &ManifestGraph, destination: &str) -> Result<Digest, String> {
    let destination: Destination = destination.parse().unwrap();
    destination
        .write(content, &WriteOptions::default())
        .map(|written| written.digest)
        .map_err(|error| error.to_string())
}

/// Every digest that a content leads to.
fn digests(content: &ManifestGraph) -> BTreeSet<Digest> {
    let mut all = BTreeSet::from([content.digest()]);
    match content {
        ManifestGraph::Image(image) => {
            all.insert(image.config_descriptor().digest);
            for layer in &image.layers {
                layer.write(&mut std::io::sink()).unwrap();
                all.insert(layer.descriptor.digest);
            }
        }
        ManifestGraph::Index(index) => all.extend(index.children.iter().flat_map(digests)),
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn graphs_come_back_with_the_same_digests_or_are_refused(node in node(), long in any::<bool>()) {
        let top = tempfile::tempdir().unwrap();
        let at = |name: &str| top.path().join(name).display().to_string();
        let algorithm = if long { Algorithm::Sha512 } else { Algorithm::Sha256 };
        let layout = Layout { algorithm, ..Layout::new(top.path().join("a")) };
        layout.tag(layout.add(&node), "v1");
        // Through every pair: layout, archive, layout, and where one image fits, dir: and docker-archive: too.
        let first = open(&format!("oci:{}:v1", at("a"))).content().unwrap();
        let (one, whole) = (first.digest(), digests(&first));
        prop_assert_eq!(copy(&first, &format!("oci-archive:{}:name:v1", at("b.tar"))).unwrap(), one);
        let second = open(&format!("oci-archive:{}:v1", at("b.tar"))).content().unwrap();
        prop_assert_eq!(&digests(&second), &whole);
        prop_assert_eq!(copy(&second, &format!("oci:{}:v2", at("c"))).unwrap(), one);
        let third = open(&format!("oci:{}:v2", at("c"))).content().unwrap();
        prop_assert_eq!(&digests(&third), &whole);
        let report = rehash::rehash(&open(&format!("oci:{}", at("c")))).unwrap();
        prop_assert_eq!(report.problems, Vec::<String>::new());
        for (scheme, path) in [("dir", at("d")), ("docker-archive", at("e.tar"))] {
            let copied = copy(&third, &format!("{scheme}:{path}"));
            match (&third, &node) {
                (ManifestGraph::Index(_), _) => prop_assert!(copied.unwrap_err().contains("can hold only one image")),
                (ManifestGraph::Image(_), _) => {
                    prop_assert_eq!(copied.unwrap(), one);
                    let back = open(&format!("{scheme}:{path}")).content().unwrap();
                    let mut found = digests(&back);
                    // A dir: does not say how its manifest was hashed.
                    if scheme == "dir" {
                        found.remove(&back.digest());
                        prop_assert!(one.matches(&back.images()[0].manifest));
                        found.insert(one);
                    }
                    prop_assert_eq!(&found, &whole);
                }
            }
        }
    }
}

/// An image of one layer, in a layout.
fn image(top: &Path, layer: &[u8]) -> (Layout, ManifestGraph) {
    let layout = Layout::new(top.join("source"));
    layout.tag(layout.add(&Node::Image(0, vec![layer.to_vec()])), "v1");
    let content = open(&format!("oci:{}:v1", layout.path.display())).content().unwrap();
    (layout, content)
}

#[test]
fn tags_of_indexes_resolve_and_other_tags_stay_where_they_are() {
    let top = tempfile::tempdir().unwrap();
    let layout = Layout::new(top.path().join("a"));
    let index = layout.add(&Node::Index(vec![Node::Image(0, vec![]), Node::Image(1, vec![])]));
    let other = layout.add(&Node::Image(2, vec![]));
    let tagged = |descriptor: &Descriptor, tag: &str| Descriptor {
        annotations: [(annotation::REF_NAME.to_owned(), tag.to_owned())].into(),
        platform: None,
        ..descriptor.clone()
    };
    let listed = Index::new(vec![tagged(&index, "v1"), tagged(&other, "v2")]);
    fs::write(layout.path.join("index.json"), serde_json::to_vec(&listed).unwrap()).unwrap();
    let named = |tag: &str| open(&format!("oci:{}:{tag}", layout.path.display()));
    assert_eq!(named("v1").content().unwrap().digest(), index.digest);
    assert_eq!(named("v2").content().unwrap().digest(), other.digest);
    assert_eq!(named("v1").image(Some(&Platform::linux("arm64", None))).unwrap().platform.architecture, "arm64");
    let error = named("v1").image(Some(&Platform::linux("s390x", None))).unwrap_err().to_string();
    assert_eq!(error, "no image matches linux/s390x; found linux/amd64, linux/arm64");
    // The same applies to a layout with one image.
    let error = named("v2").image(Some(&Platform::linux("amd64", None))).unwrap_err().to_string();
    assert_eq!(error, "no image matches linux/amd64; found linux/s390x");
    let error = open(&format!("oci:{}", layout.path.display())).content().unwrap_err().to_string();
    assert!(error.contains("choose one by its tag; found v1, v2"), "{error}");
}

#[test]
fn a_choice_between_several_images_is_an_error() {
    let top = tempfile::tempdir().unwrap();
    let layout = Layout::new(top.path().join("a"));
    let (one, two) = (layout.add(&Node::Image(0, vec![])), layout.add(&Node::Image(0, vec![b"layer".to_vec()])));
    let other = layout.add(&Node::Image(1, vec![]));
    // By a tag alone, as skopeo and umoci name them; or by none.
    let tagged = |descriptor: &Descriptor, tag: &str| Descriptor {
        annotations: [(annotation::REF_NAME.to_owned(), tag.to_owned())].into(),
        ..descriptor.clone()
    };
    let image = |listed: Vec<Descriptor>| {
        fs::write(layout.path.join("index.json"), serde_json::to_vec(&Index::new(listed)).unwrap()).unwrap();
        let platform = Platform::linux("amd64", None);
        let found = open(&format!("oci:{}", layout.path.display())).image(Some(&platform));
        found.map(|image| image.digest()).map_err(|error| error.to_string())
    };
    let refused = image(vec![tagged(&one, "v1"), tagged(&two, "v2")]).unwrap_err();
    assert_eq!(refused, "there are several images; choose one by its tag; found v1, v2");
    assert!(image(vec![one.clone(), two.clone()]).unwrap_err().starts_with("there are several images"));
    // One image has two names, and the others are for other platforms.
    assert_eq!(image(vec![tagged(&one, "v1"), tagged(&one, "v2")]), Ok(one.digest));
    assert_eq!(image(vec![other.clone(), one.clone()]), Ok(one.digest));
    let none = image(vec![]).unwrap_err();
    assert_eq!(none, "there is no image; found none");
    assert!(open(&format!("oci:{}", layout.path.display())).content().is_err());
}

#[test]
fn the_tag_of_an_index_precedes_the_name_in_annotations() {
    let top = tempfile::tempdir().unwrap();
    let layout = Layout::new(top.path().join("a"));
    let image = layout.add(&Node::Image(0, vec![]));
    // `umoci tag` writes this index for strata's image:v1.
    let annotations = [(annotation::REF_NAME, "again"), (annotation::IMAGE_NAME, "docker.io/library/image:v1")];
    let annotations = annotations.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let index = Index::new(vec![Descriptor { annotations, ..image.clone() }]);
    fs::write(layout.path.join("index.json"), serde_json::to_vec(&index).unwrap()).unwrap();
    assert_eq!(open(&format!("oci:{}:again", layout.path.display())).content().unwrap().digest(), image.digest);
    let gone = format!("oci:{}:v1", layout.path.display()).parse::<Location>().unwrap();
    assert!(gone.open(&ReadOptions::default()).is_err());
}

#[test]
fn sha512_digests_of_documents_are_kept() {
    let top = tempfile::tempdir().unwrap();
    let layout = Layout { algorithm: Algorithm::Sha512, ..Layout::new(top.path().join("a")) };
    let images = vec![Node::Image(0, vec![b"layer".to_vec()]), Node::Image(1, vec![])];
    let index = layout.add(&Node::Index(images));
    layout.tag(index.clone(), "v1");
    let content = open(&format!("oci:{}", layout.path.display())).content().unwrap();
    let target = top.path().join("b");
    assert_eq!(copy(&content, &format!("oci:{}:v1", target.display())).unwrap(), index.digest);
    let names = |path: &Path| -> BTreeSet<_> {
        let entries = fs::read_dir(path.join("blobs/sha512")).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    };
    assert_eq!(names(&target), names(&layout.path));
    assert_eq!(names(&target).len(), 6);
    assert!(!target.join("blobs/sha256").exists());
}

#[test]
fn existing_blobs_at_the_destination_are_verified() {
    let top = tempfile::tempdir().unwrap();
    let (_layout, content) = image(top.path(), b"some layer");
    let target = top.path().join("target");
    let destination = format!("oci:{}:v1", target.display());
    copy(&content, &destination).unwrap();
    let blob = target.join(Digest::sha256(b"some layer").blob_name());
    fs::write(&blob, b"some").unwrap();
    copy(&content, &destination).unwrap();
    assert_eq!(fs::read(&blob).unwrap(), b"some layer");
}

#[test]
fn a_layout_that_a_copy_failed_into_is_the_old_one_and_the_same_copy_completes_it() {
    let top = tempfile::tempdir().unwrap();
    let (_old, old) = image(&top.path().join("old"), b"old layer");
    let layout = Layout::new(top.path().join("new"));
    layout.tag(layout.add(&Node::Image(0, vec![b"first layer".to_vec(), b"second layer".to_vec()])), "v1");
    let content = open(&format!("oci:{}", layout.path.display())).content().unwrap();
    let target = top.path().join("target");
    let destination = format!("oci:{}:v1", target.display());
    copy(&old, &destination).unwrap();
    let index = fs::read(target.join("index.json")).unwrap();
    let broken = layout.path.join(Digest::sha256(b"second layer").blob_name());
    fs::write(&broken, b"SECOND LAYER").unwrap();
    assert!(copy(&content, &destination).is_err());
    assert_eq!(fs::read(target.join("index.json")).unwrap(), index);
    // Blobs that were written before the error are complete. The next copy does not write them again.
    for blob in fs::read_dir(target.join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path()) {
        let digest = Digest::sha256(&fs::read(&blob).unwrap());
        assert_eq!(blob.file_name().unwrap().to_str().unwrap(), digest.hex());
    }
    assert!(target.join(Digest::sha256(b"first layer").blob_name()).exists());
    assert!(!target.join(Digest::sha256(b"second layer").blob_name()).exists());
    fs::write(&broken, b"second layer").unwrap();
    copy(&content, &destination).unwrap();
    assert_eq!(open(&destination).content().unwrap().digest(), content.digest());
}

#[test]
fn copied_blobs_are_not_hard_links_to_writable_files() {
    let top = tempfile::tempdir().unwrap();
    let (layout, content) = image(top.path(), b"some layer");
    let target = top.path().join("target");
    copy(&content, &format!("oci:{}:v1", target.display())).unwrap();
    let name = Digest::sha256(b"some layer").blob_name();
    fs::File::options().write(true).open(target.join(&name)).unwrap().set_len(0).unwrap();
    assert_eq!(fs::read(layout.path.join(&name)).unwrap(), b"some layer");
}

#[test]
fn parallel_copies_into_one_layout_keep_every_tag() {
    let top = tempfile::tempdir().unwrap();
    let (_layout, content) = image(top.path(), b"some layer");
    let target = top.path().join("target");
    thread::scope(|scope| {
        for number in 0..12 {
            let (content, target) = (&content, &target);
            scope.spawn(move || copy(content, &format!("oci:{}:v{number}", target.display())).unwrap());
        }
    });
    let index: Index = serde_json::from_slice(&fs::read(target.join("index.json")).unwrap()).unwrap();
    let tags: BTreeSet<&String> = index.manifests.iter().map(|it| &it.annotations[annotation::REF_NAME]).collect();
    assert_eq!(tags.len(), 12);
    assert_eq!(index.manifests.len(), 12);
}

#[test]
fn archives_and_directories_are_replaced_whole_and_others_stay() {
    let top = tempfile::tempdir().unwrap();
    let (layout, content) = image(top.path(), b"some layer");
    let (directory, archive) = (top.path().join("dir"), top.path().join("image.tar"));
    for _ in 0..2 {
        copy(&content, &format!("dir:{}", directory.display())).unwrap();
        copy(&content, &format!("oci-archive:{}", archive.display())).unwrap();
    }
    // A copy that fails leaves what was there.
    let before = fs::read(&archive).unwrap();
    let blob = layout.path.join(Digest::sha256(b"some layer").blob_name());
    fs::write(&blob, b"SOME LAYER").unwrap();
    for destination in [format!("dir:{}", directory.display()), format!("oci-archive:{}", archive.display())] {
        assert!(copy(&content, &destination).is_err());
    }
    assert_eq!(fs::read(&archive).unwrap(), before);
    assert_eq!(fs::read(directory.join(Digest::sha256(b"some layer").hex())).unwrap(), b"some layer");
    fs::write(&blob, b"some layer").unwrap();
    // No temporary file is left.
    let names: BTreeSet<_> = fs::read_dir(top.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    // A directory that is no layout is not replaced.
    let home = top.path().join("home");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("letter"), "dear").unwrap();
    let error = copy(&content, &format!("dir:{}", home.display())).unwrap_err();
    assert!(error.contains("is neither empty"), "{error}");
    assert_eq!(fs::read(home.join("letter")).unwrap(), b"dear");
}

#[test]
fn errors_of_single_image_destinations_name_index_destinations() {
    let top = tempfile::tempdir().unwrap();
    let layout = Layout::new(top.path().join("a"));
    layout.tag(layout.add(&Node::Index(vec![Node::Image(0, vec![]), Node::Image(1, vec![])])), "v1");
    let content = open(&format!("oci:{}", layout.path.display())).content().unwrap();
    for scheme in TRANSPORTS.iter().filter(|transport| !transport.write.holds.index) {
        // Engines take a name of an image, dir: a directory; neither is written.
        let file = top.path().join("x");
        let rest = if scheme.name == "dir" { file.to_str().unwrap() } else { "app:v1" };
        let error = copy(&content, &format!("{}:{rest}", scheme.name)).unwrap_err();
        assert!(error.contains("copy to") && error.contains("oci:DIR"), "{error}");
    }
}

/// The file that was recognised is the one whose blobs are read, whatever the path means by then.
#[test]
fn an_archive_that_is_replaced_after_it_was_opened_is_read_as_it_was() {
    let top = tempfile::tempdir().unwrap();
    let (_layout, content) = image(top.path(), b"some layer");
    let path = top.path().join("image.tar");
    copy(&content, &format!("oci-archive:{}", path.display())).unwrap();
    let plain = fs::read(&path).unwrap();
    for archive in [zstd::encode_all(plain.as_slice(), 1).unwrap(), plain] {
        fs::write(&path, archive).unwrap();
        let opened = open(path.to_str().unwrap());
        fs::remove_file(&path).unwrap();
        fs::write(&path, "something else").unwrap();
        let target = format!("oci:{}", top.path().join("target").display());
        assert_eq!(copy(&opened.content().unwrap(), &target).unwrap(), content.digest());
    }
}
