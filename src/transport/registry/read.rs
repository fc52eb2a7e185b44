//! Reads images of a registry: manifests and indexes when they are needed, and blobs when they are read.

use std::{
    io::{self, Read},
    sync::Arc,
};

use super::{Client, RegistryDocument};
use crate::{
    image::{FoundImages, ManifestNode, OpenError, Opened, Store, store::ListedReferrers, top::Top},
    oci::{
        Descriptor, Digest, Index, ParseReferenceError, Reference,
        descriptor::{annotation, media_type},
        name,
    },
    transport::{ReadOptions, ReadTransport},
};

pub(super) fn parse(rest: &str) -> Result<Arc<dyn ReadTransport>, String> {
    Ok(Arc::new(RepositoryVersion { reference: parse_reference(rest)? }))
}

/// Parses the text after `docker:`. A host alone is not a repository of Docker Hub.
pub(crate) fn parse_reference(rest: &str) -> Result<Reference, String> {
    let text = rest.strip_prefix("//").ok_or("write docker://HOST/NAME:TAG")?;
    let host = text.split([':', '@']).next().unwrap_or_default();
    if !text.contains('/') && (host == "localhost" || host.contains('.')) {
        return Err(format!("{text:?} names a registry without a repository; write docker://{text}/NAME:TAG"));
    }
    text.parse().map_err(|error: ParseReferenceError| error.to_string())
}

/// A repository of a registry, and a version of it.
#[derive(Debug)]
struct RepositoryVersion {
    reference: Reference,
}

impl ReadTransport for RepositoryVersion {
    fn open(&self, access: &ReadOptions) -> Result<Opened, OpenError> {
        let client = Client::new(&self.reference, &access.registry).map_err(registry_error)?;
        open(client, &self.reference).map(Opened::Found)
    }

    fn registry_reference(&self) -> Option<&Reference> {
        Some(&self.reference)
    }
}

/// Reads the manifest or index of `reference`.
///
/// # Errors
///
/// If the request fails, or the document does not exist or is malformed.
pub fn open(client: Client, reference: &Reference) -> Result<FoundImages, OpenError> {
    let version = reference.version();
    let root = client.manifest_or_detail(&version).map_err(registry_error)?;
    let root = root.map_err(|detail| OpenError::NoSuchVersion {
        reference: reference.to_string(),
        version: version.clone(),
        detail,
    })?;
    let digest = reference.digest.unwrap_or_else(|| Digest::sha256(&root.bytes));
    let mut descriptor = Descriptor::new(&media_type(&root), digest, root.bytes.len() as u64);
    if let Some(name) = name(reference) {
        descriptor.annotations.insert(annotation::IMAGE_NAME.to_owned(), name);
    }
    let store: Arc<dyn Store> = Arc::new(RegistryReader { client: Arc::new(client), root: (digest, root.bytes) });
    Ok(FoundImages::new(vec![Top::Node(Box::new(ManifestNode { descriptor, store: Arc::clone(&store) }))], store))
}

/// Returns the media type that the registry reports, or the type of the document's fields if the reported one is
/// unknown.
fn media_type(document: &RegistryDocument) -> String {
    let reported_type = document.media_type.as_str();
    let known = matches!(media_type::as_oci(reported_type), media_type::INDEX | media_type::MANIFEST);
    match serde_json::from_slice::<Index>(&document.bytes) {
        _ if known => reported_type.to_owned(),
        Ok(index) => index.media_type.unwrap_or_else(|| media_type::INDEX.to_owned()),
        Err(_) => media_type::MANIFEST.to_owned(),
    }
}

/// Returns `name:tag` in docker's form, if there is a tag.
fn name(reference: &Reference) -> Option<String> {
    let Reference { host, repository, tag, .. } = reference;
    tag.as_ref().map(|tag| name::familiar(&format!("{host}/{repository}:{tag}")).to_owned())
}

/// The blobs and manifests of a repository.
#[derive(Debug)]
struct RegistryReader {
    client: Arc<Client>,
    /// The document of the reference, which was already read.
    root: (Digest, Vec<u8>),
}

impl Store for RegistryReader {
    fn open(&self, digest: &Digest) -> io::Result<Option<Box<dyn Read + Send>>> {
        Ok(Some(Box::new(self.client.blob(digest))))
    }

    fn has(&self, digest: &Digest) -> io::Result<bool> {
        self.client.has_blob(digest).map_err(io::Error::other)
    }

    fn manifest(&self, descriptor: &Descriptor) -> io::Result<Option<Vec<u8>>> {
        if descriptor.digest == self.root.0 {
            return Ok(Some(self.root.1.clone()));
        }
        let found = self.client.manifest(&descriptor.digest.to_string()).map_err(io::Error::other)?;
        Ok(found.map(|document| document.bytes))
    }

    fn referrers(&self, digest: &Digest) -> io::Result<ListedReferrers> {
        self.client.list_referrers(digest).map_err(io::Error::other)
    }

    fn origin(&self) -> Option<(&str, &str)> {
        Some((self.client.host(), self.client.repository()))
    }

    fn name(&self, digest: &Digest) -> String {
        format!("{}/{}@{digest}", self.client.host(), self.client.repository())
    }
}

fn registry_error(error: super::RegistryError) -> OpenError {
    OpenError::transport(error)
}
