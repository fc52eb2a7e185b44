//! Who may pull: the names and passwords of a file as `htpasswd -B` writes it, a line each:
//!
//! ```text
//! alice:$2y$10$abcdefghijklmnopqrstuv…
//! ```
//!
//! Only bcrypt, as docker's registry has it (distribution, registry/auth/htpasswd/htpasswd.go).

use std::{
    collections::HashMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use bcrypt::HashParts;
use data_encoding::BASE64;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use crate::threads::lock;

/// Passwords that are checked at once: each costs tens of milliseconds of a core, on purpose.
pub const CHECKS: usize = 2;
/// Headers that are known to be right; a client sends its own with each request.
const REMEMBERED: usize = 1024;

/// A file of users that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// It cannot be read.
    #[error("reading {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// A line is no user.
    #[error("{}, line {line}: {why}; htpasswd -B writes such files", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line; the first is 1.
        line: usize,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// Everybody who may pull.
#[derive(Clone)]
pub struct Users {
    hashes: Arc<HashMap<String, String>>,
    /// Of headers that were checked and right, and whose they are.
    known: Arc<Mutex<HashMap<[u8; 32], String>>>,
    checks: Arc<Semaphore>,
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({})", self.hashes.len())
    }
}

impl Users {
    /// Reads a file of users.
    ///
    /// # Errors
    ///
    /// [`UsersError`]; it never quotes the line.
    pub fn read(path: &Path) -> Result<Self, UsersError> {
        let text = fs::read_to_string(path).map_err(|source| UsersError::Read { path: path.to_owned(), source })?;
        let mut hashes = HashMap::new();
        for (at, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |why| UsersError::Line { path: path.to_owned(), line: at + 1, why };
            let (name, hash) = line.split_once(':').ok_or_else(|| wrong("there is no colon"))?;
            if hash.parse::<HashParts>().is_err() {
                return Err(wrong("the password is not hashed with bcrypt"));
            }
            if hashes.insert(name.to_owned(), hash.to_owned()).is_some() {
                return Err(wrong("the user has an earlier line"));
            }
        }
        if hashes.is_empty() {
            return Err(UsersError::Line { path: path.to_owned(), line: 1, why: "there is no user" });
        }
        let (known, checks) = (Arc::default(), Arc::new(Semaphore::new(CHECKS)));
        Ok(Self { hashes: Arc::new(hashes), known, checks })
    }

    /// Whose `Authorization` header this is; `None` if it belongs to no user.
    pub async fn who(&self, header: &str) -> Option<String> {
        let key: [u8; 32] = Sha256::digest(header.as_bytes()).into();
        let known = || lock(&self.known);
        if let Some(name) = known().get(&key) {
            return Some(name.clone());
        }
        let (scheme, encoded) = header.split_once(' ')?;
        let plain = scheme.eq_ignore_ascii_case("basic").then(|| BASE64.decode(encoded.trim().as_bytes()).ok())??;
        let (name, password) = std::str::from_utf8(&plain).ok()?.split_once(':')?;
        // Unknown users take as long as known ones, so that the time reveals no names.
        let (hash, exists) = match self.hashes.get(name) {
            Some(hash) => (hash.clone(), true),
            None => (self.hashes.values().next()?.clone(), false),
        };
        // The semaphore is never closed.
        let permit = self.checks.acquire().await.ok()?;
        let password = password.to_owned();
        let right = tokio::task::spawn_blocking(move || bcrypt::verify(password, &hash).unwrap_or(false)).await.ok()?;
        drop(permit);
        if !right || !exists {
            return None;
        }
        let mut known = known();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(key, name.to_owned());
        Some(name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// bcrypt's own test vector: the password is `U*U`.
    const HASH: &str = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

    fn users(text: &str) -> Result<Users, UsersError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        Users::read(file.path())
    }

    #[test]
    fn the_right_password_is_known_the_second_time() {
        let users = users(&format!("# people\n\nme:{HASH}\n")).unwrap();
        let header = |plain: &str| format!("Basic {}", BASE64.encode(plain.as_bytes()));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            for _ in 0..2 {
                assert_eq!(users.who(&header("me:U*U")).await.as_deref(), Some("me"));
                for wrong in ["me:U*V", "me:", "you:U*U", "me"] {
                    assert_eq!(users.who(&header(wrong)).await, None, "{wrong}");
                }
                assert_eq!(users.who("Bearer me").await, None);
                assert_eq!(users.who("Basic ***").await, None);
            }
        });
        assert!(!format!("{users:?}").contains("me"));
    }

    #[test]
    fn other_hashes_are_refused_without_being_quoted() {
        for (text, why) in [
            ("me:{SHA}AQw+HpiRgvfPjhJNNxp8VXTPGBs=", "line 1: the password is not hashed with bcrypt"),
            ("# x\nme", "line 2: there is no colon"),
            ("# x\n", "there is no user"),
            (&format!("me:{HASH}\nme:{HASH}"), "line 2: the user has an earlier line"),
        ] {
            let error = users(text).unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains("AQw") && !error.contains("$2a"), "{error}");
        }
    }
}
