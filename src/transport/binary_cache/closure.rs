//! Checks that binary caches have store paths with everything that they refer to. Machines that substitute these paths need
//! all of it.

use std::{collections::BTreeMap, fmt, io, path::Path};

use rayon::prelude::*;

use super::{Cache, CacheAccess, NarInfo, Substituters};
use crate::{causes, closure::StorePath, image::recipe::RecordedNar};

/// The maximum number of store paths. The closure of a NixOS system has about 2,000, and untrusted caches name the next ones.
const LIMIT: usize = 1_000_000;

/// A store path that no cache has, or only in another build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    pub path: StorePath,
    /// A path that refers to it, if it is not one of the required paths.
    pub referrer: Option<StorePath>,
    /// Whether a cache has another build of the path.
    pub differs: bool,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path)?;
        if let Some(referrer) = &self.referrer {
            write!(f, " (a reference of {referrer})")?;
        }
        if self.differs { f.write_str(" (the cache has another build of it)") } else { Ok(()) }
    }
}

/// The result for one path.
enum CacheAnswer {
    Found(Vec<StorePath>),
    Absent { differs: bool },
}

impl Substituters {
    /// Returns the paths of the closure of `required` that no cache has, beginning with paths of `required`. References of missing
    /// paths are unknown, and not listed. A path with a recorded hash is missing if caches have it only with other hashes.
    ///
    /// # Errors
    ///
    /// If no cache is configured, or if a cache does not answer or is not usable for Nix, and no other cache has the path.
    pub fn missing(
        &self,
        required: &[StorePath],
        recorded: impl Fn(&StorePath) -> Option<RecordedNar> + Sync,
    ) -> io::Result<Vec<Missing>> {
        let caches = self.caches();
        if caches.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "no binary cache is configured; add one with --substituter",
            ));
        }
        let access = self.access()?;
        let store = required.first().and_then(|path| path.as_path().parent()).unwrap_or(Path::new("/"));
        let usable: Vec<_> = caches.par_iter().map(|cache| (cache, usable(cache, access, store))).collect();
        let mut seen: BTreeMap<StorePath, Option<StorePath>> =
            required.iter().map(|path| (path.clone(), None)).collect();
        let mut next: Vec<StorePath> = required.to_vec();
        let mut missing = Vec::new();
        while !next.is_empty() {
            let ask = |path: &StorePath| find(&usable, access, path, recorded(path));
            let answers = next.par_iter().map(ask).collect::<io::Result<Vec<_>>>()?;
            for (path, answer) in std::mem::take(&mut next).into_iter().zip(answers) {
                match answer {
                    CacheAnswer::Absent { differs } => {
                        let referrer = seen.get(&path).cloned().flatten();
                        missing.push(Missing { path, referrer, differs });
                    }
                    CacheAnswer::Found(references) => {
                        for reference in
                            references.into_iter().filter(|reference| !seen.contains_key(reference)).collect::<Vec<_>>()
                        {
                            seen.insert(reference.clone(), Some(path.clone()));
                            next.push(reference);
                        }
                    }
                }
            }
            if seen.len() > LIMIT {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("the closure has more than {LIMIT} store paths"),
                ));
            }
        }
        Ok(missing)
    }
}

/// Errors if nodes take nothing from the cache.
fn usable(cache: &Cache, access: &CacheAccess, store: &Path) -> Result<(), String> {
    let refused = cache.refused_by_nix(&access.patient_with(cache), store);
    access.record_answer(cache, refused.is_ok());
    match refused {
        Ok(None) => Ok(()),
        Ok(Some(why)) => Err(why),
        Err(error) => Err(causes::joined(&error)),
    }
}

/// Asks the usable caches in their order, until one has the path.
fn find(
    caches: &[(&Cache, Result<(), String>)],
    access: &CacheAccess,
    path: &StorePath,
    recorded: Option<RecordedNar>,
) -> io::Result<CacheAnswer> {
    let (mut differs, mut failure) = (false, None);
    for (cache, usable) in caches {
        if let Err(why) = usable {
            failure = failure.or(Some(io::Error::other(format!("{path}: {cache}: {why}"))));
            continue;
        }
        let found = cache.narinfo(&access.patient_with(cache), path);
        access.record_answer(cache, found.is_ok());
        match found {
            Ok(Some(NarInfo { nar, references, .. })) => match recorded {
                Some(recorded) if recorded != nar => differs = true,
                _ => return Ok(CacheAnswer::Found(references)),
            },
            Ok(None) => {}
            Err(error) => {
                failure = failure.or(Some(io::Error::other(format!("{path}: {cache}: {}", causes::joined(&error)))));
            }
        }
    }
    match failure {
        Some(error) => Err(error),
        None => Ok(CacheAnswer::Absent { differs }),
    }
}
