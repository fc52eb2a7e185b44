//! Attachments of an image in a registry: SBOMs, provenance, signatures. `strata attach REF FILE`, and the flags of `copy` that
//! attach documents after a push.
//!
//! ```text
//! pushed digest ──▶ SBOM, provenance: an artifact each, with a key also a signed attestation each
//!               └─▶ signature
//! ```
//!
//! Attachments refer to the digest, not to the tag. At the end, `check_tag` fails if the tag points to another image.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use super::{
    access::Access,
    attached::{Attachment, Registry, Signer},
};
use crate::terminal;
use crate::{
    attest::{
        Build, SigningKey,
        sbom::{Bom, Format},
        statement::predicate,
    },
    image::{Image, Opened},
    oci::{Descriptor, Digest, Index, Platform, Reference, descriptor::media_type},
    transport::{
        Destination,
        registry::{self, Client, Purpose},
    },
};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::Value;

/// The variable that cosign reads too.
const PASSWORD: &str = "COSIGN_PASSWORD";
/// The artifact type of provenance: the predicate of an in-toto statement.
const PROVENANCE_TYPE: &str = "application/vnd.in-toto.provenance+json";

/// The documents to attach to an image after a push.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Attachments")]
pub struct Attachments {
    /// Attach an SBOM: cyclonedx, spdx or an existing FILE.
    ///
    /// May be repeated.
    #[arg(long, value_name = "FORMAT|FILE")]
    sbom: Vec<String>,
    /// Attach SLSA provenance: sources and builder of the image.
    #[arg(long)]
    provenance: bool,
    #[command(flatten)]
    build: BuildArguments,
    #[command(flatten)]
    signing: SigningArguments,
}

/// The fields of the provenance that describe the build.
#[derive(Clone, Debug, Default, Args)]
struct BuildArguments {
    /// The builder's identity in the provenance.
    #[arg(hide_short_help = true, long, value_name = "URI", requires = "provenance")]
    builder_id: Option<String>,
    /// The flake reference in the provenance.
    #[arg(hide_short_help = true, long, value_name = "FLAKE", requires = "provenance")]
    flake: Option<String>,
    /// The commit in the provenance.
    #[arg(hide_short_help = true, long, value_name = "COMMIT", requires = "provenance")]
    revision: Option<String>,
    /// The image's derivation in the provenance; copy programs set it.
    #[arg(hide_short_help = true, long, value_name = "PATH", requires = "provenance")]
    derivation: Option<String>,
    /// The version of Nix in the provenance; copy programs set it.
    #[arg(hide_short_help = true, long, value_name = "VERSION", requires = "provenance")]
    nix_version: Option<String>,
}

/// The key or program that signs.
#[derive(Clone, Debug, Default, Args)]
struct SigningArguments {
    /// Sign with this key; COSIGN_PASSWORD decrypts it.
    ///
    /// Signatures are made as by `cosign sign --key FILE`.
    #[arg(long, value_name = "FILE", conflicts_with = "sign_with")]
    sign_key: Option<PathBuf>,
    /// Sign with a shell command, which reads the payload from stdin and writes the signature to stdout.
    #[arg(hide_short_help = true, long, value_name = "COMMAND")]
    sign_with: Option<String>,
    /// Also store the signature under a tag, for podman's policy.json and cosign before version 3.
    #[arg(hide_short_help = true, long)]
    sign_tag: bool,
}

#[derive(Debug, Args)]
pub struct AttachArguments {
    /// The image, as [docker://]HOST/NAME[:TAG|@DIGEST].
    #[arg(value_name = "REF", value_parser = super::parse::parse_reference)]
    reference: Reference,
    /// The document; - reads stdin.
    file: PathBuf,
    /// The document's type: cyclonedx, spdx, provenance, or a media type.
    #[arg(long = "type", value_name = "TYPE")]
    kind: String,
    #[command(flatten)]
    signing: SigningArguments,
    #[command(flatten)]
    access: Access,
}

/// `strata attach REF FILE --type TYPE`
pub fn run(arguments: &AttachArguments) -> Result<ExitCode> {
    let AttachArguments { reference, file, kind, signing, access } = arguments;
    let signer = signing.signer()?;
    let bytes = if file == Path::new("-") {
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::stdin().lock(), &mut bytes).context("reading the standard input")?;
        bytes
    } else {
        fs::read(file).with_context(|| format!("reading {}", file.display()))?
    };
    let attachment = Attachment::of_kind(kind, bytes)?;
    let client = Client::for_purpose(Purpose::Write, reference, &access.options(&[&reference.host])?)?;
    let version = reference.version();
    let subject = client.descriptor(&version)?.with_context(|| format!("the registry has no {reference}"))?;
    let registry = Registry { client: &client, reference, signer: signer.as_ref() };
    let digest = registry.attach(&subject, &attachment)?;
    if reference.digest.is_none() {
        registry.check_tag(&version, &subject.digest)?;
    }
    writeln!(terminal::stdout(), "{digest}")?;
    Ok(ExitCode::SUCCESS)
}

impl Attachments {
    /// Whether there is anything to attach.
    fn is_empty(&self) -> bool {
        let SigningArguments { sign_key, sign_with, .. } = &self.signing;
        self.sbom.is_empty() && !self.provenance && sign_key.is_none() && sign_with.is_none()
    }

    /// Each flag, and whether it was given; the flags of the provenance need `--provenance`.
    pub fn flags(&self) -> [(&'static str, bool); 5] {
        let SigningArguments { sign_key, sign_with, sign_tag } = &self.signing;
        [
            ("--sbom", !self.sbom.is_empty()),
            ("--provenance", self.provenance),
            ("--sign-key", sign_key.is_some()),
            ("--sign-with", sign_with.is_some()),
            ("--sign-tag", *sign_tag),
        ]
    }

    /// The key or command that signs, if there is one.
    pub fn signer(&self) -> Result<Option<Signer>> {
        self.signing.signer()
    }

    /// Checks the flags before anything is copied. Returns `None` if there is nothing to attach.
    pub fn prepare(&self, destination: &Destination, signer: Option<Arc<Signer>>) -> Result<Option<Prepared<'_>>> {
        if self.is_empty() {
            ensure!(!self.signing.sign_tag, "--sign-tag signs with --sign-key or --sign-with; give one");
            return Ok(None);
        }
        let Some(reference) = destination.registry_reference() else {
            bail!(
                "{destination} is not a registry; only images in registries (docker://…) have SBOMs, provenance and signatures"
            );
        };
        for format in self.sbom.iter().filter(|text| format_of(text).is_none()) {
            ensure!(Path::new(format).is_file(), "--sbom {format}: it is neither cyclonedx, spdx nor a file");
        }
        Ok(Some(Prepared { reference: reference.clone(), attachments: self, signer }))
    }
}

impl SigningArguments {
    fn signer(&self) -> Result<Option<Signer>> {
        Ok(match (&self.sign_key, &self.sign_with) {
            (Some(path), _) => {
                let key = SigningKey::open(path, || env::var(PASSWORD).ok())?;
                Some(Signer::Key(Box::new(key)))
            }
            (None, Some(command)) => Some(Signer::Command(command.clone())),
            (None, None) => None,
        })
    }
}

/// The checked flags, for the image that is pushed to `reference`.
pub struct Prepared<'a> {
    reference: Reference,
    attachments: &'a Attachments,
    signer: Option<Arc<Signer>>,
}

impl Prepared<'_> {
    /// Attaches the documents to the pushed image, or to the index and each of its images. Returns a line for each attachment.
    pub fn attach(
        &self,
        pushed: Digest,
        opened: &Opened,
        platform: Option<&Platform>,
        options: &registry::Options,
    ) -> Result<Vec<String>> {
        let client = Client::for_purpose(Purpose::Write, &self.reference, options)?;
        let registry = Registry { client: &client, reference: &self.reference, signer: self.signer.as_deref() };
        let version = pushed.to_string();
        let document = client.manifest(&version)?.with_context(|| format!("{pushed} is no longer in the registry"))?;
        let subject = Descriptor::new(&document.media_type, pushed, document.bytes.len() as u64);
        let mut lines = Vec::new();
        let images = if matches!(subject.media_type.as_str(), media_type::INDEX | media_type::DOCKER_INDEX) {
            let index: Index = serde_json::from_slice(&document.bytes).context("reading the index that was pushed")?;
            let mut images = Vec::new();
            for descriptor in index.manifests {
                // The platform of attestations and other artifacts is unknown/unknown.
                let Some(platform) = descriptor.platform.clone().filter(|platform| platform.os != "unknown") else {
                    continue;
                };
                images.push((descriptor, opened.image(Some(&platform))?));
            }
            images
        } else {
            vec![(subject.clone(), opened.image(platform)?)]
        };
        for (descriptor, image) in &images {
            for attachment in self.attachments.documents(image)? {
                registry.attach(descriptor, &attachment)?;
                lines.push(format!("{}: {} attached", descriptor.digest, attachment.artifact_type));
            }
        }
        if self.signer.is_some() {
            let mut signed: Vec<&Descriptor> = vec![&subject];
            signed
                .extend(images.iter().map(|(descriptor, _)| descriptor).filter(|image| image.digest != subject.digest));
            for descriptor in signed {
                registry.sign(descriptor, self.attachments.signing.sign_tag)?;
                lines.push(format!("{}: signed", descriptor.digest));
            }
        }
        registry.check_tag(&self.reference.version(), &pushed)?;
        Ok(lines)
    }
}

impl Attachments {
    /// The documents of one image.
    fn documents(&self, image: &Image) -> Result<Vec<Attachment>> {
        let mut all = Vec::new();
        for text in &self.sbom {
            all.push(match format_of(text) {
                Some(format) => {
                    let bom = Bom::new(image, &BTreeMap::new()).context("generating the SBOM")?;
                    Attachment::of_kind(text, bom.write(format))?
                }
                None => Attachment::of_file(Path::new(text))?,
            });
        }
        if self.provenance {
            let BuildArguments { builder_id, flake, revision, derivation, nix_version } = self.build.clone();
            let build = Build { builder: builder_id, flake, revision, derivation, nix_version };
            all.push(Attachment::of_kind("provenance", serde_json::to_vec(&build.predicate(image))?)?);
        }
        Ok(all)
    }
}

fn format_of(text: &str) -> Option<Format> {
    match text {
        "cyclonedx" => Some(Format::CycloneDx),
        "spdx" => Some(Format::Spdx),
        _ => None,
    }
}

impl Attachment {
    fn of_kind(kind: &str, bytes: Vec<u8>) -> Result<Self> {
        let (artifact_type, predicate_type) = match kind {
            "cyclonedx" => (Format::CycloneDx.media_type(), Some(predicate::CYCLONEDX)),
            "spdx" => (Format::Spdx.media_type(), Some(predicate::SPDX)),
            "provenance" => (PROVENANCE_TYPE, Some(predicate::PROVENANCE)),
            other if other.contains('/') => (other, None),
            other => bail!(
                "--type {other} is not cyclonedx, spdx, provenance or a media type such as application/vnd.example+json"
            ),
        };
        Ok(Self { artifact_type: artifact_type.to_owned(), predicate_type, bytes })
    }

    /// An SBOM in a file, CycloneDX or SPDX by its fields.
    fn of_file(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let document: Value =
            serde_json::from_slice(&bytes).with_context(|| format!("{} is not JSON", path.display()))?;
        let kind = if document["bomFormat"] == "CycloneDX" {
            "cyclonedx"
        } else if document.get("spdxVersion").is_some() {
            "spdx"
        } else {
            bail!("{} is neither a CycloneDX nor an SPDX document", path.display());
        };
        Self::of_kind(kind, bytes)
    }
}
