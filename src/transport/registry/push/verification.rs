//! An unsigned mapping is verified before it is used: the blob is downloaded and decompressed as a stream, and the digest
//! of the result is compared with the layer's diff_id.
//!
//! ```text
//! registry ──▶ size and digest of the blob ──▶ decompress ──▶ size and digest of the layer ──▶ verified or refuted
//!              at most what the layer can      at most the size of the
//!              be compressed to                layer and one byte
//! ```
//!
//! The three steps are three threads. Memory is constant, and nothing is written. If the connection is so slow that
//! compressing the layer takes less time, the download is ended.

use std::{
    io::{self, Read, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{mapping::Mapping, watch::Watch};
use crate::{
    image::{BlobReader, LayerBlob},
    layer::{ChunkReader, Chunks, DetectedCompression, Overlapped, chunked, compress::Compression},
    oci::{Descriptor, Hasher},
    threads::lock,
    transport::registry::Client,
};

/// How long a download waits for the registry before its rate is judged.
const GRACE: Duration = Duration::from_secs(1);
/// Uncompressed bytes per second that one core compresses (docs/benchmarks.md, *Known layers*).
const GZIP_RATE: u64 = 120_000_000;
const ZSTD_RATE: u64 = 170_000_000;
/// A download is ended if it would take longer than this many times the time that compressing takes: the estimate is
/// rough, and compressing is in vain if the blob was compressed in another way.
const PATIENCE: u32 = 2;
const BUFFER: usize = 64 * 1024;

/// What verification found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The blob decompresses to the layer.
    Verified,
    /// It does not, for this reason.
    Refuted(String),
    /// The blob could not be read, or reading takes longer than compressing.
    Unavailable,
}

/// Whether the blob of `mapping`, which `client`'s repository has, decompresses to `layer`.
pub(super) fn verify(
    client: &Arc<Client>,
    mapping: &Mapping,
    layer: &LayerBlob,
    compression: Compression,
    watch: &Watch,
) -> Verdict {
    let blob = &mapping.blob;
    if blob.size > largest_compressed(layer.descriptor.size) {
        return Verdict::Refuted(format!("it has {} bytes, more than the layer can be compressed to", blob.size));
    }
    let limit = compressing_time(layer.descriptor.size, compression) * PATIENCE;
    let connection = Connection { inner: client.blob(&blob.digest), pace: Pace::new(blob.size, limit) };
    judge(watch.reader(connection), blob, layer, compression)
}

fn judge(source: Box<dyn Read + Send>, blob: &Descriptor, layer: &LayerBlob, compression: Compression) -> Verdict {
    let state = Arc::new(DownloadState::default());
    let mut download = Download { inner: BlobReader::new(source, blob), state: Arc::clone(&state) };
    let compressed = ChunkReader::new(move |out| copy(&mut download, out));
    let found = compare(compressed, blob.size, layer, compression);
    match found {
        _ if state.has_failed.load(Ordering::Relaxed) => Verdict::Unavailable,
        Err(error) => Verdict::Refuted(error.to_string()),
        Ok(Some(why)) => Verdict::Refuted(why),
        Ok(None) if state.read.load(Ordering::Relaxed) < blob.size => {
            Verdict::Refuted("the layer ends before the blob".to_owned())
        }
        // Readers that look for a table of contents at the end of a blob take files from it, not from the tar.
        Ok(None) if chunked::is_footer(&*lock(&state.tail)) => {
            Verdict::Refuted("it has a table of contents, which is not verified".to_owned())
        }
        Ok(None) => Verdict::Verified,
    }
}

/// Decompresses a blob of `blob_size` bytes; how the result differs from the layer, if it does.
fn compare(
    compressed: ChunkReader,
    blob_size: u64,
    layer: &LayerBlob,
    compression: Compression,
) -> io::Result<Option<String>> {
    let size = layer.descriptor.size;
    let packing = DetectedCompression::of_media_type(compression.media_type());
    let mut uncompressed = packing.reader(compressed, blob_size)?.take(size.saturating_add(1));
    let mut hashing = Overlapped::new(Hashing { hasher: layer.diff_id.hasher(), size: 0 });
    let mut chunk = hashing.first();
    loop {
        let count = uncompressed.read(chunk.room())?;
        chunk.grow(count);
        if count == 0 || chunk.room().is_empty() {
            chunk = hashing.pass(chunk)?;
        }
        if count == 0 {
            break;
        }
    }
    let found = hashing.finish()?;
    if found.size > size {
        return Ok(Some(format!("it decompresses to more than {size} bytes")));
    }
    let found = found.hasher.finish();
    Ok((found != layer.diff_id).then(|| format!("it decompresses to {found}")))
}

/// Hashes and counts what is written.
struct Hashing {
    hasher: Hasher,
    size: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// As [`io::copy`], with a bigger buffer.
fn copy(from: &mut dyn Read, to: &mut dyn Write) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..count])?;
    }
}

/// No compressor makes more of `size` bytes: stored blocks of deflate and raw blocks of zstd add less than a hundredth, and
/// headers less than 64 KiB.
fn largest_compressed(size: u64) -> u64 {
    size.saturating_add(size / 100).saturating_add(64 * 1024)
}

/// How long this machine takes to compress `size` bytes, if it does nothing else.
fn compressing_time(size: u64, compression: Compression) -> Duration {
    let rate = if compression == Compression::Gzip { GZIP_RATE } else { ZSTD_RATE };
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    Duration::from_millis(size.saturating_mul(1000) / (rate * cores))
}

/// A blob on its way, checked against its descriptor.
struct Download {
    inner: BlobReader,
    state: Arc<DownloadState>,
}

/// What is known of a download once its reader is gone.
#[derive(Default)]
struct DownloadState {
    /// Whether reading failed, in contrast to decompressing.
    has_failed: AtomicBool,
    read: AtomicU64,
    /// The last bytes.
    tail: Mutex<[u8; 8]>,
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer).inspect_err(|_| self.state.has_failed.store(true, Ordering::Relaxed))?;
        self.state.read.fetch_add(count as u64, Ordering::Relaxed);
        let (new, mut tail) = (&buffer[..count], lock(&self.state.tail));
        match new.last_chunk() {
            Some(last) => *tail = *last,
            None => {
                tail.rotate_left(count);
                tail[8 - count..].copy_from_slice(new);
            }
        }
        Ok(count)
    }
}

/// The connection that a blob comes from; fails if it is too slow.
struct Connection<R> {
    inner: R,
    pace: Pace,
}

impl<R: Read> Read for Connection<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let begun = Instant::now();
        let count = self.inner.read(buffer)?;
        self.pace.add(count as u64, begun.elapsed());
        if self.pace.is_too_slow() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(count) }
    }
}

/// The rate of a download. Only the time that is spent waiting for the registry counts, not the time for decompressing.
#[derive(Clone, Copy, Debug)]
struct Pace {
    size: u64,
    limit: Duration,
    read: u64,
    waited: Duration,
}

impl Pace {
    /// Of a blob of `size` bytes, of which the rest must never need more than `limit`.
    fn new(size: u64, limit: Duration) -> Self {
        Self { size, limit, read: 0, waited: Duration::ZERO }
    }

    fn add(&mut self, read: u64, waited: Duration) {
        self.read += read;
        self.waited += waited;
    }

    fn is_too_slow(self) -> bool {
        let rest = u128::from(self.size.saturating_sub(self.read));
        self.waited > GRACE && self.waited.as_millis() * rest > self.limit.as_millis() * u128::from(self.read.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Digest, descriptor::media_type};

    const TAR: &[u8] = &[7; 300_000];

    fn layer() -> LayerBlob {
        let digest = Digest::of(TAR);
        LayerBlob::new(Descriptor::new(media_type::LAYER_TAR, digest, TAR.len() as u64), digest, || Ok(Box::new(TAR)))
    }

    fn compress(bytes: &[u8], compression: Compression) -> Vec<u8> {
        let mut writer = compression.writer(Vec::new(), 1, None).unwrap();
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap().0
    }

    fn judged(source: impl Read + Send + 'static, blob: &[u8], compression: Compression) -> Verdict {
        let descriptor = Descriptor::new(compression.media_type(), Digest::of(blob), blob.len() as u64);
        judge(Box::new(source), &descriptor, &layer(), compression)
    }

    fn verdict(blob: &[u8], compression: Compression) -> Verdict {
        judged(io::Cursor::new(blob.to_vec()), blob, compression)
    }

    #[test]
    fn a_blob_that_decompresses_to_the_layer_is_verified() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            assert_eq!(verdict(&compress(TAR, compression), compression), Verdict::Verified);
            // In two members or frames.
            let (first, second) = TAR.split_at(1000);
            let blob = [compress(first, compression), compress(second, compression)].concat();
            assert_eq!(verdict(&blob, compression), Verdict::Verified);
        }
    }

    #[test]
    fn all_other_blobs_are_refuted() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let blob = compress(TAR, compression);
            let with = |more: &[u8]| [&blob, more].concat();
            let cases = [
                (compress(&[8; 300_000], compression), "it decompresses to sha256:"),
                (compress(&TAR[1..], compression), "it decompresses to sha256:"),
                (compress(&[TAR, b"x"].concat(), compression), "more than 300000 bytes"),
                (with(&compress(b"x", compression)), "more than 300000 bytes"),
                (with(b"garbage"), ""),
                (blob[..blob.len() - 1].to_vec(), ""),
                (b"not compressed".to_vec(), ""),
                (Vec::new(), ""),
            ];
            for (at, (blob, why)) in cases.iter().enumerate() {
                match verdict(blob, compression) {
                    Verdict::Refuted(found) => assert!(found.contains(why), "case {at}: {found}"),
                    other => panic!("case {at}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn an_endless_blob_is_refuted_after_the_size_of_the_layer() {
        // 64 MiB of zeros in a few kilobytes of zstd.
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        io::copy(&mut io::repeat(0).take(64 << 20), &mut encoder).unwrap();
        let bomb = encoder.finish().unwrap();
        let expected = Verdict::Refuted("it decompresses to more than 300000 bytes".to_owned());
        assert_eq!(verdict(&bomb, Compression::Zstd), expected);
    }

    #[test]
    fn a_table_of_contents_is_refuted() {
        let skippable = |text: &[u8]| [&0x184d_2a50_u32.to_le_bytes()[..], &8_u32.to_le_bytes(), text].concat();
        let with = |text| [compress(TAR, Compression::Zstd), skippable(text)].concat();
        assert_eq!(verdict(&with(b"whatever"), Compression::Zstd), Verdict::Verified);
        assert!(
            matches!(verdict(&with(b"GNUlInUx"), Compression::Zstd), Verdict::Refuted(why) if why.contains("table"))
        );
    }

    #[test]
    fn an_unreadable_blob_verifies_nothing() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
        let blob = compress(TAR, Compression::Gzip);
        let broken = io::Cursor::new(blob[..100].to_vec()).chain(Broken);
        assert_eq!(judged(broken, &blob, Compression::Gzip), Verdict::Unavailable);
        // Other bytes than those that the registry was asked for, and fewer.
        let other = io::Cursor::new(vec![0; blob.len()]);
        assert_eq!(judged(other, &blob, Compression::Gzip), Verdict::Unavailable);
        let fewer = io::Cursor::new(blob[..100].to_vec());
        assert_eq!(judged(fewer, &blob, Compression::Gzip), Verdict::Unavailable);
    }

    #[test]
    fn a_download_that_takes_longer_than_compressing_is_ended() {
        let slow = |limit| Pace { read: 100, waited: Duration::from_secs(10), ..Pace::new(1000, limit) };
        // 900 bytes are left at 10 bytes per second.
        assert!(slow(Duration::from_secs(80)).is_too_slow());
        assert!(!slow(Duration::from_secs(100)).is_too_slow());
        assert!(!Pace { waited: GRACE, ..slow(Duration::ZERO) }.is_too_slow());
        assert!(!Pace { read: 1000, ..slow(Duration::ZERO) }.is_too_slow());
    }

    #[test]
    fn a_blob_larger_than_any_compressor_makes_is_not_downloaded() {
        assert!(largest_compressed(0) >= 64 * 1024);
        assert_eq!(largest_compressed(1_000_000), 1_010_000 + 64 * 1024);
        assert_eq!(largest_compressed(u64::MAX), u64::MAX);
    }
}
