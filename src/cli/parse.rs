//! What several commands take: platforms and references.

use crate::oci::{ParseReferenceError, Platform, Reference};

/// `OS/ARCHITECTURE[/VARIANT]`
pub fn parse_platform(text: &str) -> Result<Platform, String> {
    let mut parts = text.split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(os), Some(architecture), variant, None) if !os.is_empty() && !architecture.is_empty() => {
            Ok(Platform { os: os.to_owned(), ..Platform::linux(architecture, variant) })
        }
        _ => Err("write it like linux/arm64 or linux/arm/v7".to_owned()),
    }
}

/// An image reference, with or without `docker://`.
pub fn parse_reference(text: &str) -> Result<Reference, ParseReferenceError> {
    text.strip_prefix("docker://").unwrap_or(text).parse()
}
