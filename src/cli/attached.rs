//! Writes attachments of an image in its registry: documents as they are, and with a signer, attestations and
//! signatures.

use std::{
    collections::BTreeMap,
    io::{Seek, Write},
    process::Command,
    sync::Arc,
};

use crate::{
    attest::{
        BUNDLE, Bundle, Envelope, SigningKey, Statement, VerifiedLayers, VerifyingKey,
        simple::{self, SignatureImage},
    },
    budget,
    oci::{Descriptor, Digest, Reference, descriptor::media_type},
    transport::{
        registry::{Artifact, Client, Tagged},
        write::SignDocument,
    },
};
use anyhow::{Context, Result, bail, ensure};

/// A document to attach, and the names of its kind in registries and in signed statements.
pub struct AttachedDocument {
    pub artifact_type: String,
    /// Set if statements have a name for the kind.
    pub predicate_type: Option<&'static str>,
    pub bytes: Vec<u8>,
}

/// The key or program that signs.
pub enum Signer {
    Key(Box<SigningKey>),
    Command(String),
}

/// A repository, and the signer for its attachments.
pub struct AttachmentTarget<'a> {
    pub client: &'a Client,
    pub reference: &'a Reference,
    pub signer: Option<&'a Signer>,
}

impl AttachmentTarget<'_> {
    fn name(&self) -> String {
        format!("{}/{}", self.reference.host, self.reference.repository)
    }

    /// Attaches a document as it is. With a signer, it is also attached as an attestation.
    pub fn attach(&self, subject: &Descriptor, attachment: &AttachedDocument) -> Result<Digest> {
        let AttachedDocument { artifact_type, predicate_type, bytes } = attachment;
        let artifact = Artifact { artifact_type, media_type: artifact_type, annotations: &BTreeMap::new(), bytes };
        let digest =
            self.client.attach(subject, &artifact).with_context(|| format!("attaching to {}", subject.digest))?;
        if self.signer.is_some() {
            let predicate = serde_json::from_slice(bytes).context("an attestation is JSON")?;
            let kind = predicate_type.unwrap_or(artifact_type);
            self.attest(subject, &Statement::new(&self.name(), &subject.digest, kind, predicate))?;
        }
        Ok(digest)
    }

    /// Signs an image of which `layers` were verified, and with `tag` also in the older format.
    pub fn sign(&self, subject: &Descriptor, layers: &VerifiedLayers, tag: bool) -> Result<()> {
        self.attest(subject, &Statement::signature(&subject.digest).with_verified_layers(layers))?;
        if tag { self.sign_tag(&subject.digest) } else { Ok(()) }
    }

    /// Attaches a signed statement, if there is a signer.
    pub fn attest(&self, subject: &Descriptor, statement: &Statement) -> Result<()> {
        self.signer.map_or(Ok(()), |signer| attest(self.client, signer, subject, statement))
    }

    /// Adds a signature to those under the image's signature tag.
    fn sign_tag(&self, digest: &Digest) -> Result<()> {
        let Some(signer) = self.signer else { return Ok(()) };
        let tag = simple::tag(digest);
        let payload = simple::payload(&self.name(), digest);
        let layer = simple::layer(&payload, &signer.sign(&payload)?);
        self.client.upload_bytes(&layer.digest, &payload, None)?;
        let tagged = Tagged { tag: &tag, media_type: media_type::MANIFEST, act: "adding a signature" };
        let add = |before: Option<&[u8]>| {
            let signed = simple::with_layer(before, &layer).map_err(|error| tagged.refused(&error))?;
            let Some(SignatureImage { manifest, config }) = signed else { return Ok(None) };
            self.client.upload_bytes(&Digest::sha256(&config), &config, None)?;
            Ok(Some(manifest))
        };
        self.client.add_to_tagged(&tagged, &add).with_context(|| format!("writing the tag {tag}"))
    }

    /// Fails if the tag has moved to another image, for which the documents would not be found.
    pub fn check_tag(&self, tag: &str, digest: &Digest) -> Result<()> {
        let now = self.client.descriptor(tag)?.map(|found| found.digest);
        match now {
            Some(now) if now == *digest => Ok(()),
            Some(now) => bail!("{} has moved to {now}; the documents were attached to {digest}", self.reference),
            None => bail!("{} was deleted; the documents were attached to {digest}", self.reference),
        }
    }
}

impl Signer {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        match self {
            Self::Key(key) => Ok(key.sign(message)?),
            Self::Command(command) => {
                let running = || format!("--sign-with {command:?}");
                let mut input = tempfile::tempfile().with_context(running)?;
                input.write_all(message).and_then(|()| input.rewind()).with_context(running)?;
                let mut shell = Command::new("sh");
                let output = budget::output(shell.args(["-c", command]).stdin(input), &budget::SIGNATURE);
                let output = output.with_context(running)?;
                ensure!(output.status.success(), "{}: {}", running(), output.status);
                ensure!(!output.stdout.is_empty(), "{} wrote no signature", running());
                Ok(output.stdout)
            }
        }
    }

    /// Returns the public key, or `None` for a command.
    pub fn verifying_key(&self) -> Result<Option<VerifyingKey>> {
        match self {
            Self::Key(key) => Ok(Some(key.verifying_key()?)),
            Self::Command(_) => Ok(None),
        }
    }

    /// Returns the hint that identifies the public key in a bundle.
    fn hint(&self) -> Result<Option<String>> {
        Ok(self.verifying_key()?.map(|key| key.hint()))
    }
}

/// Returns a function that signs documents of known layers, which list verified ones only, as [`AttachmentTarget::sign`] signs an image.
pub fn sign_documents(signer: Arc<Signer>) -> Arc<SignDocument> {
    Arc::new(move |client, subject| {
        let statement = Statement::signature(&subject.digest).with_verified_layers(&VerifiedLayers::ALL);
        attest(client, &signer, subject, &statement).map_err(Into::into)
    })
}

/// Attaches a signed statement about `subject`.
fn attest(client: &Client, signer: &Signer, subject: &Descriptor, statement: &Statement) -> Result<()> {
    let signature = signer.sign(&Envelope::to_sign(statement))?;
    let bundle = Bundle::new(Envelope::from_signature(&statement.to_vec(), &signature), signer.hint()?);
    // cosign finds bundles by these annotations (sigstore/cosign, pkg/oci/remote/write.go, `WriteAttestationNewBundleFormat`).
    let annotations = BTreeMap::from([
        ("dev.sigstore.bundle.content".to_owned(), "dsse-envelope".to_owned()),
        ("dev.sigstore.bundle.predicateType".to_owned(), statement.predicate_type.clone()),
    ]);
    let artifact =
        Artifact { artifact_type: BUNDLE, media_type: BUNDLE, annotations: &annotations, bytes: &bundle.to_vec() };
    client.attach(subject, &artifact).with_context(|| format!("attaching a signature to {}", subject.digest))?;
    Ok(())
}
