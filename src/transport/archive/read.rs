//! Reads archives: a docker-archive or an OCI layout in a tar is read once, in order.

use std::{
    fs::File,
    io::{self, Read, Seek},
    path::Path,
    sync::Arc,
};

use tar::EntryType;

use super::{
    contents::{ArchiveBlob, ArchiveContents},
    docker,
    tar_file::{self, Archive},
};
use crate::{
    image::{
        FoundImages, ManifestNode, OpenError, Store,
        node::new_budget,
        top::{Top, UnlistedImage},
    },
    layer::{self, DetectedCompression, untar::TarReader},
    oci::{Descriptor, Digest, ImageConfig, Index, Manifest, media_type},
};

/// Reads the archive `file` once, in order. `path` is used in messages.
pub fn open(mut file: File, path: &Path) -> Result<FoundImages, OpenError> {
    let opening = OpenError::io("opening", path);
    let fail = |act: String, source| OpenError::Io { act, path: path.to_owned(), source };
    let compression = read_compression(&mut file).map_err(&opening)?;
    let mut contents = ArchiveContents::new(Archive::new(file.try_clone().map_err(&opening)?, compression));
    if compression == DetectedCompression::Plain {
        scan_entries(TarReader::seeking(file), &mut contents, &fail)?;
    } else {
        let size = file.metadata().map_err(&opening)?.len();
        scan_entries(TarReader::new(compression.reader(file, size).map_err(&opening)?), &mut contents, &fail)?;
    }
    found(contents)
}

/// Reads an archive from a pipe, which is copied to a nameless file.
pub fn open_stream(mut stream: impl Read, path: &Path) -> Result<FoundImages, OpenError> {
    let mut kept = || -> io::Result<File> {
        let mut file = layer::spool(&mut stream)?;
        match read_compression(&mut file)? {
            DetectedCompression::Plain => Ok(file),
            compression => tar_file::unpack(&file, compression),
        }
    };
    open(kept().map_err(OpenError::io("keeping", path))?, path)
}

/// Detects the compression of a file, and seeks to its start.
fn read_compression(file: &mut File) -> io::Result<DetectedCompression> {
    let mut start = Vec::new();
    file.take(8).read_to_end(&mut start)?;
    file.rewind()?;
    Ok(DetectedCompression::detect(&start))
}

fn scan_entries<R: Read>(
    mut archive: TarReader<R>,
    contents: &mut ArchiveContents,
    fail: &dyn Fn(String, io::Error) -> OpenError,
) -> Result<(), OpenError> {
    let mut last = "the start".to_owned();
    loop {
        let next = archive.next_entry().map_err(|error| fail(format!("reading the entry after {last} in"), error))?;
        let Some(entry) = next else { break };
        let name = String::from_utf8_lossy(&entry.name).into_owned();
        let name = name.trim_start_matches("./").to_owned();
        match entry.kind {
            EntryType::Regular | EntryType::Continuous => {
                let blob = ArchiveBlob { size: entry.size, offset: entry.position };
                contents
                    .add(name.clone(), blob, &mut archive)
                    .map_err(|error| fail(format!("reading {name} in"), error))?;
            }
            // docker writes a layer that two images share only once, and links to it.
            EntryType::Symlink | EntryType::Link => {
                let target = String::from_utf8_lossy(&entry.link).into_owned();
                let target = match entry.kind {
                    EntryType::Symlink => beside(&name, &target),
                    _ => target,
                };
                contents
                    .alias(name.clone(), target)
                    .map_err(|error| fail(format!("reading the link {name} in"), error))?;
            }
            _ => {}
        }
        last = name;
    }
    Ok(())
}

/// Returns the images of an OCI layout or a docker archive.
fn found(contents: ArchiveContents) -> Result<FoundImages, OpenError> {
    let contents = Arc::new(contents);
    let exists = |name| contents.raw(name).is_some() || contents.blob(name).is_some();
    if exists("index.json") {
        let index: Index = contents.document("index.json")?;
        if !exists("manifest.json") {
            return Ok(FoundImages::from_index(index, contents));
        }
        if is_complete(&index, &contents) {
            check_same_images(&index, &contents)?;
            return Ok(FoundImages::from_index(index, contents));
        }
    }
    let saved = docker::images(&contents)?;
    Ok(FoundImages::new(saved.into_iter().map(|image| Top::Unlisted(Arc::new(image))).collect(), contents))
}

/// Whether all images of an index.json have layers. docker 25 writes indexes without images next to a complete
/// manifest.json: `"manifests": null` for `docker save NAME@DIGEST` (moby#47210), and manifests without layers
/// (moby#47065).
fn is_complete(index: &Index, contents: &ArchiveContents) -> bool {
    let lacks_layers = |descriptor: &Descriptor| {
        let manifest = contents.document::<Manifest>(&descriptor.digest.blob_name());
        manifest.is_ok_and(|manifest| {
            let config = || contents.document::<ImageConfig>(&manifest.config.digest.blob_name());
            let is_image = media_type::is_config(&manifest.config.media_type);
            manifest.layers.is_empty() && is_image && config().is_ok_and(|config| !config.rootfs.diff_ids.is_empty())
        })
    };
    !index.manifests.is_empty() && !index.manifests.iter().any(lacks_layers)
}

/// Refuses an archive whose manifest.json lists another image than its index.json. docker before 25 and podman load the
/// image of manifest.json, so the file would be a different image for them.
///
/// A document that cannot be read is reported when its image is selected.
fn check_same_images(index: &Index, contents: &Arc<ArchiveContents>) -> Result<(), OpenError> {
    let mut budget = new_budget();
    let mut listed: Vec<(Vec<String>, Digest)> = Vec::new();
    for descriptor in &index.manifests {
        let node = ManifestNode { descriptor: descriptor.clone(), store: Arc::clone(contents) as Arc<dyn Store> };
        for node in node.manifests(&mut budget).unwrap_or_default() {
            if let Ok(manifest) = contents.document::<Manifest>(&node.descriptor.digest.blob_name()) {
                listed.push((node.names(), manifest.config.digest));
            }
        }
    }
    for saved in docker::images(contents)? {
        let Ok(config) = saved.config() else { continue };
        let fail = |what: &str| OpenError::Document {
            document: "manifest.json".to_owned(),
            why: format!(
                "{what} with the config {}, but index.json lists another image; save the archive again",
                Digest::sha256(&config)
            ),
        };
        let is_listed = |name: Option<&String>, config: Option<&[u8]>| {
            listed.iter().any(|(names, digest)| {
                name.is_none_or(|name| names.contains(name)) && config.is_none_or(|config| digest.matches(config))
            })
        };
        if !is_listed(None, Some(&config)) {
            return Err(fail("it lists an image"));
        }
        let moved = |name: &&String| is_listed(Some(name), None) && !is_listed(Some(name), Some(&config));
        if let Some(name) = saved.names().iter().find(moved) {
            return Err(fail(name));
        }
    }
    Ok(())
}

/// Returns the name of the entry that a link `target` of the entry `name` leads to. Targets outside of the archive
/// match no entry.
fn beside(name: &str, target: &str) -> String {
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_names_in_the_archive() {
        assert_eq!(beside("one/layer.tar", "../two/layer.tar"), "two/layer.tar");
        assert_eq!(beside("one/layer.tar", "../../../etc/passwd"), "etc/passwd");
        assert_eq!(beside("a", "./b"), "b");
    }
}
