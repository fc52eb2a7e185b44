//! Reads blobs and checks their size and digest. A wrong blob ends with an error.
//!
//! The last bytes of a blob are returned only after the check, so that a reader that stops after the expected size
//! (such as an HTTP client with a `Content-Length`) cannot miss the error.

use std::io::{self, Read};

use crate::oci::{Descriptor, Digest, Hasher};

/// A blob that is checked while it is read.
///
/// [Example](crate#layer).
pub struct BlobReader {
    inner: Box<dyn Read + Send>,
    expected: Digest,
    size: u64,
    /// The number of bytes read so far.
    read: u64,
    /// `None` if `inner` checks the digest itself, and after the check.
    hasher: Option<Hasher>,
    done: bool,
}

impl BlobReader {
    /// Creates a reader of `inner`, whose bytes must have the size and digest of `descriptor`.
    pub fn new(inner: Box<dyn Read + Send>, descriptor: &Descriptor) -> Self {
        Self { hasher: Some(descriptor.digest.hasher()), ..Self::self_checked(inner, descriptor) }
    }

    /// Creates a reader like [`new`](Self::new), but does not hash: `inner` fails at its end if the digest is wrong.
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
            // A self-checked blob reports a wrong digest at its end, so the end has to be read.
            if read > 0 && self.inner.read(&mut [0])? > 0 {
                self.done = true;
                return Err(invalid(format!("it has more than the {} bytes it should have", self.size)));
            }
            self.finish()?;
        }
        Ok(read)
    }
}

/// A reader that hashes the bytes of its inner reader.
pub(super) struct HashingReader<R> {
    pub inner: R,
    pub hasher: Hasher,
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

pub(super) fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::descriptor::media_type;

    fn reader(bytes: &'static [u8], expected: &[u8]) -> BlobReader {
        let descriptor = Descriptor::new(media_type::LAYER_TAR, Digest::sha256(expected), expected.len() as u64);
        BlobReader::new(Box::new(bytes), &descriptor)
    }

    #[test]
    fn wrong_blobs_fail_before_their_last_byte() {
        let mut read = Vec::new();
        reader(b"bytes", b"bytes").read_to_end(&mut read).unwrap();
        assert_eq!(read, b"bytes");
        assert_eq!(reader(b"", b"").read(&mut [0; 4]).unwrap(), 0);
        for (bytes, expected, why) in [
            (&b"bytez"[..], &b"bytes"[..], "it is sha256:"),
            (b"byte", b"bytes", "it ends after 4 of 5 bytes"),
            (b"bytes!", b"bytes", "more than the 5 bytes"),
        ] {
            let error = reader(bytes, expected).read_to_end(&mut Vec::new()).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
            // This also holds for a reader that stops after `size` bytes.
            let exact = reader(bytes, expected).read_exact(&mut [0; 5]);
            assert!(exact.is_err());
        }
    }
}
