//! The blobs of an image, which may differ from those of its rebuild only in the compression.
//!
//! Engines do not only decompress a blob: the table of contents (TOC) of a zstd:chunked blob names its files, the media type names
//! its compression, and a descriptor can name other sources of the blob. A blob with equal uncompressed bytes could therefore be
//! another layer for some engines.

use std::io::{self, Seek};

use rayon::prelude::*;

use crate::{
    causes::joined,
    image::{Chunked, Image, ImageError, LayerBlob},
    layer::{
        DetectedCompression,
        chunked::{self, annotation},
        spool,
    },
    oci::descriptor::media_type,
};

/// Media types of layers, in the terms of OCI.
const LAYERS: [&str; 3] = [media_type::LAYER_TAR, media_type::LAYER_GZIP, media_type::LAYER_ZSTD];

/// A problem of a blob.
#[derive(Debug)]
pub struct BlobProblem {
    /// The number of the layer, counted from 1.
    pub number: usize,
    pub why: String,
}

/// Verifies the blobs of an image, which has the same layers as `other`. `side` is the name of the image in messages.
pub fn verify(image: &Image, other: &Image, side: Option<&str>) -> Vec<BlobProblem> {
    let layers = image.layers.par_iter().enumerate();
    let check = |(at, layer): (usize, &LayerBlob)| {
        let why = problem(layer, other.layers.get(at))?;
        let why = side.map_or_else(|| why.clone(), |side| format!("in {side}: {why}"));
        Some(BlobProblem { number: at + 1, why })
    };
    layers.filter_map(check).collect()
}

/// Verifies that the layers of an image that was built here have the digests in its recipe. Layers that only a registry has are
/// not read.
pub fn verify_built(image: &Image) -> Vec<BlobProblem> {
    let layers = image.layers.par_iter().enumerate().filter(|(_, layer)| layer.origin.is_none() && !layer.elsewhere);
    let check = |(at, layer): (usize, &LayerBlob)| {
        let why = joined(&layer.write(&mut io::sink()).err()?);
        Some(BlobProblem { number: at + 1, why: format!("in the rebuild: {why}") })
    };
    layers.filter_map(check).collect()
}

/// Returns why engines may read something else than the layer.
fn problem(layer: &LayerBlob, other: Option<&LayerBlob>) -> Option<String> {
    let descriptor = &layer.descriptor;
    let others = other.map(|other| &other.descriptor);
    if !descriptor.urls.is_empty() && others.is_none_or(|others| others.urls != descriptor.urls) {
        return Some(format!(
            "its descriptor has URLs, from which engines may download the blob: {}",
            descriptor.urls.join(" ")
        ));
    }
    if descriptor.data.is_some() && others.is_none_or(|others| others.data != descriptor.data) {
        return Some("its descriptor has embedded data, which engines may read instead of the blob".to_owned());
    }
    let is_equal = |key: &str, value: &str| {
        others.and_then(|others| others.annotations.get(key)).is_some_and(|other| other == value)
    };
    // The annotations of zstd:chunked are verified below, and those of eStargz are not.
    let has_toc =
        [annotation::CHECKSUM, annotation::OLD_CHECKSUM].iter().any(|key| descriptor.annotations.contains_key(*key));
    let is_verified = |key: &str| annotation::is_ours(key) && (has_toc || key != annotation::LAZY);
    let mut annotations = descriptor.annotations.iter().filter(|(key, _)| !is_verified(key));
    if let Some((key, _)) = annotations.find(|(key, value)| !is_equal(key, value)) {
        return Some(format!(
            "its descriptor has the annotation {key}, which engines may follow, and the rebuild does not"
        ));
    }
    let (found, is_verified) = match contents(layer) {
        Ok(found) => found,
        Err(error) => return Some(joined(&error)),
    };
    if !is_verified {
        return Some("it has a table of contents, which strata cannot compare with the files of its tar".to_owned());
    }
    let kind = media_type::as_oci(&descriptor.media_type);
    let is_equal = others.is_some_and(|others| media_type::as_oci(&others.media_type) == kind);
    let is_named = LAYERS.contains(&kind) && DetectedCompression::from_media_type(kind) == found;
    (!is_named && !is_equal)
        .then(|| format!("its media type is {}, but the compression of the blob is {found:?}", descriptor.media_type))
}

/// Verifies the uncompressed bytes and the TOC of a blob. Returns its compression, and whether it has no TOC that could not be
/// verified.
fn contents(layer: &LayerBlob) -> Result<(DetectedCompression, bool), ImageError> {
    // The digest of an uncompressed blob was compared with that of the rebuild.
    if layer.descriptor.digest == layer.diff_id {
        return Ok((DetectedCompression::Plain, Chunked::verify_toc(layer)?));
    }
    let local = local(layer)?;
    local.plain(|_| Ok(()))?;
    let is_verified = match Chunked::table_of(&local)? {
        Some(_) => Chunked::verify_toc(&local)?,
        // Some clients search the end of the blob.
        None => !has_footer(&local)?,
    };
    Ok((local.compression()?, is_verified))
}

/// Returns the same blob, as a temporary file if it is not in a file of this machine: it is read several times.
fn local(layer: &LayerBlob) -> Result<LayerBlob, ImageError> {
    if layer.file.is_some() {
        return Ok(layer.clone());
    }
    let fail = |source| ImageError::Blob { digest: layer.descriptor.digest, source };
    let file = spool(layer.read()).map_err(fail)?;
    Ok(LayerBlob::new(layer.descriptor.clone(), layer.diff_id, move || {
        // One reader at a time: the copies of the handle share a position.
        let mut file = file.try_clone()?;
        file.rewind()?;
        Ok(Box::new(file))
    }))
}

fn has_footer(layer: &LayerBlob) -> Result<bool, ImageError> {
    let size = layer.descriptor.size;
    let range = size.saturating_sub(chunked::FOOTER_SIZE as u64)..size;
    let mut end = Vec::new();
    layer.write_ranges(std::slice::from_ref(&range), &mut end)?;
    Ok(chunked::has_footer(&end))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, io::Write, sync::Arc};

    use super::*;
    use crate::{
        layer::{Header, LayerError, TarWriter},
        oci::{Algorithm, Descriptor, Digest, Platform},
    };

    /// A tar without files, which strata does not chunk.
    const EMPTY: [u8; 1024] = [0; 1024];
    const PREFIX: &str = "io.github.containers.zstd-chunked";

    fn tar() -> Vec<u8> {
        let mut tar = TarWriter::new(Vec::new());
        tar.append_with(&Header::directory(b"/"), |_| Ok::<_, LayerError>(())).unwrap();
        tar.append_with(&Header::file(b"/file", 1), |out| out.write_all(b"1").map_err(LayerError::Write)).unwrap();
        tar.finish().unwrap()
    }

    /// The tar of a pipe, which tables of other writers describe.
    fn pipe() -> Vec<u8> {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Fifo);
        header.set_path("pipe").unwrap();
        header.set_mode(0o600);
        header.set_size(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_cksum();
        [header.as_bytes().as_slice(), &EMPTY].concat()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    /// Returns an image with one layer, the blob of which should contain `tar`.
    fn image_of(tar: &[u8], kind: &str, blob: Vec<u8>, change: impl FnOnce(&mut Descriptor)) -> Image {
        let mut descriptor = Descriptor::new(kind, Digest::sha256(&blob), blob.len() as u64);
        change(&mut descriptor);
        let layer =
            LayerBlob::new(descriptor, Digest::sha256(tar), move || Ok(Box::new(io::Cursor::new(blob.clone()))));
        Image {
            reference: None,
            platform: Platform::here(),
            media_type: media_type::MANIFEST.to_owned(),
            manifest: Vec::new(),
            manifest_algorithm: Algorithm::default(),
            config_media_type: media_type::CONFIG.to_owned(),
            config: Vec::new(),
            config_algorithm: Algorithm::default(),
            config_origin: None,
            layers: vec![layer],
            closure: None,
            as_is: false,
        }
    }

    /// Returns an image with a zstd:chunked layer, whose TOC has a file that the tar does not have.
    fn with_wrong_toc(tar: &[u8]) -> Image {
        let layer = zstd::encode_all(tar, 3).unwrap();
        let toc = br#"{"version":1,"entries":[{"type":"dir","name":"a"}]}"#;
        let table = zstd::encode_all(toc.as_slice(), 3).unwrap();
        let frame = [&0x184d_2a50_u32.to_le_bytes()[..], &u32::try_from(table.len()).unwrap().to_le_bytes()].concat();
        let annotations = BTreeMap::from([
            (format!("{PREFIX}.manifest-checksum"), Digest::sha256(&table).to_string()),
            (
                format!("{PREFIX}.manifest-position"),
                format!("{}:{}:{}:1", layer.len() + frame.len(), table.len(), toc.len()),
            ),
        ]);
        let blob = [layer.as_slice(), &frame, &table].concat();
        image_of(tar, media_type::LAYER_ZSTD, blob, |descriptor| descriptor.annotations = annotations)
    }

    /// Returns an image with a gzip layer that ends in the footer of eStargz, an empty gzip member with the text in its header.
    fn with_footer(tar: &[u8]) -> Image {
        let extra = [&b"SG\x16\x00"[..], format!("{:016x}STARGZ", 0).as_bytes()].concat();
        let mut footer = flate2::GzBuilder::new().extra(extra).write(Vec::new(), flate2::Compression::none());
        footer.flush().unwrap();
        let blob = [gzip(tar), footer.finish().unwrap()].concat();
        image_of(tar, media_type::LAYER_GZIP, blob, |_| ())
    }

    #[test]
    fn blobs_that_engines_may_read_differently_are_differences() {
        let tar = tar();
        let image = |kind: &str, blob: Vec<u8>, change: fn(&mut Descriptor)| image_of(&tar, kind, blob, change);
        let plain = image(media_type::LAYER_TAR, tar.clone(), |_| ());
        let zstd = zstd::encode_all(tar.as_slice(), 3).unwrap();
        for image in [
            &plain,
            &image(media_type::LAYER_GZIP, gzip(&tar), |_| ()),
            &image(media_type::DOCKER_LAYER_GZIP, gzip(&tar), |_| ()),
            &image(media_type::LAYER_ZSTD, zstd.clone(), |_| ()),
        ] {
            assert!(verify(image, &plain, None).is_empty(), "{:?}", verify(image, &plain, None));
        }
        let urls: fn(&mut Descriptor) = |descriptor| descriptor.urls = vec!["https://h/x".to_owned()];
        let annotation: fn(&mut Descriptor) = |descriptor| {
            descriptor.annotations.insert("containerd.io/snapshot/stargz/toc.digest".to_owned(), "sha256:x".to_owned());
        };
        let data: fn(&mut Descriptor) = |descriptor| descriptor.data = Some("AAAA".to_owned());
        for (image, expected) in [
            (with_wrong_toc(&tar), "the layer's table of contents: "),
            (with_wrong_toc(&pipe()), "the layer's table of contents: "),
            (with_wrong_toc(&EMPTY), "which strata cannot compare"),
            (with_footer(&tar), "which strata cannot compare"),
            (
                image(media_type::LAYER_GZIP, gzip(&tar), annotation),
                "has the annotation containerd.io/snapshot/stargz/toc.digest",
            ),
            (image(media_type::LAYER_TAR, tar.clone(), urls), "has URLs"),
            (image(media_type::LAYER_TAR, tar.clone(), data), "embedded data"),
            (image(media_type::LAYER_ZSTD, tar.clone(), |_| ()), "the compression of the blob is Plain"),
            (image(media_type::LAYER_GZIP, zstd, |_| ()), "the compression of the blob is Zstd"),
            (image("application/x", gzip(&tar), |_| ()), "its media type is application/x"),
            (image(media_type::LAYER_TAR, b"another".to_vec(), |_| ()), "but the diff_id in the image's config is"),
        ] {
            let found = verify(&image, &plain, Some("the first"));
            let [BlobProblem { number: 1, why }] = found.as_slice() else { panic!("{expected}: {found:?}") };
            assert!(why.starts_with("in the first: ") && why.contains(expected), "{why}");
        }
        // The TOC of strata matches.
        let chunked = Arc::new(Chunked::compress(&plain.layers[0], None).unwrap());
        assert!(!chunked.descriptor.annotations.is_empty());
        let with_toc = Image { layers: vec![chunked.blob(plain.layers[0].clone())], ..plain.clone() };
        assert!(verify(&with_toc, &plain, None).is_empty(), "{:?}", verify(&with_toc, &plain, None));
        assert!(verify_built(&plain).is_empty());
        let wrong = image(media_type::LAYER_TAR, tar.clone(), |descriptor| descriptor.digest = Digest::sha256(b"x"));
        assert_eq!(verify_built(&wrong).len(), 1);
    }
}
