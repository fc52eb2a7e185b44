//! `strata inspect IMAGE`

use std::{
    collections::BTreeMap,
    io::{self, Write},
    process::ExitCode,
};

use super::{access::Access, inspect_format, source::ImageArguments};
use crate::terminal::{self, line, note};
use crate::{
    image::{Image, LayerBlob, Opened},
    oci::{Config, Descriptor, Digest, ImageConfig, Manifest, Reference, descriptor::media_type},
    report::bytes,
    transport::{
        Location,
        registry::{Client, RegistryError},
    },
};
use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::{Value, json};

/// An image from any source.
#[derive(Serialize)]
struct InspectedImage {
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    digest: Digest,
    /// `None` for an artifact.
    config: Option<ImageConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    #[serde(skip)]
    config_blob: Vec<u8>,
    #[serde(skip)]
    manifest: Vec<u8>,
    /// The digest after a push.
    #[serde(skip)]
    pushed: PushedDigest,
    layers: Vec<InspectedLayer>,
}

/// The digest after a push without options.
enum PushedDigest {
    /// The same digest, since no layer is uncompressed.
    Same,
    /// The recipe records the compressed layers.
    Known(Digest),
    /// The push compresses layers.
    Unknown,
}

impl PushedDigest {
    fn from_image(image: &Image) -> Result<Self> {
        let is_plain = |layer: &LayerBlob| layer.descriptor.media_type == media_type::LAYER_TAR;
        if !image.layers.iter().any(is_plain) {
            return Ok(Self::Same);
        }
        let pushed = |layer: &LayerBlob| match is_plain(layer) {
            true => layer.compressed.get("gzip").map(|gzip| gzip.descriptor(media_type::LAYER_GZIP)),
            false => Some(layer.descriptor.clone()),
        };
        Ok(match image.layers.iter().map(pushed).collect::<Option<Vec<_>>>() {
            Some(layers) => Self::Known(Digest::sha256(&image.manifest_with(layers)?)),
            None => Self::Unknown,
        })
    }
}

#[derive(Serialize)]
struct InspectedLayer {
    digest: Digest,
    diff_id: Digest,
    size: u64,
    media_type: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    paths: Vec<String>,
}

/// The part of each image that is printed.
pub enum Form {
    Table,
    Json,
    /// The config blob, byte for byte.
    Config,
    /// The manifest, byte for byte.
    Manifest,
}

pub fn run(location: &Location, form: &Form, source: &ImageArguments) -> Result<ExitCode> {
    let (mut images, mut incomplete) = (Vec::new(), None);
    let opened = &source.source.open(&[location])?[0];
    let found = match &source.platform {
        Some(platform) => vec![opened.image(Some(platform))],
        None => opened.each_image(),
    };
    for image in found {
        match image {
            Ok(image) => images.push(inspect(&image)?),
            // The complete images are printed first.
            Err(error) => incomplete = incomplete.or(Some(error)),
        }
    }
    if images.is_empty() && incomplete.is_none() {
        bail!("{location}: there is no image in it");
    }
    let mut out = terminal::stdout();
    if matches!(form, Form::Json) {
        serde_json::to_writer_pretty(out.exact(), &images).map_err(io::Error::from)?;
        writeln!(out)?;
    }
    for image in &images {
        match form {
            Form::Json => {}
            Form::Table => table(&mut out, image)?,
            Form::Config => out.exact().write_all(&image.config_blob)?,
            Form::Manifest => out.exact().write_all(&image.manifest)?,
        }
    }
    out.flush()?;
    incomplete.map_or(Ok(ExitCode::SUCCESS), |error| Err(error.into()))
}

/// The arguments of `--format`.
pub struct Template<'a> {
    pub text: &'a str,
    /// Whether the fields are those of the config.
    pub of_config: bool,
    /// Whether the tags of the repository are left out.
    pub no_tags: bool,
}

/// Prints a template, filled with the fields of skopeo's `inspect`, or of the config.
pub fn format(location: &Location, template: &Template, source: &ImageArguments) -> Result<ExitCode> {
    let read = source.source.options(&[location])?;
    let opened = source.source.open_with(location, location, &read)?;
    let image = opened.image(source.platform.as_ref())?;
    let is_json = inspect_format::is_json(template.text);
    if template.of_config && is_json {
        return print_json(&oci_config(&image)?);
    }
    let value = match template.of_config {
        true => serde_json::from_slice(&image.config).context("parsing the config")?,
        false => {
            let reference = location.registry_reference();
            let lists_tags = !template.no_tags && (is_json || template.text.contains(".RepoTags"));
            let tags = match reference.filter(|_| lists_tags) {
                Some(reference) => list_tags_if_allowed(&Client::new(reference, &read.registry)?)?,
                None => Vec::new(),
            };
            // For a multi-platform image, this is the digest of the tag.
            let digest = match &opened {
                Opened::Found(found) if reference.is_some() => found.root()?.descriptor.digest,
                _ => image.digest(),
            };
            let fields = SkopeoFields::new(&image, reference, digest, tags)?;
            if is_json {
                return print_json(&fields);
            }
            // Fields that JSON omits are empty in a template.
            let mut value = json!({ "Name": "", "Tag": "" });
            if let (Value::Object(all), Value::Object(image_fields)) = (&mut value, serde_json::to_value(fields)?) {
                all.extend(image_fields);
            }
            value
        }
    };
    let mut out = terminal::stdout();
    writeln!(out, "{}", inspect_format::render(template.text, &value)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints JSON in the format of skopeo, with four spaces (cmd/skopeo/inspect.go, `writeOutput`).
fn print_json(value: &impl Serialize) -> Result<ExitCode> {
    let mut out = terminal::stdout();
    let mut serializer =
        serde_json::Serializer::with_formatter(out.exact(), serde_json::ser::PrettyFormatter::with_indent(b"    "));
    value.serialize(&mut serializer).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the config without fields outside of the specification, as in `skopeo inspect --config`.
fn oci_config(image: &Image) -> Result<ImageConfig> {
    let mut config = image.parse_config().context("parsing the config")?;
    config.other.clear();
    config.config = Config {
        healthcheck: None,
        on_build: Vec::new(),
        shell: Vec::new(),
        stop_timeout: None,
        other: BTreeMap::new(),
        ..config.config
    };
    Ok(config)
}

/// Returns the tags of the repository. A registry that refuses the list, or lacks it, is no error, as in skopeo.
fn list_tags_if_allowed(client: &Client) -> Result<Vec<String>> {
    match client.tags() {
        Ok(tags) => Ok(tags.unwrap_or_default()),
        Err(RegistryError::Login(_)) => {
            note!("strata: the registry does not allow listing tags; --no-tags omits the list");
            Ok(Vec::new())
        }
        Err(error) => Err(error.into()),
    }
}

/// The fields of skopeo's `inspect`, in its order (cmd/skopeo/inspect/output.go).
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SkopeoFields {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    tag: String,
    digest: Digest,
    repo_tags: Vec<String>,
    created: Option<String>,
    docker_version: String,
    labels: Option<BTreeMap<String, String>>,
    architecture: String,
    os: String,
    layers: Vec<Digest>,
    layers_data: Vec<Value>,
    env: Option<Vec<String>>,
}

impl SkopeoFields {
    fn new(image: &Image, reference: Option<&Reference>, digest: Digest, tags: Vec<String>) -> Result<Self> {
        let config = image.parse_config().context("parsing the config")?;
        let layer = |layer: &LayerBlob| {
            let Descriptor { media_type, digest, size, annotations, .. } = &layer.descriptor;
            let annotations = Some(annotations).filter(|annotations| !annotations.is_empty());
            json!({ "MIMEType": media_type, "Digest": digest, "Size": size, "Annotations": annotations })
        };
        Ok(Self {
            name: reference.map(|reference| format!("{}/{}", reference.host, reference.repository)).unwrap_or_default(),
            tag: reference.and_then(|reference| reference.tag.clone()).unwrap_or_default(),
            digest,
            repo_tags: tags,
            created: config.created.map(|created| created.to_string()),
            docker_version: String::new(),
            labels: Some(config.config.labels).filter(|labels| !labels.is_empty()),
            architecture: config.architecture,
            os: config.os,
            layers: image.layers.iter().map(|layer| layer.descriptor.digest).collect(),
            layers_data: image.layers.iter().map(layer).collect(),
            env: Some(config.config.env).filter(|env| !env.is_empty()),
        })
    }
}

/// Prints the tags of a repository in the format of skopeo's `list-tags`.
pub fn list_tags(reference: &Reference, access: &Access) -> Result<ExitCode> {
    let client = Client::new(reference, &access.options(&[&reference.host])?)?;
    let tags = client
        .tags()?
        .with_context(|| format!("there is no repository {}/{}", reference.host, reference.repository))?;
    let list = json!({ "Repository": format!("{}/{}", reference.host, reference.repository), "Tags": tags });
    let mut out = terminal::stdout();
    serde_json::to_writer_pretty(out.exact(), &list).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(ExitCode::SUCCESS)
}

fn inspect(image: &Image) -> Result<InspectedImage> {
    let layer = |layer: &LayerBlob| InspectedLayer {
        digest: layer.descriptor.digest,
        diff_id: layer.diff_id,
        size: layer.descriptor.size,
        media_type: layer.descriptor.media_type.clone(),
        paths: layer.paths.iter().map(|path| path.display().to_string()).collect(),
    };
    let is_image = media_type::is_config(&image.config_media_type);
    let config = is_image.then(|| image.parse_config()).transpose();
    let manifest: Manifest = serde_json::from_slice(&image.manifest).context("parsing the manifest")?;
    Ok(InspectedImage {
        reference: image.reference.clone(),
        digest: image.digest(),
        config_blob: image.config.clone(),
        manifest: image.manifest.clone(),
        pushed: PushedDigest::from_image(image)?,
        config: config.with_context(|| format!("parsing the config of {}", image.digest()))?,
        artifact_type: manifest.artifact_type.or((!is_image).then_some(manifest.config.media_type)),
        layers: image.layers.iter().map(layer).collect(),
    })
}

fn table(out: &mut impl Write, image: &InspectedImage) -> io::Result<()> {
    writeln!(out, "{}", line(image.reference.as_deref().unwrap_or("(no name)")))?;
    match (&image.config, &image.artifact_type) {
        (Some(config), _) => writeln!(out, "  platform    {}", line(&config.platform().to_string()))?,
        (None, Some(kind)) => writeln!(out, "  artifact    {}", line(kind))?,
        (None, None) => {}
    }
    match image.pushed {
        PushedDigest::Same => writeln!(out, "  digest      {} (a push keeps it)", image.digest)?,
        PushedDigest::Known(pushed) => {
            writeln!(out, "  digest      {} (with uncompressed layers)", image.digest)?;
            writeln!(out, "  pushed as   {pushed} (gzip)")?;
        }
        PushedDigest::Unknown => writeln!(
            out,
            "  digest      {} (with uncompressed layers; a push compresses them, and prints its digest)",
            image.digest
        )?,
    }
    if let Some(config) = &image.config {
        if let Some(created) = config.created {
            writeln!(out, "  created     {created}")?;
        }
        for (name, values) in
            [("entrypoint", &config.config.entrypoint), ("cmd", &config.config.cmd), ("env", &config.config.env)]
        {
            for value in values {
                writeln!(out, "  {name:<10}  {}", line(value))?;
            }
        }
    }
    for (at, layer) in image.layers.iter().enumerate() {
        writeln!(out, "  layer {:<4}  {:>9}  {}", at + 1, bytes(layer.size), layer.digest)?;
        for path in &layer.paths {
            writeln!(out, "                {}", line(path))?;
        }
    }
    Ok(())
}
