//! The narinfo of a store path in a binary cache:
//!
//! ```text
//! StorePath: /nix/store/…-hello-2.12
//! URL: nar/1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3.nar.xz
//! Compression: xz
//! NarHash: sha256:…
//! NarSize: 226560
//! References: 0c6a1cv41yy9yz8svln6w09ks4wdjk4n-hello-2.12 …
//! ```
//!
//! Other lines (signatures, the hash of the compressed file) are not needed, since the recipe has the hash
//! of the NAR.

use crate::{
    closure::{StorePath, parse_nar_hash},
    image::recipe::RecordedNar,
    oci::Digest,
};

/// The fields of a narinfo that strata needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NarInfo {
    /// The URL of the NAR, relative to the cache.
    pub url: String,
    /// The compression of the NAR.
    pub compression: NarCompression,
    /// The hash and size of the uncompressed NAR.
    pub nar: RecordedNar,
    /// The store paths that it refers to, possibly itself.
    pub references: Vec<StorePath>,
}

/// The compression of NARs in caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NarCompression {
    /// No compression.
    None,
    /// The default of Nix.
    Xz,
    Zstd,
    /// The first compression of Nix, and the default of a narinfo without the field.
    Bzip2,
}

/// The error of a malformed narinfo, or of a narinfo of another path.
#[derive(Debug, thiserror::Error)]
#[error("its narinfo {0}")]
pub struct ParseNarInfoError(String);

impl NarInfo {
    /// Parses the narinfo of `path`.
    ///
    /// # Errors
    ///
    /// [`ParseNarInfoError`], also for the narinfo of another path.
    pub fn parse(text: &[u8], path: &StorePath) -> Result<Self, ParseNarInfoError> {
        let fail = |why: String| Err(ParseNarInfoError(why));
        let Ok(text) = std::str::from_utf8(text) else { return fail("is not text".to_owned()) };
        let value = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(": "));
            lines.find_map(|(found, value)| (found == name).then_some(value.trim()))
        };
        match value("StorePath") {
            Some(found) if found == path.as_str() => {}
            Some(found) => return fail(format!("is that of {}", crate::transport::http::clean(found))),
            None => return fail("lacks the store path".to_owned()),
        }
        let compression = match value("Compression") {
            Some("none" | "") => NarCompression::None,
            Some("xz") => NarCompression::Xz,
            Some("zstd") => NarCompression::Zstd,
            Some("bzip2") | None => NarCompression::Bzip2,
            Some(other) => {
                let other = crate::transport::http::clean(other);
                return fail(format!("has the compression {other}; strata reads xz, zstd, bzip2 and none"));
            }
        };
        let Some(url) = value("URL").filter(|url| !url.is_empty()) else { return fail("lacks the URL".to_owned()) };
        let digest = value("NarHash").and_then(parse_nar_hash).map(Digest::from_bytes);
        let size = value("NarSize").and_then(|size| size.parse().ok());
        let (Some(digest), Some(size)) = (digest, size) else {
            return fail("lacks the sha256 or size of its NAR".to_owned());
        };
        let store = path.as_str().rsplit_once('/').map_or("", |(store, _)| store);
        let references = value("References").into_iter().flat_map(str::split_whitespace);
        let references = references.map(|base| StorePath::parse(&format!("{store}/{base}")));
        let Ok(references) = references.collect::<Result<Vec<_>, _>>() else {
            return fail("has a reference that is not a store path".to_owned());
        };
        Ok(Self { url: url.to_owned(), compression, nar: RecordedNar { digest, size }, references })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "StorePath: /nix/store/0c6a1cv41yy9yz8svln6w09ks4wdjk4n-hello\nURL: nar/x.nar.xz\nCompression: xz\n\
        FileHash: sha256:x\nNarHash: sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73\nNarSize: 112\nSig: a:b\n";

    fn parse(text: &str) -> Result<NarInfo, String> {
        let path = StorePath::parse("/nix/store/0c6a1cv41yy9yz8svln6w09ks4wdjk4n-hello").unwrap();
        NarInfo::parse(text.as_bytes(), &path).map_err(|error| error.to_string())
    }

    #[test]
    fn a_narinfo_of_nix() {
        let info = parse(TEXT).unwrap();
        assert_eq!((info.url.as_str(), info.compression, info.nar.size), ("nar/x.nar.xz", NarCompression::Xz, 112));
        assert_eq!(info.nar.digest, Digest::sha256(b""));
        assert!(info.references.is_empty());
        let bases = ["0c6a1cv41yy9yz8svln6w09ks4wdjk4n-hello", "1c6a1cv41yy9yz8svln6w09ks4wdjk4n-glibc"];
        let references = parse(&format!("{TEXT}References: {}\n", bases.join(" "))).unwrap().references;
        assert_eq!(
            references.iter().map(StorePath::as_str).collect::<Vec<_>>(),
            bases.map(|base| format!("/nix/store/{base}"))
        );
        assert_eq!(parse(&TEXT.replace("Compression: xz\n", "")).unwrap().compression, NarCompression::Bzip2);
    }

    #[test]
    fn mistakes_are_named() {
        for (from, to, needle) in [
            ("-hello", "-other", "is that of /nix/store/0c6a1cv41yy9yz8svln6w09ks4wdjk4n-other"),
            ("xz\nF", "br\nF", "compression br"),
            ("URL", "Url", "lacks the URL"),
            ("NarHash: sha256", "NarHash: md5", "lacks the sha256"),
            ("112", "-1", "size"),
            ("Sig: a:b", "References: x", "reference that is not"),
        ] {
            assert!(parse(&TEXT.replace(from, to)).unwrap_err().contains(needle), "{needle}");
        }
    }
}
