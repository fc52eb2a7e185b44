//! The bytes of one layer.
//!
//! ```text
//! Source (store path or NAR, options) ──▶ Tree ──▶ entries, sorted ──▶ tar ──▶ any Write:
//!                                                   Sha256Writer<Sink>   hash only
//!                                                   ChunkReader          a blob, on demand
//!                                                   GzipWriter           compressed
//!                                                   ChunkedWriter        compressed, so that it can be read in parts
//!                                            ──▶ erofs: an image that Linux mounts, and the digest of the tar
//! ```
//!
//! There is one byte path: a layer is hashed by writing it to a writer that discards the bytes.

pub(crate) mod chunked;
mod chunks;
pub(crate) mod compress;
mod counted;
mod dirlinks;
pub(crate) mod erofs;
mod error;
mod hash;
mod header;
pub(crate) mod links;
mod merge;
pub(crate) mod nar;
mod node;
pub(crate) mod overlay;
mod path_options;
mod patterns;
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
pub use node::SourceFiles;
pub use path_options::{Owner, Owners, PathOptions, Perm, Rewrite};
pub use patterns::Patterns;
pub use ranges::{Cutout, write_ranges};
pub use scratch::{explain_full, spool};
pub use tar::TarWriter;
pub use tree::{Source, Tree};

/// The modification time of everything in a layer, in seconds since the epoch. It is the time of Nix's store. Zero
/// means "missing" for some tools.
pub const MTIME: u64 = 1;

/// Writes the tar of `tree` to `out`, and returns `out`.
///
/// # Errors
///
/// [`LayerError`] if a file cannot be read or changes while it is read, or if `out` fails.
pub fn write<W: std::io::Write>(tree: &Tree, out: W) -> Result<W> {
    let mut tar = TarWriter::new(out);
    tree.walk(&mut |entry| tar.append(entry))?;
    tar.finish()
}

/// Writes the tar of `tree` with relative names: `./bin`, as in the output of `tar -C DIR .`.
///
/// # Errors
///
/// Those of [`write`](fn@write).
pub fn write_relative<W: std::io::Write>(tree: &Tree, out: W) -> Result<W> {
    let mut tar = TarWriter::new(out).relative();
    tree.walk(&mut |entry| tar.append(entry))?;
    tar.finish()
}

/// Writes the tar of `tree`, and also returns its digest, which is computed on another thread.
///
/// # Errors
///
/// Those of [`write`](fn@write).
pub fn write_hashed<W: std::io::Write>(tree: &Tree, out: W) -> Result<(W, Hashed)> {
    let mut tar = TarWriter::with_chunks(Both::new(out, Sha256Writer::new(std::io::sink())));
    tree.walk(&mut |entry| tar.append(entry))?;
    let (out, hash) = tar.end_with(Both::finish)?;
    let (_, digest, size) = hash.finish();
    Ok((out, Hashed { digest, size }))
}

/// Writes the tar of `tree` to `out` on another thread while files are read.
///
/// # Errors
///
/// Those of [`write`](fn@write).
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
        // The larger size lets the walk reach a writer that failed; with the smaller size, only the end reports the
        // failure.
        for size in [10_000_000, 10] {
            let file = top.path().join("file");
            fs::write(&file, vec![b'x'; size]).unwrap();
            let source =
                Source { path: file, files: SourceFiles::InPlace, options: PathOptions::default(), follow: false };
            let error = write_overlapped(&Tree::new(&[source]).unwrap(), Full).err().expect("the writer is full");
            assert!(
                matches!(&error, LayerError::Write(error) if error.kind() == io::ErrorKind::StorageFull),
                "{error:?}"
            );
        }
    }

    #[test]
    fn a_link_in_the_place_of_a_listed_file_is_not_followed() {
        use std::{os::unix::fs::symlink, path::Path};
        let top = tempfile::tempdir().unwrap();
        let (path, secret) = (top.path().join("tree"), top.path().join("secret"));
        fs::write(&secret, "secret").unwrap();
        for replace in [
            (&|file: &Path| symlink(&secret, file).unwrap()) as &dyn Fn(&Path),
            &|file: &Path| fs::create_dir(file).unwrap(),
            &|file: &Path| {
                rustix::fs::mknodat(rustix::fs::CWD, file, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap()
            },
        ] {
            drop(fs::remove_dir_all(&path));
            fs::create_dir(&path).unwrap();
            for name in ["a", "b"] {
                fs::write(path.join(name), name).unwrap();
            }
            let source = Source {
                path: path.clone(),
                files: SourceFiles::InPlace,
                options: PathOptions::default(),
                follow: false,
            };
            // The directory was listed before its first file is read.
            let error = Tree::new(&[source]).unwrap().walk(&mut |entry| {
                if entry.name.ends_with(b"/a") {
                    fs::remove_file(path.join("b")).unwrap();
                    replace(&path.join("b"));
                }
                assert!(!entry.name.ends_with(b"/b"), "the file that took the place of b is read");
                Ok(())
            });
            assert!(matches!(error, Err(LayerError::Io { .. } | LayerError::Kind(_))), "{error:?}");
        }
    }
}
