//! The one way to read a blob: size and digest are right, or its end is an error.
//!
//! The last bytes of a blob are only given after they were checked, so that a reader who knows the size and stops there
//! (an HTTP client that sends a `Content-Length`) cannot miss the error.

use std::io::{self, Read};

use crate::oci::{Descriptor, Digest, Hasher};

/// A blob that is checked while it is read.
///
/// [Example](crate#layer).
pub struct BlobReader {
    inner: Box<dyn Read + Send>,
    expected: Digest,
    size: u64,
    /// Bytes given so far.
    read: u64,
    /// None where the blob checks its digest itself while it is made, and once it was checked.
    hasher: Option<Hasher>,
    done: bool,
}

impl BlobReader {
    /// The bytes of `inner` must have the size and digest of `descriptor`.
    pub fn new(inner: Box<dyn Read + Send>, descriptor: &Descriptor) -> Self {
        Self { hasher: Some(descriptor.digest.hasher()), ..Self::self_checked(inner, descriptor) }
    }

    /// As [`new`](Self::new), of a blob that ends with an error where its digest is another.
    pub(super) fn self_checked(inner: Box<dyn Read + Send>, descriptor: &Descriptor) -> Self {
        let Descriptor { digest: expected, size, .. } = *descriptor;
        Self { inner, expected, size, read: 0, hasher: None, done: false }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.done = true;
        if self.read < self.size {
            return Err(invalid(format!("it ends after {} of {} bytes", self.read, self.size)));
        }
        if let Some(found) = self.hasher.take().map(Hasher::finish)
            && found != self.expected
        {
            return Err(invalid(format!("it is {found}, not {}", self.expected)));
        }
        Ok(())
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.done || buffer.is_empty() {
            return Ok(0);
        }
        let read = self.inner.read(buffer)?;
        self.read += read as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..read]);
        }
        if self.read > self.size {
            self.done = true;
            return Err(invalid(format!("it has more than the {} bytes it should have", self.size)));
        }
        if read == 0 || self.read == self.size {
            // The end is the maker's last word; one byte more is too much.
            if read > 0 && self.inner.read(&mut [0])? > 0 {
                self.done = true;
                return Err(invalid(format!("it has more than the {} bytes it should have", self.size)));
            }
            self.finish()?;
        }
        Ok(read)
    }
}

/// Hashes what is read through it.
pub(super) struct Hashing<R> {
    pub inner: R,
    pub hasher: Hasher,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

pub(super) fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::descriptor::media_type;

    fn reader(bytes: &'static [u8], of: &[u8]) -> BlobReader {
        BlobReader::new(Box::new(bytes), &Descriptor::new(media_type::LAYER_TAR, Digest::of(of), of.len() as u64))
    }

    #[test]
    fn the_last_byte_is_given_only_if_all_are_right() {
        let mut read = Vec::new();
        reader(b"bytes", b"bytes").read_to_end(&mut read).unwrap();
        assert_eq!(read, b"bytes");
        assert_eq!(reader(b"", b"").read(&mut [0; 4]).unwrap(), 0);
        for (bytes, of, why) in [
            (&b"bytez"[..], &b"bytes"[..], "it is sha256:"),
            (b"byte", b"bytes", "it ends after 4 of 5 bytes"),
            (b"bytes!", b"bytes", "more than the 5 bytes"),
        ] {
            let error = reader(bytes, of).read_to_end(&mut Vec::new()).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
            // This also holds for a reader that stops after `size` bytes.
            let exact = reader(bytes, of).read_exact(&mut [0; 5]);
            assert!(exact.is_err());
        }
    }
}
