//! `strata copy IMAGE DEST`

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
};

use anyhow::{Context, Result, ensure};
use strata::{
    ImageBlobs,
    daemon::Daemon,
    oci::{Descriptor, Digest, Index, json, media_type},
    registry::{Client, ParseReferenceError, Reference},
    sink::{self, registry::Pushed},
};

use super::{location::Source, progress, stream::stdout};
use crate::cli::CopyArguments;

/// Where an image goes, as skopeo users write it.
#[derive(Clone, Debug)]
pub enum Destination {
    Registry(Reference),
    /// Path, and what the image is called in it.
    Layout(PathBuf, Option<String>),
    /// Path (`-` is stdout), and what the image is called in it.
    Archive(PathBuf, Option<String>),
    Directory(PathBuf),
    /// Under which name, if another than its own.
    Daemon(Option<String>),
    Podman(Option<String>),
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
                reference.parse().map(Self::Registry).map_err(|error: ParseReferenceError| error.to_string())
            }
            Some(("oci", rest)) => {
                let (path, tag) = split(rest);
                Ok(Self::Layout(path, tag))
            }
            Some(("docker-archive" | "oci-archive", rest)) => {
                let (path, name) = split(rest);
                Ok(Self::Archive(path, name))
            }
            Some(("dir", rest)) => Ok(Self::Directory(rest.into())),
            Some(("docker-daemon", rest)) => Ok(Self::Daemon(tagged(rest))),
            Some(("containers-storage", rest)) => Ok(Self::Podman(tagged(rest))),
            _ => Err("destinations are docker://HOST/NAME:TAG, docker-daemon:NAME:TAG, containers-storage:NAME:TAG, \
                      oci:DIR[:TAG], docker-archive:FILE[:NAME:TAG], oci-archive:FILE[:NAME:TAG] and dir:DIR; \
                      FILE may be - for stdout"
                .to_owned()),
        }
    }
}

/// A name with a tag; none where nothing is said.
fn tagged(name: &str) -> Option<String> {
    let has_tag = name.rsplit_once(':').is_some_and(|(_, tag)| !tag.contains('/'));
    match name {
        "" => None,
        name if has_tag => Some(name.to_owned()),
        name => Some(format!("{name}:latest")),
    }
}

pub fn run(arguments: &CopyArguments) -> Result<ExitCode> {
    let source = arguments.image.open(&arguments.access.source()?)?;
    let to_stdout = matches!(&arguments.destination, Destination::Archive(path, _) if path == Path::new("-"));
    let digest = match &arguments.destination {
        Destination::Registry(reference) => push(&source, reference, arguments)?,
        Destination::Layout(directory, tag) => {
            let mut digest = None;
            for image in images(&source, arguments)? {
                let own = image.reference.as_deref().and_then(|reference| reference.rsplit_once(':'));
                let tag = tag.as_deref().or(own.map(|(_, tag)| tag));
                digest = Some(sink::layout::write(&image, directory, tag)?);
            }
            digest.context("there is no image")?
        }
        Destination::Archive(file, name) => {
            let image = source.blobs(arguments.platform.as_ref())?;
            write_archive(&image, file, name.as_deref())?;
            image.digest()
        }
        Destination::Directory(directory) => {
            sink::layout::write_dir(&source.blobs(arguments.platform.as_ref())?, directory)?
        }
        Destination::Daemon(name) => {
            let image = source.blobs(arguments.platform.as_ref())?;
            load(&image, name.as_deref().or(image.reference.as_deref()), arguments)?;
            Digest::of(&image.config)
        }
        Destination::Podman(name) => {
            let image = source.blobs(arguments.platform.as_ref())?;
            let name = name.as_deref().or(image.reference.as_deref());
            let name = name.context("the image has no name; write containers-storage:NAME:TAG")?;
            sink::podman::pull(&image, name).with_context(|| format!("copying to containers-storage:{name}"))?;
            Digest::of(&image.config)
        }
    };
    if !to_stdout {
        writeln!(io::stdout(), "{digest}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Loads into docker, and says what that took.
fn load(image: &ImageBlobs, name: Option<&str>, arguments: &CopyArguments) -> Result<()> {
    let loaded = sink::daemon::load(image, name, &Daemon::of_user()?)?;
    let sink::daemon::Loaded { bytes, there, whole_because, said } = loaded;
    if arguments.json {
        let event = serde_json::json!({ "event": "loaded", "reference": name, "bytes": bytes, "layersThere": there,
            "wholeBecause": whole_because });
        writeln!(io::stderr(), "{event}")?;
    } else if !arguments.quiet {
        if let Some(why) = whole_because {
            writeln!(io::stderr(), "all layers are sent: {why}")?;
        }
        writeln!(io::stderr(), "{there} of {} layers were there, {bytes} bytes streamed", image.layers.len())?;
        for line in said {
            writeln!(io::stderr(), "{line}")?;
        }
    }
    Ok(())
}

fn images(source: &Source, arguments: &CopyArguments) -> Result<Vec<ImageBlobs>> {
    if arguments.all { source.all_blobs() } else { Ok(vec![source.blobs(arguments.platform.as_ref())?]) }
}

fn write_archive(image: &ImageBlobs, path: &Path, name: Option<&str>) -> Result<()> {
    let reference = name.or(image.reference.as_deref());
    if path == Path::new("-") {
        return Ok(sink::archive::write(image, reference, 0, stdout()).map(drop)?);
    }
    let writing = || format!("writing {}", path.display());
    let file = File::create_new(path).with_context(writing)?;
    let written = sink::archive::write(image, reference, 0, file).with_context(writing);
    if written.is_err() {
        std::fs::remove_file(path).with_context(|| format!("removing the unfinished {}", path.display()))?;
    }
    written.map(drop)
}

/// Pushes one image, or all of them with the index that lists them.
fn push(source: &Source, reference: &Reference, arguments: &CopyArguments) -> Result<Digest> {
    ensure!(reference.digest.is_none(), "a destination has a tag, not a digest: {reference}");
    let mut tags = vec![reference.version()];
    tags.extend(arguments.additional_tag.iter().cloned());
    let options = sink::registry::Options {
        tags,
        compression: arguments.compression.into(),
        level: arguments.compression_level,
        mount_from: arguments.mount_from.clone(),
        cache_from: arguments.cache_from.clone(),
    };
    let client = Client::new(reference, &arguments.access.destination()?)
        .with_context(|| format!("connecting to {}", reference.host))?;
    let pushing = || format!("pushing {reference}");
    let progress = progress::choose(arguments.quiet, arguments.json);
    let push =
        |image: &ImageBlobs, options| sink::registry::push(image, &client, options, &progress).with_context(pushing);
    let pushed = if arguments.all {
        // Each image by its digest, then the index that lists them under the tags.
        let by_digest =
            sink::registry::Options { tags: Vec::new(), cache_from: options.tags.clone(), ..options.clone() };
        let mut pushed: Option<Pushed> = None;
        let mut manifests: Vec<Descriptor> = Vec::new();
        for image in source.all_blobs()? {
            let one = push(&image, &by_digest)?;
            pushed = Some(pushed.map_or(one, |before| before.and(one)));
            if manifests.iter().all(|other| other.digest != one.digest) {
                manifests.push(Descriptor { digest: one.digest, size: one.size, ..image.descriptor() });
            }
        }
        let mut pushed = pushed.context("there is no image")?;
        let (kind, bytes) = match index(source) {
            Some(index) => index,
            None => (media_type::INDEX.to_owned(), json::to_vec(&Index::new(manifests))),
        };
        for tag in &options.tags {
            client.put_manifest(tag, &kind, &bytes).with_context(pushing)?;
        }
        pushed.digest = Digest::of(&bytes);
        pushed
    } else {
        push(&source.blobs(arguments.platform.as_ref())?, &options)?
    };
    if arguments.json {
        let Pushed { digest, blobs, bytes, .. } = pushed;
        let event = serde_json::json!({ "event": "pushed", "reference": reference.to_string(), "digest": digest,
            "blobs": blobs, "bytes": bytes });
        writeln!(io::stderr(), "{event}")?;
    } else if !arguments.quiet {
        writeln!(io::stderr(), "{reference}: {} blobs sent, {} bytes", pushed.blobs, pushed.bytes)?;
    }
    Ok(pushed.digest)
}

/// The index of the source, where it is one that can be pushed as it is.
fn index(source: &Source) -> Option<(String, Vec<u8>)> {
    match source {
        Source::Remote(remote) if remote.is_index() => {
            Some((remote.document.media_type.clone(), remote.document.bytes.clone()))
        }
        _ => None,
    }
}
