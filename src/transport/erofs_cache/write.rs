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
    layer::erofs,
    oci::{Digest, descriptor::media_type},
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
    /// It is an artifact, whose blobs are not layers.
    #[error("{0} is not a container image; only layers of container images can be mounted")]
    NotAnImage(Digest),
    /// The layer is only at the URLs of its descriptor.
    #[error("layer {0} is not in the image, only a URL of it; copy an image that has all its layers")]
    Elsewhere(Digest),
    /// A layer could not be made.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The file system reports an error.
    #[error("writing {}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl WriteTransport for ErofsCache {
    fn write(&self, content: &ManifestGraph, options: &WriteOptions) -> Result<Outcome, WriteError> {
        let (mut present, mut written) = (0, Sent::default());
        let images = content.images();
        for image in &images {
            options.progress.image(image);
            for sent in self.write_layers(image, options.progress.as_ref())? {
                match sent {
                    None => present += 1,
                    Some(bytes) => written = written + Sent { blobs: 1, bytes },
                }
            }
        }
        let removed = match &options.prune {
            None => 0,
            Some(kept) => {
                let own = images.iter().flat_map(|image| &image.layers).map(|layer| layer.diff_id);
                self.prune(&own.chain(kept.iter().copied()).collect())?
            }
        };
        let details = Details::Cached { present, removed };
        Ok(Outcome { sent: written, skipped: present, details, ..Outcome::new(content.digest()) })
    }
}

impl ErofsCache {
    /// Writes the missing layers of an image. Returns the size of each written layer in bytes.
    fn write_layers(&self, image: &Image, progress: &dyn Progress) -> Result<Vec<Option<u64>>, CacheError> {
        if !media_type::is_config(&image.config_media_type) {
            return Err(CacheError::NotAnImage(image.digest()));
        }
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
        fs::create_dir_all(&self.directory).map_err(io_error(&self.directory))?;
        for directory in &directories {
            files::make_directories(&self.directory, directory).map_err(|(path, error)| io_error(&path)(error))?;
            files::sweep(&self.directory.join(directory));
        }
        let write = |(number, layer): &(usize, &LayerBlob)| {
            let sent = self.write_layer(*number, layer, progress)?;
            progress.done(*number, &layer.descriptor, sent.map_or(Fate::Present, Fate::Sent));
            Ok(sent)
        };
        layers.par_iter().map(write).collect()
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
                erofs::is_intact(&mut file, &layer.diff_id).map_err(io_error(&path))?
            }
            // A link is replaced by the layer.
            Ok(DirectoryEntry::Link(_)) | Err(_) => false,
        };
        if existing {
            return Ok(None);
        }
        progress.sending(number, layer.descriptor.size);
        let mut new = NewFile::create(&path).map_err(io_error(&path))?;
        layer.write_erofs(new.file())?;
        progress.advance(number, layer.descriptor.size);
        let size = new.file().metadata().map_err(io_error(&path))?.len();
        let sidecar = self.path(&layer.diff_id, SIDECAR);
        remove(&sidecar).map_err(io_error(&sidecar))?;
        new.finish().map_err(io_error(&path))?;
        Ok(Some(size))
    }

    /// Removes the layers that are not in the list, and returns their number. Other files are kept.
    fn prune(&self, kept: &BTreeSet<Digest>) -> Result<usize, CacheError> {
        let mut removed = 0;
        for algorithm in ["sha256", "sha512"] {
            let top = self.directory.join(algorithm);
            for shard in names(&top).map_err(io_error(&top))? {
                let directory = top.join(shard);
                for name in names(&directory).map_err(io_error(&directory))? {
                    let hex = name.strip_suffix(SUFFIX).unwrap_or_default();
                    let Ok(digest) = format!("{algorithm}:{hex}").parse::<Digest>() else { continue };
                    let (path, sidecar) = (self.path(&digest, SUFFIX), self.path(&digest, SIDECAR));
                    let is_file = fs::symlink_metadata(&path).is_ok_and(|metadata| !metadata.is_dir());
                    if path == directory.join(&name) && is_file && !kept.contains(&digest) {
                        remove(&path).map_err(io_error(&path))?;
                        remove(&sidecar).map_err(io_error(&sidecar))?;
                        removed += 1;
                    }
                }
            }
        }
        Ok(removed)
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

/// Returns the names in a directory that are text. A file, a missing directory and a link have
/// none. A link may lead to files that are not part of the cache.
fn names(directory: &Path) -> io::Result<Vec<String>> {
    if fs::symlink_metadata(directory).is_ok_and(|metadata| metadata.is_symlink()) {
        return Ok(Vec::new());
    }
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

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> CacheError + use<> {
    let path = path.to_owned();
    move |source| CacheError::Io { path, source }
}
