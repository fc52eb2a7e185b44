//! Whether an image in a registry is signed, and has the attestations that a policy requires.
//!
//! ```text
//! REF ──▶ digest ──▶ referrers: bundles ─────┐ each is verified separately; one that is not valid for this
//!                └─▶ tag sha256-<hex>.sig ───┘ image is skipped and counted
//!         index: the signature covers its images by digest; the policy is applied to each of them
//! ```

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use super::reproduced::ReproducedKeys;
use crate::{
    attest::{Policy, VerifyingKey},
    budget::{self, Budget},
    files,
    oci::{Descriptor, Digest, Index, Manifest, Reference, descriptor::media_type},
    transport::{
        Location,
        registry::{
            self, Client, Purpose,
            signatures::{SignatureReader, Skipped, has_signature},
        },
    },
};
use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;

/// The media type of BuildKit's attestations, which an index lists next to the images.
const IN_TOTO: &str = "application/vnd.in-toto+json";
/// The annotation with which BuildKit marks attestations in an index.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";

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
    reproduced_by: Option<ReproducedKeys>,
}

/// The result of a check.
pub struct Checked {
    /// The image that was checked.
    pub digest: Digest,
    /// Violated requirements, one per line. The list is empty if the image is trusted.
    pub problems: Vec<String>,
    /// Attached signatures and attestations that are not valid for the image, one per line.
    pub skipped: Vec<String>,
}

impl Checked {
    fn new(digest: Digest, problems: Vec<String>, skipped: Vec<Skipped>) -> Self {
        let line = |Skipped { what, why }| format!("{what}: {:#}", anyhow::Error::new(why));
        Self { digest, problems, skipped: skipped.into_iter().map(line).collect() }
    }
}

/// Returns the reference of a source in a registry.
pub fn reference(location: &Location) -> Result<Reference> {
    location.registry_reference().cloned().with_context(|| {
        format!("{location} is not in a registry; only images in registries (docker://…) have signatures")
    })
}

/// Returns the image by its digest.
pub fn pinned(reference: &Reference, digest: Digest) -> Result<Location> {
    location(&Reference { tag: None, digest: Some(digest), ..reference.clone() })
}

/// Returns an image in a registry as a source.
pub fn location(reference: &Reference) -> Result<Location> {
    format!("{}://{reference}", registry::TRANSPORT.name).parse().map_err(anyhow::Error::msg)
}

/// Flags that require a signature.
#[derive(Clone, Debug, Default, Args)]
pub struct SignatureArguments {
    /// Refuse an image not signed with this public key.
    ///
    /// Signatures are verified as by `cosign verify --key FILE`.
    #[arg(long, value_name = "FILE")]
    verify_key: Option<PathBuf>,
    /// Accept signatures under tags that name this repository instead of the source's, as a mirror needs; any accepts all.
    #[arg(long, value_name = "HOST/NAME|any", requires = "verify_key", hide_short_help = true)]
    signed_as: Option<SignedAs>,
}

impl SignatureArguments {
    /// Returns the key and its requirements, if one is given.
    pub fn trust(&self) -> Result<Option<Trust>> {
        let open = |key: &PathBuf| Trust::open(key, None, self.signed_as.clone());
        self.verify_key.as_ref().map(open).transpose()
    }

    /// Returns the image by its digest if the key signed it, or the image itself if no key is given.
    pub fn pin(&self, image: &Location, options: &registry::Options) -> Result<Location> {
        pin(self.trust()?.as_ref(), image, options)
    }
}

/// Returns the image by its digest if it is trusted, or the image itself if nothing is required.
pub fn pin(trust: Option<&Trust>, image: &Location, options: &registry::Options) -> Result<Location> {
    trust.map_or_else(|| Ok(image.clone()), |trust| trust.pin(image, options))
}

impl Trust {
    /// Reads key and policy. Without `signed_as`, signatures under tags must name the repository that is checked.
    pub fn open(key: &Path, policy: Option<&Path>, signed_as: Option<SignedAs>) -> Result<Self> {
        let key = VerifyingKey::open(key)?;
        let read = |path: &Path| -> Result<Policy> {
            let text = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
            Policy::parse(&text).with_context(|| format!("{} is not a policy", path.display()))
        };
        let parsed = policy.map(read).transpose()?.unwrap_or_default();
        let directory = policy.map_or_else(|| Path::new("."), files::directory);
        let required = parsed.reproduced_by.as_ref();
        let reproduced_by = required.map(|required| ReproducedKeys::open(required, directory)).transpose()?;
        Ok(Self { key, policy: parsed, signed_as, reproduced_by })
    }

    /// Returns the image by its digest if the key signed it.
    pub fn pin(&self, image: &Location, options: &registry::Options) -> Result<Location> {
        let reference = reference(image)?;
        let client = Client::for_purpose(Purpose::ReadOriginal, &reference, options)?;
        let checked = self.check(&reference, &client)?;
        let hint = match checked.skipped.len() {
            0 => String::new(),
            count => format!("; {count} invalid attachments were skipped, strata verify --verbose lists them"),
        };
        ensure!(checked.problems.is_empty(), "{image} is refused: {}{hint}", checked.problems.join("; "));
        pinned(&reference, checked.digest)
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
        // The list of referrers has its own limit: candidates of other accounts must not hide the signature behind
        // them.
        let signatures = SignatureReader { client, key: &self.key, limit: usize::MAX };
        let statements = signatures.statements(&root.digest, &mut skipped)?;
        let mut problems = Vec::new();
        let check = |signed: &str| self.check_repository(reference, signed);
        if !has_signature(&statements) && !signatures.is_signed_by_tag(&root.digest, &check, &mut skipped)? {
            problems.push(format!("{reference} ({}) is not signed with this key", root.digest));
        }
        if self.policy == Policy::default() {
            return Ok(Checked::new(root.digest, problems, skipped));
        }
        let images = images(client, &root)?;
        ensure!(!images.is_empty(), "checking {reference} against the policy: it is an index without images");
        for image in images {
            let reproduced = |keys: &ReproducedKeys| keys.violation(client, &image.digest);
            let reproduced = self.reproduced_by.as_ref().map(reproduced).transpose()?.flatten();
            if image.digest == root.digest {
                problems.extend(self.policy.violations(&statements));
                problems.extend(reproduced);
                continue;
            }
            let platform = image.platform.as_ref().map_or_else(String::new, |platform| format!("{platform} "));
            let mut violations = self.policy.violations(&signatures.statements(&image.digest, &mut skipped)?);
            violations.extend(reproduced);
            problems.extend(violations.into_iter().map(|line| format!("{platform}({}): {line}", image.digest)));
        }
        Ok(Checked::new(root.digest, problems, skipped))
    }

    /// Errors if a signature for the repository `signed` is not valid for the image.
    fn check_repository(&self, reference: &Reference, signed: &str) -> Result<(), String> {
        let expected = match &self.signed_as {
            Some(SignedAs::Any) => return Ok(()),
            Some(SignedAs::Repository(repository)) => repository.clone(),
            None => format!("{}/{}", reference.host, reference.repository),
        };
        match signed.parse::<Reference>() {
            Ok(signed) if format!("{}/{}", signed.host, signed.repository) == expected => Ok(()),
            _ => Err(format!("for the repository {signed:?}, not {expected}; --signed-as {signed} accepts it")),
        }
    }
}

/// Returns the images of an index and of nested indexes, or the image itself.
fn images(client: &Client, root: &Descriptor) -> Result<Vec<Descriptor>> {
    let (mut left, mut seen, mut images) = (vec![root.clone()], HashSet::new(), Vec::new());
    let mut budget = Budget::new(&budget::GRAPH);
    while let Some(descriptor) = left.pop() {
        // An index can list one manifest both as an attestation and as an image.
        let is_attestation = is_listed_as_attestation(&descriptor);
        if !seen.insert((descriptor.digest, is_attestation)) {
            continue;
        }
        budget.take_parts(1).with_context(|| format!("reading {}", root.digest))?;
        let found = client.manifest(&descriptor.digest.to_string())?;
        let bytes = found.with_context(|| format!("{} is missing in the registry", descriptor.digest))?.bytes;
        budget.take_bytes(bytes.len() as u64).with_context(|| format!("reading {}", root.digest))?;
        let document: Value =
            serde_json::from_slice(&bytes).with_context(|| format!("reading {}", descriptor.digest))?;
        if document.get("manifests").is_some() {
            let index: Index =
                serde_json::from_slice(&bytes).with_context(|| format!("reading {}", descriptor.digest))?;
            left.extend(index.manifests.into_iter().rev());
        } else if is_image(&bytes, is_attestation) {
            images.push(descriptor);
        }
    }
    Ok(images)
}

/// Whether an engine could run the manifest. BuildKit's attestations and artifacts have no attestations of their own. A
/// manifest that cannot be parsed counts as an image, which then lacks everything that the policy requires.
fn is_image(manifest: &[u8], is_listed_as_attestation: bool) -> bool {
    let Ok(Manifest { config, layers, .. }) = serde_json::from_slice(manifest) else { return true };
    let has_statements = !layers.is_empty() && layers.iter().all(|layer| layer.media_type == IN_TOTO);
    media_type::is_config(&config.media_type) && !(is_listed_as_attestation && has_statements)
}

/// Whether an index lists the manifest as BuildKit lists attestations (moby/buildkit,
/// docs/attestations/attestation-storage.md). The platform is unknown, so that no engine chooses the manifest. podman unpacks
/// layers of any media type, so the media types of the layers are not sufficient.
fn is_listed_as_attestation(descriptor: &Descriptor) -> bool {
    let platform = descriptor.platform.as_ref();
    platform.is_some_and(|platform| platform.os == "unknown" && platform.architecture == "unknown")
        && descriptor.annotations.get(REFERENCE_TYPE).is_some_and(|kind| kind == "attestation-manifest")
}
