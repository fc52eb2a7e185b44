//! `strata copy IMAGE DEST`

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
};

use anyhow::{Context, Result, bail, ensure};
use strata::{
    Image,
    oci::{Descriptor, Digest, Index, Manifest, media_type},
    registry::{self, Client, Credentials, Reference},
    sink::{
        self,
        registry::{Fate, Pushed},
    },
    source::{self, Contents, Opened},
};

use crate::cli::CopyArguments;

/// Where an image goes, as skopeo users write it.
#[derive(Clone, Debug)]
pub enum Destination {
    Registry(Reference),
    /// Path, and what the image is called in it.
    Layout(PathBuf, Option<String>),
    Archive(PathBuf, Option<String>),
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let split = |rest: &str| match rest.split_once(':') {
            Some((path, name)) => (PathBuf::from(path), Some(name.to_owned())),
            None => (PathBuf::from(rest), None),
        };
        match text.split_once(':') {
            Some(("docker", rest)) => {
                let reference = rest.strip_prefix("//").ok_or("write docker://HOST/NAME:TAG")?;
                reference.parse().map(Self::Registry).map_err(|error: registry::ParseReferenceError| error.to_string())
            }
            Some(("oci", rest)) => {
                let (path, tag) = split(rest);
                Ok(Self::Layout(path, tag))
            }
            Some(("docker-archive" | "oci-archive", rest)) => {
                let (path, name) = split(rest);
                Ok(Self::Archive(path, name))
            }
            _ => Err("destinations are docker://HOST/NAME:TAG, oci:DIR[:TAG], docker-archive:FILE[:NAME:TAG] and \
                      oci-archive:FILE[:NAME:TAG]; for a docker daemon, use `strata stream IMAGE | docker load`"
                .to_owned()),
        }
    }
}

pub fn run(arguments: &CopyArguments) -> Result<ExitCode> {
    let opened = source::open(&arguments.image, false)?;
    let digest = match (&arguments.destination, &opened) {
        (Destination::Registry(reference), Opened::Recipe(image)) => push(image, reference, arguments)?,
        (Destination::Registry(reference), Opened::Contents(contents)) => push_layout(contents, reference, arguments)?,
        (Destination::Layout(directory, tag), Opened::Recipe(image)) => {
            let tag = tag.as_deref().or(image.tag.as_deref());
            sink::layout::write(image, directory, tag)?
        }
        (Destination::Archive(file, name), Opened::Recipe(image)) => write_archive(image, file, name.as_deref())?,
        _ => bail!(
            "{} can be copied to docker://… only; copy the image.json it was made from",
            arguments.image.display()
        ),
    };
    writeln!(io::stdout(), "{digest}")?;
    Ok(ExitCode::SUCCESS)
}

fn write_archive(image: &Image, path: &Path, name: Option<&str>) -> Result<Digest> {
    let writing = || format!("writing {}", path.display());
    let file = File::create_new(path).with_context(writing)?;
    let reference = name.map(str::to_owned).or_else(|| image.reference());
    let written = sink::archive::write(image, reference.as_deref(), file).with_context(writing);
    if written.is_err() {
        std::fs::remove_file(path).with_context(|| format!("removing the unfinished {}", path.display()))?;
    }
    written?;
    Ok(Digest::of(&strata::oci::json::to_vec(&image.manifest())))
}

fn client(reference: &Reference, arguments: &CopyArguments) -> Result<Client> {
    let credentials = match &arguments.dest_creds {
        None => None,
        Some(text) => match text.split_once(':') {
            Some((user, password)) => Some(Credentials::Basic(user.to_owned(), password.to_owned())),
            None => bail!("--dest-creds has no colon; write it like USER:PASSWORD"),
        },
    };
    let options =
        registry::Options { credentials, auth_file: arguments.authfile.clone(), insecure: !arguments.dest_tls_verify };
    Client::new(reference, &options).with_context(|| format!("connecting to {}", reference.host))
}

fn options(reference: &Reference, arguments: &CopyArguments) -> Result<sink::registry::Options> {
    ensure!(reference.digest.is_none(), "a destination has a tag, not a digest: {reference}");
    let mut tags = vec![reference.version()];
    tags.extend(arguments.additional_tag.iter().cloned());
    Ok(sink::registry::Options {
        tags,
        compression: arguments.compression.into(),
        mount_from: arguments.mount_from.clone(),
        cache_from: arguments.cache_from.clone(),
    })
}

fn push(image: &Image, reference: &Reference, arguments: &CopyArguments) -> Result<Digest> {
    let options = options(reference, arguments)?;
    let client = client(reference, arguments)?;
    let report = |index: usize, descriptor: &Descriptor, fate: Fate| say(arguments, index, descriptor, fate);
    let pushed =
        sink::registry::push(image, &client, &options, &report).with_context(|| format!("pushing {reference}"))?;
    conclude(arguments, reference, pushed);
    Ok(pushed.digest)
}

/// Pushes the images of a layout as they are: all with the index, or the one for this machine.
fn push_layout(contents: &Contents, reference: &Reference, arguments: &CopyArguments) -> Result<Digest> {
    let Some(root) = &contents.root else {
        bail!("archives cannot be pushed yet; unpack it, or push the image.json it was made from");
    };
    let options = options(reference, arguments)?;
    let client = client(reference, arguments)?;
    let index = contents.index()?;
    let mut chosen: Vec<Descriptor> = Vec::new();
    for descriptor in &index.manifests {
        if chosen.iter().all(|other| other.digest != descriptor.digest) {
            chosen.push(Descriptor { annotations: Default::default(), ..descriptor.clone() });
        }
    }
    if !arguments.all && chosen.len() > 1 {
        let own = goarch();
        chosen.retain(|descriptor| descriptor.platform.as_ref().is_some_and(|platform| platform.architecture == own));
        ensure!(
            chosen.len() == 1,
            "the layout has {} images and {} of them for {own}; push all of them with --all",
            index.manifests.len(),
            chosen.len()
        );
    }
    let report = |at: usize, descriptor: &Descriptor, fate: Fate| say(arguments, at, descriptor, fate);
    let by_digest = sink::registry::Options { tags: Vec::new(), ..options.clone() };
    let mut pushed: Option<Pushed> = None;
    for descriptor in &chosen {
        let name = descriptor.digest.blob_name();
        let bytes = contents.raw(&name).with_context(|| format!("{} is missing", name))?;
        ensure!(Digest::of(bytes) == descriptor.digest, "{} is not what its name says", name);
        let manifest: Manifest = serde_json::from_slice(bytes).with_context(|| name.to_string())?;
        let blobs: Vec<Descriptor> = manifest.layers.into_iter().chain([manifest.config]).collect();
        let options = if arguments.all { &by_digest } else { &options };
        let one = sink::registry::push_as_is(root, bytes, &blobs, &client, options, &report)
            .with_context(|| format!("pushing {reference}"))?;
        pushed = Some(pushed.map_or(one, |before| before.and(one)));
    }
    let mut pushed = pushed.context("the layout lists no image")?;
    if arguments.all {
        let index = Index { manifests: chosen, media_type: Some(media_type::INDEX.to_owned()), ..index };
        let bytes = strata::oci::json::to_vec(&index);
        for tag in &options.tags {
            client.put_manifest(tag, media_type::INDEX, &bytes).with_context(|| format!("pushing {reference}"))?;
        }
        pushed.digest = Digest::of(&bytes);
    }
    conclude(arguments, reference, pushed);
    Ok(pushed.digest)
}

/// This machine's architecture, as OCI names it.
fn goarch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

fn say(arguments: &CopyArguments, index: usize, descriptor: &Descriptor, fate: Fate) {
    if arguments.quiet {
        return;
    }
    let digest = descriptor.digest;
    match fate {
        Fate::There => eprintln!("blob {index}: {digest} is there already"),
        Fate::Mounted => eprintln!("blob {index}: {digest} mounted"),
        Fate::Sent(bytes) => eprintln!("blob {index}: {digest} sent, {bytes} bytes"),
    }
}

fn conclude(arguments: &CopyArguments, reference: &Reference, pushed: Pushed) {
    if !arguments.quiet {
        eprintln!("{reference}: {} blobs sent, {} bytes", pushed.blobs, pushed.bytes);
    }
}
