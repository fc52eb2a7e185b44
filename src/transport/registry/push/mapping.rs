//! The mapping from an uncompressed layer (its diff_id) to a compressed blob in a registry, and whether it is trusted.
//!
//! ```text
//! from                                                            trusted
//! the recipe's `compressed`, the local cache                      yes
//! an image or a document of known layers, signed with a trusted   yes
//! key (--cache-key, else the public half of --sign-key)
//! any other image or document of known layers                     no: verified before use (see `verification`);
//!                                                                 yes with --trust-tags
//! ```
//!
//! A registry accepts any list of layers in a manifest. Without this distinction, write access to one tag of a
//! repository would be enough to replace the layers of other images.

use crate::{
    layer::{chunked::annotation, compress::Compression},
    oci::Descriptor,
    transport::progress::Evidence,
};

/// The origin of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MappingOrigin {
    /// The recipe of the pushed image.
    Recipe,
    /// The cache of the user on this machine.
    Cache,
    /// A document that a trusted key signed.
    Signed,
    /// A document without such a signature, which the user accepts (`--trust-tags`).
    Accepted,
    /// A document without such a signature.
    Unsigned,
}

/// A blob that a mapping names for an uncompressed layer.
#[derive(Clone, Debug)]
pub(super) struct Mapping {
    /// Media type, digest, size; annotations of trusted mappings only.
    pub blob: Descriptor,
    /// The repository that has the blob, if it is not the pushed one.
    pub repository: Option<String>,
    pub origin: MappingOrigin,
    /// The image or document that lists the blob, for messages. Empty for recipe and cache.
    pub listed_in: String,
}

impl Mapping {
    /// Returns a mapping of the recipe or the local cache.
    pub fn local(blob: Descriptor, origin: MappingOrigin) -> Self {
        Self { blob, repository: None, origin, listed_in: String::new() }
    }

    pub fn is_trusted(&self) -> bool {
        self.origin != MappingOrigin::Unsigned
    }

    /// Returns the evidence for the blob, if the mapping is trusted.
    pub fn evidence(&self) -> Evidence {
        match self.origin {
            MappingOrigin::Cache | MappingOrigin::Signed => Evidence::Trusted,
            MappingOrigin::Recipe | MappingOrigin::Accepted | MappingOrigin::Unsigned => Evidence::Claimed,
        }
    }

    /// Returns the mapping with those fields of `listed` that may be used: digest and size, and the annotations of
    /// zstd:chunked if the mapping is trusted. Returns `None` if the blob has another compression.
    pub fn with_compression(&self, compression: Compression) -> Option<Self> {
        if !compression.fits(&self.blob) {
            return None;
        }
        let has_toc =
            [annotation::CHECKSUM, annotation::LAZY].iter().any(|key| self.blob.annotations.contains_key(*key));
        // Readers of zstd:chunked take files from the table of contents, which a digest of the tar does not cover.
        if !self.is_trusted() && has_toc && compression == Compression::Zstd {
            return None;
        }
        let chunked_annotations =
            self.blob.annotations.iter().filter(|(key, _)| self.is_trusted() && annotation::is_ours(key));
        let annotations = chunked_annotations.map(|(key, value)| (key.clone(), value.clone())).collect();
        let blob =
            Descriptor { annotations, ..Descriptor::new(compression.media_type(), self.blob.digest, self.blob.size) };
        Some(Self { blob, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Digest, descriptor::media_type};

    fn listed(annotations: &[(&str, &str)], origin: MappingOrigin) -> Mapping {
        let mut blob = Descriptor::new(media_type::LAYER_ZSTD, Digest::sha256(b"blob"), 4);
        blob.urls = vec!["https://elsewhere.example.com/blob".to_owned()];
        blob.data = Some("YmxvYg==".to_owned());
        blob.other.insert("extension".to_owned(), true.into());
        blob.annotations = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Mapping { blob, repository: None, origin, listed_in: "tag".to_owned() }
    }

    #[test]
    fn only_digest_and_size_of_an_unsigned_mapping_are_taken_over() {
        let hostile = [("org.example", "x"), (annotation::TAR_SPLIT, "1:2:3")];
        let taken = listed(&hostile, MappingOrigin::Unsigned).with_compression(Compression::Zstd).unwrap().blob;
        assert_eq!(taken, Descriptor::new(media_type::LAYER_ZSTD, Digest::sha256(b"blob"), 4));
        // The table of contents of zstd:chunked is not covered by the diff_id.
        let chunked = [(annotation::CHECKSUM, "sha256:0"), (annotation::POSITION, "1:2:3:1")];
        assert!(listed(&chunked, MappingOrigin::Unsigned).with_compression(Compression::Zstd).is_none());
        let taken = listed(&chunked, MappingOrigin::Unsigned).with_compression(Compression::ZstdChunked).unwrap().blob;
        assert!(taken.annotations.is_empty());
    }

    #[test]
    fn annotations_of_a_signed_mapping_are_those_of_zstd_chunked() {
        let all = [("org.example", "x"), (annotation::CHECKSUM, "sha256:0")];
        let taken = listed(&all, MappingOrigin::Signed).with_compression(Compression::ZstdChunked).unwrap().blob;
        assert_eq!(taken.annotations.keys().collect::<Vec<_>>(), [annotation::CHECKSUM]);
        assert!(taken.urls.is_empty() && taken.data.is_none() && taken.other.is_empty());
    }

    #[test]
    fn blobs_of_another_compression_are_not_used() {
        assert!(listed(&[], MappingOrigin::Signed).with_compression(Compression::Gzip).is_none());
        assert!(listed(&[], MappingOrigin::Signed).with_compression(Compression::ZstdChunked).is_none());
    }
}
