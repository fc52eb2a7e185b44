//! Whether an image of a registry is signed, and comes with what a policy asks for.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use strata::{
    oci::{Digest, Manifest},
    registry::{Client, Reference},
    signing::{BUNDLE, Bundle, Policy, SigningError, Statement, VerifyingKey, predicate, simple},
    source::Location,
};

/// What was found.
pub struct Checked {
    /// The image that was meant.
    pub digest: Digest,
    /// What is missing, a line each; none when all is well.
    pub problems: Vec<String>,
}

/// The reference of a source that is an image of a registry.
pub fn reference(location: &Location) -> Result<Reference> {
    let text = location.to_string();
    let text = text.strip_prefix("docker://");
    let text = text.with_context(|| {
        format!("{location} is not in a registry; only images in registries (docker://…) have signatures")
    })?;
    Ok(text.parse()?)
}

/// The same image by its digest.
pub fn pinned(reference: &Reference, digest: Digest) -> Result<Location> {
    let reference = Reference { tag: None, digest: Some(digest), ..reference.clone() };
    format!("docker://{reference}").parse().map_err(anyhow::Error::msg)
}

/// Checks the signature of what `reference` names, and what the key signed about it against the policy.
///
/// # Errors
///
/// When the registry cannot be asked, or key or policy cannot be read.
pub fn check(reference: &Reference, client: &Client, key: &Path, policy: Option<&Path>) -> Result<Checked> {
    let key = VerifyingKey::open(key)?;
    let policy = match policy {
        Some(path) => {
            let text = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
            serde_json::from_slice(&text).with_context(|| format!("{} is not a policy", path.display()))?
        }
        None => Policy::default(),
    };
    let found = client.descriptor(&reference.version())?;
    let digest = found.with_context(|| format!("the registry has no {reference}"))?.digest;
    let (statements, mut problems) = statements(client, &digest, &key)?;
    let is_signed = statements.iter().any(|statement| statement.predicate_type == predicate::SIGNATURE);
    if !is_signed && !is_signed_by_tag(client, &digest, &key)? {
        problems.insert(0, format!("{reference} ({digest}) is not signed with this key"));
    }
    problems.extend(policy.violations(&statements));
    Ok(Checked { digest, problems })
}

/// What the key signed about the image; and what looks as if, but is wrong.
fn statements(client: &Client, digest: &Digest, key: &VerifyingKey) -> Result<(Vec<Statement>, Vec<String>)> {
    let (mut statements, mut problems) = (Vec::new(), Vec::new());
    for referrer in client.referrers(digest, Some(BUNDLE))? {
        let Some(bytes) = client.artifact(&referrer)? else { continue };
        // Anyone can attach a bundle; malformed ones and those of other keys are ignored.
        match Bundle::parse(&bytes).and_then(|bundle| bundle.verify(key)) {
            Ok(statement) if statement.is_about(digest) => statements.push(statement),
            Ok(_) => problems.push(format!("the bundle {} is signed, but for another image", referrer.digest)),
            Err(SigningError::NoMatch | SigningError::Malformed { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok((statements, problems))
}

/// Whether a signature under the image's tag for them is the key's.
fn is_signed_by_tag(client: &Client, digest: &Digest, key: &VerifyingKey) -> Result<bool> {
    let Some(found) = client.manifest(&simple::tag(digest))? else { return Ok(false) };
    let Ok(manifest) = serde_json::from_slice::<Manifest>(&found.bytes) else { return Ok(false) };
    for layer in &manifest.layers {
        if let Some(payload) = client.small_blob(&layer.digest)?
            && simple::verifies(layer, &payload, digest, key)
        {
            return Ok(true);
        }
    }
    Ok(false)
}
