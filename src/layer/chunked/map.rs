//! Where everything is in a blob: what it takes to make any part of it without what is before.
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
    frames::{Frame, Worker, short},
    headers::Unfit,
    read::{Located, TocError},
    toc::Toc,
};
use crate::{layer::Cutout, oci::Digest};

/// Bytes of a frame, written down.
const WIDTH: usize = 16;

/// The frames of a blob, and what follows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Map {
    /// In order.
    #[serde(serialize_with = "write_frames", deserialize_with = "read_frames")]
    pub(super) frames: Vec<Frame>,
    /// Table, tar-split's data and footer; empty for a tar that has no table.
    #[serde(serialize_with = "write_bytes", deserialize_with = "read_bytes")]
    pub(super) end: Vec<u8>,
    /// Why the tar has no table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfit: Option<Unfit>,
}

/// A frame and where it is.
#[derive(Clone, Copy, Debug)]
pub struct Placed {
    /// The frame's first byte in the tar.
    pub plain: u64,
    /// The frame's first byte in the blob.
    pub packed: u64,
    frame: Frame,
}

impl Placed {
    /// Its bytes of the tar.
    pub fn in_tar(&self) -> Range<u64> {
        self.plain..self.plain + u64::from(self.frame.plain)
    }

    /// Its bytes of the blob.
    pub fn in_blob(&self) -> Range<u64> {
        self.packed..self.packed + u64::from(self.frame.packed)
    }
}

impl Map {
    /// The frames, in order.
    pub fn frames(&self) -> impl Iterator<Item = Placed> {
        let (mut plain, mut packed) = (0, 0);
        self.frames.iter().map(move |&frame| {
            let placed = Placed { plain, packed, frame };
            plain += u64::from(frame.plain);
            packed += u64::from(frame.packed);
            placed
        })
    }

    /// Where the frames end in the blob, and the rest begins.
    pub fn end_of_frames(&self) -> u64 {
        self.frames.iter().map(|frame| u64::from(frame.packed)).sum()
    }

    /// Bytes of the blob.
    pub fn size(&self) -> u64 {
        self.end_of_frames() + self.end.len() as u64
    }

    /// The table, and where it is, by the annotations of the blob's descriptor; `None` for a tar that has none.
    ///
    /// # Errors
    ///
    /// When the annotations are those of another blob.
    pub fn table(&self, annotations: &Annotations) -> Result<Option<(Located, Toc)>, TocError> {
        let Some(located) = Located::of(annotations, self.size())? else { return Ok(None) };
        let at = located.table.offset;
        let table = located.read(self.behind_frames(at..at + located.table.length).unwrap_or_default())?;
        Ok(Some((located, table)))
    }

    /// These bytes of the blob, all of them behind the frames.
    fn behind_frames(&self, range: Range<u64>) -> Option<&[u8]> {
        let start = self.end_of_frames();
        let at = |offset: u64| usize::try_from(offset.checked_sub(start)?).ok();
        self.end.get(at(range.start)?..at(range.end)?)
    }

    /// What these ranges of the blob, in order and apart, are made of: ranges of the tar, in order and apart, and what
    /// takes their bytes and writes the ranges to `out`. `level` is that of the blob.
    pub fn parts<'a>(
        &'a self,
        ranges: &[Range<u64>],
        level: Option<i32>,
        out: &'a mut dyn Write,
    ) -> io::Result<(Vec<Range<u64>>, Parts<'a>)> {
        let mut asked = ranges.iter().peekable();
        let mut wanted = VecDeque::new();
        let mut plain: Vec<Range<u64>> = Vec::new();
        for placed in self.frames() {
            let own = placed.in_blob();
            while asked.next_if(|range| range.end <= own.start).is_some() {}
            if asked.peek().is_none_or(|range| range.start >= own.end) {
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
        let worker = Worker::new(level)?;
        let out = Cutout::new(ranges, out);
        Ok((plain, Parts { map: self, wanted, bytes: Vec::new(), packed: Vec::new(), worker, out }))
    }
}

/// Makes parts of a blob from parts of the tar.
pub struct Parts<'a> {
    map: &'a Map,
    wanted: VecDeque<Placed>,
    /// Of the first of them, what is there.
    bytes: Vec<u8>,
    packed: Vec<u8>,
    worker: Worker,
    out: Cutout<'a>,
}

impl Parts<'_> {
    /// Writes what is left.
    ///
    /// # Errors
    ///
    /// When bytes of the tar are missing or not those that the blob was made of.
    pub fn finish(mut self) -> io::Result<()> {
        self.make()?;
        if self.wanted.is_empty() {
            self.out.seek(self.map.end_of_frames());
            self.out.write_all(&self.map.end)?;
        }
        if self.out.left() == 0 { Ok(()) } else { Err(changed()) }
    }

    /// Makes the frames whose bytes are there.
    fn make(&mut self) -> io::Result<()> {
        while let Some(first) = self.wanted.front().filter(|first| first.frame.plain as usize == self.bytes.len()) {
            self.packed.clear();
            let digest = first.frame.digest;
            let frame = self.worker.compress(&self.bytes, digest, &mut self.packed)?;
            if frame != first.frame || (digest != 0 && digest != short(&Digest::of(&self.bytes))) {
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

impl Write for Parts<'_> {
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
