//! Whether an image in a registry is signed, and has the attestations that a policy requires.
//!
//! ```text
//! REF ──▶ digest ──▶ referrers: bundles ─────┐ each is verified by itself; one that is not valid for this
//!                └─▶ tag sha256-<hex>.sig ───┘ image is skipped and counted
//!         index: the signature covers its images by digest; the policy is applied to each of them
//! ```

use std::{collections::HashSet, fs, path::Path, str::FromStr};

use crate::{
    attest::{BUNDLE, Bundle, Policy, Statement, VerifyingKey, simple, statement::predicate},
    oci::{Descriptor, Digest, Index, Manifest, Reference, descriptor::media_type},
    transport::{Location, registry::Client},
};
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

/// The media type of BuildKit's attestations, which an index lists next to the images.
const IN_TOTO: &str = "application/vnd.in-toto+json";
/// How many manifests and indexes one image has at most, as in the image's own source.
const MANIFESTS_LIMIT: usize = 1000;

/// The repository that a signature under a tag must name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignedAs {
    Any,
    Repository(String),
}

impl FromStr for SignedAs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "any" {
            return Ok(Self::Any);
        }
        let reference = text.parse::<Reference>().map_err(|error| error.to_string())?;
        Ok(Self::Repository(format!("{}/{}", reference.host, reference.repository)))
    }
}

/// The requirements for an image.
pub struct Trust {
    key: VerifyingKey,
    policy: Policy,
    signed_as: Option<SignedAs>,
}

/// The result of a check.
pub struct Checked {
    /// The image that was checked.
    pub digest: Digest,
    /// Violated requirements, a line each; none if the image is trusted.
    pub problems: Vec<String>,
    /// Attached signatures and attestations that are not valid for the image, a line each.
    pub skipped: Vec<String>,
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

impl Trust {
    /// Reads key and policy. Without `signed_as`, signatures under tags must name the repository that is checked.
    pub fn open(key: &Path, policy: Option<&Path>, signed_as: Option<SignedAs>) -> Result<Self> {
        let key = VerifyingKey::open(key)?;
        let read = |path: &Path| -> Result<Policy> {
            let text = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
            Policy::parse(&text).with_context(|| format!("{} is not a policy", path.display()))
        };
        Ok(Self { key, policy: policy.map(read).transpose()?.unwrap_or_default(), signed_as })
    }

    /// Checks the signature of an image, and its attestations against the policy.
    ///
    /// # Errors
    ///
    /// If the registry cannot be asked or does not have the image.
    pub fn check(&self, reference: &Reference, client: &Client) -> Result<Checked> {
        let found = client.descriptor(&reference.version())?;
        let root = found.with_context(|| format!("the registry has no {reference}"))?;
        let mut skipped = Vec::new();
        let statements = self.statements(client, &root.digest, &mut skipped)?;
        let is_signed = statements.iter().any(|statement| statement.predicate_type == predicate::SIGNATURE);
        let mut problems = Vec::new();
        if !is_signed && !self.is_signed_by_tag(reference, client, &root.digest, &mut skipped)? {
            problems.push(format!("{reference} ({}) is not signed with this key", root.digest));
        }
        if self.policy == Policy::default() {
            return Ok(Checked { digest: root.digest, problems, skipped });
        }
        let images = images(client, &root)?;
        ensure!(!images.is_empty(), "checking {reference} against the policy: it is an index without images");
        for image in images {
            if image.digest == root.digest {
                problems.extend(self.policy.violations(&statements));
                continue;
            }
            let platform = image.platform.as_ref().map_or_else(String::new, |platform| format!("{platform} "));
            let violations = self.policy.violations(&self.statements(client, &image.digest, &mut skipped)?);
            problems.extend(violations.into_iter().map(|line| format!("{platform}({}): {line}", image.digest)));
        }
        Ok(Checked { digest: root.digest, problems, skipped })
    }

    /// The statements about the image that the key signed. Everyone who may push to the repository can attach bundles,
    /// so each is judged by itself.
    fn statements(&self, client: &Client, digest: &Digest, skipped: &mut Vec<String>) -> Result<Vec<Statement>> {
        let listed = client.list_referrers(digest)?;
        skipped.extend(listed.malformed);
        let is_bundle = |referrer: &&Descriptor| referrer.artifact_type.as_deref() == Some(BUNDLE);
        let mut statements = Vec::new();
        for referrer in listed.descriptors.iter().filter(is_bundle) {
            match self.statement(client, referrer, digest) {
                Ok(statement) => statements.push(statement),
                Err(error) => skipped.push(format!("bundle {}: {error:#}", referrer.digest)),
            }
        }
        Ok(statements)
    }

    fn statement(&self, client: &Client, referrer: &Descriptor, digest: &Digest) -> Result<Statement> {
        let bytes = client.artifact(referrer)?.context("it is missing, or is not a manifest with one layer")?;
        let statement = Bundle::parse(&bytes)?.verify(&self.key)?;
        ensure!(statement.is_about(digest), "it is signed with this key, but for another image");
        Ok(statement)
    }

    /// Whether a signature under the image's signature tag is the key's, and names the repository.
    fn is_signed_by_tag(
        &self,
        reference: &Reference,
        client: &Client,
        digest: &Digest,
        skipped: &mut Vec<String>,
    ) -> Result<bool> {
        #[derive(Deserialize)]
        struct Layers {
            layers: Vec<Value>,
        }
        let tag = simple::tag(digest);
        let Some(found) = client.manifest(&tag)? else { return Ok(false) };
        let Ok(Layers { layers }) = serde_json::from_slice(&found.bytes) else {
            skipped.push(format!("tag {tag}: it is not a manifest"));
            return Ok(false);
        };
        for (number, layer) in (1..).zip(layers) {
            match self.check_signature(reference, client, digest, layer) {
                Ok(()) => return Ok(true),
                Err(error) => skipped.push(format!("signature {number} of tag {tag}: {error:#}")),
            }
        }
        Ok(false)
    }

    fn check_signature(&self, reference: &Reference, client: &Client, digest: &Digest, layer: Value) -> Result<()> {
        let layer: Descriptor = serde_json::from_value(layer).context("its layer is not a descriptor")?;
        let payload = client.small_blob(&layer.digest)?.context("its payload is missing")?;
        let signed = simple::verify(&layer, &payload, digest, &self.key)?;
        let expected = match &self.signed_as {
            Some(SignedAs::Any) => return Ok(()),
            Some(SignedAs::Repository(repository)) => repository.clone(),
            None => format!("{}/{}", reference.host, reference.repository),
        };
        match signed.parse::<Reference>() {
            Ok(signed) if format!("{}/{}", signed.host, signed.repository) == expected => Ok(()),
            _ => bail!(
                "it is signed with this key, but for the repository {signed:?}, not {expected}; \
                 --signed-as {signed} accepts it"
            ),
        }
    }
}

/// The images of an index and of the indexes in it; of an image, itself.
fn images(client: &Client, root: &Descriptor) -> Result<Vec<Descriptor>> {
    let (mut left, mut seen, mut images) = (vec![root.clone()], HashSet::new(), Vec::new());
    while let Some(descriptor) = left.pop() {
        if !seen.insert(descriptor.digest) {
            continue;
        }
        ensure!(seen.len() <= MANIFESTS_LIMIT, "{} has more than {MANIFESTS_LIMIT} manifests", root.digest);
        let found = client.manifest(&descriptor.digest.to_string())?;
        let bytes = found.with_context(|| format!("{} is missing in the registry", descriptor.digest))?.bytes;
        let document: Value =
            serde_json::from_slice(&bytes).with_context(|| format!("reading {}", descriptor.digest))?;
        if document.get("manifests").is_some() {
            let index: Index =
                serde_json::from_slice(&bytes).with_context(|| format!("reading {}", descriptor.digest))?;
            left.extend(index.manifests.into_iter().rev());
        } else if is_image(&bytes) {
            images.push(descriptor);
        }
    }
    Ok(images)
}

/// Whether an engine could run it. Attestations of BuildKit and artifacts have no attestations of their own. A manifest
/// that cannot be parsed counts as an image, which then lacks everything that the policy requires.
fn is_image(manifest: &[u8]) -> bool {
    let Ok(Manifest { config, layers, .. }) = serde_json::from_slice(manifest) else { return true };
    let is_attestation = !layers.is_empty() && layers.iter().all(|layer| layer.media_type == IN_TOTO);
    media_type::is_config(&config.media_type) && !is_attestation
}
