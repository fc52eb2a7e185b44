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
//! See figure 5.2 of [Dolstra's thesis](https://edolstra.github.io/pubs/phd-thesis.pdf). Names are in bytewise order,
//! and a directory comes before its contents. Tars of strata have the same order, so a NAR becomes a tar without a file
//! system in between.
//!
//! Written here because NARs are untrusted and are hashed only at their end: the `nix-nar` crate allocates memory for
//! any length that an archive claims, and accepts only names that are UTF-8.

#[cfg(test)]
mod tests;
mod unpack;

use std::io::{self, BufReader, Read};

pub use unpack::unpack;
pub(super) use unpack::walk;

use crate::budget::{self, Budget};

/// The maximum length of a name in a file system. All keywords are shorter.
const NAME_LIMIT: u64 = 255;
/// The maximum length of the target of a link, and of a path, in Linux.
const PATH_LIMIT: u64 = 4096;
/// Bytes read at once.
const BUFFER: usize = 128 * 1024;

/// A node of a NAR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NarNode {
    /// A directory, followed by its entries.
    Directory,
    /// A file. Its content is read from the [`NarReader`] before the next node.
    File {
        /// Whether the file is executable.
        executable: bool,
        /// The size in bytes.
        size: u64,
    },
    /// The target of a symlink.
    Symlink(Vec<u8>),
}

/// Reads the nodes of a NAR in order.
///
/// As a [`Read`], it returns the content of the last file of [`Self::next_node`].
pub struct NarReader<R> {
    inner: BufReader<R>,
    /// The path of the last node, without a slash at its start. The path of the root is empty.
    path: Vec<u8>,
    /// Open directories, outermost first.
    open: Vec<Open>,
    /// The unread part of the last file's content, and the length of the padding after it.
    content: Option<(u64, u64)>,
    state: NarState,
    budget: Budget,
}

struct Open {
    /// The length of the path in bytes.
    path: usize,
    /// The name of the last entry.
    last: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum NarState {
    Start,
    /// After a complete node.
    Between,
    Ended,
}

impl<R: Read> NarReader<R> {
    /// Reads the NAR in `inner`.
    pub fn new(inner: R) -> Self {
        let inner = BufReader::with_capacity(BUFFER, inner);
        let budget = Budget::new(&budget::NAR);
        Self { inner, path: Vec::new(), open: Vec::new(), content: None, state: NarState::Start, budget }
    }

    /// Returns the next node, whose path is [`path`](Self::path). Returns `None` at the end of the archive, after all
    /// of `inner` was read.
    ///
    /// # Errors
    ///
    /// If the NAR is malformed or cannot be read.
    pub fn next_node(&mut self) -> io::Result<Option<NarNode>> {
        if let Some((remaining, padding)) = self.content.take() {
            let skipped = io::copy(&mut (&mut self.inner).take(remaining), &mut io::sink())?;
            if skipped < remaining {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.padding(padding)?;
            self.leaf_ends()?;
        }
        match self.state {
            NarState::Start => {
                self.expect("nix-archive-1")?;
                self.expect("(")?;
                self.state = NarState::Between;
                self.node().map(Some)
            }
            NarState::Between => self.entry(),
            NarState::Ended => Ok(None),
        }
    }

    /// Returns the path of the last node, without a slash at its start. The path of the root is empty.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// Reads the next entry of the innermost directory, or of a directory around it.
    fn entry(&mut self) -> io::Result<Option<NarNode>> {
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

    /// Reads a node after its opening parenthesis.
    fn node(&mut self) -> io::Result<NarNode> {
        self.budget.take_parts(1)?;
        self.expect("type")?;
        let kind = self.text(NAME_LIMIT)?;
        match kind.as_slice() {
            b"directory" => {
                self.open.push(Open { path: self.path.len(), last: Vec::new() });
                Ok(NarNode::Directory)
            }
            b"symlink" => {
                self.expect("target")?;
                let target = self.text(PATH_LIMIT)?;
                self.leaf_ends()?;
                Ok(NarNode::Symlink(target))
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
                Ok(NarNode::File { executable, size })
            }
            other => Err(unexpected(other, "the type of a node")),
        }
    }

    /// Reads the end of a file or a symlink.
    fn leaf_ends(&mut self) -> io::Result<()> {
        self.expect(")")?;
        if self.open.is_empty() { Ok(()) } else { self.expect(")") }
    }

    /// Reads the end after the root. All of `inner` is read, so that readers below see their end.
    fn end(&mut self) -> io::Result<()> {
        self.state = NarState::Ended;
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

    /// Reads padding, which must be zeros. Nix refuses other padding too, so that each tree has only one NAR
    /// (NixOS/nix, src/libutil/serialise.cc, `readPadding`).
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
        let Some((remaining, _)) = &mut self.content else { return Ok(0) };
        let most = usize::try_from(*remaining).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = self.inner.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        *remaining -= read as u64;
        Ok(read)
    }
}

/// Returns the length of the padding after `length` bytes.
fn padding(length: u64) -> u64 {
    length.wrapping_neg() % 8
}

fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a NAR: {why}"))
}

fn unexpected(found: &[u8], expected: &str) -> io::Error {
    invalid(format!("expected {expected:?}, found {:?}", String::from_utf8_lossy(found)))
}
