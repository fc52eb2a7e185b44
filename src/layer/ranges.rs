//! Writes ranges of a layer's tar. Files outside of the ranges are not read.
//!
//! ```text
//! wanted             [----]        [--------]
//! tar      [hdr][file 1   ][hdr][file 2][hdr][file 3 ][hdr][file 4]
//! read     headers, from file 1 that much,    file 3 from its start on; then nothing more
//! ```
//!
//! The sizes of all entries are in the headers, so all headers are made up to the last byte of the ranges.

use std::{
    collections::VecDeque,
    io::{self, Write},
    ops::Range,
};

use super::{
    LayerError, Result, Tree,
    chunks::{Chunk, Chunks, Direct},
    tar::TarWriter,
};

/// Writes these ranges of the tar of `tree` one after the other. The ranges must be ordered and disjoint. Digests are
/// those of whole tars, so they are not checked here.
///
/// # Errors
///
/// Those of [`write`](fn@super::write), and an error if the tar is shorter than expected.
pub fn write_ranges(tree: &Tree, ranges: &[Range<u64>], out: &mut dyn Write) -> Result<()> {
    let mut tar = TarWriter::with_chunks(Selected { inner: Direct(Cutout::new(ranges, out)) });
    let mut unfinished = 0;
    let ended = match tree.walk(&mut |entry| tar.append(entry)) {
        Ok(()) => tar.end_with(|selected| {
            unfinished = selected.inner.0.unfinished();
            Ok(())
        }),
        Err(error) => {
            unfinished = tar.abandon().inner.0.unfinished();
            Err(error)
        }
    };
    // An error ends the walk when nothing more is needed.
    if unfinished == 0 {
        return Ok(());
    }
    ended?;
    let what = format!("it ends before {unfinished} of the ranges that are wanted");
    Err(LayerError::Write(io::Error::new(io::ErrorKind::InvalidData, what)))
}

/// Passes on only some ranges of the written bytes.
pub struct Cutout<'a> {
    at: u64,
    ranges: VecDeque<Range<u64>>,
    out: &'a mut dyn Write,
}

impl<'a> Cutout<'a> {
    /// The ranges must be ordered and disjoint.
    pub fn new(ranges: &[Range<u64>], out: &'a mut dyn Write) -> Self {
        let ranges = ranges.iter().filter(|range| !range.is_empty()).cloned().collect();
        Self { at: 0, ranges, out }
    }

    /// Returns how many ranges are not complete.
    pub fn unfinished(&self) -> usize {
        self.ranges.len()
    }

    /// Sets the position of the next bytes.
    pub fn seek(&mut self, at: u64) {
        self.at = at;
    }

    /// Returns how many of the next `most` bytes are outside of the ranges.
    fn unwanted(&self, most: u64) -> u64 {
        self.ranges.front().map_or(most, |range| range.start.saturating_sub(self.at).min(most))
    }
}

impl Write for Cutout<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (start, end) = (self.at, self.at + bytes.len() as u64);
        self.at = end;
        while let Some(range) = self.ranges.front().filter(|range| range.start < end) {
            let (from, to) = (range.start.clamp(start, end), range.end.clamp(start, end));
            self.out.write_all(&bytes[(from - start) as usize..(to - start) as usize])?;
            if range.end > end {
                break;
            }
            self.ranges.pop_front();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Passes on only some ranges of the chunks.
struct Selected<'a> {
    inner: Direct<Cutout<'a>>,
}

impl Chunks for Selected<'_> {
    const SELECTIVE: bool = true;

    fn pass(&mut self, full: Chunk) -> io::Result<Chunk> {
        if self.inner.0.unfinished() == 0 {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "nothing more is wanted"));
        }
        self.inner.pass(full)
    }

    fn first(&mut self) -> Chunk {
        self.inner.first()
    }

    fn skip(&mut self, most: u64) -> u64 {
        let skipped = self.inner.0.unwanted(most);
        let at = self.inner.0.at + skipped;
        self.inner.0.seek(at);
        skipped
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::layer::{PathOptions, Source, SourceFiles, write};

    #[test]
    fn every_part_of_a_tar_is_that_of_the_whole() {
        let top = tempfile::tempdir().unwrap();
        let at = top.path().join("path");
        fs::create_dir_all(at.join("empty")).unwrap();
        for (name, length) in [("a", 0), ("b", 1), ("c", 700_000), ("d", 512), (&*"n".repeat(150), 3), ("z", 5)] {
            let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            fs::write(at.join(name), bytes).unwrap();
        }
        std::os::unix::fs::symlink("b", at.join("link")).unwrap();
        let source = Source { path: at, files: SourceFiles::InPlace, options: PathOptions::default(), follow: false };
        let tree = Tree::new(&[source]).unwrap();
        let whole = write(&tree, Vec::new()).unwrap();
        let end = whole.len() as u64;
        let step = (0..end).step_by(4_096).map(|start| start..(start + 100).min(end)).collect();
        let one = |range| std::iter::once(range).collect();
        let sets: [Vec<Range<u64>>; 7] = [
            vec![],
            one(0..end),
            vec![0..1, 511..513, end - 1..end],
            one(300_000..300_001),
            vec![300_000..500_000, 500_001..end - 2_000],
            one(end - 1_024..end),
            step,
        ];
        for ranges in sets {
            let mut received = Vec::new();
            write_ranges(&tree, &ranges, &mut received).unwrap();
            let expected: Vec<u8> =
                ranges.iter().flat_map(|range| &whole[range.start as usize..range.end as usize]).copied().collect();
            assert!(received == expected, "{ranges:?}");
        }
        let error = write_ranges(&tree, &[0..1, end..end + 1], &mut Vec::new()).unwrap_err();
        assert!(matches!(error, LayerError::Write(_)), "{error:?}");
    }
}
