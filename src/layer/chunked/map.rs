//! The positions of all frames in a blob, with which any part of the blob can be made without the previous parts.
//!
//! ```text
//! tar     [headers][file 1         ][headers][file 2][headers]     frames say how long each piece is, here and there
//! blob    [frame  ][frame ][frame  ][frame  ][frame ][frame  ][end: table, tar-split's data, footer, kept as they are]
//! wanted             [------]                    [-----------------]
//! made             [frame ][frame  ]         [frame ][frame  ]
//! ```

use std::{
    collections::VecDeque,
    io::{self, Write},
    ops::Range,
};

use data_encoding::BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::{
    Annotations,
    frames::{Frame, FrameCompressor, short},
    headers::Unfit,
    read::{Located, TocError},
    toc::Toc,
};
use crate::{layer::Cutout, oci::Digest};

/// The size of a serialized frame in bytes.
const WIDTH: usize = 16;

/// The frames of a blob, and the bytes after them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameMap {
    /// The frames, in order.
    #[serde(serialize_with = "write_frames", deserialize_with = "read_frames")]
    pub(super) frames: Vec<Frame>,
    /// The table, tar-split's data and the footer. Empty for a tar without a table.
    #[serde(serialize_with = "write_bytes", deserialize_with = "read_bytes")]
    pub(super) end: Vec<u8>,
    /// The reason why the tar has no table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfit: Option<Unfit>,
}

/// A frame and its position.
#[derive(Clone, Copy, Debug)]
pub struct PlacedFrame {
    /// The frame's first byte in the tar.
    pub plain: u64,
    /// The frame's first byte in the blob.
    pub packed: u64,
    frame: Frame,
}

impl PlacedFrame {
    /// Returns the range of the frame in the tar.
    pub fn in_tar(&self) -> Range<u64> {
        self.plain..self.plain + u64::from(self.frame.plain)
    }

    /// Returns the range of the frame in the blob.
    pub fn in_blob(&self) -> Range<u64> {
        self.packed..self.packed + u64::from(self.frame.packed)
    }
}

impl FrameMap {
    /// Returns the frames, in order.
    pub fn frames(&self) -> impl Iterator<Item = PlacedFrame> {
        let (mut plain, mut packed) = (0, 0);
        self.frames.iter().map(move |&frame| {
            let placed = PlacedFrame { plain, packed, frame };
            plain += u64::from(frame.plain);
            packed += u64::from(frame.packed);
            placed
        })
    }

    /// Returns the end of the frames in the blob.
    pub fn end_of_frames(&self) -> u64 {
        self.frames.iter().map(|frame| u64::from(frame.packed)).sum()
    }

    /// Returns the size of the blob in bytes.
    pub fn size(&self) -> u64 {
        self.end_of_frames() + self.end.len() as u64
    }

    /// Returns the table and its position from the annotations of the blob's descriptor. Returns `None` for a tar without a
    /// table.
    ///
    /// # Errors
    ///
    /// If the annotations are those of another blob.
    pub fn table(&self, annotations: &Annotations) -> Result<Option<(Located, Toc)>, TocError> {
        let Some(located) = Located::from_annotations(annotations, self.size())? else { return Ok(None) };
        let at = located.table.offset;
        let table = located.read(self.behind_frames(at..at + located.table.length).unwrap_or_default())?;
        Ok(Some((located, table)))
    }

    /// Returns these bytes of the blob if all of them are after the frames.
    fn behind_frames(&self, range: Range<u64>) -> Option<&[u8]> {
        let start = self.end_of_frames();
        let at = |offset: u64| usize::try_from(offset.checked_sub(start)?).ok();
        self.end.get(at(range.start)?..at(range.end)?)
    }

    /// Returns the ranges of the tar that these ranges of the blob are made of, and the writer that receives their bytes
    /// and writes the ranges of the blob to `out`. All ranges are in order and disjoint. `level` is that of the blob.
    pub fn parts<'a>(
        &'a self,
        ranges: &[Range<u64>],
        level: Option<i32>,
        out: &'a mut dyn Write,
    ) -> io::Result<(Vec<Range<u64>>, RangeWriter<'a>)> {
        let mut requested = ranges.iter().peekable();
        let mut wanted = VecDeque::new();
        let mut plain: Vec<Range<u64>> = Vec::new();
        for placed in self.frames() {
            let position = placed.in_blob();
            while requested.next_if(|range| range.end <= position.start).is_some() {}
            if requested.peek().is_none_or(|range| range.start >= position.end) {
                continue;
            }
            wanted.push_back(placed);
            let tar = placed.in_tar();
            match plain.last_mut() {
                Some(last) if last.end == tar.start => last.end = tar.end,
                _ => plain.push(tar),
            }
        }
        plain.retain(|range| !range.is_empty());
        let worker = FrameCompressor::new(level)?;
        let out = Cutout::new(ranges, out);
        Ok((plain, RangeWriter { map: self, wanted, bytes: Vec::new(), packed: Vec::new(), worker, out }))
    }
}

/// Makes parts of a blob from parts of the tar.
pub struct RangeWriter<'a> {
    map: &'a FrameMap,
    wanted: VecDeque<PlacedFrame>,
    /// The received bytes of the first frame.
    bytes: Vec<u8>,
    packed: Vec<u8>,
    worker: FrameCompressor,
    out: Cutout<'a>,
}

impl RangeWriter<'_> {
    /// Writes the remaining bytes.
    ///
    /// # Errors
    ///
    /// If bytes of the tar are missing, or differ from those of the blob.
    pub fn finish(mut self) -> io::Result<()> {
        self.make()?;
        if self.wanted.is_empty() {
            self.out.seek(self.map.end_of_frames());
            self.out.write_all(&self.map.end)?;
        }
        if self.out.unfinished() == 0 { Ok(()) } else { Err(changed()) }
    }

    /// Makes the frames whose bytes are complete.
    fn make(&mut self) -> io::Result<()> {
        while let Some(first) = self.wanted.front().filter(|first| first.frame.plain as usize == self.bytes.len()) {
            self.packed.clear();
            let digest = first.frame.digest;
            let frame = self.worker.compress(&self.bytes, digest, &mut self.packed)?;
            if frame != first.frame || (digest != 0 && digest != short(&Digest::sha256(&self.bytes))) {
                return Err(changed());
            }
            self.out.seek(first.packed);
            self.out.write_all(&self.packed)?;
            self.bytes.clear();
            self.wanted.pop_front();
        }
        Ok(())
    }
}

impl Write for RangeWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.make()?;
        let Some(first) = self.wanted.front() else { return Err(changed()) };
        let taken = bytes.len().min(first.frame.plain as usize - self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..taken]);
        self.make()?;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn changed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "its tar is not what its frames were made of")
}

fn write_frames<S: Serializer>(frames: &[Frame], to: S) -> Result<S::Ok, S::Error> {
    let mut bytes = Vec::with_capacity(frames.len() * WIDTH);
    for frame in frames {
        bytes.extend_from_slice(&frame.plain.to_le_bytes());
        bytes.extend_from_slice(&frame.packed.to_le_bytes());
        bytes.extend_from_slice(&frame.digest.to_le_bytes());
    }
    write_bytes(&bytes, to)
}

fn read_frames<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Frame>, D::Error> {
    let bytes = read_bytes(from)?;
    let (frames, rest) = bytes.as_chunks::<WIDTH>();
    if !rest.is_empty() {
        return Err(D::Error::custom("half a frame"));
    }
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number: u64, &byte| number << 8 | u64::from(byte));
    let frame = |bytes: &[u8; WIDTH]| Frame {
        plain: number(&bytes[..4]) as u32,
        packed: number(&bytes[4..8]) as u32,
        digest: number(&bytes[8..]),
    };
    Ok(frames.iter().map(frame).collect())
}

fn write_bytes<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&BASE64.encode(bytes))
}

fn read_bytes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(from)?;
    BASE64.decode(text.as_bytes()).map_err(D::Error::custom)
}
