//! NARs, Nix's archives, read as a stream.
//!
//! ```text
//! archive = str("nix-archive-1") node
//! node    = str("(") str("type") kind str(")")
//! kind    = str("regular") [str("executable") str("")] str("contents") str(bytes)
//!         | str("symlink") str("target") str(target)
//!         | str("directory") { str("entry") str("(") str("name") str(name) str("node") node str(")") }
//! str(s)  = length (64 bits, little endian), s, zeros up to a multiple of 8
//! ```
//!
//! See figure 5.2 of [Dolstra's thesis](https://edolstra.github.io/pubs/phd-thesis.pdf). Names are in bytewise
//! order, a directory before what it holds: a tar of ours has the same order, so
//! one becomes the other without a file system between.
//!
//! Written here because a NAR comes from strangers, and is hashed only when all
//! of it was read: the `nix-nar` crate sets memory aside for whatever length the
//! archive claims, and takes no name that is not UTF-8.

#[cfg(test)]
mod tests;
mod unpack;

use std::io::{self, BufReader, Read};

pub use unpack::unpack;
pub(super) use unpack::walk;

use crate::budget::{self, Budget};

/// What a file system allows for a name; and room for every keyword.
const NAME_LIMIT: u64 = 255;
/// What Linux allows for a link's target, and for a path.
const PATH_LIMIT: u64 = 4096;
/// Bytes read at once.
const BUFFER: usize = 128 * 1024;

/// A node of a NAR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// What it holds comes next.
    Directory,
    /// Its content is read from the [`NarReader`] before the next node.
    File {
        /// Whether it may be run.
        executable: bool,
        /// Bytes of content.
        size: u64,
    },
    /// Where it leads.
    Symlink(Vec<u8>),
}

/// Reads a NAR's nodes one after the other.
///
/// As a [`Read`] it gives the content of the file that [`Self::next_node`] gave last.
pub struct NarReader<R> {
    inner: BufReader<R>,
    /// The last node's path in the NAR, without a slash at its start; the root's is empty.
    path: Vec<u8>,
    /// Directories that are open, outermost first.
    open: Vec<Open>,
    /// What of the last file's content was not read, and the zeros that follow it.
    content: Option<(u64, u64)>,
    state: State,
    budget: Budget,
}

struct Open {
    /// Bytes of its path.
    path: usize,
    /// The name of its last entry.
    last: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    /// After a node whose end was read.
    Between,
    Ended,
}

impl<R: Read> NarReader<R> {
    /// Reads the NAR that `inner` gives.
    pub fn new(inner: R) -> Self {
        let inner = BufReader::with_capacity(BUFFER, inner);
        let budget = Budget::new(&budget::NAR);
        Self { inner, path: Vec::new(), open: Vec::new(), content: None, state: State::Start, budget }
    }

    /// The next node; [`path`](Self::path) says which. `None` when the archive is over, and all of `inner` was read.
    ///
    /// # Errors
    ///
    /// When it is no NAR, or cannot be read.
    pub fn next_node(&mut self) -> io::Result<Option<Node>> {
        if let Some((left, padding)) = self.content.take() {
            let skipped = io::copy(&mut (&mut self.inner).take(left), &mut io::sink())?;
            if skipped < left {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.padding(padding)?;
            self.leaf_ends()?;
        }
        match self.state {
            State::Start => {
                self.expect("nix-archive-1")?;
                self.expect("(")?;
                self.state = State::Between;
                self.node().map(Some)
            }
            State::Between => self.entry(),
            State::Ended => Ok(None),
        }
    }

    /// Where the last node is in the NAR, without a slash at its start; empty for the root.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The next entry of the innermost directory, or of one around it.
    fn entry(&mut self) -> io::Result<Option<Node>> {
        loop {
            let Some(directory) = self.open.last() else { return self.end().map(|()| None) };
            self.path.truncate(directory.path);
            let word = self.text(NAME_LIMIT)?;
            match word.as_slice() {
                b")" => {
                    self.open.pop();
                    if !self.open.is_empty() {
                        self.expect(")")?;
                    }
                }
                b"entry" => {
                    self.expect("(")?;
                    self.expect("name")?;
                    let name = self.text(NAME_LIMIT)?;
                    self.enter(name)?;
                    self.expect("node")?;
                    self.expect("(")?;
                    return self.node().map(Some);
                }
                other => return Err(unexpected(other, "an entry")),
            }
        }
    }

    fn enter(&mut self, name: Vec<u8>) -> io::Result<()> {
        let plain = !matches!(name.as_slice(), b"" | b"." | b"..") && !name.iter().any(|byte| matches!(byte, b'/' | 0));
        if !plain {
            return Err(unexpected(&name, "a file name"));
        }
        let Some(directory) = self.open.last_mut() else { return Err(unexpected(&name, "no entry")) };
        if !directory.last.is_empty() && directory.last >= name {
            return Err(invalid(format!("{} is not in order", String::from_utf8_lossy(&name))));
        }
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(&name);
        directory.last = name;
        if self.path.len() as u64 > PATH_LIMIT {
            return Err(invalid("a path is too long".to_owned()));
        }
        Ok(())
    }

    /// A node, after its opening parenthesis.
    fn node(&mut self) -> io::Result<Node> {
        self.budget.take_parts(1)?;
        self.expect("type")?;
        let kind = self.text(NAME_LIMIT)?;
        match kind.as_slice() {
            b"directory" => {
                self.open.push(Open { path: self.path.len(), last: Vec::new() });
                Ok(Node::Directory)
            }
            b"symlink" => {
                self.expect("target")?;
                let target = self.text(PATH_LIMIT)?;
                self.leaf_ends()?;
                Ok(Node::Symlink(target))
            }
            b"regular" => {
                let mut word = self.text(NAME_LIMIT)?;
                let executable = word == b"executable";
                if executable {
                    self.expect("")?;
                    word = self.text(NAME_LIMIT)?;
                }
                if word != b"contents" {
                    return Err(unexpected(&word, "contents"));
                }
                let size = self.length()?;
                if size > i64::MAX as u64 {
                    return Err(invalid(format!("a file of {size} bytes")));
                }
                self.content = Some((size, padding(size)));
                Ok(Node::File { executable, size })
            }
            other => Err(unexpected(other, "the type of a node")),
        }
    }

    /// After a file or a symlink.
    fn leaf_ends(&mut self) -> io::Result<()> {
        self.expect(")")?;
        if self.open.is_empty() { Ok(()) } else { self.expect(")") }
    }

    /// After the root: nothing follows, and what reads `inner` has seen its end.
    fn end(&mut self) -> io::Result<()> {
        self.state = State::Ended;
        match self.inner.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(invalid("data follows its end".to_owned())),
        }
    }

    fn length(&mut self) -> io::Result<u64> {
        let mut length = [0; 8];
        self.inner.read_exact(&mut length)?;
        Ok(u64::from_le_bytes(length))
    }

    fn text(&mut self, limit: u64) -> io::Result<Vec<u8>> {
        let length = self.length()?;
        if length > limit {
            return Err(invalid(format!("a name of {length} bytes")));
        }
        let mut text = vec![0; length as usize];
        self.inner.read_exact(&mut text)?;
        self.padding(padding(length))?;
        Ok(text)
    }

    /// Nix refuses other padding than zeros too (NixOS/nix, src/libutil/serialise.cc, `readPadding`): one tree has one NAR.
    fn padding(&mut self, count: u64) -> io::Result<()> {
        let mut zeros = [0; 8];
        let zeros = &mut zeros[..count as usize];
        self.inner.read_exact(zeros)?;
        if zeros.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(invalid("padding that is not zero".to_owned())) }
    }

    fn expect(&mut self, word: &str) -> io::Result<()> {
        let found = self.text(NAME_LIMIT)?;
        if found == word.as_bytes() { Ok(()) } else { Err(unexpected(&found, word)) }
    }
}

impl<R: Read> Read for NarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some((left, _)) = &mut self.content else { return Ok(0) };
        let most = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = self.inner.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        *left -= read as u64;
        Ok(read)
    }
}

/// Zeros that follow `length` bytes.
fn padding(length: u64) -> u64 {
    length.wrapping_neg() % 8
}

fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a NAR: {why}"))
}

fn unexpected(found: &[u8], expected: &str) -> io::Error {
    invalid(format!("expected {expected:?}, found {:?}", String::from_utf8_lossy(found)))
}
