//! Writes the layers of an image to a cache, and removes the layers of other images.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
};

use rayon::prelude::*;

use crate::{
    files::{self, Beneath, DirectoryEntry, NewFile},
    image::{Image, ImageError, LayerBlob, ManifestGraph},
    layer::erofs::{self, ErofsFile},
    oci::Digest,
    transport::{
        Details, Outcome, Sent, WriteError, WriteOptions, WriteTransport,
        progress::{Fate, Progress},
        write::some_path,
    },
};

const SUFFIX: &str = ".erofs";
/// The file with which containerd checks a layer block by block (internal/dmverity). It is valid only for the image
/// file that it was made for.
const SIDECAR: &str = ".erofs.dmverity";

pub(super) fn parse(rest: &str) -> Result<Arc<dyn WriteTransport>, String> {
    Ok(Arc::new(ErofsCache { directory: some_path(rest)? }))
}

#[derive(Debug)]
struct ErofsCache {
    directory: PathBuf,
}

/// The errors of writing a cache.
#[derive(Debug, thiserror::Error)]
enum CacheError {
    /// It has no root file system: an artifact or an attestation.
    #[error("{0} is not a container image; only layers of container images can be mounted")]
    NotAnImage(Digest),
    /// The layer is only at the URLs of its descriptor.
    #[error("layer {0} is not in the image, only a URL of it; copy an image that has all its layers")]
    Elsewhere(Digest),
    /// A layer could not be made.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The cache cannot be a directory.
    #[error("{} is {what}, not a directory; remove it, or write to another directory", path.display())]
    NotADirectory { path: PathBuf, what: &'static str },
    /// A directory has the name of a layer's file.
    #[error("{} is a directory, not the file of a layer; remove it, or write to another directory", .0.display())]
    NotAFile(PathBuf),
    /// The file system reports an error.
    #[error("{act} {}", path.display())]
    Io { act: &'static str, path: PathBuf, source: io::Error },
}

impl WriteTransport for ErofsCache {
    fn write(&self, content: &ManifestGraph, options: &WriteOptions) -> Result<Outcome, WriteError> {
        let (mut present, mut written) = (0, Sent::default());
        let mut images = content.images();
        // The attestations and artifacts of an index have no root file system.
        images.retain(|image| image.is_container_image());
        if images.is_empty() {
            return Err(CacheError::NotAnImage(content.digest()).into());
        }
        let shards = options.prune.as_ref().map(|_| self.shards()).transpose()?;
        for image in &images {
            options.progress.image(image);
            for sent in self.write_layers(image, options.progress.as_ref())? {
                match sent {
                    None => present += 1,
                    Some(bytes) => written = written + Sent { blobs: 1, bytes },
                }
            }
        }
        let removed = match (&options.prune, shards) {
            (Some(kept), Some(shards)) => {
                let own = images.iter().flat_map(|image| &image.layers).map(|layer| layer.diff_id);
                self.prune(&shards, &own.chain(kept.iter().copied()).collect())?
            }
            _ => 0,
        };
        let details = Details::Cached { present, removed };
        Ok(Outcome { sent: written, skipped: present, details, ..Outcome::new(content.digest()) })
    }
}

impl ErofsCache {
    /// Writes the missing layers of an image. Returns the size of each written layer in bytes.
    fn write_layers(&self, image: &Image, progress: &dyn Progress) -> Result<Vec<Option<u64>>, CacheError> {
        let mut layers = BTreeMap::new();
        for (at, layer) in image.layers.iter().enumerate() {
            if layer.elsewhere {
                return Err(CacheError::Elsewhere(layer.descriptor.digest));
            }
            layers.entry(layer.diff_id).or_insert((at + 1, layer));
        }
        let mut layers: Vec<(usize, &LayerBlob)> = layers.into_values().collect();
        // The largest layer is first, so that no thread begins it last.
        layers.sort_by_key(|(_, layer)| std::cmp::Reverse(layer.descriptor.size));
        let directories: BTreeSet<PathBuf> = layers.iter().map(|(_, layer)| shard(&layer.diff_id)).collect();
        self.create()?;
        for directory in &directories {
            let create = files::make_directories(&self.directory, directory);
            create.map_err(|(path, error)| io_error("creating", &path)(error))?;
            files::sweep(&self.directory.join(directory));
        }
        for (_, layer) in &layers {
            for path in [SUFFIX, SIDECAR].map(|suffix| self.path(&layer.diff_id, suffix)) {
                if fs::symlink_metadata(&path).is_ok_and(|existing| existing.is_dir()) {
                    return Err(CacheError::NotAFile(path));
                }
            }
        }
        let write = |(number, layer): &(usize, &LayerBlob)| {
            let sent = self.write_layer(*number, layer, progress)?;
            progress.done(*number, &layer.descriptor, sent.map_or(Fate::Present, Fate::Sent));
            Ok(sent)
        };
        layers.par_iter().map(write).collect()
    }

    /// Creates the directory of the cache, unless it exists.
    fn create(&self) -> Result<(), CacheError> {
        let path = &self.directory;
        fs::create_dir_all(path).map_err(|error| {
            let obstacle = |what| CacheError::NotADirectory { path: path.clone(), what };
            match (fs::symlink_metadata(path), fs::metadata(path)) {
                (Ok(existing), Err(_)) if existing.is_symlink() => obstacle("a dangling link"),
                (Ok(_), Ok(target)) if !target.is_dir() => obstacle("a file"),
                _ => io_error("creating", path)(error),
            }
        })
    }

    /// Writes one layer. Returns its size in bytes, or `None` if it is already present.
    fn write_layer(
        &self,
        number: usize,
        layer: &LayerBlob,
        progress: &dyn Progress,
    ) -> Result<Option<u64>, CacheError> {
        let path = self.path(&layer.diff_id, SUFFIX);
        let entry = Beneath::open(&self.directory).and_then(|top| top.entry(&name(&layer.diff_id, SUFFIX)));
        let existing = match entry {
            Ok(DirectoryEntry::File(mut file)) => {
                erofs::is_intact(&mut file, &layer.diff_id).map_err(io_error("reading", &path))?
            }
            // A link is replaced by the layer.
            Ok(DirectoryEntry::Link(_)) | Err(_) => false,
        };
        if existing {
            return Ok(None);
        }
        progress.sending(number, layer.descriptor.size);
        let mut new = NewFile::create(&path).map_err(io_error("writing", &path))?;
        let image = ErofsFile::new(new.file());
        layer.write_erofs(&image).map_err(|error| match image.into_failure() {
            Some(source) => io_error("writing", &path)(source),
            None => error.into(),
        })?;
        progress.advance(number, layer.descriptor.size);
        let size = new.file().metadata().map_err(io_error("writing", &path))?.len();
        let sidecar = self.path(&layer.diff_id, SIDECAR);
        remove(&sidecar).map_err(io_error("removing", &sidecar))?;
        new.finish().map_err(io_error("writing", &path))?;
        Ok(Some(size))
    }

    /// Removes the layers that are not in the list, and returns their number. Files of killed copies are removed too, and other
    /// files are kept.
    fn prune(&self, shards: &[(&str, PathBuf)], kept: &BTreeSet<Digest>) -> Result<usize, CacheError> {
        let mut removed = 0;
        for (algorithm, directory) in shards {
            files::sweep(directory);
            for name in names(directory).map_err(io_error("reading", directory))? {
                let hex = name.strip_suffix(SUFFIX).unwrap_or_default();
                let Ok(digest) = format!("{algorithm}:{hex}").parse::<Digest>() else { continue };
                let (path, sidecar) = (self.path(&digest, SUFFIX), self.path(&digest, SIDECAR));
                let is_file = fs::symlink_metadata(&path).is_ok_and(|metadata| !metadata.is_dir());
                if path == directory.join(&name) && is_file && !kept.contains(&digest) {
                    remove(&path).map_err(io_error("removing", &path))?;
                    remove(&sidecar).map_err(io_error("removing", &sidecar))?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    /// Returns the existing directories of layers, each with the algorithm of its digests.
    ///
    /// # Errors
    ///
    /// If one is a link or a file, as [`files::make_directories`]. A link may lead to files that are not part of the cache.
    fn shards(&self) -> Result<Vec<(&'static str, PathBuf)>, CacheError> {
        let mut shards = Vec::new();
        for algorithm in ["sha256", "sha512"] {
            let top = self.directory.join(algorithm);
            check_directory(&top)?;
            for name in names(&top).map_err(io_error("reading", &top))? {
                if name.len() == 2 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
                    let directory = top.join(name);
                    check_directory(&directory)?;
                    shards.push((algorithm, directory));
                }
            }
        }
        Ok(shards)
    }

    fn path(&self, diff_id: &Digest, suffix: &str) -> PathBuf {
        self.directory.join(name(diff_id, suffix))
    }
}

/// Returns the directory of the cache for layers whose digests have the same first two digits.
fn shard(diff_id: &Digest) -> PathBuf {
    Path::new(diff_id.algorithm().name()).join(&diff_id.hex()[..2])
}

/// Returns the path of a layer's file in the cache.
fn name(diff_id: &Digest, suffix: &str) -> PathBuf {
    shard(diff_id).join(format!("{}{suffix}", diff_id.hex()))
}

/// Errors if the path is a link or a file.
fn check_directory(path: &Path) -> Result<(), CacheError> {
    match fs::symlink_metadata(path) {
        Ok(existing) if !existing.is_dir() => {
            Err(CacheError::NotADirectory { path: path.to_owned(), what: "a link or a file" })
        }
        _ => Ok(()),
    }
}

/// Returns the names in a directory that are text. A missing directory has none.
fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(Vec::new()),
        entries => entries?,
    };
    let names: Vec<_> = entries.map(|entry| Ok(entry?.file_name().into_string())).collect::<io::Result<_>>()?;
    Ok(names.into_iter().flatten().collect())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn io_error(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CacheError + use<> {
    let path = path.to_owned();
    move |source| CacheError::Io { act, path, source }
}
