//! References whose removal would shrink an image, and the places in files that contain them.
//!
//! Nix detects a reference to a store path by the 32 characters of its hash, anywhere in a file, a link target or a file
//! name. If the referencing store path is on this machine, its files are searched for the hash.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use memchr::memmem::Finder;
use serde::Serialize;

use crate::{
    closure::{Graph, StorePath, dominators},
    image::Image,
};

/// The number of references in the result. Further ones rarely save enough to be worth the work.
const MAX_CANDIDATES: usize = 10;
/// The number of places listed per reference.
const MAX_PLACES: usize = 5;
/// The number of bytes of a file that are read at once.
const CHUNK: usize = 1 << 20;

/// A reference, and the effect of removing it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CutCandidate {
    /// The referencing store path.
    pub from: StorePath,
    /// The referenced store path.
    pub to: StorePath,
    /// The NAR size of `paths` in bytes.
    pub saves: u64,
    /// The store paths that are only in the image because of the reference, including `to`.
    pub paths: Vec<StorePath>,
    /// The places in `from` that contain the reference, or `None` if `from` is not on this machine.
    pub places: Option<Vec<ReferencePlace>>,
    /// Whether `from` has more places than `places` lists.
    pub more_places: bool,
    /// The shortest chain of references that leads to `from`.
    pub chain: Vec<StorePath>,
}

/// A place that contains a reference.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReferencePlace {
    /// The file or link.
    pub file: PathBuf,
    /// The offset of the hash in the file in bytes, or `None` if the link target or the file name contains it.
    pub offset: Option<u64>,
}

/// Returns the references whose removal saves most.
///
/// # Errors
///
/// If an existing store path cannot be read.
pub fn cuts(image: &Image, graph: &Graph) -> io::Result<Vec<CutCandidate>> {
    let layers = image.store_paths();
    let mut is_in_image = vec![false; graph.nodes().len()];
    let paths = layers.iter().flatten().filter_map(|path| StorePath::parse(path.to_str()?).ok());
    paths.filter_map(|path| graph.position(&path)).for_each(|at| is_in_image[at] = true);
    // A store path that is in no layer (because the store is mounted) saves nothing.
    let size = |at: usize| if is_in_image[at] { graph.nodes()[at].nar_size } else { 0 };
    let path = |at: usize| graph.nodes()[at].path.clone();
    let candidate = |cut: dominators::Dominator| {
        let (from, to) = (path(cut.from), path(cut.to));
        let mut places = find_places(from.as_path(), to.hash_part())?;
        let more_places = places.as_ref().is_some_and(|places| places.len() > MAX_PLACES);
        places.iter_mut().for_each(|places| places.truncate(MAX_PLACES));
        Ok(CutCandidate {
            saves: cut.saves,
            paths: cut.nodes.into_iter().map(path).collect(),
            places,
            more_places,
            chain: graph.chain_to(cut.from).into_iter().map(path).collect(),
            from,
            to,
        })
    };
    dominators::dominators(graph, MAX_CANDIDATES, size).into_iter().map(candidate).collect()
}

/// Returns the first places below `path` that contain `hash`, at most one more than [`MAX_PLACES`]. Returns `None` if `path`
/// does not exist.
fn find_places(path: &Path, hash: &str) -> io::Result<Option<Vec<ReferencePlace>>> {
    let mut places = Vec::new();
    match walk(path, &Finder::new(hash), &mut places) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        walked => walked.map(|()| Some(places)),
    }
}

fn walk(path: &Path, hash: &Finder<'_>, places: &mut Vec<ReferencePlace>) -> io::Result<()> {
    let fail = |error: io::Error| io::Error::new(error.kind(), format!("reading {}: {error}", path.display()));
    let kind = fs::symlink_metadata(path).map_err(fail)?.file_type();
    let place_in = |bytes: &[u8]| hash.find(bytes).map(|_| ReferencePlace { file: path.to_owned(), offset: None });
    if kind.is_symlink() {
        let target = fs::read_link(path).map_err(fail)?;
        places.extend(place_in(target.as_os_str().as_encoded_bytes()));
    } else if kind.is_file() {
        let limit = (MAX_PLACES + 1).saturating_sub(places.len());
        let offsets = offsets(File::open(path).map_err(fail)?, hash, limit).map_err(fail)?;
        places.extend(offsets.into_iter().map(|offset| ReferencePlace { file: path.to_owned(), offset: Some(offset) }));
    } else if kind.is_dir() {
        let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(fail)?;
        let mut names: Vec<_> = entries.iter().map(fs::DirEntry::file_name).collect();
        names.sort_unstable();
        for name in names {
            if places.len() > MAX_PLACES {
                break;
            }
            let entry = path.join(&name);
            if hash.find(name.as_encoded_bytes()).is_some() {
                places.push(ReferencePlace { file: entry.clone(), offset: None });
            }
            walk(&entry, hash, places)?;
        }
    }
    Ok(())
}

/// Returns the first `limit` offsets of the needle.
fn offsets(mut reader: impl Read, needle: &Finder<'_>, limit: usize) -> io::Result<Vec<u64>> {
    let overlap = needle.needle().len() - 1;
    let mut offsets = Vec::new();
    let mut buffer: Vec<u8> = Vec::with_capacity(CHUNK + overlap);
    let mut start = 0u64;
    loop {
        let read = reader.by_ref().take(CHUNK as u64).read_to_end(&mut buffer)?;
        for at in needle.find_iter(&buffer) {
            if offsets.len() == limit {
                return Ok(offsets);
            }
            offsets.push(start + at as u64);
        }
        if read < CHUNK {
            return Ok(offsets);
        }
        // The end of the buffer may contain the start of a hash, so it is searched again together with the next chunk.
        let searched = buffer.len() - overlap;
        start += searched as u64;
        buffer.drain(..searched);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn hashes_across_chunk_boundaries_are_found() {
        let needle = Finder::new("0123456789abcdfghijklmnpqrsvwxyz");
        for at in (CHUNK - 40..CHUNK + 40).chain([0, 2 * CHUNK - 16]) {
            let mut bytes = vec![b'.'; at];
            bytes.extend_from_slice(needle.needle());
            bytes.push(b'.');
            bytes.extend_from_slice(needle.needle());
            let expected = [at as u64, at as u64 + 33];
            assert_eq!(offsets(bytes.as_slice(), &needle, 9).unwrap(), expected);
            assert_eq!(offsets(bytes.as_slice(), &needle, 1).unwrap(), expected[..1]);
        }
    }

    #[test]
    fn hashes_in_files_link_targets_and_names_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let (top, hash) = (directory.path(), "a".repeat(32));
        fs::create_dir(top.join("lib")).unwrap();
        fs::write(top.join("lib/data"), format!("..{hash}..")).unwrap();
        symlink(format!("/nix/store/{hash}-gcc/bin/gcc"), top.join("link")).unwrap();
        fs::write(top.join(&hash), "").unwrap();
        let place = |name: &str, offset| ReferencePlace { file: top.join(name), offset };
        let expected = [place(&hash, None), place("lib/data", Some(2)), place("link", None)];
        assert_eq!(find_places(top, &hash).unwrap().unwrap(), expected);
        assert_eq!(find_places(&top.join("missing"), &hash).unwrap(), None);
    }
}
