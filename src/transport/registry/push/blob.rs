//! One blob of a push: looked for in every place where it may be, and made and sent where it is in none.

use std::{
    collections::HashSet,
    io::{self, Read},
    sync::{Arc, Mutex},
    thread,
};

use super::{
    Result,
    mapping::{Mapping, Origin},
    steps::{Push, PushedLayer},
    verification::{self, Verdict},
    watch::{Watch, Watched},
};
use crate::{
    image::{Image, ImageError, LayerBlob},
    layer::{
        ChunkReader,
        chunked::{Finished, Unfit},
        compress::Compression,
    },
    oci::{Descriptor, Digest, Sha256Writer},
    threads::lock,
    transport::{
        progress::{Evidence, Fate},
        registry::{
            Mount, RegistryError, Upload,
            shared::{self, Home},
        },
    },
};

/// Blobs of unsigned mappings that are downloaded for one layer. A hostile tag can name many.
const VERIFICATIONS: usize = 2;

impl Push<'_> {
    /// One layer, unless it was sent already.
    pub(super) fn layer(&self, layer: &LayerBlob, compression: Compression, watch: &Watch) -> Result<PushedLayer> {
        let own = &layer.descriptor;
        let (key, is_compressed) = shared::key(layer, compression);
        let shared = self.options.shared.as_deref();
        let home = shared.and_then(|shared| shared.homes.of(self.client, key, is_compressed));
        let found = self.get_or_send(key, is_compressed, |elsewhere| {
            if let Some(sent) = elsewhere {
                match self.there(&sent.blob.digest, Some(&sent.repository))? {
                    There::Yes(fate, _) => {
                        return Ok(PushedLayer { blob: sent.blob.clone(), fate, evidence: sent.evidence });
                    }
                    There::No(session) => session.iter().for_each(|session| self.client.cancel(session)),
                }
            }
            match is_compressed {
                false => {
                    let fate = self.as_is(layer, home.as_deref(), watch)?;
                    Ok(PushedLayer { blob: own.clone(), fate, evidence: None })
                }
                true => self.compressed(layer, compression, home.as_deref(), watch),
            }
        })?;
        if is_compressed && found.evidence != Some(Evidence::Made) && !compression.fits(&found.blob) {
            self.warn(Unfit::unknown().warning(watch.layer));
        }
        let Descriptor { media_type, digest, size, annotations, .. } = found.blob;
        let annotations = own.annotations.clone().into_iter().chain(annotations).collect();
        Ok(PushedLayer { blob: Descriptor { media_type, digest, size, annotations, ..own.clone() }, ..found })
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
            There::Yes(fate, _) => return Ok(fate),
            There::No(session) => session,
        };
        watch.progress.sending(watch.layer, own.size);
        let mut make = || watch.reader(layer.read());
        let digest = || Some(own.digest);
        self.send(Upload { make: &mut make, size: Some(own.size), digest: &digest, session }, home)?;
        Ok(Fate::Sent(own.size))
    }

    /// The compressed blob of a layer: taken over where a mapping leads to it, else made and sent.
    fn compressed(
        &self,
        layer: &LayerBlob,
        compression: Compression,
        home: Option<&Home>,
        watch: &Watch,
    ) -> Result<PushedLayer> {
        let level = self.options.level;
        let mut session = None;
        let local = self.local_mappings(layer, compression);
        if let Some(found) = self.trusted(&local, home, &mut session)? {
            return Ok(found);
        }
        // Blobs of other images may be compressed at another level than the one that is asked for.
        let known = if level.is_none() { self.known.mappings(&layer.diff_id, compression)? } else { Vec::new() };
        let (trusted, unsigned): (Vec<_>, Vec<_>) = known.into_iter().partition(Mapping::is_trusted);
        if let Some(found) = self.trusted(&trusted, None, &mut session)? {
            return Ok(found);
        }
        let mut expected = None;
        if let Some(found) = self.unsigned(&unsigned, layer, compression, watch, &mut session, &mut expected)? {
            return Ok(found);
        }
        watch.progress.sending(watch.layer, layer.descriptor.size);
        if let Some((expected, fate)) = expected
            && let Some(blob) = self.made_as(&expected, layer, compression, watch)?
        {
            session.iter().for_each(|session| self.client.cancel(session));
            return Ok(PushedLayer { blob, fate, evidence: Some(Evidence::Made) });
        }
        let made = Made::default();
        let mut make = || stream(layer, compression, level, &made, watch);
        let digest = || lock(&made).as_ref().map(|made| made.blob.digest);
        self.send(Upload { make: &mut make, size: None, digest: &digest, session }, home)?;
        let made = lock(&made).take().expect("an upload without an error has sent all of the blob");
        let blob = self.made(made, watch);
        self.cache.put(&layer.diff_id, compression, level, &blob);
        let fate = Fate::Sent(blob.size);
        Ok(PushedLayer { blob, fate, evidence: Some(Evidence::Made) })
    }

    /// The mappings of the recipe and of the local cache.
    fn local_mappings(&self, layer: &LayerBlob, compression: Compression) -> Vec<Mapping> {
        let level = self.options.level;
        // A recipe has blobs of the default level.
        let recipe = layer.compressed.get(compression.name()).filter(|_| level.is_none());
        let recipe = recipe.map(|blob| Mapping::local(blob.descriptor(compression.media_type()), Origin::Recipe));
        let cached = self.cache.get(&layer.diff_id, compression, level);
        recipe.into_iter().chain(cached.map(|blob| Mapping::local(blob, Origin::Cache))).collect()
    }

    /// The first blob of these trusted mappings that the registry has.
    fn trusted(
        &self,
        mappings: &[Mapping],
        home: Option<&Home>,
        session: &mut Option<String>,
    ) -> Result<Option<PushedLayer>> {
        let mut tried = HashSet::new();
        for mapping in mappings {
            if !tried.insert((mapping.blob.digest, &mapping.repository)) {
                continue;
            }
            if let Some(fate) = self.existing(mapping, home, session)? {
                return Ok(Some(PushedLayer { blob: mapping.blob.clone(), fate, evidence: Some(Evidence::Trusted) }));
            }
        }
        Ok(None)
    }

    /// The first blob of these unsigned mappings that the registry has, and that decompresses to the layer. If one could
    /// not be verified by a download, it is `expected`: the layer, compressed here, may turn out to be this blob.
    fn unsigned(
        &self,
        mappings: &[Mapping],
        layer: &LayerBlob,
        compression: Compression,
        watch: &Watch,
        session: &mut Option<String>,
        expected: &mut Option<(Digest, Fate)>,
    ) -> Result<Option<PushedLayer>> {
        let mut tried = HashSet::new();
        let mut verified = 0;
        for mapping in mappings {
            if verified == VERIFICATIONS {
                break;
            }
            if !tried.insert((mapping.blob.digest, &mapping.repository)) {
                continue;
            }
            let Some(fate) = self.existing(mapping, None, session)? else { continue };
            // The annotations of zstd:chunked come with making the blob.
            if compression == Compression::ZstdChunked {
                expected.get_or_insert((mapping.blob.digest, fate));
                continue;
            }
            verified += 1;
            watch.progress.verifying(watch.layer, mapping.blob.size);
            match verification::verify(self.client, mapping, layer, compression, watch) {
                Verdict::Verified => {
                    self.cache.put(&layer.diff_id, compression, None, &mapping.blob);
                    session.iter().for_each(|session| self.client.cancel(session));
                    let evidence = Some(Evidence::Verified);
                    return Ok(Some(PushedLayer { blob: mapping.blob.clone(), fate, evidence }));
                }
                Verdict::Refuted(why) => self.warn(format!(
                    "{} lists the blob {} for the layer {}, but {why}; the blob is not used",
                    mapping.listed_in, mapping.blob.digest, layer.diff_id
                )),
                Verdict::Unavailable => drop(expected.get_or_insert((mapping.blob.digest, fate))),
            }
        }
        Ok(None)
    }

    /// What becomes of the blob of a mapping, if the registry has it with the size that the mapping says.
    fn existing(&self, mapping: &Mapping, home: Option<&Home>, session: &mut Option<String>) -> Result<Option<Fate>> {
        let blob = &mapping.blob;
        match self.there_or_home(&blob.digest, mapping.repository.as_deref(), home)? {
            There::Yes(fate, size) if size.is_none_or(|size| size == blob.size) => Ok(Some(fate)),
            There::Yes(_, size) => {
                let size = size.unwrap_or_default();
                let lists = match mapping.origin {
                    Origin::Recipe => "the recipe",
                    Origin::Cache => "the local cache",
                    _ => &*mapping.listed_in,
                };
                self.warn(format!(
                    "{lists}: the blob {} has {} bytes, but the registry's has {size}; the blob is not used",
                    blob.digest, blob.size
                ));
                Ok(None)
            }
            There::No(opened) => {
                self.keep(session, opened);
                Ok(None)
            }
        }
    }

    /// Compresses the layer without sending it; the blob, if it is the expected one, which the registry has.
    fn made_as(
        &self,
        expected: &Digest,
        layer: &LayerBlob,
        compression: Compression,
        watch: &Watch,
    ) -> Result<Option<Descriptor>> {
        let made = Made::default();
        let _turn = self.options.shared.as_deref().map(|shared| shared.making.take());
        let mut blob = stream(layer, compression, self.options.level, &made, watch);
        let fail = |source| ImageError::Blob { digest: layer.descriptor.digest, source };
        io::copy(&mut blob, &mut io::sink()).map_err(fail)?;
        let made = lock(&made).take().expect("a stream that ended has made all of the blob");
        let blob = self.made(made, watch);
        self.cache.put(&layer.diff_id, compression, self.options.level, &blob);
        Ok((blob.digest == *expected).then_some(blob))
    }

    /// A blob that was made now. That it has no table of contents is a warning.
    fn made(&self, made: MadeBlob, watch: &Watch) -> Descriptor {
        if let Some(unfit) = made.unfit {
            self.warn(unfit.warning(watch.layer));
        }
        made.blob
    }

    pub(super) fn config(&self, image: &Image) -> Result<Fate> {
        let blob = image.config_descriptor();
        let found = self.get_or_send(blob.digest, false, |elsewhere| {
            let origin = image.config_origin.as_ref().filter(|(host, _)| host == self.client.host());
            let origin = elsewhere.map(|sent| &sent.repository).or(origin.map(|(_, repository)| repository));
            let fate = match self.there(&blob.digest, origin.map(String::as_str))? {
                There::Yes(fate, _) => fate,
                There::No(session) => {
                    self.client.upload_bytes(&blob.digest, &image.config, session)?;
                    Fate::Sent(image.config.len() as u64)
                }
            };
            Ok(PushedLayer { blob: blob.clone(), fate, evidence: None })
        })?;
        Ok(found.fate)
    }

    /// Whether the blob is there, or can be taken over from `from` or the repositories that the user names.
    fn there(&self, digest: &Digest, from: Option<&str>) -> Result<There> {
        if let Some(existing) = self.client.find_blob(digest)? {
            return Ok(There::Yes(Fate::There, existing.size));
        }
        let mut session = None;
        let named = self.options.mount_from.iter().map(String::as_str);
        for repository in from.into_iter().chain(named).filter(|repository| *repository != self.client.repository()) {
            match self.client.mount(digest, repository)? {
                Mount::Done => {
                    let size = self.client.find_blob(digest)?.and_then(|existing| existing.size);
                    return Ok(There::Yes(Fate::Mounted, size));
                }
                Mount::Session(opened) => self.keep(&mut session, Some(opened)),
                Mount::Refused => {}
            }
        }
        Ok(There::No(session))
    }

    /// The same, where the blob may be in the repository that it belongs to.
    fn there_or_home(&self, digest: &Digest, from: Option<&str>, home: Option<&Home>) -> Result<There> {
        let (Some(home), Some(shared)) = (home, &self.options.shared) else { return self.there(digest, from) };
        if let Some(existing) = self.client.find_blob(digest)? {
            return Ok(There::Yes(Fate::There, existing.size));
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
    /// It is, with this size in bytes if the registry's answer has it.
    Yes(Fate, Option<u64>),
    /// Not, but a refused mount may have opened an upload.
    No(Option<String>),
}

/// What a blob is, once all of it was made.
type Made = Arc<Mutex<Option<MadeBlob>>>;

struct MadeBlob {
    blob: Descriptor,
    /// Why it has no table of contents, if it is to have one.
    unfit: Option<Unfit>,
}

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
        let (out, Finished { annotations, unfit }) = watched.inner.finish()?;
        let (_, digest, size) = out.finish();
        let blob = Descriptor { annotations, ..Descriptor::new(compression.media_type(), digest, size) };
        *lock(&made) = Some(MadeBlob { blob, unfit });
        Ok(())
    }))
}
