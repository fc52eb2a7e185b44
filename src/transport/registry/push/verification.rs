//! An unsigned mapping is verified before it is used: the blob is downloaded and decompressed as a stream, and the digest
//! of the result is compared with the layer's diff_id.
//!
//! ```text
//! registry ──▶ size and digest of the blob ──▶ decompress ──▶ size and digest of the layer ──▶ verified or refuted
//!              at most what the layer can      at most the size of the
//!              be compressed to                layer and one byte
//! ```
//!
//! Memory is constant, and nothing is written. If the download is so slow that compressing the layer takes less time, it
//! is ended.

use std::{
    io::{self, Read},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{mapping::Mapping, watch::Watch};
use crate::{
    image::{BlobReader, LayerBlob},
    layer::{DetectedCompression, chunked, compress::Compression},
    transport::registry::Client,
};

/// How long a download runs before its rate is judged.
const GRACE: Duration = Duration::from_secs(1);
/// Uncompressed bytes per second that one core compresses (docs/benchmarks.md, *Known layers*).
const GZIP_RATE: u64 = 130_000_000;
const ZSTD_RATE: u64 = 250_000_000;

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
    let inner = watch.reader(BlobReader::new(Box::new(client.blob(&blob.digest)), blob));
    let limit = compressing_time(layer.descriptor.size, compression);
    let mut download =
        Download { inner, size: blob.size, read: 0, begun: Instant::now(), limit, failed: false, tail: [0; 8] };
    judge(&mut download, layer, compression)
}

fn judge<R: Read>(download: &mut Download<R>, layer: &LayerBlob, compression: Compression) -> Verdict {
    let found = compare(download, layer, compression);
    match found {
        _ if download.failed => Verdict::Unavailable,
        Err(error) => Verdict::Refuted(error.to_string()),
        Ok(Some(why)) => Verdict::Refuted(why),
        Ok(None) if download.read < download.size => Verdict::Refuted("the layer ends before the blob".to_owned()),
        // Readers that look for a table of contents at the end of a blob take files from it, not from the tar.
        Ok(None) if chunked::is_footer(&download.tail) => {
            Verdict::Refuted("it has a table of contents, which is not verified".to_owned())
        }
        Ok(None) => Verdict::Verified,
    }
}

/// Decompresses the blob; how the result differs from the layer, if it does.
fn compare<R: Read>(
    download: &mut Download<R>,
    layer: &LayerBlob,
    compression: Compression,
) -> io::Result<Option<String>> {
    let (size, blob_size) = (layer.descriptor.size, download.size);
    let packing = DetectedCompression::of_media_type(compression.media_type());
    let mut uncompressed = packing.reader(&mut *download, blob_size)?.take(size.saturating_add(1));
    let mut hasher = layer.diff_id.hasher();
    let mut buffer = vec![0; 128 * 1024];
    let mut read = 0;
    loop {
        let count = uncompressed.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        read += count as u64;
    }
    if read > size {
        return Ok(Some(format!("it decompresses to more than {size} bytes")));
    }
    let found = hasher.finish();
    Ok((found != layer.diff_id).then(|| format!("it decompresses to {found}")))
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

/// A blob on its way; ends with an error if the rest would take longer than `limit`.
struct Download<R> {
    inner: R,
    size: u64,
    read: u64,
    begun: Instant,
    limit: Duration,
    /// Whether reading failed, in contrast to decompressing.
    failed: bool,
    /// The last bytes.
    tail: [u8; 8],
}

impl<R> Download<R> {
    fn is_too_slow(&self) -> bool {
        let elapsed = self.begun.elapsed();
        let rest = u128::from(self.size.saturating_sub(self.read));
        elapsed > GRACE && elapsed.as_millis() * rest > self.limit.as_millis() * u128::from(self.read.max(1))
    }
}

impl<R: Read> Read for Download<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_too_slow() {
            self.failed = true;
            return Err(io::ErrorKind::TimedOut.into());
        }
        let count = self.inner.read(buffer).inspect_err(|_| self.failed = true)?;
        self.read += count as u64;
        let new = &buffer[..count];
        if new.len() >= 8 {
            self.tail.copy_from_slice(&new[new.len() - 8..]);
        } else {
            self.tail.rotate_left(new.len());
            self.tail[8 - new.len()..].copy_from_slice(new);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::oci::{Descriptor, Digest, descriptor::media_type};

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

    fn download<R>(inner: R, size: usize) -> Download<R> {
        let limit = Duration::from_secs(600);
        Download { inner, size: size as u64, read: 0, begun: Instant::now(), limit, failed: false, tail: [0; 8] }
    }

    fn verdict(blob: &[u8], compression: Compression) -> Verdict {
        judge(&mut download(blob, blob.len()), &layer(), compression)
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
        let mut download = download(&bomb[..], bomb.len());
        assert_eq!(
            judge(&mut download, &layer(), Compression::Zstd),
            Verdict::Refuted("it decompresses to more than 300000 bytes".to_owned())
        );
        assert!(download.read <= 128 * 1024, "{} bytes were read", download.read);
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
    fn a_blob_that_cannot_be_read_is_no_evidence() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
        let blob = compress(TAR, Compression::Gzip);
        let mut broken = download(blob[..100].chain(Broken), blob.len());
        assert_eq!(judge(&mut broken, &layer(), Compression::Gzip), Verdict::Unavailable);
    }

    #[test]
    fn a_download_that_takes_longer_than_compressing_is_ended() {
        let begun = Instant::now() - Duration::from_secs(10);
        let slow = |limit| Download { begun, limit, read: 100, ..download(TAR, 1000) };
        // 900 bytes are left at 10 bytes per second.
        assert!(slow(Duration::from_secs(80)).is_too_slow());
        assert!(!slow(Duration::from_secs(100)).is_too_slow());
        assert!(!Download { begun: Instant::now(), ..slow(Duration::ZERO) }.is_too_slow());
    }

    #[test]
    fn a_blob_larger_than_any_compressor_makes_is_not_downloaded() {
        assert!(largest_compressed(0) >= 64 * 1024);
        assert_eq!(largest_compressed(1_000_000), 1_010_000 + 64 * 1024);
        assert_eq!(largest_compressed(u64::MAX), u64::MAX);
    }
}
