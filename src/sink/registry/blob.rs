//! One blob of a push: looked for in every place where it may be, and made and sent where it is in none.

use std::{
    collections::HashSet,
    io::{self, Read},
    sync::{Arc, Mutex},
    thread,
};

use super::{
    Result,
    known::Found,
    push::Push,
    watch::{Watch, Watched},
};
use crate::{
    blobs::{ImageBlobs, LayerBlob},
    layer::{ChunkReader, compress::Compression},
    oci::{Descriptor, Digest, Sha256Writer},
    registry::{Mount, RegistryError, Upload},
    sink::{
        fleet::{self, Home},
        progress::Fate,
    },
    threads::lock,
};

/// Up to this size (in bytes), compressing and sending a layer is faster than asking about further tags.
const WORTH_ASKING: u64 = 1024 * 1024;

impl Push<'_> {
    /// One layer, unless it was sent already; who comes second waits for the first.
    pub(super) fn layer(
        &self,
        layer: &LayerBlob,
        compression: Compression,
        watch: &Watch,
    ) -> Result<(Descriptor, Fate)> {
        let own = &layer.descriptor;
        let (key, is_compressed) = fleet::key(layer, compression);
        let shared = self.options.shared.as_deref();
        let home = shared.and_then(|shared| shared.homes.of(self.client, key, is_compressed));
        let make = || match is_compressed {
            false => Ok((own.clone(), self.as_is(layer, home.as_deref(), watch)?)),
            true => self.compressed(layer, compression, home.as_deref(), watch),
        };
        let place = shared.map(|shared| shared.place(self.client.host(), key, is_compressed));
        let mut place = place.as_ref().map(|place| lock(place));
        let slot = Arc::clone(lock(&self.slots).entry((key, is_compressed)).or_default());
        let mut slot = lock(&slot);
        let elsewhere = place.as_deref().and_then(Option::as_ref);
        let (found, fate) = match (&*slot, elsewhere) {
            (Some(found), _) => (found.clone(), Fate::There),
            (None, Some((found, repository))) => match self.there(&found.digest, Some(repository))? {
                There::Yes(fate) => (found.clone(), fate),
                There::No(session) => {
                    session.iter().for_each(|session| self.client.cancel(session));
                    make()?
                }
            },
            (None, None) => make()?,
        };
        *slot = Some(found.clone());
        if let Some(place) = &mut place {
            **place = Some((found.clone(), self.client.repository().to_owned()));
        }
        let Descriptor { media_type, digest, size, .. } = found;
        let mut annotations = own.annotations.clone();
        annotations.extend(found.annotations);
        Ok((Descriptor { media_type, digest, size, annotations, ..own.clone() }, fate))
    }

    /// Sends it as it is, unless the registry has it.
    fn as_is(&self, layer: &LayerBlob, home: Option<&Home>, watch: &Watch) -> Result<Fate> {
        let own = &layer.descriptor;
        if layer.elsewhere {
            return Ok(Fate::There);
        }
        let origin = layer.origin.as_ref().filter(|(host, _)| host == self.client.host());
        let origin = origin.map(|(_, repository)| repository.as_str());
        let session = match self.there_or_home(&own.digest, origin, home)? {
            There::Yes(fate) => return Ok(fate),
            There::No(session) => session,
        };
        watch.progress.sending(watch.layer, own.size);
        let mut make = || watch.reader(layer.read());
        let digest = || Some(own.digest);
        self.send(Upload { make: &mut make, size: Some(own.size), digest: &digest, session }, home)?;
        Ok(Fate::Sent(own.size))
    }

    /// Compresses and sends it, unless the registry has what it compresses to.
    fn compressed(
        &self,
        layer: &LayerBlob,
        compression: Compression,
        home: Option<&Home>,
        watch: &Watch,
    ) -> Result<(Descriptor, Fate)> {
        let level = self.options.level;
        // A level that somebody asks for is not to be had from what may have another.
        let noted = layer.compressed.get(compression.name()).filter(|_| level.is_none());
        let noted = noted.map(|noted| noted.descriptor(compression.media_type()));
        let remembered = self.cache.get(&layer.diff_id, compression, level);
        let mut session = None;
        let own = noted.into_iter().chain(remembered).map(|descriptor| (descriptor, None)).collect();
        if let Some(found) = self.first_there(own, home, &mut session)? {
            return Ok(found);
        }
        if level.is_none() {
            let named = self.known.named(&layer.diff_id, compression)?;
            if let Some(found) = self.first_there(named, None, &mut session)? {
                return Ok(found);
            }
            if layer.descriptor.size >= WORTH_ASKING {
                let newest = self.known.newest(&layer.diff_id, compression)?;
                if let Some(found) = self.first_there(newest, None, &mut session)? {
                    return Ok(found);
                }
            }
        }
        watch.progress.sending(watch.layer, layer.descriptor.size);
        let made = Made::default();
        let mut make = || stream(layer, compression, level, &made, watch);
        let digest = || lock(&made).as_ref().map(|made| made.digest);
        self.send(Upload { make: &mut make, size: None, digest: &digest, session }, home)?;
        let descriptor = lock(&made).take().expect("an upload without an error has sent all of the blob");
        self.cache.put(&layer.diff_id, compression, level, &descriptor);
        let size = descriptor.size;
        Ok((descriptor, Fate::Sent(size)))
    }

    /// The first of these blobs that is there, or can be taken over from the repository that has it.
    fn first_there(
        &self,
        blobs: Vec<Found>,
        home: Option<&Home>,
        session: &mut Option<String>,
    ) -> Result<Option<(Descriptor, Fate)>> {
        let mut tried = HashSet::new();
        for (descriptor, repository) in blobs {
            if !tried.insert((descriptor.digest, repository.clone())) {
                continue;
            }
            match self.there_or_home(&descriptor.digest, repository.as_deref(), home)? {
                There::Yes(fate) => return Ok(Some((descriptor, fate))),
                There::No(opened) => self.keep(session, opened),
            }
        }
        Ok(None)
    }

    pub(super) fn config(&self, image: &ImageBlobs) -> Result<Fate> {
        let digest = image.config_descriptor().digest;
        let place = self.options.shared.as_deref().map(|shared| shared.place(self.client.host(), digest, false));
        let mut place = place.as_ref().map(|place| lock(place));
        let slot = Arc::clone(lock(&self.slots).entry((digest, false)).or_default());
        let mut slot = lock(&slot);
        if slot.is_some() {
            return Ok(Fate::There);
        }
        let sent_to = place.as_deref().and_then(Option::as_ref).map(|(_, repository)| repository.as_str());
        let origin = image.config_origin.as_ref().filter(|(host, _)| host == self.client.host());
        let origin = sent_to.or(origin.map(|(_, repository)| repository.as_str()));
        let fate = match self.there(&digest, origin)? {
            There::Yes(fate) => fate,
            There::No(session) => {
                self.client.upload_bytes(&digest, &image.config, session)?;
                Fate::Sent(image.config.len() as u64)
            }
        };
        *slot = Some(image.config_descriptor());
        if let Some(place) = &mut place {
            **place = Some((image.config_descriptor(), self.client.repository().to_owned()));
        }
        Ok(fate)
    }

    /// Whether the blob is there, or can be taken over from `from` or the repositories that the user names.
    fn there(&self, digest: &Digest, from: Option<&str>) -> Result<There> {
        if self.client.has_blob(digest)? {
            return Ok(There::Yes(Fate::There));
        }
        let mut session = None;
        let named = self.options.mount_from.iter().map(String::as_str);
        for repository in from.into_iter().chain(named).filter(|repository| *repository != self.client.repository()) {
            match self.client.mount(digest, repository)? {
                Mount::Done => return Ok(There::Yes(Fate::Mounted)),
                Mount::Session(opened) => self.keep(&mut session, Some(opened)),
                Mount::Refused => {}
            }
        }
        Ok(There::No(session))
    }

    /// The same, where the blob may be in the repository that it belongs to.
    fn there_or_home(&self, digest: &Digest, from: Option<&str>, home: Option<&Home>) -> Result<There> {
        let (Some(home), Some(shared)) = (home, &self.options.shared) else { return self.there(digest, from) };
        if self.client.has_blob(digest)? {
            return Ok(There::Yes(Fate::There));
        }
        match shared.homes.has(home, digest, &self.options.registry)? {
            true => self.there(digest, Some(home.repository())),
            false => self.there(digest, from),
        }
    }

    /// Sends a blob: to where it belongs, to be mounted from there.
    fn send(&self, upload: Upload<'_>, home: Option<&Home>) -> Result<()> {
        let shared = self.options.shared.as_deref();
        let _turn = shared.map(|shared| shared.making.take());
        let home = home.filter(|home| home.repository() != self.client.repository());
        let (Some(home), Some(shared)) = (home, shared) else { return Ok(self.client.upload(upload)?) };
        let Upload { make, size, digest, session } = upload;
        match home.client(&self.options.registry)?.upload(Upload { make: &mut *make, size, digest, session: None }) {
            Ok(()) => {}
            // Who may write here need not be allowed to write there.
            Err(RegistryError::Login(_)) => return Ok(self.client.upload(Upload { make, size, digest, session })?),
            Err(error) => return Err(error.into()),
        }
        session.iter().for_each(|session| self.client.cancel(session));
        let sent = digest().expect("an upload without an error has sent all of the blob");
        let session = match self.client.mount(&sent, home.repository())? {
            Mount::Done => return Ok(()),
            Mount::Session(session) => Some(session),
            Mount::Refused => None,
        };
        shared.homes.refuse();
        Ok(self.client.upload(Upload { make, size, digest, session })?)
    }

    /// Of several uploads that refused mounts opened, one is used.
    fn keep(&self, session: &mut Option<String>, opened: Option<String>) {
        match (&session, opened) {
            (None, opened) => *session = opened,
            (Some(_), Some(spare)) => self.client.cancel(&spare),
            (Some(_), None) => {}
        }
    }
}

/// Whether a blob is there.
enum There {
    Yes(Fate),
    /// Not, but a refused mount may have opened an upload.
    No(Option<String>),
}

/// What a blob is, once all of it was made.
type Made = Arc<Mutex<Option<Descriptor>>>;

/// The layer's compressed blob, made while it is read.
fn stream(
    layer: &LayerBlob,
    compression: Compression,
    level: Option<i32>,
    made: &Made,
    watch: &Watch,
) -> Box<dyn Read + Send> {
    let (layer, made, watch) = (layer.clone(), Arc::clone(made), watch.clone());
    Box::new(ChunkReader::new(move |out| {
        let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let inner = compression.writer(Sha256Writer::new(out), threads, level)?;
        let mut watched = Watched { inner, watch };
        layer.write(&mut watched).map_err(io::Error::other)?;
        let (out, annotations) = watched.inner.finish()?;
        let (_, digest, size) = out.finish();
        *lock(&made) = Some(Descriptor { annotations, ..Descriptor::new(compression.media_type(), digest, size) });
        Ok(())
    }))
}
