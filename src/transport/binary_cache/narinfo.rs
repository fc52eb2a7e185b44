//! The narinfo of a store path in a binary cache:
//!
//! ```text
//! StorePath: /nix/store/…-hello-2.12
//! URL: nar/1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3.nar.xz
//! Compression: xz
//! NarHash: sha256:…
//! NarSize: 226560
//! ```
//!
//! Other lines (references, signatures, the file's own hash) are not needed: the recipe knows what the NAR must be.

use crate::{
    closure::{StorePath, parse_nar_hash},
    image::recipe::Recorded,
    oci::Digest,
};

/// What strata needs of a narinfo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NarInfo {
    /// Where the NAR is, seen from the cache.
    pub url: String,
    /// How it is compressed.
    pub compression: Compression,
    /// What it is without compression.
    pub nar: Recorded,
}

/// How caches compress NARs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// Nix's default.
    Xz,
    /// zstd.
    Zstd,
    /// Nix's first, and what a narinfo means that says nothing.
    Bzip2,
}

/// Text that is no narinfo, or another's.
#[derive(Debug, thiserror::Error)]
#[error("its narinfo {0}")]
pub struct ParseNarInfoError(String);

impl NarInfo {
    /// Parses the narinfo of `path`.
    ///
    /// # Errors
    ///
    /// [`ParseNarInfoError`], also when it is that of another path.
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
            Some("none" | "") => Compression::None,
            Some("xz") => Compression::Xz,
            Some("zstd") => Compression::Zstd,
            Some("bzip2") | None => Compression::Bzip2,
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
        Ok(Self { url: url.to_owned(), compression, nar: Recorded { digest, size } })
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
        assert_eq!((info.url.as_str(), info.compression, info.nar.size), ("nar/x.nar.xz", Compression::Xz, 112));
        assert_eq!(info.nar.digest, Digest::of(b""));
        assert_eq!(parse(&TEXT.replace("Compression: xz\n", "")).unwrap().compression, Compression::Bzip2);
    }

    #[test]
    fn mistakes_are_named() {
        for (from, to, needle) in [
            ("-hello", "-other", "is that of /nix/store/0c6a1cv41yy9yz8svln6w09ks4wdjk4n-other"),
            ("xz\nF", "br\nF", "compression br"),
            ("URL", "Url", "lacks the URL"),
            ("NarHash: sha256", "NarHash: md5", "lacks the sha256"),
            ("112", "-1", "size"),
        ] {
            assert!(parse(&TEXT.replace(from, to)).unwrap_err().contains(needle), "{needle}");
        }
    }
}
