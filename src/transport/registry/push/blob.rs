//! Pushes one blob: searches it in all places where it may exist, and makes and sends it if it is in none.

use std::{
    collections::HashSet,
    io::{self, Read},
    sync::{Arc, Mutex},
};

use super::{
    Result,
    existing::Existing,
    mapping::{Mapping, MappingOrigin},
    steps::{Push, PushedLayer},
    verification::{self, Verdict},
    watch::{LayerProgress, Watched},
};
use crate::{
    image::{Chunked, Image, ImageError, LayerBlob},
    layer::{
        ChunkReader,
        chunked::{Finished, Unfit},
        compress::Compression,
    },
    oci::{Descriptor, Digest, Sha256Writer},
    threads::{self, lock},
    transport::{
        progress::{Evidence, Fate},
        registry::{
            Upload,
            shared::{self, Home},
        },
    },
};

/// The maximum number of blobs that are downloaded to verify unsigned mappings of one layer. A hostile tag can list
/// many.
const VERIFICATIONS: usize = 2;

impl Push<'_> {
    /// Pushes one layer, unless another image already did.
    pub(super) fn layer(
        &self,
        layer: &LayerBlob,
        compression: Compression,
        watch: &LayerProgress,
    ) -> Result<PushedLayer> {
        let descriptor = &layer.descriptor;
        let (key, is_compressed) = shared::key(layer, compression);
        // Mappings are found and recorded by the diff_id, which is a claim of the image. Readers of the blob check only the
        // digest of its descriptor.
        if is_compressed && descriptor.digest != layer.diff_id {
            layer.plain(|_| Ok(()))?;
        }
        let shared = self.options.shared.as_deref();
        let home = shared.and_then(|shared| shared.homes.home_of(self.client, key, is_compressed));
        let found = self.get_or_send(key, is_compressed, |elsewhere| {
            if let Some(sent) = elsewhere {
                match self.find_existing(&sent.blob.digest, Some(&sent.repository))? {
                    Existing::Yes(fate, _) => {
                        return Ok(PushedLayer { blob: sent.blob.clone(), fate, evidence: sent.evidence });
                    }
                    Existing::No(session) => session.iter().for_each(|session| self.client.cancel(session)),
                }
            }
            match is_compressed {
                false => {
                    let fate = self.as_is(layer, home.as_ref(), watch)?;
                    Ok(PushedLayer { blob: descriptor.clone(), fate, evidence: None })
                }
                true => self.compressed(layer, compression, home.as_ref(), watch),
            }
        })?;
        if is_compressed && found.evidence != Some(Evidence::Made) && !compression.fits(&found.blob) {
            self.warn(Unfit::unknown().warning(watch.layer));
        }
        if let Some(warning) =
            Chunked::lazy_warning(watch.layer, descriptor).filter(|_| compression == Compression::Lazy)
        {
            self.warn(warning);
        }
        let Descriptor { media_type, digest, size, annotations, .. } = found.blob;
        let annotations = match is_compressed {
            true => compression.annotations_of_layer(&descriptor.annotations, annotations),
            false => descriptor.annotations.clone().into_iter().chain(annotations).collect(),
        };
        Ok(PushedLayer { blob: Descriptor { media_type, digest, size, annotations, ..descriptor.clone() }, ..found })
    }

    /// Sends the blob of a layer without compression, unless the registry has it.
    fn as_is(&self, layer: &LayerBlob, home: Option<&Home>, watch: &LayerProgress) -> Result<Fate> {
        let descriptor = &layer.descriptor;
        if layer.elsewhere {
            return Ok(Fate::Present);
        }
        let origin = layer.origin.as_ref().filter(|(host, _)| host == self.client.host());
        let origin = origin.map(|(_, repository)| repository.as_str());
        let session = match self.find_existing_or_home(&descriptor.digest, origin, home)? {
            Existing::Yes(fate, _) => return Ok(fate),
            Existing::No(session) => session,
        };
        watch.progress.sending(watch.layer, descriptor.size);
        let mut make = || watch.reader(layer.read());
        let digest = || Some(descriptor.digest);
        self.send(Upload { make: &mut make, size: Some(descriptor.size), digest: &digest, session }, home)?;
        Ok(Fate::Sent(descriptor.size))
    }

    /// Returns the compressed blob of a layer: an existing blob of a mapping, or a new one that is made and sent.
    fn compressed(
        &self,
        layer: &LayerBlob,
        compression: Compression,
        home: Option<&Home>,
        watch: &LayerProgress,
    ) -> Result<PushedLayer> {
        let level = self.options.level;
        let mut session = None;
        let local = self.local_mappings(layer, compression);
        if let Some(found) = self.trusted(&local, home, &mut session)? {
            return Ok(found);
        }
        // Blobs of other images may be compressed at another level than the requested one.
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

    /// Returns the mappings of the recipe and of the local cache.
    fn local_mappings(&self, layer: &LayerBlob, compression: Compression) -> Vec<Mapping> {
        let level = self.options.level;
        // The blobs in a recipe have the default level.
        let recipe = layer.compressed_as(compression).filter(|_| level.is_none());
        let recipe = recipe.map(|blob| Mapping::local(blob, MappingOrigin::Recipe));
        let cached = self.cache.get(&layer.diff_id, compression, level);
        recipe.into_iter().chain(cached.map(|blob| Mapping::local(blob, MappingOrigin::Cache))).collect()
    }

    /// Returns the first blob of these trusted mappings that the registry has.
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
                let evidence = Some(mapping.evidence());
                return Ok(Some(PushedLayer { blob: mapping.blob.clone(), fate, evidence }));
            }
        }
        Ok(None)
    }

    /// Returns the first blob of these unsigned mappings that the registry has, and that decompresses to the layer. A
    /// blob that could not be verified by a download becomes `expected`: compressing the layer may result in this blob.
    fn unsigned(
        &self,
        mappings: &[Mapping],
        layer: &LayerBlob,
        compression: Compression,
        watch: &LayerProgress,
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
            // The annotations of a table of contents are only known after making the blob.
            if compression.has_table() {
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

    /// Returns the result for the blob of a mapping, if the registry has it with the size of the mapping.
    fn existing(&self, mapping: &Mapping, home: Option<&Home>, session: &mut Option<String>) -> Result<Option<Fate>> {
        let blob = &mapping.blob;
        match self.find_existing_or_home(&blob.digest, mapping.repository.as_deref(), home)? {
            Existing::Yes(fate, size) if size.is_none_or(|size| size == blob.size) => Ok(Some(fate)),
            Existing::Yes(_, size) => {
                let size = size.unwrap_or_default();
                let lists = match mapping.origin {
                    MappingOrigin::Recipe => "the recipe",
                    MappingOrigin::Cache => "the local cache",
                    _ => &*mapping.listed_in,
                };
                self.warn(format!(
                    "{lists}: the blob {} has {} bytes, but the registry's has {size}; the blob is not used",
                    blob.digest, blob.size
                ));
                Ok(None)
            }
            Existing::No(opened) => {
                self.keep(session, opened);
                Ok(None)
            }
        }
    }

    /// Compresses the layer without sending it. Returns the blob if it is the expected one, which the registry has.
    fn made_as(
        &self,
        expected: &Digest,
        layer: &LayerBlob,
        compression: Compression,
        watch: &LayerProgress,
    ) -> Result<Option<Descriptor>> {
        let made = Made::default();
        let _turn = self.options.shared.as_deref().map(|shared| shared.making.wait_for_turn());
        let mut blob = stream(layer, compression, self.options.level, &made, watch);
        let fail = |source| ImageError::Blob { digest: layer.descriptor.digest, source };
        io::copy(&mut blob, &mut io::sink()).map_err(fail)?;
        let made = lock(&made).take().expect("a stream that ended has made all of the blob");
        let blob = self.made(made, watch);
        self.cache.put(&layer.diff_id, compression, self.options.level, &blob);
        Ok((blob.digest == *expected).then_some(blob))
    }

    /// Returns the descriptor of a new blob. A missing table of contents causes a warning.
    fn made(&self, made: MadeBlob, watch: &LayerProgress) -> Descriptor {
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
            let fate = match self.find_existing(&blob.digest, origin.map(String::as_str))? {
                Existing::Yes(fate, _) => fate,
                Existing::No(session) => {
                    self.client.upload_bytes(&blob.digest, &image.config, session)?;
                    Fate::Sent(image.config.len() as u64)
                }
            };
            Ok(PushedLayer { blob: blob.clone(), fate, evidence: None })
        })?;
        Ok(found.fate)
    }
}

/// The descriptor of a blob after all of it was made.
type Made = Arc<Mutex<Option<MadeBlob>>>;

struct MadeBlob {
    blob: Descriptor,
    /// The reason for a missing table of contents.
    unfit: Option<Unfit>,
}

/// Returns the compressed blob of a layer, which is made while it is read.
fn stream(
    layer: &LayerBlob,
    compression: Compression,
    level: Option<i32>,
    made: &Made,
    watch: &LayerProgress,
) -> Box<dyn Read + Send> {
    let (layer, made, watch) = (layer.clone(), Arc::clone(made), watch.clone());
    Box::new(ChunkReader::new(move |out| {
        let threads = threads::jobs();
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
