//! One tar that is a docker-archive and an OCI layout at once:
//!
//! ```text
//! oci-layout  index.json      for skopeo oci-archive:, podman, containerd
//! manifest.json               for docker load, skopeo docker-archive:; left out if a layer is compressed with zstd
//! blobs/sha256/…              manifest, config, layers; each digest once
//! ```
//!
//! The small documents come first, so that a reader of the stream knows every layer before its bytes arrive. Layers are
//! made while they are written.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, IsTerminal, StdoutLock, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    DOCKER,
    docker_layers::{self, for_docker},
};
use crate::{
    files::{self, NewFile},
    image::{Image, ImageError, ImageIndex, ManifestGraph},
    layer::{Counted, Direct, Header, LayerError, TarWriter},
    oci::{
        Descriptor, Digest, DockerManifest, Index,
        descriptor::annotation,
        json,
        name::{TaggedName, full_name},
    },
    transport::{Outcome, WriteError, WriteOptions, WriteTransport, write::path_and_name},
};

pub(super) fn parse_oci(rest: &str) -> Result<Arc<dyn WriteTransport>, String> {
    parse(rest, false)
}

pub(super) fn parse_docker(rest: &str) -> Result<Arc<dyn WriteTransport>, String> {
    parse(rest, true)
}

fn parse(rest: &str, is_for_docker: bool) -> Result<Arc<dyn WriteTransport>, String> {
    let (file, name) = path_and_name(rest)?;
    let name = name.map(|name| if is_for_docker { engine_name(&name) } else { layout_name(&name) }).transpose()?;
    Ok(Arc::new(ArchiveFile { file, name, is_for_docker }))
}

/// Parses a name that docker accepts. The tag `latest` is added to a name without a tag.
fn engine_name(name: &str) -> Result<String, String> {
    name.parse::<TaggedName>().map(|name| name.to_string()).map_err(|error| error.to_string())
}

/// Parses a tag, as in skopeo, or a name that engines accept.
fn layout_name(name: &str) -> Result<String, String> {
    if name.contains([':', '/', '@']) {
        return engine_name(name);
    }
    let is_tag = format!("name:{name}").parse::<TaggedName>().is_ok();
    if is_tag {
        Ok(name.to_owned())
    } else {
        Err(format!("{name:?} is not a tag: letters, digits and _.-, at most 128"))
    }
}

/// The size of the pipe. It is the maximum that Linux grants to unprivileged users.
#[cfg(target_os = "linux")]
const PIPE: usize = 1024 * 1024;

/// A file (`-` is stdout), and the name of the image in it.
#[derive(Debug)]
struct ArchiveFile {
    file: PathBuf,
    name: Option<String>,
    /// Whether docker must be able to load the file.
    is_for_docker: bool,
}

impl WriteTransport for ArchiveFile {
    fn write(&self, content: &ManifestGraph, _: &WriteOptions) -> Result<Outcome, WriteError> {
        let for_docker = match content {
            ManifestGraph::Image(image) if self.is_for_docker => Some(for_docker(image, &HashSet::new())?.into_owned()),
            _ => None,
        };
        let for_docker = for_docker.map(ManifestGraph::from);
        let content = for_docker.as_ref().unwrap_or(content);
        let archive_name = match (&self.name, content.reference()) {
            // The name in an archive or a layout may be invalid for docker.
            (None, Some(archive_name)) if self.is_for_docker => Some(engine_name(archive_name).map_err(|error| {
                format!("the name of the image: {error}; to give it another name, write {}", DOCKER.write.syntax)
            })?),
            (None, archive_name) => archive_name.map(str::to_owned),
            (Some(name), _) => Some(name.clone()),
        };
        let name = archive_name.as_deref();
        let on_stdout = self.is_stdout();
        if on_stdout {
            write_content(content, name, stdout()?)?.flush().map_err(LayerError::Write)?;
        } else {
            write_file(content, name, &self.file)?;
        }
        Ok(Outcome { on_stdout, ..Outcome::new(content.digest()) })
    }

    fn file(&self) -> Option<&Path> {
        Some(&self.file)
    }

    fn is_stdout(&self) -> bool {
        // The file may have these names too, but nothing except the archive is written to stdout.
        ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"].iter().any(|name| self.file == Path::new(name))
    }
}

/// Writes a regular file completely or not at all. Pipes and devices are written directly.
fn write_file(content: &ManifestGraph, name: Option<&str>, path: &Path) -> Result<(), ArchiveError> {
    let fail = || {
        let path = path.to_owned();
        move |source| ArchiveError::Io { path, source }
    };
    if files::is_stream(path) {
        let out = File::options().write(true).open(path).map_err(fail())?;
        return write_content(content, name, out).map(drop);
    }
    let new = NewFile::named(path).map_err(fail())?;
    write_content(content, name, new)?.finish().map_err(fail())
}

/// Returns the standard output with a larger pipe, which reduces context switches.
///
/// # Errors
///
/// [`ArchiveError::Terminal`]
pub fn stdout() -> Result<StdoutLock<'static>, ArchiveError> {
    let out = io::stdout().lock();
    if out.is_terminal() {
        return Err(ArchiveError::Terminal);
    }
    // Other files than pipes, and pipes that must not be larger, stay unchanged.
    #[cfg(target_os = "linux")]
    let _ = rustix::pipe::fcntl_setpipe_size(&out, PIPE);
    Ok(out)
}

/// The error of writing an archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A blob could not be made.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The archive could not be written.
    #[error("writing the archive")]
    Write(#[from] LayerError),
    /// The standard output is a terminal.
    #[error(
        "an archive is not written to a terminal; pipe it (`| docker load`) or redirect it to a file (`> image.tar`)"
    )]
    Terminal,
    /// The file could not be created.
    #[error("writing {}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// Writes `image` to `out`, tagged with `reference` (`name:tag`), and returns `out`.
///
/// # Errors
///
/// [`ArchiveError`]. The output is not a valid archive then.
pub fn write<W: Write>(image: &Image, reference: Option<&str>, out: W) -> Result<W, ArchiveError> {
    write_all(&[(image, reference)], out)
}

/// The same as [`write()`], without the layers `there`: engines accept archives without the layers that they have.
///
/// # Errors
///
/// Those of [`write()`].
pub fn write_without<W: Write>(
    image: &Image,
    reference: Option<&str>,
    there: &HashSet<Digest>,
    out: W,
) -> Result<W, ArchiveError> {
    write_some(&[(image, reference)], there, out)
}

/// Writes several images to one archive.
///
/// # Errors
///
/// Those of [`write()`].
pub fn write_all<W: Write>(images: &[(&Image, Option<&str>)], out: W) -> Result<W, ArchiveError> {
    write_some(images, &HashSet::new(), out)
}

fn write_some<W: Write>(images: &[(&Image, Option<&str>)], there: &HashSet<Digest>, out: W) -> Result<W, ArchiveError> {
    let index = images.iter().map(|(image, reference)| named(image.descriptor(), *reference)).collect();
    // Without a manifest.json, a docker that does not support zstd reports that instead of failing at a layer.
    let is_for_docker = images.iter().all(|(image, _)| docker_layers::fits(image));
    let named_images = images.iter().filter(|_| is_for_docker);
    let docker = named_images.map(|(image, reference)| docker_manifest(image, *reference)).collect();
    let mut archive = ArchiveWriter::begin(out, index, docker)?;
    for (image, _) in images {
        archive.image(image, there)?;
    }
    Ok(archive.tar.finish()?)
}

/// Writes an image as [`write()`], or an index with all its images. The manifest.json of docker does not contain
/// indexes.
///
/// # Errors
///
/// Those of [`write()`].
pub fn write_content<W: Write>(content: &ManifestGraph, reference: Option<&str>, out: W) -> Result<W, ArchiveError> {
    let index = match content {
        ManifestGraph::Image(image) => return write(image, reference, out),
        ManifestGraph::Index(index) => index,
    };
    let mut archive = ArchiveWriter::begin(out, vec![named(content.descriptor(), reference)], Vec::new())?;
    archive.children(index)?;
    Ok(archive.tar.finish()?)
}

fn docker_manifest(image: &Image, reference: Option<&str>) -> DockerManifest {
    DockerManifest {
        config: image.config_descriptor().digest.blob_name(),
        // A tag alone is not a name for docker.
        repo_tags: reference.filter(|reference| reference.contains(':')).map(|reference| vec![reference.to_owned()]),
        layers: image.layers.iter().map(|layer| layer.descriptor.digest.blob_name()).collect(),
    }
}

/// Returns the number of bytes that [`write_without`] writes.
pub fn size(image: &Image, reference: Option<&str>, there: &HashSet<Digest>) -> u64 {
    let mut seen: HashSet<Digest> = image.layers.iter().map(|layer| layer.descriptor.digest).collect();
    let documents = write_without(image, reference, &seen, Counted::new(io::sink())).map_or(0, |counted| counted.bytes);
    seen.clone_from(there);
    let sent = image.layers.iter().filter(|layer| seen.insert(layer.descriptor.digest));
    // Each blob has a header of one block, and is padded to whole blocks.
    documents + sent.map(|layer| 512 + layer.descriptor.size.next_multiple_of(512)).sum::<u64>()
}

/// Returns the descriptor of an image with the annotations of the name `reference`.
pub(crate) fn named(mut descriptor: Descriptor, reference: Option<&str>) -> Descriptor {
    let Some(reference) = reference else { return descriptor };
    let mut annotate = |key: &str, value: String| descriptor.annotations.insert(key.to_owned(), value);
    match reference.rsplit_once(':') {
        Some((_, tag)) => {
            annotate(annotation::REF_NAME, tag.to_owned());
            // Without the full name, podman takes the tag for the name.
            annotate(annotation::IMAGE_NAME, full_name(reference));
        }
        None => drop(annotate(annotation::REF_NAME, reference.to_owned())),
    }
    descriptor
}

struct ArchiveWriter<W> {
    tar: TarWriter<Direct<W>>,
    written: HashSet<Digest>,
}

impl<W: Write> ArchiveWriter<W> {
    fn begin(out: W, index: Vec<Descriptor>, docker: Vec<DockerManifest>) -> Result<Self, ArchiveError> {
        let mut archive = Self { tar: TarWriter::new(out), written: HashSet::new() };
        archive.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        archive.file("index.json", &json::to_vec(&Index::new(index)))?;
        if !docker.is_empty() {
            archive.file("manifest.json", &json::to_vec(&docker))?;
        }
        for directory in ["blobs", "blobs/sha256"] {
            archive.tar.append_with(&Header::directory(directory.as_bytes()), |_| Ok::<_, LayerError>(()))?;
        }
        Ok(archive)
    }

    /// Writes all blobs of an image except for the layers `there`.
    fn image(&mut self, image: &Image, there: &HashSet<Digest>) -> Result<(), ArchiveError> {
        self.bytes(&image.config_descriptor().digest, &image.config)?;
        self.bytes(&image.digest(), &image.manifest)?;
        let is_sent = |digest: &Digest| !there.contains(digest);
        for layer in image.layers.iter().filter(|layer| !layer.elsewhere && is_sent(&layer.descriptor.digest)) {
            let Descriptor { digest, size, .. } = &layer.descriptor;
            self.blob(digest, *size, |out| Ok(layer.write(out)?))?;
        }
        Ok(())
    }

    /// Writes all manifests of an index, and the index.
    fn children(&mut self, index: &ImageIndex) -> Result<(), ArchiveError> {
        for child in &index.children {
            match child {
                ManifestGraph::Image(image) => self.image(image, &HashSet::new())?,
                ManifestGraph::Index(index) => self.children(index)?,
            }
        }
        self.bytes(&index.algorithm.digest(&index.bytes), &index.bytes)
    }

    fn bytes(&mut self, digest: &Digest, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.blob(digest, bytes.len() as u64, |out| Ok(out.write_all(bytes).map_err(LayerError::Write)?))
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<(), LayerError> {
        let header = Header::file(name.as_bytes(), bytes.len() as u64);
        self.tar.append_with(&header, |out| out.write_all(bytes).map_err(LayerError::Write))
    }

    fn blob(
        &mut self,
        digest: &Digest,
        size: u64,
        produce: impl FnOnce(&mut dyn Write) -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        if !self.written.insert(*digest) {
            return Ok(());
        }
        let name = digest.blob_name();
        let header = Header::file(name.as_bytes(), size);
        self.tar.append_with(&header, produce)
    }
}
