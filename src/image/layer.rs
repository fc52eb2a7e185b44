//! One layer's blob, or an artifact's: made or opened on demand, and always checked.

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
    checked::{BlobReader, Hashing, invalid},
    error::copy_blob,
    recipe::Compressed,
};
use crate::{
    image::{BlobFile, ImageError},
    layer::{ChunkReader, Counted, Cutout, DetectedCompression},
    oci::{Descriptor, Digest, media_type},
};

/// One layer's blob.
///
/// [Example](crate#layer).
#[derive(Clone)]
pub struct LayerBlob {
    /// Its descriptor in the manifest.
    pub descriptor: Descriptor,
    /// Digest of the uncompressed tar.
    pub diff_id: Digest,
    /// What it compresses to, by the names of compressions, where its recipe says.
    pub compressed: BTreeMap<String, Compressed>,
    /// The store paths it is made from, where it is known.
    pub paths: Vec<PathBuf>,
    /// Those of `paths` whose contents are elsewhere in the image, at its root mostly.
    pub moved: Vec<PathBuf>,
    /// The file that is the blob, where there is one.
    pub file: Option<Arc<BlobFile>>,
    /// The registry (host and repository) that has the blob, where it comes from one.
    pub origin: Option<(String, String)>,
    /// Whether it is only at the URLs of its descriptor: it is listed, and not copied.
    pub elsewhere: bool,
    bytes: Bytes,
    /// Makes parts without the whole.
    parts: Option<Arc<MakeParts>>,
}

/// Where the bytes come from.
#[derive(Clone)]
enum Bytes {
    Open(Arc<OpenBlob>),
    /// Checks the digest itself.
    Make(Arc<MakeBlob>),
}

type OpenBlob = dyn Fn() -> io::Result<Box<dyn Read + Send>> + Send + Sync;
/// Errors are the blob's own, or those of what it is written to.
type MakeBlob = dyn Fn(&mut dyn Write) -> Result<(), ImageError> + Send + Sync;
/// Whether it could: where not, nothing was written.
type MakeParts = dyn Fn(&[Range<u64>], &mut dyn Write) -> Result<bool, ImageError> + Send + Sync;

impl fmt::Debug for LayerBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LayerBlob").field(&self.descriptor.digest).finish()
    }
}

impl LayerBlob {
    /// A blob that `open` opens; it is checked against the descriptor while it is read.
    pub fn new(
        descriptor: Descriptor,
        diff_id: Digest,
        open: impl Fn() -> io::Result<Box<dyn Read + Send>> + Send + Sync + 'static,
    ) -> Self {
        Self::of(descriptor, diff_id, Bytes::Open(Arc::new(open)))
    }

    /// A blob that `make` writes; its error says when what it wrote has another digest.
    pub(super) fn made(
        descriptor: Descriptor,
        diff_id: Digest,
        make: impl Fn(&mut dyn Write) -> Result<(), ImageError> + Send + Sync + 'static,
    ) -> Self {
        Self::of(descriptor, diff_id, Bytes::Make(Arc::new(make)))
    }

    fn of(descriptor: Descriptor, diff_id: Digest, bytes: Bytes) -> Self {
        Self {
            descriptor,
            diff_id,
            compressed: BTreeMap::new(),
            paths: Vec::new(),
            moved: Vec::new(),
            file: None,
            origin: None,
            elsewhere: false,
            bytes,
            parts: None,
        }
    }

    /// The same blob, of which `make` writes parts without making the whole, or says that it cannot.
    pub(super) fn with_parts(
        self,
        make: impl Fn(&[Range<u64>], &mut dyn Write) -> Result<bool, ImageError> + Send + Sync + 'static,
    ) -> Self {
        Self { parts: Some(Arc::new(make)), ..self }
    }

    /// The same blob, which is this file.
    pub fn with_file(self, file: BlobFile) -> Self {
        Self { file: Some(Arc::new(file)), ..self }
    }

    /// The same blob, which this repository of a registry has.
    pub fn with_origin(self, host: &str, repository: &str) -> Self {
        Self { origin: Some((host.to_owned(), repository.to_owned())), ..self }
    }

    /// The same blob, which is only where its URLs say.
    pub fn only_elsewhere(self) -> Self {
        Self { elsewhere: true, ..self }
    }

    /// The same layer as its uncompressed tar. The blob is decompressed here for its size, and again when it is written.
    ///
    /// # Errors
    ///
    /// As [`plain`](Self::plain).
    pub(crate) fn uncompressed(&self) -> Result<Self, ImageError> {
        let size = self.plain(|tar| io::copy(tar, &mut io::sink()))?;
        let (packed, digest) = (self.clone(), self.descriptor.digest);
        let descriptor = Descriptor::new(media_type::LAYER_TAR, self.diff_id, size);
        let made = Self::made(descriptor, self.diff_id, move |out| {
            packed.plain(|tar| copy_blob(digest, tar, out).map_err(io::Error::other)).map(drop)
        });
        Ok(Self { paths: self.paths.clone(), moved: self.moved.clone(), ..made })
    }

    /// Opens the blob for readers who pass its bytes on at once: a file is checked first.
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
    /// When it is not what the descriptor says: before anything was written if it is a file, else after everything was;
    /// when it cannot be read or `out` fails.
    pub fn write(&self, out: &mut dyn Write) -> Result<(), ImageError> {
        let (digest, size) = (self.descriptor.digest, self.descriptor.size);
        let fail = |source| ImageError::Blob { digest, source };
        match &self.bytes {
            Bytes::Open(open) => {
                let mut reader = BlobReader::new(self.open(open.as_ref()).map_err(fail)?, &self.descriptor);
                copy_blob(digest, &mut reader, out).map(drop)
            }
            Bytes::Make(make) => {
                let mut counted = Counted::new(out);
                make(&mut counted)?;
                if counted.bytes == size {
                    return Ok(());
                }
                Err(fail(invalid(format!("it has {} bytes, not {size}", counted.bytes))))
            }
        }
    }

    /// Writes these ranges of the blob, which are in order and apart, one after the other. The digest of a file is checked
    /// before. Where ranges can be made without the rest of the blob, it is not checked; where not, it is, after
    /// everything was written.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn write_ranges(&self, ranges: &[Range<u64>], out: &mut dyn Write) -> Result<(), ImageError> {
        let digest = self.descriptor.digest;
        let fail = |source| ImageError::Blob { digest, source };
        let wanted: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        // Most of it is made on all cores, and checked.
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
        if cutout.left() == 0 { Ok(()) } else { Err(fail(invalid("it is shorter than it should be".to_owned()))) }
    }

    /// The blob as a stream: its end comes only after size and digest were right.
    pub fn read(&self) -> BlobReader {
        match &self.bytes {
            Bytes::Open(open) => self.reader(self.open(open.as_ref())),
            Bytes::Make(make) => {
                let make = Arc::clone(make);
                let made = ChunkReader::new(move |out| make(out).map_err(io::Error::other));
                BlobReader::self_checked(Box::new(made), &self.descriptor)
            }
        }
    }

    fn reader(&self, opened: io::Result<Box<dyn Read + Send>>) -> BlobReader {
        BlobReader::new(opened.unwrap_or_else(|error| Box::new(Failed(Some(error)))), &self.descriptor)
    }

    /// As [`read`](Self::read), for a reader that keeps nothing unless all of it was right.
    fn read_unchecked(&self) -> BlobReader {
        match &self.bytes {
            Bytes::Open(open) => self.reader(open()),
            Bytes::Make(_) => self.read(),
        }
    }

    /// Gives `consume` the plain tar, and what it made of it only if the whole blob, also what it did not read, is what
    /// descriptor and `diff_id` say. The first bytes of the blob say how it is compressed, as for the engines (containerd,
    /// `pkg/archive/compression`; containers/image, `pkg/compression`): `podman save --format docker-dir` writes
    /// uncompressed layers under the media type of gzip.
    ///
    /// # Errors
    ///
    /// When it is not, and those of `consume`.
    pub fn plain<T>(&self, consume: impl FnOnce(&mut dyn Read) -> io::Result<T>) -> Result<T, ImageError> {
        let (digest, size) = (self.descriptor.digest, self.descriptor.size);
        let checked = || {
            let mut blob = self.read_unchecked();
            let mut start = Vec::with_capacity(DetectedCompression::START);
            (&mut blob).take(DetectedCompression::START as u64).read_to_end(&mut start)?;
            let compression = DetectedCompression::of(&start);
            if compression == DetectedCompression::Xz {
                return Err(invalid("OCI does not allow layers compressed with xz".to_owned()));
            }
            let (value, found) = {
                let whole = io::Cursor::new(start).chain(&mut blob);
                let mut plain = Hashing { inner: compression.reader(whole, size)?, hasher: self.diff_id.hasher() };
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

/// Ranges of a file.
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
