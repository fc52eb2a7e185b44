//! Content digests: `sha256:` and 64, or `sha512:` and 128, lower-case hexadecimal digits.
//!
//! [Image specification, Descriptor, Digests](https://github.com/opencontainers/image-spec/blob/main/descriptor.md#digests).
//! strata creates digests with sha256, which every registry must accept. Existing sha512 digests are read, checked and kept.

use std::{fmt, io, str::FromStr};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256, Sha512};

/// The digest of a blob.
///
/// [Example](crate#layer).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(HashBytes);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum HashBytes {
    Sha256([u8; 32]),
    Sha512([u8; 64]),
}

/// A digest algorithm.
///
/// [Example](crate#layer).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256, the algorithm of all digests that strata creates.
    #[default]
    Sha256,
    /// SHA-512, which other tools may use.
    Sha512,
}

impl Algorithm {
    /// Returns `sha256` or `sha512`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Returns a hasher for this algorithm.
    pub fn hasher(self) -> Hasher {
        match self {
            Self::Sha256 => Hasher::Sha256(Sha256::new()),
            Self::Sha512 => Hasher::Sha512(Box::new(Sha512::new())),
        }
    }

    /// Returns the digest of `bytes`.
    pub fn digest(self, bytes: &[u8]) -> Digest {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        hasher.finish()
    }
}

/// Text that is not a digest.
///
/// [Example](crate#layer).
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a digest; expected sha256: and 64, or sha512: and 128, lower-case hexadecimal digits")]
pub struct ParseDigestError(String);

impl Digest {
    /// Returns the sha256 digest of `bytes`.
    pub fn sha256(bytes: &[u8]) -> Self {
        Self::from_bytes(Sha256::digest(bytes).into())
    }

    /// Creates a sha256 digest from the 32 bytes of the hash.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(HashBytes::Sha256(bytes))
    }

    /// Returns the algorithm of the digest.
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            HashBytes::Sha256(_) => Algorithm::Sha256,
            HashBytes::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Returns the bytes of the hash.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            HashBytes::Sha256(bytes) => bytes,
            HashBytes::Sha512(bytes) => bytes,
        }
    }

    /// Returns the hexadecimal digits, without the algorithm.
    pub fn hex(&self) -> String {
        HEXLOWER.encode(self.as_bytes())
    }

    /// Returns the path of the blob in OCI layouts and archives: `blobs/sha256/<hex>`.
    pub fn blob_name(&self) -> String {
        format!("blobs/{}/{}", self.algorithm().name(), self.hex())
    }

    /// Returns a hasher for the algorithm of this digest.
    pub fn hasher(&self) -> Hasher {
        self.algorithm().hasher()
    }

    /// Returns whether this is the digest of `bytes`.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        self.algorithm().digest(bytes) == *self
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        let parse = || {
            let (algorithm, hex) = text.split_once(':')?;
            let bytes = HEXLOWER.decode(hex.as_bytes()).ok()?;
            match algorithm {
                "sha256" => Some(HashBytes::Sha256(bytes.try_into().ok()?)),
                "sha512" => Some(HashBytes::Sha512(bytes.try_into().ok()?)),
                _ => None,
            }
        };
        parse().map(Self).ok_or_else(|| ParseDigestError(text.to_owned()))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm().name(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A hasher for one of the digest algorithms.
pub enum Hasher {
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-512.
    Sha512(Box<Sha512>),
}

impl Hasher {
    /// Adds bytes to the hash.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// Returns the digest of all bytes that were added.
    pub fn finish(self) -> Digest {
        Digest(match self {
            Self::Sha256(hasher) => HashBytes::Sha256(hasher.finalize().into()),
            Self::Sha512(hasher) => HashBytes::Sha512(hasher.finalize().into()),
        })
    }
}

/// A writer that hashes bytes and passes them on. [`finish`](Self::finish) consumes the
/// writer, so the digest cannot be read too early.
pub struct Sha256Writer<W> {
    inner: W,
    hasher: Sha256,
    size: u64,
}

impl<W: io::Write> Sha256Writer<W> {
    /// Creates a writer that passes bytes on to `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, hasher: Sha256::new(), size: 0 }
    }

    /// Returns the inner writer, the digest of the bytes written, and their number.
    pub fn finish(self) -> (W, Digest, u64) {
        (self.inner, Digest::from_bytes(self.hasher.finalize().into()), self.size)
    }
}

impl<W: io::Write> io::Write for Sha256Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsed_digests_print_unchanged() {
        let digest = Digest::sha256(b"");
        let text = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(digest.to_string(), text);
        assert_eq!(text.parse::<Digest>().unwrap(), digest);
        let long = format!("sha512:{}", digest.hex().repeat(2));
        assert_eq!(long.parse::<Digest>().unwrap().to_string(), long);
        assert_eq!(long.parse::<Digest>().unwrap().blob_name(), long.replace("sha512:", "blobs/sha512/"));
    }

    #[test]
    fn digests_of_other_algorithms_cases_and_lengths_are_refused() {
        let hex = Digest::sha256(b"").hex();
        for text in [
            hex.clone(),
            format!("sha512:{hex}"),
            format!("sha256:{hex}{hex}"),
            format!("md5:{hex}"),
            format!("sha256:{}", hex.to_uppercase()),
            format!("sha256:{}", &hex[1..]),
            format!("sha256:../{}", &hex[3..]),
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }
}
