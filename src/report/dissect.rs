//! Finds, for each chunk of a zstd:chunked layer, the store path that it belongs to and the store paths that it references.
//!
//! ```text
//! tar ──▶ HashFinder: hashes of the closure, and their offsets ──┐
//!   └───▶ ChunkedWriter: chunks, and their offsets ──────────────┴──▶ pieces, each with its hashes
//! ```
//!
//! Like in Nix, a hash may occur anywhere, not only after `/nix/store/`.

use std::{
    collections::HashMap,
    io::{self, Write},
    ops::Range,
};

use crate::{
    closure::Graph,
    image::{ImageError, LayerBlob},
    layer::chunked::{
        ChunkedWriter,
        read::{Located, files},
    },
    oci::{Digest, descriptor::media_type},
};

/// The number of characters of a hash.
const HASH: usize = 32;
/// Ranges with a gap of at most this number of bytes are fetched as one (`autoMergePartsThreshold` in
/// containers/container-libs, storage/pkg/chunked/storage_linux.go).
const MAX_GAP: u64 = 1024;
/// The maximum number of ranges that are requested of one layer (`maxNumberMissingChunks` in the same file).
const MAX_RANGES: usize = 1024;

/// The nodes of a closure by the hashes of their store paths.
#[derive(Debug)]
pub struct Hashes(HashMap<[u8; HASH], usize>);

impl Hashes {
    /// Collects the hashes of all store paths of `graph`.
    pub fn new(graph: &Graph) -> Self {
        let hash = |path: &str| path.as_bytes().try_into().ok();
        let nodes = graph.nodes().iter().enumerate();
        Self(nodes.filter_map(|(at, node)| Some((hash(node.path.hash_part())?, at))).collect())
    }

    /// Returns the node whose store path contains the file `name` of an image.
    fn owner(&self, name: &str) -> Option<usize> {
        name.split('/').find_map(|part| self.0.get(part.as_bytes().first_chunk()?).copied())
    }
}

/// A layer and its chunks.
#[derive(Clone, Debug, Default)]
pub struct DissectedLayer {
    /// The size of the blob in bytes.
    pub size: u64,
    /// The size of the table of contents and the tar-split data in bytes. Every pull fetches them.
    pub tables: u64,
    /// The nodes whose hashes occur anywhere in the layer, including file names.
    nodes: Vec<usize>,
    /// The pieces in the order of the blob.
    pieces: Vec<BlobPiece>,
}

/// A part of a blob that a pull fetches as a whole or not at all.
#[derive(Clone, Debug)]
struct BlobPiece {
    range: Range<u64>,
    /// The node whose files the piece contains.
    owner: Option<usize>,
    /// The nodes whose hashes the piece contains.
    hashes: Vec<usize>,
}

impl DissectedLayer {
    /// Dissects a layer of an image. An uncompressed layer is treated as if pushed with `--compression zstd:chunked`.
    ///
    /// # Errors
    ///
    /// If the bytes of the layer are not on this machine, or do not match its descriptor.
    pub fn from_layer(layer: &LayerBlob, hashes: &Hashes, threads: usize) -> Result<Self, ImageError> {
        let descriptor = &layer.descriptor;
        let is_uncompressed = media_type::as_oci(&descriptor.media_type) == media_type::LAYER_TAR;
        let has_toc = || {
            Located::from_annotations(&descriptor.annotations, descriptor.size).is_ok_and(|located| located.is_some())
        };
        if is_uncompressed || has_toc() {
            let write = |out: &mut dyn Write| layer.plain(|tar| io::copy(tar, out)).map(drop);
            return Self::from_tar(descriptor.digest, hashes, threads, write);
        }
        // Other layers are always pulled as a whole.
        let mut finder = HashFinder::new(io::sink(), hashes);
        layer.plain(|tar| io::copy(tar, &mut finder))?;
        Ok(Self::single_piece(descriptor.size, finder.nodes()))
    }

    /// Dissects the tar that `write` writes. `digest` is used in messages only.
    ///
    /// # Errors
    ///
    /// If `write` fails.
    pub fn from_tar(
        digest: Digest,
        hashes: &Hashes,
        threads: usize,
        write: impl FnOnce(&mut dyn Write) -> Result<(), ImageError>,
    ) -> Result<Self, ImageError> {
        let fail = |source| ImageError::Blob { digest, source };
        let writer = ChunkedWriter::with_threads(io::sink(), threads, None).map_err(fail)?;
        let mut finder = HashFinder::new(writer, hashes);
        write(&mut finder)?;
        let nodes = finder.nodes();
        let HashFinder { inner, found, .. } = finder;
        let (_, annotations, map) = inner.finish_with_map().map_err(fail)?;
        let size = map.size();
        let toc = map.table(&annotations).map_err(io::Error::other).map_err(fail)?;
        let Some((located, toc)) = toc else { return Ok(Self::single_piece(size, nodes)) };
        let mut owners = HashMap::new();
        for file in files(&toc, located.table.offset).map_err(io::Error::other).map_err(fail)? {
            let owner = hashes.owner(&file.entry.name);
            let fetched = file.chunks.iter().filter(|chunk| !chunk.is_zeros);
            owners.extend(fetched.map(|chunk| (chunk.offset, owner)));
        }
        let mut pieces = Vec::with_capacity(owners.len());
        let mut remaining = found.as_slice();
        for frame in map.frames() {
            let tar = frame.in_tar();
            // A hash that begins in the previous frame and ends in this one belongs to both.
            let previous = remaining.partition_point(|(at, _)| at + HASH as u64 <= tar.start);
            remaining = &remaining[previous..];
            let Some(&owner) = owners.get(&frame.packed) else { continue };
            let mut hashes: Vec<usize> =
                remaining.iter().take_while(|(at, _)| *at < tar.end).map(|(_, node)| *node).collect();
            hashes.sort_unstable();
            hashes.dedup();
            pieces.push(BlobPiece { range: frame.in_blob(), owner, hashes });
        }
        Ok(Self { size, tables: located.overhead(), nodes, pieces })
    }

    /// A layer that is pulled as a whole.
    fn single_piece(size: u64, nodes: Vec<usize>) -> Self {
        let piece = BlobPiece { range: 0..size, owner: None, hashes: nodes.clone() };
        Self { size, tables: 0, nodes, pieces: vec![piece] }
    }

    /// Returns whether the layer changes if the `changed` nodes get other hashes.
    pub fn is_changed(&self, changed: &[bool]) -> bool {
        self.nodes.iter().any(|&node| changed[node])
    }

    /// Returns the bytes of chunks that a pull fetches after an update in which the `changed` nodes get other hashes, and the
    /// node `new` also other files.
    pub fn chunks(&self, changed: &[bool], new: Option<usize>) -> u64 {
        let is_fetched = |piece: &&BlobPiece| {
            piece.hashes.iter().any(|&node| changed[node]) || (new.is_some() && piece.owner == new)
        };
        merge_ranges(self.pieces.iter().filter(is_fetched).map(|piece| piece.range.clone())).1
    }
}

/// Returns the number of ranges that a reader requests to fetch `ranges`, and their bytes. Readers merge ranges with small
/// gaps (`mergeMissingChunks` in containers/container-libs, storage/pkg/chunked/storage_linux.go). `ranges` are sorted and do
/// not overlap.
pub fn merge_ranges(ranges: impl Iterator<Item = Range<u64>>) -> (usize, u64) {
    let (mut count, mut bytes, mut gaps, mut end) = (0_usize, 0, Vec::new(), None);
    for range in ranges {
        gaps.extend(end.map(|end| range.start - end));
        (count, bytes) = (count + 1, bytes + range.end - range.start);
        end = Some(range.end);
    }
    gaps.sort_unstable();
    let too_many = (count + 1).saturating_sub(MAX_RANGES);
    for (at, gap) in gaps.into_iter().enumerate() {
        if gap <= MAX_GAP || at < too_many {
            (count, bytes) = (count - 1, bytes + gap);
        }
    }
    (count, bytes)
}

/// A writer that passes bytes on and records the offsets of hashes.
struct HashFinder<'a, W> {
    inner: W,
    hashes: &'a Hashes,
    /// The last bytes, which may contain the start of a hash.
    window: Vec<u8>,
    /// The offset of `window`.
    window_offset: u64,
    /// The offsets of the hashes found, in order, with their nodes.
    found: Vec<(u64, usize)>,
}

impl<'a, W> HashFinder<'a, W> {
    fn new(inner: W, hashes: &'a Hashes) -> Self {
        Self { inner, hashes, window: Vec::new(), window_offset: 0, found: Vec::new() }
    }

    fn nodes(&self) -> Vec<usize> {
        let mut nodes: Vec<usize> = self.found.iter().map(|(_, node)| *node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    fn search_window(&mut self) {
        let mut at = 0;
        while let Some(digits) = self.window[at..].first_chunk::<HASH>() {
            // No hash contains a byte that is not a base-32 digit, so the search continues after the last such byte.
            if let Some(last) = digits.iter().rposition(|&digit| !is_digit(digit)) {
                at += last + 1;
                continue;
            }
            if let Some(&node) = self.hashes.0.get(digits) {
                self.found.push((self.window_offset + at as u64, node));
            }
            at += 1;
        }
        self.window.drain(..at);
        self.window_offset += at as u64;
    }
}

impl<W: Write> Write for HashFinder<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.window.extend_from_slice(&bytes[..written]);
        self.search_window();
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Returns whether a byte is a digit of Nix base 32, which has no e, o, t and u.
fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'd' | b'f'..=b'n' | b'p'..=b's' | b'v'..=b'z')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "0123456789abcdfghijklmnpqrsvwxyz";
    const TWO: &str = "zyxwvsrqpnmlkjihgfdcba9876543210";

    fn hashes() -> Hashes {
        Hashes([(ONE, 0), (TWO, 1)].map(|(hash, node)| (hash.as_bytes().try_into().unwrap(), node)).into())
    }

    #[test]
    fn hashes_across_writes_are_found() {
        let text = format!("..{ONE}-x/{TWO}{ONE}aaaa{TWO}0/{}", &ONE[1..]);
        let expected = [(2, 0), (37, 1), (69, 0), (105, 1)];
        let hashes = hashes();
        for step in [1, 7, 31, 32, 33, 500] {
            let mut finder = HashFinder::new(Vec::new(), &hashes);
            text.as_bytes().chunks(step).for_each(|piece| finder.write_all(piece).unwrap());
            assert_eq!(finder.found, expected, "{step}");
            assert_eq!((finder.nodes(), finder.inner.as_slice()), (vec![0, 1], text.as_bytes()));
        }
    }

    #[test]
    fn owner_returns_the_store_path_that_contains_a_file() {
        let hashes = hashes();
        assert_eq!(hashes.owner(&format!("/nix/store/{TWO}-x/bin/x")), Some(1));
        assert_eq!(hashes.owner("/nix/store/x"), None);
    }

    #[test]
    fn ranges_are_merged_as_in_container_libs() {
        assert_eq!(merge_ranges([].into_iter()), (0, 0));
        assert_eq!(merge_ranges([0..10, 1034..1040, 3000..3001].into_iter()), (2, 1041));
        // Above the maximum number of ranges, those with the smallest gaps are merged until 1023 remain.
        let many = (0..1030_u64).map(|at| at * 5000 + at * at..at * 5000 + at * at + 10);
        assert_eq!(merge_ranges(many).0, 1023);
    }
}
