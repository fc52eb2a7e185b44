//! An unsigned mapping is verified before it is used: the blob is downloaded and decompressed as a stream, and the digest
//! of the result is compared with the layer's diff_id.
//!
//! ```text
//! registry ──▶ size and digest of the blob ──▶ decompress ──▶ size and digest of the layer ──▶ verified or refuted
//!              at most what the layer can      at most the size of the
//!              be compressed to                layer and one byte
//! ```
//!
//! The three steps run on three threads. Memory use is constant, and nothing is written. If the connection is so slow
//! that compressing the layer takes less time, the download is cancelled.

use std::{
    io::{self, Read, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{mapping::Mapping, watch::LayerProgress};
use crate::{
    image::{BlobReader, LayerBlob},
    layer::{ChunkReader, Chunks, DetectedCompression, Overlapped, chunked, compress::Compression},
    oci::{Descriptor, Hasher},
    threads::{self, lock},
    transport::registry::Client,
};

/// The waiting time after which the rate of a download is checked.
const GRACE: Duration = Duration::from_secs(1);
/// The number of uncompressed bytes that one core compresses per second (docs/benchmarks.md, *Known layers*).
const GZIP_RATE: u64 = 120_000_000;
const ZSTD_RATE: u64 = 170_000_000;
/// A download is cancelled if it would take more than this multiple of the time for compressing. The estimate is rough,
/// and compressing is useless if the blob was compressed in another way.
const PATIENCE: u32 = 2;
const BUFFER: usize = 64 * 1024;

/// The result of a verification.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The blob decompresses to the layer.
    Verified,
    /// The blob does not decompress to the layer, for this reason.
    Refuted(String),
    /// The blob could not be read, or reading takes longer than compressing.
    Unavailable,
}

/// Verifies whether the blob of `mapping` in `client`'s repository decompresses to `layer`.
pub(super) fn verify(
    client: &Arc<Client>,
    mapping: &Mapping,
    layer: &LayerBlob,
    compression: Compression,
    watch: &LayerProgress,
) -> Verdict {
    let blob = &mapping.blob;
    if blob.size > largest_compressed(layer.descriptor.size) {
        return Verdict::Refuted(format!("it has {} bytes, more than the layer can be compressed to", blob.size));
    }
    let limit = compressing_time(layer.descriptor.size, compression) * PATIENCE;
    let connection = BlobDownload { inner: client.blob(&blob.digest), pace: Pace::new(blob.size, limit) };
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
        // Readers that find a table of contents at the end of a blob take files from it, not from the tar.
        Ok(None) if chunked::has_footer(&lock(&state.tail)) => {
            Verdict::Refuted("it has a table of contents, which is not verified".to_owned())
        }
        Ok(None) => Verdict::Verified,
    }
}

/// Decompresses a blob of `blob_size` bytes. Returns the difference to the layer, if there is one.
fn compare(
    compressed: ChunkReader,
    blob_size: u64,
    layer: &LayerBlob,
    compression: Compression,
) -> io::Result<Option<String>> {
    let size = layer.descriptor.size;
    let packing = DetectedCompression::from_media_type(compression.media_type());
    let mut uncompressed = packing.reader(compressed, blob_size)?.take(size.saturating_add(1));
    let mut hashing = Overlapped::new(HashingWriter { hasher: layer.diff_id.hasher(), size: 0 });
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

/// Hashes and counts the written bytes.
struct HashingWriter {
    hasher: Hasher,
    size: u64,
}

impl Write for HashingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The same as [`io::copy`], with a larger buffer.
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

/// Returns the maximum compressed size of `size` bytes for any compressor: stored blocks of deflate and raw blocks of
/// zstd add less than a hundredth, and headers less than 64 KiB.
fn largest_compressed(size: u64) -> u64 {
    size.saturating_add(size / 100).saturating_add(64 * 1024)
}

/// Returns the time that this machine takes to compress `size` bytes without other load.
fn compressing_time(size: u64, compression: Compression) -> Duration {
    let rate = if compression == Compression::Gzip { GZIP_RATE } else { ZSTD_RATE };
    let cores = threads::jobs() as u64;
    Duration::from_millis(size.saturating_mul(1000) / (rate * cores))
}

/// A blob that is being downloaded, and checked against its descriptor.
struct Download {
    inner: BlobReader,
    state: Arc<DownloadState>,
}

/// The state of a download, which is still needed after its reader was dropped.
#[derive(Default)]
struct DownloadState {
    /// Whether reading failed, as opposed to decompressing.
    has_failed: AtomicBool,
    read: AtomicU64,
    /// The last bytes.
    tail: Mutex<Vec<u8>>,
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer).inspect_err(|_| self.state.has_failed.store(true, Ordering::Relaxed))?;
        self.state.read.fetch_add(count as u64, Ordering::Relaxed);
        let (new, mut tail) = (&buffer[..count], lock(&self.state.tail));
        tail.extend_from_slice(&new[count.saturating_sub(chunked::FOOTER_SIZE)..]);
        let excess = tail.len().saturating_sub(chunked::FOOTER_SIZE);
        tail.drain(..excess);
        Ok(count)
    }
}

/// The connection for a blob. It fails if it is too slow.
struct BlobDownload<R> {
    inner: R,
    pace: Pace,
}

impl<R: Read> Read for BlobDownload<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let begun = Instant::now();
        let count = self.inner.read(buffer)?;
        self.pace.add(count as u64, begun.elapsed());
        if self.pace.is_too_slow() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(count) }
    }
}

/// The rate of a download. Only the time of waiting for the registry counts, not the time for decompressing.
#[derive(Clone, Copy, Debug)]
struct Pace {
    size: u64,
    limit: Duration,
    read: u64,
    waited: Duration,
}

impl Pace {
    /// Returns the pace of a blob of `size` bytes. The rest must never need more than `limit`.
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
        let digest = Digest::sha256(TAR);
        LayerBlob::new(Descriptor::new(media_type::LAYER_TAR, digest, TAR.len() as u64), digest, || Ok(Box::new(TAR)))
    }

    fn compress(bytes: &[u8], compression: Compression) -> Vec<u8> {
        let mut writer = compression.writer(Vec::new(), 1, None).unwrap();
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap().0
    }

    fn judged(source: impl Read + Send + 'static, blob: &[u8], compression: Compression) -> Verdict {
        let descriptor = Descriptor::new(compression.media_type(), Digest::sha256(blob), blob.len() as u64);
        judge(Box::new(source), &descriptor, &layer(), compression)
    }

    fn verdict(blob: &[u8], compression: Compression) -> Verdict {
        judged(io::Cursor::new(blob.to_vec()), blob, compression)
    }

    #[test]
    fn a_blob_that_decompresses_to_the_layer_is_verified() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            assert_eq!(verdict(&compress(TAR, compression), compression), Verdict::Verified);
            // The tar in two members or frames.
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
        let refuted = |blob: &[u8], compression| matches!(verdict(blob, compression), Verdict::Refuted(why) if why.contains("table"));
        for magic in [b"GNUlInUx", b"GnUlInUx"] {
            assert!(refuted(&with(magic), Compression::Zstd));
        }
        // The footer of eStargz: an empty gzip member whose extra field has the offset of the table.
        let footer = |offset: u64| {
            let field = format!("{offset:016x}STARGZ");
            let header =
                [&[0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 26, 0][..], b"SG", &[22, 0], field.as_bytes()].concat();
            [&header[..], &[1, 0, 0, 0xff, 0xff], &[0; 8]].concat()
        };
        let blob = [compress(TAR, Compression::Gzip), footer(100)].concat();
        assert!(refuted(&blob, Compression::Gzip));
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
        // A blob with other bytes than the requested ones, and a shorter one.
        let other = io::Cursor::new(vec![0; blob.len()]);
        assert_eq!(judged(other, &blob, Compression::Gzip), Verdict::Unavailable);
        let fewer = io::Cursor::new(blob[..100].to_vec());
        assert_eq!(judged(fewer, &blob, Compression::Gzip), Verdict::Unavailable);
    }

    #[test]
    fn a_download_that_takes_longer_than_compressing_is_ended() {
        let slow = |limit| Pace { read: 100, waited: Duration::from_secs(10), ..Pace::new(1000, limit) };
        // 900 bytes remain, at a rate of 10 bytes per second.
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
