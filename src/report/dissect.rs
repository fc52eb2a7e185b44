//! A layer as zstd:chunked, chunk by chunk: which store path each chunk is of, and which store paths' hashes it holds.
//!
//! ```text
//! tar ──▶ Seen: hashes of the closure, and where ──┐
//!   └───▶ ChunkedWriter: chunks, and where ────────┴──▶ pieces, each with its hashes
//! ```
//!
//! Hashes are looked for as Nix does, anywhere and not only behind `/nix/store/`.

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

/// Digits of a hash.
const HASH: usize = 32;
/// Ranges closer than that (in bytes) are fetched as one (`autoMergePartsThreshold` in containers/container-libs,
/// storage/pkg/chunked/storage_linux.go).
const GAP: u64 = 1024;
/// Ranges that are asked for of one layer (`maxNumberMissingChunks` in the same file).
const RANGES: usize = 1024;

/// The hashes of a closure, and the node that each is of.
#[derive(Debug)]
pub struct Hashes(HashMap<[u8; HASH], usize>);

impl Hashes {
    /// Of every store path of `graph`.
    pub fn of(graph: &Graph) -> Self {
        let hash = |path: &str| path.as_bytes().try_into().ok();
        let nodes = graph.nodes().iter().enumerate();
        Self(nodes.filter_map(|(at, node)| Some((hash(node.path.hash_part())?, at))).collect())
    }

    /// The node that a path in an image is of.
    fn owner(&self, name: &str) -> Option<usize> {
        name.split('/').find_map(|part| self.0.get(part.as_bytes().first_chunk()?).copied())
    }
}

/// One layer.
#[derive(Clone, Debug, Default)]
pub struct Dissected {
    /// Bytes of the blob.
    pub size: u64,
    /// Bytes of its table and tar-split's data, which every pull fetches.
    pub tables: u64,
    /// Nodes whose hashes are anywhere in it, also in its files' names.
    nodes: Vec<usize>,
    /// In order.
    pieces: Vec<Piece>,
}

/// A part of a blob that is fetched or not.
#[derive(Clone, Debug)]
struct Piece {
    at: Range<u64>,
    /// The node that it is of.
    owner: Option<usize>,
    /// The nodes whose hashes it holds.
    hashes: Vec<usize>,
}

impl Dissected {
    /// Of an image's layer: plain ones as they would be with `--compression zstd:chunked`.
    ///
    /// # Errors
    ///
    /// When the layer's bytes are not on this machine, or not what the image says of them.
    pub fn of_layer(layer: &LayerBlob, hashes: &Hashes, threads: usize) -> Result<Self, ImageError> {
        let own = &layer.descriptor;
        let is_plain = media_type::as_oci(&own.media_type) == media_type::LAYER_TAR;
        let has_table = || Located::of(&own.annotations, own.size).is_ok_and(|located| located.is_some());
        if is_plain || has_table() {
            return Self::of_tar(own.digest, hashes, threads, |out| layer.plain(|tar| io::copy(tar, out)).map(drop));
        }
        // Others are pulled whole.
        let mut seen = Seen::new(io::sink(), hashes);
        layer.plain(|tar| io::copy(tar, &mut seen))?;
        Ok(Self::whole(own.size, seen.nodes()))
    }

    /// Of the tar that `write` writes; `digest` is for messages.
    ///
    /// # Errors
    ///
    /// Those of `write`.
    pub fn of_tar(
        digest: Digest,
        hashes: &Hashes,
        threads: usize,
        write: impl FnOnce(&mut dyn Write) -> Result<(), ImageError>,
    ) -> Result<Self, ImageError> {
        let fail = |source| ImageError::Blob { digest, source };
        let mut seen = Seen::new(ChunkedWriter::with_threads(io::sink(), threads, None).map_err(fail)?, hashes);
        write(&mut seen)?;
        let nodes = seen.nodes();
        let Seen { inner, found, .. } = seen;
        let (_, annotations, map) = inner.finish_with_map().map_err(fail)?;
        let size = map.size();
        let found_table = map.table(&annotations).map_err(io::Error::other).map_err(fail)?;
        let Some((located, table)) = found_table else { return Ok(Self::whole(size, nodes)) };
        let mut owners = HashMap::new();
        for file in files(&table, located.table.offset).map_err(io::Error::other).map_err(fail)? {
            let owner = hashes.owner(&file.entry.name);
            let fetched = file.chunks.iter().filter(|chunk| !chunk.is_zeros);
            owners.extend(fetched.map(|chunk| (chunk.offset, owner)));
        }
        let mut pieces = Vec::with_capacity(owners.len());
        let mut left = found.as_slice();
        for placed in map.frames() {
            let tar = placed.in_tar();
            // One that begins in this frame may end in the next.
            let behind = left.partition_point(|(at, _)| at + HASH as u64 <= tar.start);
            left = &left[behind..];
            let Some(&owner) = owners.get(&placed.packed) else { continue };
            let mut hashes: Vec<usize> =
                left.iter().take_while(|(at, _)| *at < tar.end).map(|(_, node)| *node).collect();
            hashes.sort_unstable();
            hashes.dedup();
            pieces.push(Piece { at: placed.in_blob(), owner, hashes });
        }
        Ok(Self { size, tables: located.overhead(), nodes, pieces })
    }

    fn whole(size: u64, nodes: Vec<usize>) -> Self {
        let piece = Piece { at: 0..size, owner: None, hashes: nodes.clone() };
        Self { size, tables: 0, nodes, pieces: vec![piece] }
    }

    /// Whether it is another layer where these nodes have other hashes.
    pub fn is_changed(&self, changed: &[bool]) -> bool {
        self.nodes.iter().any(|&node| changed[node])
    }

    /// Bytes of chunks that a pull fetches where `changed` nodes have other hashes, and `new` has other files too.
    pub fn chunks(&self, changed: &[bool], new: Option<usize>) -> u64 {
        let is_fetched =
            |piece: &&Piece| piece.hashes.iter().any(|&node| changed[node]) || (new.is_some() && piece.owner == new);
        merged(self.pieces.iter().filter(is_fetched).map(|piece| piece.at.clone())).1
    }
}

/// How many ranges are asked for to have these, which are in order and apart, and how many bytes these have: near ones
/// are one (`mergeMissingChunks` in containers/container-libs, storage/pkg/chunked/storage_linux.go).
pub fn merged(ranges: impl Iterator<Item = Range<u64>>) -> (usize, u64) {
    let (mut count, mut bytes, mut gaps, mut end) = (0_usize, 0, Vec::new(), None);
    for range in ranges {
        gaps.extend(end.map(|end| range.start - end));
        (count, bytes) = (count + 1, bytes + range.end - range.start);
        end = Some(range.end);
    }
    gaps.sort_unstable();
    let too_many = (count + 1).saturating_sub(RANGES);
    for (at, gap) in gaps.into_iter().enumerate() {
        if gap <= GAP || at < too_many {
            (count, bytes) = (count - 1, bytes + gap);
        }
    }
    (count, bytes)
}

/// Passes everything on, and notes where hashes are.
struct Seen<'a, W> {
    inner: W,
    hashes: &'a Hashes,
    /// What may be the start of a hash, and what follows it; where it is.
    window: Vec<u8>,
    at: u64,
    /// In order.
    found: Vec<(u64, usize)>,
}

impl<'a, W> Seen<'a, W> {
    fn new(inner: W, hashes: &'a Hashes) -> Self {
        Self { inner, hashes, window: Vec::new(), at: 0, found: Vec::new() }
    }

    fn nodes(&self) -> Vec<usize> {
        let mut nodes: Vec<usize> = self.found.iter().map(|(_, node)| *node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    fn look(&mut self) {
        let mut at = 0;
        while let Some(digits) = self.window[at..].first_chunk::<HASH>() {
            // A hash cannot begin before a byte that is none of its digits.
            if let Some(other) = digits.iter().rposition(|&digit| !is_digit(digit)) {
                at += other + 1;
                continue;
            }
            if let Some(&node) = self.hashes.0.get(digits) {
                self.found.push((self.at + at as u64, node));
            }
            at += 1;
        }
        self.window.drain(..at);
        self.at += at as u64;
    }
}

impl<W: Write> Write for Seen<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.window.extend_from_slice(&bytes[..written]);
        self.look();
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Nix's base-32 digits: no e, o, t, u.
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
    fn hashes_are_found_however_they_arrive() {
        let text = format!("..{ONE}-x/{TWO}{ONE}aaaa{TWO}0/{}", &ONE[1..]);
        let expected = [(2, 0), (37, 1), (69, 0), (105, 1)];
        let hashes = hashes();
        for step in [1, 7, 31, 32, 33, 500] {
            let mut seen = Seen::new(Vec::new(), &hashes);
            text.as_bytes().chunks(step).for_each(|piece| seen.write_all(piece).unwrap());
            assert_eq!(seen.found, expected, "{step}");
            assert_eq!((seen.nodes(), seen.inner.as_slice()), (vec![0, 1], text.as_bytes()));
        }
    }

    #[test]
    fn a_file_is_of_the_store_path_that_it_is_in() {
        let hashes = hashes();
        assert_eq!(hashes.owner(&format!("/nix/store/{TWO}-x/bin/x")), Some(1));
        assert_eq!(hashes.owner("/nix/store/x"), None);
    }

    #[test]
    fn ranges_are_merged_as_readers_do() {
        assert_eq!(merged([].into_iter()), (0, 0));
        assert_eq!(merged([0..10, 1034..1040, 3000..3001].into_iter()), (2, 1041));
        // So many that the nearest of them are merged, down to 1023.
        let many = (0..1030_u64).map(|at| at * 5000 + at * at..at * 5000 + at * at + 10);
        assert_eq!(merged(many).0, 1023);
    }
}
