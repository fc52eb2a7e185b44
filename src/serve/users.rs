//! The users that may pull: a file of names and hashed passwords, one per line, as `htpasswd -B` writes it:
//!
//! ```text
//! alice:$2y$10$abcdefghijklmnopqrstuv…
//! ```
//!
//! Only bcrypt is supported, as in docker's registry (distribution, registry/auth/htpasswd/htpasswd.go).

use std::{
    collections::HashMap,
    fmt, fs, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use bcrypt::HashParts;
use data_encoding::BASE64;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::peer_limits::Connection;
use crate::threads::lock;

/// The number of passwords that are checked at the same time. bcrypt takes tens of milliseconds of a core by design.
pub const CHECKS: usize = 2;
/// The number of valid headers that are cached. A client sends the same header with each request.
const CACHED: usize = 1024;

/// The reason that a file of users cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// The file cannot be read.
    #[error("reading {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A line is malformed.
    #[error("{}, line {line}: {why}; htpasswd -B writes such files", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The number of the line, counted from 1.
        line: usize,
        /// The problem.
        why: &'static str,
    },
}

/// The users that may pull.
#[derive(Clone)]
pub struct AllowedUsers {
    hashes: Arc<HashMap<String, Hash>>,
    /// The highest cost of a hash.
    cost: u32,
    /// The users of valid headers, by the SHA-256 of the header.
    cache: Arc<Mutex<HashMap<[u8; 32], String>>>,
    checks: Arc<Semaphore>,
}

/// The hash of a password, as `htpasswd` wrote it.
#[derive(Clone)]
struct Hash {
    text: String,
    cost: u32,
}

impl fmt::Debug for AllowedUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AllowedUsers({})", self.hashes.len())
    }
}

impl AllowedUsers {
    /// Reads a file of users.
    ///
    /// # Errors
    ///
    /// [`UsersError`]. It never quotes the line, which may contain a password.
    pub fn read(path: &Path) -> Result<Self, UsersError> {
        let text = fs::read_to_string(path).map_err(|source| UsersError::Read { path: path.to_owned(), source })?;
        let mut hashes = HashMap::new();
        for (at, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let malformed = |why| UsersError::Line { path: path.to_owned(), line: at + 1, why };
            let (name, hash) = line.split_once(':').ok_or_else(|| malformed("there is no colon"))?;
            let parts = hash.parse::<HashParts>();
            let cost = parts.map_err(|_| malformed("the password is not hashed with bcrypt"))?.get_cost();
            if hashes.insert(name.to_owned(), Hash { text: hash.to_owned(), cost }).is_some() {
                return Err(malformed("the user has an earlier line"));
            }
        }
        let Some(cost) = hashes.values().map(|hash: &Hash| hash.cost).max() else {
            return Err(UsersError::Line { path: path.to_owned(), line: 1, why: "there is no user" });
        };
        let (cache, checks) = (Arc::default(), Arc::new(Semaphore::new(CHECKS)));
        Ok(Self { hashes: Arc::new(hashes), cost, cache, checks })
    }

    /// Returns the user of an `Authorization` header, or `None` if it is not valid. `client` has the limit of the client:
    /// one client cannot delay others by sending many passwords, even if it disconnects before they are checked.
    pub async fn authenticate(&self, header: &str, client: &Arc<Connection>) -> Option<String> {
        let key: [u8; 32] = Sha256::digest(header.as_bytes()).into();
        if let Some(name) = lock(&self.cache).get(&key) {
            return Some(name.clone());
        }
        let (scheme, encoded) = header.split_once(' ')?;
        let decoded = scheme.eq_ignore_ascii_case("basic").then(|| BASE64.decode(encoded.trim().as_bytes()).ok())??;
        let (name, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
        // The semaphores are never closed.
        let permit = client.password_check().await?;
        let global_permit = Arc::clone(&self.checks).acquire_owned().await.ok()?;
        let (hash, cost, password) = (self.hashes.get(name).cloned(), self.cost, password.to_owned());
        let check = tokio::task::spawn_blocking(move || {
            let is_right = is_right(&password, hash.as_ref(), cost);
            // The check continues if the client disconnects, so it holds the permits, and not the request.
            drop((permit, global_permit));
            is_right
        });
        if !check.await.ok()? {
            return None;
        }
        let mut cache = lock(&self.cache);
        if cache.len() >= CACHED {
            cache.clear();
        }
        cache.insert(key, name.to_owned());
        Some(name.to_owned())
    }
}

/// Returns whether the password matches the hash. It never matches if `hash` is `None`. In each case, the check takes as long
/// as one of the highest cost in the file, so that the time reveals neither names nor costs.
fn is_right(password: &str, hash: Option<&Hash>, highest_cost: u32) -> bool {
    let is_right = hash.is_some_and(|hash| bcrypt::verify(password, &hash.text).unwrap_or(false));
    for cost in padding(hash.map(|hash| hash.cost), highest_cost) {
        std::hint::black_box(bcrypt::hash_with_salt(password, cost, [0; 16]).is_ok());
    }
    is_right
}

/// Returns the costs of additional hashes after which a check of `cost` took as long as one of the highest cost. Each cost
/// takes twice as long as the previous one, so 2^c + (2^c + 2^(c+1) + … + 2^(n-1)) = 2^n.
fn padding(cost: Option<u32>, highest: u32) -> Range<u32> {
    cost.map_or(highest..highest + 1, |cost| cost..highest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::peer_limits::PeerLimits;

    /// bcrypt's own test vector: the password is `U*U`.
    const HASH: &str = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

    fn users(text: &str) -> Result<AllowedUsers, UsersError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        AllowedUsers::read(file.path())
    }

    #[test]
    fn valid_passwords_are_accepted_again_from_the_cache() {
        let users = users(&format!("# people\n\nme:{HASH}\n")).unwrap();
        let header = |plain: &str| format!("Basic {}", BASE64.encode(plain.as_bytes()));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let client = Arc::new(PeerLimits::new(1).connect([127, 0, 0, 1].into()).unwrap());
        runtime.block_on(async {
            for _ in 0..2 {
                assert_eq!(users.authenticate(&header("me:U*U"), &client).await.as_deref(), Some("me"));
                for wrong in ["me:U*V", "me:", "you:U*U", "me"] {
                    assert_eq!(users.authenticate(&header(wrong), &client).await, None, "{wrong}");
                }
                assert_eq!(users.authenticate("Bearer me", &client).await, None);
                assert_eq!(users.authenticate("Basic ***", &client).await, None);
            }
        });
        assert!(!format!("{users:?}").contains("me"));
    }

    #[test]
    fn checks_of_disconnected_clients_count() {
        let users = users(&format!("me:{HASH}")).unwrap();
        let client = Arc::new(PeerLimits::new(1).connect([127, 0, 0, 1].into()).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            // The only thread is occupied, so that no check begins before the end of this test.
            let (release, released) = std::sync::mpsc::channel::<()>();
            let occupied = tokio::task::spawn_blocking(move || released.recv());
            let header = format!("Basic {}", BASE64.encode(b"me:U*U"));
            let mut request = Box::pin(users.authenticate(&header, &client));
            assert!(poll_once(request.as_mut()).is_none());
            drop(request);
            let mut next = Box::pin(client.password_check());
            assert!(poll_once(next.as_mut()).is_none(), "a client that disconnects may send the next password");
            assert_eq!(users.checks.available_permits(), CHECKS - 1);
            drop(release);
            assert!(next.await.is_some() && occupied.await.is_ok());
        });
    }

    /// Polls a future once.
    fn poll_once<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
        let polled = future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        match polled {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        }
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

    #[test]
    fn unknown_users_and_lower_costs_take_as_much_work() {
        let work = |costs: Range<u32>| costs.map(|cost| 1u64 << cost).sum::<u64>();
        assert_eq!(work(padding(None, 12)), 1 << 12);
        for cost in 4..=12 {
            assert_eq!((1 << cost) + work(padding(Some(cost), 12)), 1 << 12);
        }
        let hash = |cost: u32| Hash { text: bcrypt::hash("right", cost).unwrap(), cost };
        for cost in [4, 5, 6] {
            assert!(is_right("right", Some(&hash(cost)), 6) && !is_right("wrong", Some(&hash(cost)), 6));
        }
        assert!(!is_right("right", None, 6));
    }
}
