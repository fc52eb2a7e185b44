//! Attachments of an image in a registry: SBOMs, VEX documents, provenance, signatures. `strata attach REF FILE`, and the
//! flags of `copy` that attach documents after a push.
//!
//! ```text
//! pushed digest ──▶ SBOM, VEX, provenance: an artifact each, with a key also a signed attestation each
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
    attached::{AttachedDocument, AttachmentTarget, Signer},
    vex,
};
use crate::terminal;
use crate::{
    attest::{
        BuildFacts, SigningKey,
        sbom::{Bom, SbomFormat},
        statement::predicate,
        vex::{AUTHOR, Document, MEDIA_TYPE},
    },
    image::{Image, Opened},
    oci::{Descriptor, Digest, Index, Platform, Reference, descriptor::media_type},
    transport::{
        Destination, Outcome,
        registry::{self, Client, Purpose},
    },
};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::Value;

/// The environment variable of the password, which cosign reads too.
const PASSWORD: &str = "COSIGN_PASSWORD";
/// The value of `--vex` that adds no statements of a team.
const OPENVEX: &str = "openvex";
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
    /// Attach an OpenVEX document: openvex, or a FILE with further statements.
    ///
    /// The document states which vulnerabilities the patches of packages fix. May be repeated; the image gets one document.
    /// FILE is an OpenVEX document too.
    #[arg(long, value_name = "openvex|FILE")]
    vex: Vec<String>,
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
    /// The document's type: cyclonedx, spdx, openvex, provenance, or a media type.
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
    let attachment = AttachedDocument::from_kind(kind, bytes)?;
    let client = Client::for_purpose(Purpose::Write, reference, &access.options(&[&reference.host])?)?;
    let version = reference.version();
    let subject = client.descriptor(&version)?.with_context(|| format!("the registry has no {reference}"))?;
    let registry = AttachmentTarget { client: &client, reference, signer: signer.as_ref() };
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
        self.sbom.is_empty() && self.vex.is_empty() && !self.provenance && sign_key.is_none() && sign_with.is_none()
    }

    /// Returns each flag, and whether it was given. The flags of the provenance require `--provenance`.
    pub fn flags(&self) -> [(&'static str, bool); 6] {
        let SigningArguments { sign_key, sign_with, sign_tag } = &self.signing;
        [
            ("--sbom", !self.sbom.is_empty()),
            ("--vex", !self.vex.is_empty()),
            ("--provenance", self.provenance),
            ("--sign-key", sign_key.is_some()),
            ("--sign-with", sign_with.is_some()),
            ("--sign-tag", *sign_tag),
        ]
    }

    /// Refuses documents that cannot be read for each image of a fleet.
    pub fn check_rereadable(&self) -> Result<()> {
        for file in self.vex.iter().filter(|text| *text != OPENVEX) {
            let is_once = fs::metadata(file).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir());
            ensure!(!is_once, "--vex {file}: a fleet reads it for each image, and this can be read once; write a file");
        }
        Ok(())
    }

    /// Returns the key or command that signs, if there is one.
    pub fn signer(&self) -> Result<Option<Signer>> {
        self.signing.signer()
    }

    /// Checks the flags before anything is copied. Returns `None` if there is nothing to attach.
    pub fn prepare(
        &self,
        destination: &Destination,
        signer: Option<Arc<Signer>>,
    ) -> Result<Option<PreparedAttachments<'_>>> {
        if self.is_empty() {
            ensure!(!self.signing.sign_tag, "--sign-tag signs with --sign-key or --sign-with; give one");
            return Ok(None);
        }
        let Some(reference) = destination.registry_reference() else {
            bail!(
                "{destination} is not a registry; only images in registries (docker://…) have SBOMs, VEX documents, provenance and signatures"
            );
        };
        for format in self.sbom.iter().filter(|text| format_of(text).is_none()) {
            ensure!(Path::new(format).is_file(), "--sbom {format}: it is neither cyclonedx, spdx nor a file");
        }
        let files: Vec<&String> = self.vex.iter().filter(|text| *text != OPENVEX).collect();
        for file in &files {
            // The user can name a pipe.
            ensure!(Path::new(file).exists(), "--vex {file}: it is neither openvex nor a file");
        }
        let statements = vex::read_documents(&files).context("--vex")?;
        Ok(Some(PreparedAttachments { reference: reference.clone(), attachments: self, statements, signer }))
    }
}

impl SigningArguments {
    fn signer(&self) -> Result<Option<Signer>> {
        open_signer(self.sign_key.as_deref(), self.sign_with.as_deref())
    }
}

/// Returns the key or command that signs, if one is given.
pub fn open_signer(key: Option<&Path>, command: Option<&str>) -> Result<Option<Signer>> {
    Ok(match (key, command) {
        (Some(path), _) => {
            let key = SigningKey::open(path, || env::var(PASSWORD).ok())?;
            Some(Signer::Key(Box::new(key)))
        }
        (None, Some(command)) => Some(Signer::Command(command.to_owned())),
        (None, None) => None,
    })
}

/// The checked flags, for the image that is pushed to `reference`.
pub struct PreparedAttachments<'a> {
    reference: Reference,
    attachments: &'a Attachments,
    /// The documents of `--vex`.
    statements: Vec<Document>,
    signer: Option<Arc<Signer>>,
}

impl PreparedAttachments<'_> {
    /// Attaches the documents to the pushed image, or to the index and each of its images. Returns a line for each attachment.
    pub fn attach(
        &self,
        pushed: &Outcome,
        opened: &Opened,
        platform: Option<&Platform>,
        options: &registry::Options,
    ) -> Result<Vec<String>> {
        let client = Client::for_purpose(Purpose::Write, &self.reference, options)?;
        let registry = AttachmentTarget { client: &client, reference: &self.reference, signer: self.signer.as_deref() };
        let (pushed, verified) = (pushed.digest, pushed.verified_layers());
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
            let mut documents = self.attachments.documents(image)?;
            match self.vex_document(image, &descriptor.digest)? {
                Some(document) => documents.push(document),
                None if self.attachments.vex.is_empty() => {}
                None => {
                    lines.push(format!("{}: no VEX document attached: no patch has a CVE number", descriptor.digest))
                }
            }
            for attachment in documents {
                registry.attach(descriptor, &attachment)?;
                lines.push(format!("{}: {} attached", descriptor.digest, attachment.artifact_type));
            }
        }
        if self.signer.is_some() {
            let mut signed: Vec<&Descriptor> = vec![&subject];
            signed
                .extend(images.iter().map(|(descriptor, _)| descriptor).filter(|image| image.digest != subject.digest));
            for descriptor in signed {
                registry.sign(descriptor, &verified, self.attachments.signing.sign_tag)?;
                lines.push(format!("{}: signed", descriptor.digest));
            }
        }
        registry.check_tag(&self.reference.version(), &pushed)?;
        Ok(lines)
    }

    /// Returns the VEX document of an image. Returns `None` without `--vex`, and without statements: OpenVEX has no documents
    /// without statements.
    fn vex_document(&self, image: &Image, digest: &Digest) -> Result<Option<AttachedDocument>> {
        if self.attachments.vex.is_empty() {
            return Ok(None);
        }
        let document = vex::document(image, digest, Some(&self.reference), AUTHOR, &self.statements)?;
        if document.is_empty() {
            return Ok(None);
        }
        AttachedDocument::from_kind(OPENVEX, serde_json::to_vec(&document.openvex())?).map(Some)
    }
}

impl Attachments {
    /// Returns the documents for one image.
    fn documents(&self, image: &Image) -> Result<Vec<AttachedDocument>> {
        let mut all = Vec::new();
        for text in &self.sbom {
            all.push(match format_of(text) {
                Some(format) => {
                    let bom = Bom::new(image, &BTreeMap::new()).context("generating the SBOM")?;
                    AttachedDocument::from_kind(text, bom.write(format))?
                }
                None => AttachedDocument::from_file(Path::new(text))?,
            });
        }
        if self.provenance {
            let BuildArguments { builder_id, flake, revision, derivation, nix_version } = self.build.clone();
            let build = BuildFacts { builder: builder_id, flake, revision, derivation, nix_version };
            all.push(AttachedDocument::from_kind("provenance", serde_json::to_vec(&build.predicate(image))?)?);
        }
        Ok(all)
    }
}

fn format_of(text: &str) -> Option<SbomFormat> {
    match text {
        "cyclonedx" => Some(SbomFormat::CycloneDx),
        "spdx" => Some(SbomFormat::Spdx),
        _ => None,
    }
}

impl AttachedDocument {
    fn from_kind(kind: &str, bytes: Vec<u8>) -> Result<Self> {
        let (artifact_type, predicate_type) = match kind {
            "cyclonedx" => (SbomFormat::CycloneDx.media_type(), Some(predicate::CYCLONEDX)),
            "spdx" => (SbomFormat::Spdx.media_type(), Some(predicate::SPDX)),
            OPENVEX => (MEDIA_TYPE, Some(predicate::OPENVEX)),
            "provenance" => (PROVENANCE_TYPE, Some(predicate::PROVENANCE)),
            other if other.contains('/') => (other, None),
            other => bail!(
                "--type {other} is not cyclonedx, spdx, openvex, provenance or a media type such as application/vnd.example+json"
            ),
        };
        Ok(Self { artifact_type: artifact_type.to_owned(), predicate_type, bytes })
    }

    /// Reads an SBOM, whose fields show whether it is CycloneDX or SPDX.
    fn from_file(path: &Path) -> Result<Self> {
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
        Self::from_kind(kind, bytes)
    }
}
