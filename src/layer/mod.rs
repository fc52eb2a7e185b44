//! The bytes of one layer.
//!
//! ```text
//! Source (store path or NAR, options) ──▶ Tree ──▶ entries, sorted ──▶ tar ──▶ any Write:
//!                                                   Sha256Writer<Sink>   hash only
//!                                                   ChunkReader          a blob, on demand
//!                                                   GzipWriter           compressed
//!                                                   ChunkedWriter        compressed, so that it can be read in parts
//! ```
//!
//! There is one byte path: hashing a layer is writing it to nowhere.

pub(crate) mod chunked;
mod chunks;
pub(crate) mod compress;
mod counted;
mod dirlinks;
mod error;
mod hash;
mod header;
pub(crate) mod links;
mod merge;
pub(crate) mod nar;
mod node;
pub(crate) mod overlay;
mod path_options;
mod ranges;
pub(crate) mod rooted;
mod scratch;
mod tar;
mod tree;
pub(crate) mod unpack;
pub(crate) mod untar;
pub(crate) mod whiteout;

use crate::oci::Sha256Writer;
use chunks::Both;
pub use chunks::{ChunkReader, Chunks, Direct, Overlapped};
pub use compress::{DetectedCompression, detect::open as open_packed};
pub use counted::Counted;
pub use dirlinks::Dirlinks;
pub use error::{LayerError, Result};
pub use hash::{Hashed, hash_all};
pub use header::Header;
pub use node::Files;
pub use path_options::{Owner, Owners, PathOptions, Perm, Rewrite};
pub use ranges::{Cutout, write_ranges};
pub use scratch::{explain_full, spool};
pub use tar::TarWriter;
pub use tree::{Source, Tree};

/// The one modification time of everything in a layer, in seconds since the
/// epoch: Nix's own. Zero means "missing" to some tools.
pub const MTIME: u64 = 1;

/// Writes the tar of `tree` to `out` and gives `out` back.
///
/// # Errors
///
/// [`LayerError`] when a file cannot be read or changes while it is read, or
/// when `out` fails.
pub fn write<W: std::io::Write>(tree: &Tree, out: W) -> Result<W> {
    let mut tar = TarWriter::new(out);
    tree.walk(&mut |entry| tar.append(entry))?;
    tar.finish()
}

/// Like [`write`](fn@write), with relative names: `./bin`, as `tar -C DIR .` writes them.
///
/// # Errors
///
/// As [`write`](fn@write).
pub fn write_relative<W: std::io::Write>(tree: &Tree, out: W) -> Result<W> {
    let mut tar = TarWriter::new(out).relative();
    tree.walk(&mut |entry| tar.append(entry))?;
    tar.finish()
}

/// Like [`write`](fn@write), and gives the tar's digest too, which another thread finds meanwhile.
///
/// # Errors
///
/// As [`write`](fn@write).
pub fn write_hashed<W: std::io::Write>(tree: &Tree, out: W) -> Result<(W, Hashed)> {
    let mut tar = TarWriter::with_chunks(Both::new(out, Sha256Writer::new(std::io::sink())));
    tree.walk(&mut |entry| tar.append(entry))?;
    let (out, hash) = tar.end_with(Both::finish)?;
    let (_, digest, size) = hash.finish();
    Ok((out, Hashed { digest, size }))
}

/// Like [`write`](fn@write), but `out` works on a thread of its own while files are read.
///
/// # Errors
///
/// As [`write`](fn@write).
pub fn write_overlapped<W: std::io::Write + Send + 'static>(tree: &Tree, out: W) -> Result<W> {
    let mut tar = TarWriter::with_chunks(Overlapped::new(out));
    match tree.walk(&mut |entry| tar.append(entry)) {
        Ok(()) => tar.end_with(Overlapped::finish),
        Err(error) => Err(tar.abandon().finish().err().map_or(error, LayerError::Write)),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io};

    use super::*;

    #[test]
    fn the_error_of_the_output_is_reported() {
        struct Full;
        impl io::Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let top = tempfile::tempdir().unwrap();
        // So much that the walk meets a writer that is gone, and so little that only the end does.
        for size in [10_000_000, 10] {
            let file = top.path().join("file");
            fs::write(&file, vec![b'x'; size]).unwrap();
            let source = Source { path: file, files: Files::InPlace, options: PathOptions::default(), follow: false };
            let error = write_overlapped(&Tree::new(&[source]).unwrap(), Full).err().expect("the writer is full");
            assert!(
                matches!(&error, LayerError::Write(error) if error.kind() == io::ErrorKind::StorageFull),
                "{error:?}"
            );
        }
    }
}
