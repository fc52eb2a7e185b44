//! The image that all runs of one image in an engine share.
//!
//! ```text
//! strata-run/app:4f53cda18c2baa0c…   repository: that of the image, without its registry; tag: the digest
//! CACHE/strata/run/HASH.lock         shared by runs of this repository, exclusive while old versions are removed
//! ```

use std::{
    fs::{self, File, OpenOptions, Permissions},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::PathBuf,
};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

use super::Engine;
use crate::{
    files,
    image::Image,
    oci::{
        Digest,
        name::{self, TaggedName},
    },
};

/// The number of attempts if other processes remove the image in the meantime. More cannot be a coincidence.
const ATTEMPTS: usize = 5;

/// An image in an engine.
#[derive(Debug)]
pub struct SharedImage {
    name: TaggedName,
    repository: String,
    /// While the lock is held, no other run removes the image.
    lock: Option<File>,
}

impl SharedImage {
    /// Loads `image` unless the engine has it. After loading, older versions are removed.
    ///
    /// # Errors
    ///
    /// Those of the engine.
    pub fn prepare(engine: &Engine, image: &Image, reference: Option<&str>) -> Result<Self> {
        let repository = repository(reference);
        // The tag is the whole digest, since images with the same prefix can be found in hours.
        let tagged = format!("{repository}:{}", image.digest().hex());
        let name: TaggedName = tagged.parse().with_context(|| format!("naming the image {tagged}"))?;
        let lock = lock_file(&repository);
        for _ in 0..ATTEMPTS {
            if !engine.has(&name)? {
                engine.load(image, &name)?;
                let is_alone =
                    lock.as_ref().is_some_and(|lock| flock(lock, FlockOperation::NonBlockingLockExclusive).is_ok());
                if is_alone {
                    engine.remove_others(&repository, &name);
                }
            }
            let Some(lock) = &lock else { return Ok(Self { name, repository, lock: None }) };
            // Another run may have removed the image between the two locks.
            flock(lock, FlockOperation::LockShared).with_context(|| format!("locking the image {name}"))?;
            if engine.has(&name)? {
                break;
            }
        }
        if !engine.has(&name)? {
            bail!("{name}: other processes remove it as soon as it is loaded");
        }
        Ok(Self { name, repository, lock })
    }

    /// Removes older versions, unless another run holds one of them.
    pub fn remove_older(&self, engine: &Engine) {
        let Some(lock) = &self.lock else { return };
        if flock(lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            engine.remove_others(&self.repository, &self.name);
        }
        // An engine keeps the image of a container, so the lock is not needed any more.
        let _ = flock(lock, FlockOperation::LockShared);
    }

    /// Returns the name in the engine.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }
}

/// Returns a repository for images named `reference`.
fn repository(reference: Option<&str>) -> String {
    let named = reference.and_then(|reference| reference.parse::<TaggedName>().ok());
    let full = named.as_ref().map_or("image:latest", TaggedName::as_str);
    let path = name::split_host(full).map_or(full, |(_, path)| path);
    format!("strata-run/{}", path.rsplit_once(':').map_or(path, |(path, _)| path))
}

/// Returns the file that runs of images of `repository` lock, or `None` for a user without a cache.
fn lock_file(repository: &str) -> Option<File> {
    lock_file_in(files::cache_folder()?.join("run"), repository)
}

fn lock_file_in(directory: PathBuf, repository: &str) -> Option<File> {
    fs::create_dir_all(&directory).ok()?;
    fs::set_permissions(&directory, Permissions::from_mode(0o700)).ok()?;
    let path = directory.join(format!("{}.lock", &Digest::sha256(repository.as_bytes()).hex()[..32]));
    // Users who can open a file can lock it.
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_files_are_their_users_own() {
        let top = tempfile::tempdir().unwrap();
        drop(lock_file_in(top.path().join("run"), "strata-run/app").unwrap());
        let directory = fs::metadata(top.path().join("run")).unwrap();
        assert_eq!(directory.permissions().mode() & 0o777, 0o700);
        for entry in fs::read_dir(top.path().join("run")).unwrap() {
            assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn repositories_have_no_registry_and_no_tag() {
        for (reference, expected) in [
            (Some("app:v1"), "strata-run/app"),
            (Some("registry.example.com:5000/team/app:v1"), "strata-run/team/app"),
            (Some("team/app"), "strata-run/team/app"),
            (Some("not a name"), "strata-run/image"),
            (None, "strata-run/image"),
        ] {
            assert_eq!(repository(reference), expected);
        }
    }
}
