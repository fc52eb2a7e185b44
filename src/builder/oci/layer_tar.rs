//! Kind `oci-layer-tar`: files as a layer with bytes.
//!
//! ```text
//! blobs/sha256/<digest>
//! layer.tar[.gz|.zst]      link to the blob
//! media-descriptor.json    the layer's descriptor
//! DiffID                   digest of the uncompressed tar
//! layers-cache.json        diff_id, and the layer's /etc/passwd and /etc/group
//! layers.json              the layer in the format of buildLayer
//! closure.json             its store paths and references
//! ```
//!
//! The tar, its digest, the compression and the digest of the blob are made in one pass.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::{
    super::{attributes::Attributes, grouping::clash, programs},
    blobs::OutputBlobs,
};
use crate::{
    budget::ACCOUNTS,
    closure::{Graph, Node},
    image::recipe::{LayerPath, RecipeLayer},
    layer::{self, PathOptions, Perm, Source, Tree, chunked::Finished, compress::Compression},
    oci::{Descriptor, Digest, History, Sha256Writer},
    terminal::note,
    threads,
};

/// The modification time of all files in these layers, as documented for these functions.
const MTIME: u64 = 0;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Request {
    files: Vec<PlacedFile>,
    compression: Compression,
    /// Whether the closure of the sources is in the layer.
    closure: bool,
}

/// An element of `files`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlacedFile {
    source: PathBuf,
    destination: PathBuf,
    #[serde(default)]
    mode: Option<String>,
    #[serde(default)]
    uid: u64,
    #[serde(default)]
    gid: u64,
}

#[derive(Serialize)]
struct LayersCache {
    diff_id: Digest,
    passwd: String,
    group: String,
}

pub fn build(attributes: &Attributes) -> Result<()> {
    let request: Request = attributes.request()?;
    let graph = if request.closure { attributes.closure()? } else { Graph::union([]) };
    let paths: Vec<LayerPath> = graph.nodes().iter().map(path).collect();
    let mut sources: Vec<Source> = paths.iter().map(LayerPath::source).collect();
    let files = counting(&request.files);
    for (at, placed) in &files {
        sources.push(placed.source().with_context(|| format!("argument files, element {}", at + 1))?);
    }
    let tree =
        Tree::new(&sources).map_err(|error| clash(error, "give one of them another `destination`"))?.with_mtime(MTIME);
    let blobs = OutputBlobs::create(attributes.out())?;
    let (diff_id, descriptor) = write(&tree, request.compression, &blobs)?;

    let file = format!("layer.tar{}", request.compression.suffix());
    blobs.symlink(Path::new(&descriptor.digest.blob_name()), file)?;
    blobs.document("media-descriptor.json", &descriptor)?;
    fs::write(blobs.path("DiffID"), diff_id.to_string())?;
    let cache =
        LayersCache { diff_id, passwd: accounts(&files, "/etc/passwd")?, group: accounts(&files, "/etc/group")? };
    blobs.document("layers-cache.json", &cache)?;
    let history = History { created_by: "ociLayerTar".to_owned(), ..History::default() };
    let blob = Some(blobs.path(descriptor.digest.blob_name()));
    let layer = RecipeLayer { paths, history, ..RecipeLayer::from_blob(&descriptor, diff_id, blob) };
    blobs.document("closure.json", &graph)?;
    blobs.document("layers.json", &[layer])
}

/// Returns the elements that are used, with their indices in the list. Of files with equal destinations the last one
/// replaces the others.
fn counting(files: &[PlacedFile]) -> Vec<(usize, &PlacedFile)> {
    let is_file = |placed: &PlacedFile| fs::metadata(&placed.source).is_ok_and(|source| !source.is_dir());
    let is_replaced = |at: usize, placed: &PlacedFile| {
        let later = files[at + 1..].iter().filter(|later| later.destination == placed.destination);
        is_file(placed) && later.into_iter().any(is_file)
    };
    files.iter().enumerate().filter(|(at, placed)| !is_replaced(*at, placed)).collect()
}

fn path(node: &Node) -> LayerPath {
    LayerPath { path: node.path.as_path().to_owned(), options: None }
}

/// Writes the blob. Returns the digest of the tar, and the blob's descriptor.
fn write(tree: &Tree, compression: Compression, blobs: &OutputBlobs) -> Result<(Digest, Descriptor)> {
    let unnamed = blobs.path("blobs/sha256/unfinished");
    let writing = || format!("writing {}", unnamed.display());
    let file = File::create_new(&unnamed).with_context(writing)?;
    let compressor = compression.writer(Sha256Writer::new(file), threads::jobs(), None).with_context(writing)?;
    let (compressor, diff_id, _) = layer::write(tree, Sha256Writer::new(compressor))?.finish();
    let (out, Finished { annotations, unfit }) = compressor.finish().with_context(writing)?;
    if let Some(unfit) = unfit {
        note!("warning: {}", unfit.warning(1));
    }
    let (_, digest, size) = out.finish();
    fs::rename(&unnamed, blobs.path(digest.blob_name())).with_context(writing)?;
    let annotations = compression.annotations(annotations);
    Ok((diff_id, Descriptor { annotations, ..Descriptor::new(compression.media_type(), digest, size) }))
}

impl PlacedFile {
    fn source(&self) -> Result<Source> {
        programs::check_placed(&self.source, &self.destination)?;
        let kind = fs::metadata(&self.source).with_context(|| format!("reading {}", self.source.display()))?;
        ensure!(
            self.destination.is_absolute(),
            "destination {:?} is not absolute; write /{}",
            self.destination.display().to_string(),
            self.destination.display()
        );
        if kind.is_dir() && self.mode.is_some() {
            bail!(
                "{} is a directory, but mode applies to files only; files in it keep their modes",
                self.source.display()
            );
        }
        let owned = Perm {
            regex: String::new(),
            mode: self.mode.clone().unwrap_or_default(),
            uid: self.uid,
            gid: self.gid,
            uname: name_of(self.uid),
            gname: name_of(self.gid),
        };
        let options = PathOptions {
            moved: Some((self.source.clone(), self.destination.clone())),
            perms: vec![owned],
            ..PathOptions::default()
        };
        Ok(Source { path: self.source.clone(), files: Default::default(), options, follow: true })
    }
}

/// Returns the name of root, or the number of any other user.
fn name_of(id: u64) -> String {
    if id == 0 { "root".to_owned() } else { id.to_string() }
}

/// Returns the contents of the layer's file at `place`, or an empty string if it has none.
fn accounts(files: &[(usize, &PlacedFile)], place: &str) -> Result<String> {
    for (_, placed) in files {
        let Ok(below) = Path::new(place).strip_prefix(&placed.destination) else { continue };
        let path = if below.as_os_str().is_empty() { placed.source.clone() } else { placed.source.join(below) };
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if metadata.is_file() && metadata.len() <= ACCOUNTS.bytes {
            let text = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
            return Ok(String::from_utf8_lossy(&text).into_owned());
        }
    }
    Ok(String::new())
}
