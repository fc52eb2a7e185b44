//! The blob of a layer or an artifact, which is made or opened on demand, and always checked.

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    checked::{BlobReader, HashingReader, invalid},
    error::copy_blob,
    recipe::Compressed,
};
use crate::{
    image::{BlobFile, ImageError},
    layer::{
        ChunkReader, Counted, Cutout, DetectedCompression,
        compress::Compression,
        erofs::{self, ErofsFile},
    },
    oci::{Descriptor, Digest, media_type},
};

/// The blob of a layer.
///
/// [Example](crate#layer).
#[derive(Clone)]
pub struct LayerBlob {
    /// The descriptor in the manifest.
    pub descriptor: Descriptor,
    /// Digest of the uncompressed tar.
    pub diff_id: Digest,
    /// The compressed blobs that the recipe records, by the names of compressions.
    pub compressed: BTreeMap<String, Compressed>,
    /// The store paths in the layer, if they are known.
    pub paths: Vec<PathBuf>,
    /// The store paths among `paths` whose contents have another location in the image, usually its root.
    pub moved: Vec<PathBuf>,
    /// Whether the layer is made from `paths`, all at their original location, with their own modes and owners.
    pub is_unmodified: bool,
    /// The file that contains the blob, if there is one.
    pub file: Option<Arc<BlobFile>>,
    /// The registry (host and repository) that has the blob, if it comes from one.
    pub origin: Option<(String, String)>,
    /// Whether the blob is only available at the URLs of its descriptor. It is then listed but not copied.
    pub elsewhere: bool,
    bytes: ByteSource,
    /// Makes ranges without the whole blob.
    parts: Option<Arc<MakeParts>>,
    /// Makes an EROFS image without the tar.
    erofs: Option<Arc<MakeErofs>>,
}

/// The source of the bytes.
#[derive(Clone)]
enum ByteSource {
    Open(Arc<OpenBlob>),
    /// The function checks the digest itself.
    Make(Arc<MakeBlob>),
}

type OpenBlob = dyn Fn() -> io::Result<Box<dyn Read + Send>> + Send + Sync;
/// The errors are those of the blob or of its output.
type MakeBlob = dyn Fn(&mut dyn Write) -> Result<(), ImageError> + Send + Sync;
/// Returns whether the ranges could be made. If not, no byte was written.
type MakeParts = dyn Fn(&[Range<u64>], &mut dyn Write) -> Result<bool, ImageError> + Send + Sync;
/// Writes the layer as an EROFS image to an empty file; whether it could, as for [`MakeParts`].
type MakeErofs = dyn Fn(&ErofsFile<'_>) -> Result<bool, ImageError> + Send + Sync;

impl fmt::Debug for LayerBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LayerBlob").field(&self.descriptor.digest).finish()
    }
}

impl LayerBlob {
    /// Returns a blob that `open` opens. It is checked against the descriptor while it is read.
    pub fn new(
        descriptor: Descriptor,
        diff_id: Digest,
        open: impl Fn() -> io::Result<Box<dyn Read + Send>> + Send + Sync + 'static,
    ) -> Self {
        Self::new_checked(descriptor, diff_id, ByteSource::Open(Arc::new(open)))
    }

    /// Returns a blob that `make` writes. `make` reports an error if the bytes have another digest.
    pub(super) fn made(
        descriptor: Descriptor,
        diff_id: Digest,
        make: impl Fn(&mut dyn Write) -> Result<(), ImageError> + Send + Sync + 'static,
    ) -> Self {
        Self::new_checked(descriptor, diff_id, ByteSource::Make(Arc::new(make)))
    }

    fn new_checked(descriptor: Descriptor, diff_id: Digest, bytes: ByteSource) -> Self {
        Self {
            descriptor,
            diff_id,
            compressed: BTreeMap::new(),
            paths: Vec::new(),
            moved: Vec::new(),
            is_unmodified: false,
            file: None,
            origin: None,
            elsewhere: false,
            bytes,
            parts: None,
            erofs: None,
        }
    }

    /// Returns the compressed blob that the recipe records, with all annotations that the compression needs. Recipes of earlier
    /// versions lack those for lazy pulls.
    pub(crate) fn compressed_as(&self, compression: Compression) -> Option<Descriptor> {
        let recorded = self.compressed.get(compression.name())?.descriptor(compression.media_type());
        (compression != Compression::Lazy || compression.fits(&recorded)).then_some(recorded)
    }

    /// Adds a function that makes ranges of the blob without the whole blob, or returns that it cannot.
    pub(super) fn with_parts(
        self,
        make: impl Fn(&[Range<u64>], &mut dyn Write) -> Result<bool, ImageError> + Send + Sync + 'static,
    ) -> Self {
        Self { parts: Some(Arc::new(make)), ..self }
    }

    /// Returns the same blob, of which `make` writes an EROFS image without its tar, or errors.
    pub(super) fn with_erofs(
        self,
        make: impl Fn(&ErofsFile<'_>) -> Result<bool, ImageError> + Send + Sync + 'static,
    ) -> Self {
        Self { erofs: Some(Arc::new(make)), ..self }
    }

    /// Writes the layer as an EROFS image to the empty file `out`. The image may be read only if this succeeds: what the layer
    /// holds is checked at the end.
    ///
    /// # Errors
    ///
    /// As [`plain`](Self::plain), and if an EROFS image cannot hold the layer.
    pub(crate) fn write_erofs(&self, out: &ErofsFile<'_>) -> Result<(), ImageError> {
        if let Some(make) = &self.erofs
            && make(out)?
        {
            return Ok(());
        }
        self.plain(|tar| erofs::write_tar(tar, &self.diff_id, out))
    }

    /// Sets the file that contains the blob.
    pub fn with_file(self, file: BlobFile) -> Self {
        Self { file: Some(Arc::new(file)), ..self }
    }

    /// Sets the repository of a registry that has the blob.
    pub fn with_origin(self, host: &str, repository: &str) -> Self {
        Self { origin: Some((host.to_owned(), repository.to_owned())), ..self }
    }

    /// Marks the blob as available only at its URLs.
    pub fn only_elsewhere(self) -> Self {
        Self { elsewhere: true, ..self }
    }

    /// Returns the layer as its uncompressed tar. The blob is decompressed here to compute its size, and again when it
    /// is written.
    ///
    /// # Errors
    ///
    /// Those of [`plain`](Self::plain).
    pub(crate) fn uncompressed(&self) -> Result<Self, ImageError> {
        let size = self.plain(|tar| io::copy(tar, &mut io::sink()))?;
        let (packed, digest) = (self.clone(), self.descriptor.digest);
        let descriptor = Descriptor::new(media_type::LAYER_TAR, self.diff_id, size);
        let made = Self::made(descriptor, self.diff_id, move |out| {
            packed.plain(|tar| copy_blob(digest, tar, out).map_err(io::Error::other)).map(drop)
        });
        let (paths, moved) = (self.paths.clone(), self.moved.clone());
        Ok(Self { paths, moved, is_unmodified: self.is_unmodified, ..made })
    }

    /// Opens the blob for readers that pass its bytes on at once, so a file is checked first.
    fn open(&self, open: &OpenBlob) -> io::Result<Box<dyn Read + Send>> {
        match &self.file {
            Some(file) => Ok(Box::new(file.open()?)),
            None => open(),
        }
    }

    /// Writes the blob to `out`.
    ///
    /// # Errors
    ///
    /// If the blob differs from the descriptor: for a file before anything is written, else after everything was
    /// written. Also if it cannot be read or `out` fails.
    pub fn write(&self, out: &mut dyn Write) -> Result<(), ImageError> {
        let (digest, size) = (self.descriptor.digest, self.descriptor.size);
        let fail = |source| ImageError::Blob { digest, source };
        match &self.bytes {
            ByteSource::Open(open) => {
                let mut reader = BlobReader::new(self.open(open.as_ref()).map_err(fail)?, &self.descriptor);
                copy_blob(digest, &mut reader, out).map(drop)
            }
            ByteSource::Make(make) => {
                let mut counted = Counted::new(out);
                make(&mut counted)?;
                if counted.bytes == size {
                    return Ok(());
                }
                Err(fail(invalid(format!("it has {} bytes, not {size}", counted.bytes))))
            }
        }
    }

    /// Writes these ranges of the blob one after the other. They must be ordered and disjoint. The digest of a file is
    /// checked before. Ranges that can be made without the rest of the blob are not checked. Otherwise the blob is
    /// checked after everything was written.
    ///
    /// # Errors
    ///
    /// Those of [`write`](Self::write).
    pub fn write_ranges(&self, ranges: &[Range<u64>], out: &mut dyn Write) -> Result<(), ImageError> {
        let digest = self.descriptor.digest;
        let fail = |source| ImageError::Blob { digest, source };
        let wanted: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        // Most of the blob is needed, so all of it is made on all cores, and checked.
        if wanted <= self.descriptor.size / 2 {
            if let Some(file) = &self.file {
                return file.open().and_then(|opened| copy_ranges(opened, file.path(), ranges, out)).map_err(fail);
            }
            if let Some(make) = &self.parts
                && make(ranges, out)?
            {
                return Ok(());
            }
        }
        let mut cutout = Cutout::new(ranges, out);
        self.write(&mut cutout)?;
        if cutout.unfinished() == 0 { Ok(()) } else { Err(fail(invalid("it is shorter than it should be".to_owned()))) }
    }

    /// Returns the blob as a stream, which ends only after size and digest were checked.
    pub fn read(&self) -> BlobReader {
        match &self.bytes {
            ByteSource::Open(open) => self.reader(self.open(open.as_ref())),
            ByteSource::Make(make) => {
                let make = Arc::clone(make);
                let made = ChunkReader::new(move |out| make(out).map_err(io::Error::other));
                BlobReader::self_checked(Box::new(made), &self.descriptor)
            }
        }
    }

    fn reader(&self, opened: io::Result<Box<dyn Read + Send>>) -> BlobReader {
        BlobReader::new(opened.unwrap_or_else(|error| Box::new(Failed(Some(error)))), &self.descriptor)
    }

    /// Returns the blob as a stream for a reader that discards its results after an error.
    fn read_unchecked(&self) -> BlobReader {
        match &self.bytes {
            ByteSource::Open(open) => self.reader(open()),
            ByteSource::Make(_) => self.read(),
        }
    }

    /// Returns the compression of the blob, which its first bytes determine.
    ///
    /// # Errors
    ///
    /// If the blob cannot be read.
    pub(crate) fn compression(&self) -> Result<DetectedCompression, ImageError> {
        let mut start = Vec::with_capacity(DetectedCompression::START);
        let read = self.read_unchecked().take(DetectedCompression::START as u64).read_to_end(&mut start);
        read.map_err(|source| ImageError::Blob { digest: self.descriptor.digest, source })?;
        Ok(DetectedCompression::detect(&start))
    }

    /// Passes the uncompressed tar to `consume`. Returns its result only if the whole blob, including the part that was
    /// not read, matches the descriptor and `diff_id`. The first bytes of the blob determine its compression, as in the
    /// engines (containerd, `pkg/archive/compression`; containers/image, `pkg/compression`): `podman save --format
    /// docker-dir` writes uncompressed layers under the media type of gzip.
    ///
    /// # Errors
    ///
    /// If the blob differs, and those of `consume`.
    pub fn plain<T>(&self, consume: impl FnOnce(&mut dyn Read) -> io::Result<T>) -> Result<T, ImageError> {
        let (digest, size) = (self.descriptor.digest, self.descriptor.size);
        let checked = || {
            let mut blob = self.read_unchecked();
            let mut start = Vec::with_capacity(DetectedCompression::START);
            (&mut blob).take(DetectedCompression::START as u64).read_to_end(&mut start)?;
            let compression = DetectedCompression::detect(&start);
            if compression == DetectedCompression::Xz {
                return Err(invalid("OCI does not allow layers compressed with xz".to_owned()));
            }
            let (value, found) = {
                let whole = io::Cursor::new(start).chain(&mut blob);
                let mut plain =
                    HashingReader { inner: compression.reader(whole, size)?, hasher: self.diff_id.hasher() };
                let value = consume(&mut plain)?;
                io::copy(&mut plain, &mut io::sink())?;
                (value, plain.hasher.finish())
            };
            io::copy(&mut blob, &mut io::sink())?;
            if found != self.diff_id {
                let what = format!("its tar is {found}, but the diff_id in the image's config is {}", self.diff_id);
                return Err(invalid(what));
            }
            Ok(value)
        };
        checked().map_err(|source| ImageError::Blob { digest, source })
    }
}

/// Copies ranges of a file.
fn copy_ranges(mut file: File, path: &Path, ranges: &[Range<u64>], out: &mut dyn Write) -> io::Result<()> {
    for range in ranges {
        file.seek(SeekFrom::Start(range.start))?;
        let length = range.end - range.start;
        if io::copy(&mut (&mut file).take(length), out)? < length {
            return Err(invalid(format!("{} is shorter than it should be", path.display())));
        }
    }
    Ok(())
}

/// A blob that could not be opened.
struct Failed(Option<io::Error>);

impl Read for Failed {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(self.0.take().unwrap_or_else(|| io::ErrorKind::NotFound.into()))
    }
}
