//! Cuts files into chunks: at the hashes of store paths, and long files by their content.
//!
//! ```text
//! …code…|/nix/store/[zx3j…-glibc/lib:/nix/store/0c6a…]-hello/lib|…code…|…code…
//!   run  ^           volatile: from the first hash to the last    run     run, cut by a rolling hash
//! ```
//!
//! When a dependency is updated, the hashes of store paths change, and little else. Therefore hashes that are close to each
//! other are a *volatile* chunk, which is small, and the chunks between them are unchanged. A long run is cut where a
//! rolling hash of its last 64 bytes has zeros in its high bits (gear hashing, as in FastCDC), so that inserted bytes do
//! not move later cuts. A reader merges ranges that are less than 1 KiB apart (`autoMergePartsThreshold` in
//! containers/container-libs, storage/pkg/chunked/storage_linux.go), and each chunk costs a frame and an entry of the
//! table. Therefore a run shorter than [`JOIN`] is not a separate chunk.
//!
//! The costs of other values are in docs/measurements.md, *Chunk boundaries*.
//!
//! All constants determine compressed bytes: changing one changes digests.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// The bytes before a hash.
const STORE: &[u8] = b"/nix/store/";
/// The number of digits of a hash.
const HASH: usize = 32;
/// The size in bytes below which a run between hashes, or between a hash and an end of the file, belongs to the volatile chunk.
const JOIN: usize = 256;
/// The size in bytes after which a volatile chunk ends at the next hash.
const VOLATILE: usize = 64 * 1024;
/// The minimum size in bytes of a run that is cut by its content.
const LEAST: usize = 256 * 1024;
/// The maximum size of a chunk in bytes. Each chunk is one frame, which is made at once, so that this bounds memory.
pub const MOST: usize = 2 * 1024 * 1024;
/// The number of high bits of the rolling hash that are zero at a cut, which is one of 2^20 bytes.
const BITS: u32 = 20;
/// The number of bytes after a chunk that are needed to cut it.
pub const AHEAD: usize = JOIN + STORE.len() + HASH;

/// See [`parameters`](super::parameters).
pub const PARAMETERS: [usize; 5] = [JOIN, VOLATILE, LEAST, MOST, BITS as usize];

static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(STORE));

/// Cuts one file.
pub struct Cutter {
    /// The next hash, and the end of the searched bytes, from the start of the file.
    hash: Option<u64>,
    looked: u64,
    /// The start of the next chunk in the file.
    start: u64,
}

impl Cutter {
    /// Creates a cutter at the start of a file.
    pub fn new() -> Self {
        Self { hash: None, looked: 0, start: 0 }
    }

    /// Returns the end of the first chunk of `bytes`. They are the rest of the file (`is_all`), or at least [`MOST`] and
    /// [`AHEAD`].
    pub fn cut(&mut self, bytes: &[u8], is_all: bool) -> usize {
        let end = self.find_end(bytes, is_all);
        self.start += end as u64;
        end
    }

    fn find_end(&mut self, bytes: &[u8], is_all: bool) -> usize {
        // No later bytes are needed.
        let reach = bytes.len().min(MOST);
        let all_fits = is_all && bytes.len() <= MOST;
        match self.next_hash(bytes, 0) {
            Some(first) if first < JOIN => {
                let mut end = first + HASH;
                while end < VOLATILE {
                    match self.next_hash(bytes, end) {
                        Some(next) if next - end < JOIN => end = next + HASH,
                        _ => break,
                    }
                }
                if all_fits && bytes.len() - end < JOIN { bytes.len() } else { end }
            }
            // The hash begins a volatile chunk, or the run before it is too long for one chunk.
            Some(first) => cut_run(&bytes[..first.min(reach)], first < reach),
            None => cut_run(&bytes[..reach], all_fits),
        }
    }

    /// Returns the start of the first hash in `bytes` at or after `from`.
    fn next_hash(&mut self, bytes: &[u8], from: usize) -> Option<usize> {
        let from = self.start + from as u64;
        if self.hash.is_none_or(|hash| hash < from) {
            self.hash = None;
            let begin = from.max(self.looked).saturating_sub((STORE.len() + HASH) as u64).max(self.start);
            let mut at = (begin - self.start) as usize;
            while let Some(found) = FINDER.find(&bytes[at..]) {
                let hash = at + found + STORE.len();
                let digits = bytes.get(hash..hash + HASH);
                if digits.is_some_and(is_hash) && self.start + hash as u64 >= from {
                    self.hash = Some(self.start + hash as u64);
                    break;
                }
                at = hash;
            }
            if self.hash.is_none() {
                self.looked = self.start + bytes.len() as u64;
            }
        }
        self.hash.map(|hash| (hash - self.start) as usize)
    }
}

/// Returns the end of the first chunk of a run without hashes. `is_whole` means that the run ends with `bytes`.
fn cut_run(bytes: &[u8], is_whole: bool) -> usize {
    if bytes.len() <= LEAST {
        return bytes.len();
    }
    let mut rolling = 0_u64;
    for (at, &byte) in bytes.iter().enumerate().skip(LEAST - 64) {
        rolling = (rolling << 1).wrapping_add(GEAR[usize::from(byte)]);
        if rolling >> (64 - BITS) == 0 && at >= LEAST {
            // A short rest is not a separate chunk.
            let end = at + 1;
            return if is_whole && bytes.len() - end < JOIN { bytes.len() } else { end };
        }
    }
    bytes.len()
}

/// Whether the digits are of Nix's base 32, which lacks e, o, t and u.
fn is_hash(digits: &[u8]) -> bool {
    digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'd' | b'f'..=b'n' | b'p'..=b's' | b'v'..=b'z'))
}

/// A random number for each byte, by splitmix64.
static GEAR: [u64; 256] = {
    let mut table = [0; 256];
    let mut state = 0_u64;
    let mut at = 0;
    while at < 256 {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        table[at] = mixed ^ (mixed >> 31);
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Returns the chunks of a file, which arrives in parts of [`MOST`] + [`AHEAD`] bytes, as in the writer.
    fn chunks(file: &[u8]) -> Vec<&[u8]> {
        let mut cutter = Cutter::new();
        let mut left = file;
        let mut chunks = Vec::new();
        while !left.is_empty() {
            let window = &left[..left.len().min(MOST + AHEAD)];
            let (chunk, rest) = left.split_at(cutter.cut(window, window.len() == left.len()));
            assert!(!chunk.is_empty() && chunk.len() <= MOST);
            chunks.push(chunk);
            left = rest;
        }
        chunks
    }

    fn noise(length: usize, seed: u64) -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        std::iter::repeat_with(&mut next).take(length).collect()
    }

    fn with_path(mut bytes: Vec<u8>, at: usize, digit: char) -> Vec<u8> {
        let path = format!("/nix/store/{}-x", digit.to_string().repeat(32));
        bytes[at..at + path.len()].copy_from_slice(path.as_bytes());
        bytes
    }

    #[test]
    fn a_changed_hash_changes_few_chunks() {
        // A hash can cross the end of a buffer.
        for at in [0, 20, 700, 5_000, 300_000, MOST - 40, MOST - 10, MOST, MOST + AHEAD - 20, 4_999_950] {
            let (old, new) = (with_path(noise(5_000_000, 1), at, 'a'), with_path(noise(5_000_000, 1), at, 'b'));
            let (old, new) = (chunks(&old), chunks(&new));
            assert_eq!(old.len(), new.len(), "{at}");
            let known: HashSet<&[u8]> = old.into_iter().collect();
            let changed: usize = new.iter().filter(|chunk| !known.contains(*chunk)).map(|chunk| chunk.len()).sum();
            assert!(changed <= 2 * JOIN + HASH, "{at}: {changed} bytes");
        }
    }

    #[test]
    fn an_insertion_moves_no_cut_behind_it() {
        let old = with_path(noise(8_000_000, 2), 6_000_000, 'a');
        let mut new = old.clone();
        new.splice(1_000_000..1_000_000, *b"inserted");
        let known: HashSet<&[u8]> = chunks(&old).into_iter().collect();
        let chunks = chunks(&new);
        let changed: usize = chunks.iter().filter(|chunk| !known.contains(*chunk)).map(|chunk| chunk.len()).sum();
        assert!(changed <= 2 * MOST, "{changed} bytes in {} chunks", chunks.len());
    }

    #[test]
    fn hashes_close_to_each_other_share_a_chunk() {
        let list: Vec<u8> = (0..10).flat_map(|_| *b"/nix/store/0123456789abcdfghijklmnpqrsvwxyz-x\n").collect();
        let file = [noise(10_000, 3), list.clone(), noise(10_000, 4)].concat();
        let found = chunks(&file);
        assert_eq!(found.len(), 3);
        assert_eq!(found[0].len(), 10_000 + STORE.len());
        assert!(found[1].ends_with(b"0123456789abcdfghijklmnpqrsvwxyz"));
        // Small files and files without hashes are one chunk.
        assert_eq!(chunks(&file[9_900..10_600]).len(), 1);
        assert_eq!(chunks(&noise(LEAST, 5)).len(), 1);
        assert_eq!(chunks(b"/nix/store/0123456789abcdefghijklmnopqrstuv-x").len(), 1);
        // A volatile chunk has a maximum size.
        let long = list.repeat(1000);
        assert!(chunks(&long).iter().all(|chunk| chunk.len() < VOLATILE + JOIN));
    }

    #[test]
    fn chunks_cover_files_of_zeros_and_of_every_length() {
        for length in [1, JOIN, LEAST - 1, LEAST, LEAST + 1, MOST - 1, MOST, MOST + 1, MOST + AHEAD, 2 * MOST + 7] {
            assert_eq!(chunks(&vec![0; length]).concat().len(), length);
            assert_eq!(chunks(&noise(length, 6)).concat().len(), length);
        }
    }
}
