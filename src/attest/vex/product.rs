//! Products that are images: their package URLs, of the type `oci` of
//! [purl-spec](https://github.com/package-url/purl-spec/blob/main/types/oci-definition.json).
//!
//! ```text
//! pkg:oci/app@sha256%3A<64 hexadecimal digits>?repository_url=registry.example.com%2Fteam%2Fapp
//! ```

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use crate::{
    attest::sbom::encoded,
    oci::{Digest, Reference},
};

/// Returns the package URL of an image. `name` is its name in an archive or a recipe, with or without a tag, and can be any text.
/// Names are in lower case, as purl-spec requires. `repository_url` has the name of the image too, as scanners write it (grype,
/// grype/vex/openvex/implementation.go).
pub fn image_purl(name: Option<&str>, digest: &Digest, reference: Option<&Reference>) -> String {
    let name = match reference {
        Some(reference) => last_component(&reference.repository),
        None => last_component(name.unwrap_or_default()).split(':').next().unwrap_or_default(),
    };
    let name = if name.is_empty() { "image" } else { name };
    let purl = format!("pkg:oci/{}@{}", encoded(&name.to_lowercase()), encoded(&digest.to_string()));
    match reference {
        Some(Reference { host, repository, .. }) => {
            format!("{purl}?repository_url={}", encoded(&format!("{host}/{repository}")))
        }
        None => purl,
    }
}

fn last_component(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// Whether an identifier is the package URL of an image.
pub fn is_image(identifier: &str) -> bool {
    ImagePurl::parse(identifier).is_some()
}

/// Whether an identifier in a statement stands for the image with the package URL `image`. A package URL with a digest is about
/// this digest in all repositories. One without a digest is about the images with this name, and needs the same qualifiers.
pub fn is_same_image(identifier: &str, image: &str) -> bool {
    let (Some(stated), Some(image)) = (ImagePurl::parse(identifier), ImagePurl::parse(image)) else {
        return identifier == image;
    };
    match &stated.digest {
        Some(digest) => image.digest.as_ref() == Some(digest),
        None => {
            let has = |(key, value): (&String, &String)| image.qualifiers.get(key) == Some(value);
            (stated.kind, stated.name) == (image.kind, image.name) && stated.qualifiers.iter().all(has)
        }
    }
}

/// The parts of the package URL of an image.
struct ImagePurl<'a> {
    /// `oci` or `docker`.
    kind: &'a str,
    name: String,
    digest: Option<String>,
    qualifiers: BTreeMap<String, String>,
}

impl<'a> ImagePurl<'a> {
    /// Parses a package URL. Returns `None` for other types and other identifiers.
    fn parse(purl: &'a str) -> Option<Self> {
        let (kind, rest) = purl.strip_prefix("pkg:")?.trim_start_matches('/').split_once('/')?;
        if !["oci", "docker"].contains(&kind) {
            return None;
        }
        let rest = rest.split('#').next().unwrap_or(rest);
        let (path, qualifiers) = rest.split_once('?').unwrap_or((rest, ""));
        let (name, digest) = path.rsplit_once('@').map_or((path, None), |(name, digest)| (name, Some(digest)));
        let qualifiers = qualifiers.split('&').filter_map(|qualifier| qualifier.split_once('='));
        Some(Self {
            kind,
            name: decoded(name).to_lowercase(),
            digest: digest.map(|digest| decoded(digest).to_lowercase()),
            qualifiers: qualifiers.map(|(key, value)| (key.to_lowercase(), decoded(value))).collect(),
        })
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}
