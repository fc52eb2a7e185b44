//! What to cut: references that bring much in, and the bytes that hold them.
//!
//! Nix takes the 32 characters of a store path's hash, wherever they stand in a file, a link's target or a name, for a
//! reference to it. So these are searched for in the store path that references, as long as it is on this machine.

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

/// How many cuts are told; what saves less than the tenth is rarely worth it.
const SHOWN: usize = 10;
/// How many places of one reference are told.
const PLACES: usize = 5;
/// How much of a file is looked at at once, in bytes.
const CHUNK: usize = 1 << 20;

/// A reference, and what the image would be without it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CutCandidate {
    /// The store path that references.
    pub from: StorePath,
    /// The store path that it references.
    pub to: StorePath,
    /// Bytes of the store paths (as NARs) that nothing else brings in.
    pub saves: u64,
    /// These paths, `to` among them.
    pub paths: Vec<StorePath>,
    /// Where `from` holds the reference; `None` where `from` is not on this machine.
    pub places: Option<Vec<Place>>,
    /// Whether there are more places.
    pub more_places: bool,
    /// How `from` came in: the shortest chain of references to it.
    pub chain: Vec<StorePath>,
}

/// Where a reference stands.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The file, or link.
    pub file: PathBuf,
    /// Where in the file the hash starts, in bytes; `None` where the link's target or the name has it.
    pub offset: Option<u64>,
}

/// The cuts that save most.
///
/// # Errors
///
/// When a store path that is there cannot be read.
pub fn cuts(image: &Image, graph: &Graph) -> io::Result<Vec<CutCandidate>> {
    let held = image.store_paths();
    let mut is_held = vec![false; graph.nodes().len()];
    let paths = held.iter().flatten().filter_map(|path| StorePath::parse(path.to_str()?).ok());
    paths.filter_map(|path| graph.position(&path)).for_each(|at| is_held[at] = true);
    // What is not in a layer (a mounted store has it) saves nothing.
    let size = |at: usize| if is_held[at] { graph.nodes()[at].nar_size } else { 0 };
    let path = |at: usize| graph.nodes()[at].path.clone();
    let told = |cut: dominators::Dominator| {
        let (from, to) = (path(cut.from), path(cut.to));
        let mut places = find(from.as_path(), to.hash_part())?;
        let more_places = places.as_ref().is_some_and(|places| places.len() > PLACES);
        places.iter_mut().for_each(|places| places.truncate(PLACES));
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
    dominators::dominators(graph, size).into_iter().filter(|cut| cut.saves > 0).take(SHOWN).map(told).collect()
}

/// The first places below `path` that hold `hash`, one more than are told; `None` where there is no such path.
fn find(path: &Path, hash: &str) -> io::Result<Option<Vec<Place>>> {
    let mut places = Vec::new();
    match walk(path, &Finder::new(hash), &mut places) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        walked => walked.map(|()| Some(places)),
    }
}

fn walk(path: &Path, hash: &Finder<'_>, places: &mut Vec<Place>) -> io::Result<()> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("reading {}: {error}", path.display()));
    let kind = fs::symlink_metadata(path).map_err(named)?.file_type();
    let whole = |bytes: &[u8]| hash.find(bytes).map(|_| Place { file: path.to_owned(), offset: None });
    if kind.is_symlink() {
        let target = fs::read_link(path).map_err(named)?;
        places.extend(whole(target.as_os_str().as_encoded_bytes()));
    } else if kind.is_file() {
        let left = (PLACES + 1).saturating_sub(places.len());
        let offsets = offsets(File::open(path).map_err(named)?, hash, left).map_err(named)?;
        places.extend(offsets.into_iter().map(|offset| Place { file: path.to_owned(), offset: Some(offset) }));
    } else if kind.is_dir() {
        let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(named)?;
        let mut names: Vec<_> = entries.iter().map(fs::DirEntry::file_name).collect();
        names.sort_unstable();
        for name in names {
            if places.len() > PLACES {
                break;
            }
            let entry = path.join(&name);
            if hash.find(name.as_encoded_bytes()).is_some() {
                places.push(Place { file: entry.clone(), offset: None });
            }
            walk(&entry, hash, places)?;
        }
    }
    Ok(())
}

/// Where the needle starts in what is read, at most `limit` times.
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
        // What may be the start of a hash is looked at again, with what follows it.
        let done = buffer.len() - overlap;
        start += done as u64;
        buffer.drain(..done);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_hash_is_found_across_every_boundary() {
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
    fn files_links_and_names_hold_references() {
        let folder = tempfile::tempdir().unwrap();
        let (top, hash) = (folder.path(), "a".repeat(32));
        fs::create_dir(top.join("lib")).unwrap();
        fs::write(top.join("lib/data"), format!("..{hash}..")).unwrap();
        symlink(format!("/nix/store/{hash}-gcc/bin/gcc"), top.join("link")).unwrap();
        fs::write(top.join(&hash), "").unwrap();
        let place = |name: &str, offset| Place { file: top.join(name), offset };
        let expected = [place(&hash, None), place("lib/data", Some(2)), place("link", None)];
        assert_eq!(find(top, &hash).unwrap().unwrap(), expected);
        assert_eq!(find(&top.join("nothing"), &hash).unwrap(), None);
    }
}
