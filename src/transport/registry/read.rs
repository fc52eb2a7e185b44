//! Images of a registry: manifests and indexes when they are asked for, blobs when they are read.

use std::{
    io::{self, Read},
    sync::Arc,
};

use super::{Client, Document};
use crate::{
    image::{Found, Node, OpenError, Opened, Store, store::ListedReferrers, top::Top},
    oci::{
        Descriptor, Digest, Index, ParseReferenceError, Reference,
        descriptor::{annotation, media_type},
        name,
    },
    transport::{ReadOptions, ReadTransport},
};

pub(super) fn parse(rest: &str) -> Result<Arc<dyn ReadTransport>, String> {
    Ok(Arc::new(Repository { reference: parse_reference(rest)? }))
}

/// What follows `docker:`. A host alone is no repository of Docker Hub.
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
struct Repository {
    reference: Reference,
}

impl ReadTransport for Repository {
    fn open(&self, access: &ReadOptions) -> Result<Opened, OpenError> {
        let client = Client::new(&self.reference, &access.registry).map_err(registry_error)?;
        open(client, &self.reference).map(Opened::Found)
    }

    fn registry_reference(&self) -> Option<&Reference> {
        Some(&self.reference)
    }
}

/// Reads the manifest or index that `reference` names.
///
/// # Errors
///
/// When the registry cannot be asked, has none, or it is malformed.
pub fn open(client: Client, reference: &Reference) -> Result<Found, OpenError> {
    let version = reference.version();
    let root = client
        .manifest(&version)
        .map_err(registry_error)?
        .ok_or_else(|| OpenError::NoSuchVersion { reference: reference.to_string(), version: version.clone() })?;
    let digest = reference.digest.unwrap_or_else(|| Digest::of(&root.bytes));
    let mut descriptor = Descriptor::new(&media_type(&root), digest, root.bytes.len() as u64);
    if let Some(name) = name(reference) {
        descriptor.annotations.insert(annotation::IMAGE_NAME.to_owned(), name);
    }
    let store: Arc<dyn Store> = Arc::new(Registry { client: Arc::new(client), root: (digest, root.bytes) });
    Ok(Found::new(vec![Top::Node(Box::new(Node { descriptor, store: Arc::clone(&store) }))], store))
}

/// What the registry says, or where it says nothing that we know, what the document looks like.
fn media_type(document: &Document) -> String {
    let said = document.media_type.as_str();
    let known = matches!(media_type::as_oci(said), media_type::INDEX | media_type::MANIFEST);
    match serde_json::from_slice::<Index>(&document.bytes) {
        _ if known => said.to_owned(),
        Ok(index) => index.media_type.unwrap_or_else(|| media_type::INDEX.to_owned()),
        Err(_) => media_type::MANIFEST.to_owned(),
    }
}

/// `name:tag` as docker writes it, where there is a tag.
fn name(reference: &Reference) -> Option<String> {
    let Reference { host, repository, tag, .. } = reference;
    tag.as_ref().map(|tag| name::familiar(&format!("{host}/{repository}:{tag}")).to_owned())
}

/// A repository's blobs and manifests.
#[derive(Debug)]
struct Registry {
    client: Arc<Client>,
    /// What the reference names was read already.
    root: (Digest, Vec<u8>),
}

impl Store for Registry {
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
