//! Reads a NAR from the first cache that has it, and checks it. If a cache fails, the next one continues.

use std::{
    io::{self, BufReader, Read},
    sync::Arc,
};

use bzip2::read::MultiBzDecoder;
use lzma_rust2::XzReader;
use sha2::{Digest as _, Sha256};

use super::{Cache, CacheAccess, NarCompression, NarInfo};
use crate::{budget::XZ_MEMORY, causes, closure::StorePath, image::recipe::RecordedNar, oci::Digest};

/// Bytes read from a cache at once.
const BUFFER: usize = 128 * 1024;

/// A NAR as a stream.
pub struct Nar {
    caches: Arc<[Cache]>,
    access: CacheAccess,
    path: StorePath,
    /// The expected hash and size. Without a record, those of the cache are used, and the blobs that are made from the
    /// NAR are checked later.
    recorded: Option<RecordedNar>,
    /// The index of the current cache.
    turn: usize,
    body: Option<Box<dyn Read + Send>>,
    hash: Sha256,
    read: u64,
    /// The errors of earlier caches.
    failures: Vec<Failure>,
    ended: bool,
}

struct Failure {
    is_absence: bool,
    text: String,
}

impl Nar {
    /// Opens the path in the first cache that has it.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) if no cache has it; another kind if a cache could not be asked or has
    /// another NAR.
    pub fn open(
        caches: Arc<[Cache]>,
        access: CacheAccess,
        path: StorePath,
        recorded: Option<RecordedNar>,
    ) -> io::Result<Self> {
        let mut nar = Self {
            caches,
            access,
            path,
            recorded,
            turn: 0,
            body: None,
            hash: Sha256::new(),
            read: 0,
            failures: Vec::new(),
            ended: false,
        };
        nar.next_cache()?;
        Ok(nar)
    }

    /// Opens the path in the next cache that has it, and skips the bytes that were read already.
    fn next_cache(&mut self) -> io::Result<()> {
        while let Some(cache) = self.caches.get(self.turn) {
            let access = self.access.patient_with(cache);
            let opened = cache.narinfo(&access, &self.path).and_then(|info| match info {
                Some(info) => self.begin(cache, &access, &info).map(Some),
                None => Ok(None),
            });
            match opened {
                Ok(Some(body)) => {
                    self.access.record_answer(cache, true);
                    self.body = Some(body);
                    return Ok(());
                }
                Ok(None) => {
                    self.access.record_answer(cache, true);
                    self.failures.push(Failure { is_absence: true, text: format!("{cache} does not have it") });
                }
                Err(error) => {
                    self.access.record_answer(cache, false);
                    self.failures
                        .push(Failure { is_absence: false, text: format!("{cache}: {}", causes::joined(&error)) });
                }
            }
            self.turn += 1;
        }
        let kind = match self.failures.iter().all(|failure| failure.is_absence) {
            true => io::ErrorKind::NotFound,
            false => io::ErrorKind::Other,
        };
        let texts: Vec<&str> = self.failures.iter().map(|failure| failure.text.as_str()).collect();
        Err(io::Error::new(
            kind,
            format!(
                "{} is not on this machine, and in no binary cache; build the image again, or name a cache that has it with \
                 --substituter ({})",
                self.path,
                texts.join("; ")
            ),
        ))
    }

    fn begin(&self, cache: &Cache, access: &CacheAccess, info: &NarInfo) -> io::Result<Box<dyn Read + Send>> {
        if let Some(recorded) = self.recorded.filter(|recorded| *recorded != info.nar) {
            return Err(another(recorded, info.nar));
        }
        let file = BufReader::with_capacity(BUFFER, cache.open(access, &info.url)?);
        let mut body: Box<dyn Read + Send> = match info.compression {
            NarCompression::None => Box::new(file),
            NarCompression::Xz => Box::new(XzReader::new_mem_limit(file, true, XZ_MEMORY)),
            NarCompression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(file)?),
            NarCompression::Bzip2 => Box::new(MultiBzDecoder::new(file)),
        };
        // The skipped bytes may differ from those of the other cache: the hash at the end covers the bytes of both.
        let skipped = io::copy(&mut (&mut body).take(self.read), &mut io::sink())?;
        if skipped < self.read {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // One more byte shows that the NAR is longer than expected.
        Ok(Box::new(body.take(info.nar.size.saturating_add(1) - self.read)))
    }

    /// Checks the NAR at its end. Returns `false` if it is too short.
    fn is_whole(&self) -> io::Result<bool> {
        let Some(recorded) = self.recorded else { return Ok(true) };
        let found = RecordedNar { digest: Digest::from_bytes(self.hash.clone().finalize().into()), size: self.read };
        match found {
            found if found == recorded => Ok(true),
            found if found.size < recorded.size => Ok(false),
            found => Err(io::Error::other(format!("{}: {}", self.cache(), another(recorded, found)))),
        }
    }

    fn cache(&self) -> String {
        self.caches.get(self.turn).map(Cache::to_string).unwrap_or_default()
    }

    /// Records that the current cache failed.
    fn broke(&mut self, why: String) {
        self.failures.push(Failure { is_absence: false, text: format!("{}: {why}", self.cache()) });
        (self.turn, self.body) = (self.turn + 1, None);
    }
}

impl Read for Nar {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ended || buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if self.body.is_none() {
                self.next_cache()?;
            }
            let Some(body) = &mut self.body else { return Ok(0) };
            match body.read(buffer) {
                Ok(0) if self.is_whole()? => {
                    self.ended = true;
                    return Ok(0);
                }
                Ok(0) => self.broke(format!("the NAR ends after {} bytes", self.read)),
                Ok(read) => {
                    self.hash.update(&buffer[..read]);
                    self.read += read as u64;
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
                Err(error) => self.broke(causes::joined(&error)),
            }
        }
    }
}

/// Returns the error for a NAR with another hash or size.
fn another(recorded: RecordedNar, found: RecordedNar) -> io::Error {
    io::Error::other(format!(
        "its NAR is {} of {} bytes, but the recipe was made with {} of {}; the package was probably built twice and is not \
         reproducible: build the image again with this cache, or give the cache that has the first build",
        found.digest, found.size, recorded.digest, recorded.size
    ))
}
