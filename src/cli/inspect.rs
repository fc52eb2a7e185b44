//! `strata inspect IMAGE`

use std::{
    io::{self, Write},
    process::ExitCode,
};

use super::{access::Access, inspect_format, source::ImageArguments};
use crate::terminal::{self, line};
use crate::{
    image::{Image, LayerBlob, Opened},
    oci::{Digest, ImageConfig, Manifest, Reference, descriptor::media_type},
    report::bytes,
    transport::{Location, registry::Client},
};
use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};

/// One image from any source.
#[derive(Serialize)]
struct Inspected {
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    digest: Digest,
    /// Of an artifact there is none.
    config: Option<ImageConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    #[serde(skip)]
    config_blob: Vec<u8>,
    #[serde(skip)]
    manifest: Vec<u8>,
    /// What a push makes of the digest.
    #[serde(skip)]
    pushed: Pushed,
    layers: Vec<InspectedLayer>,
}

/// The digest that a push without options has.
enum Pushed {
    /// No layer is uncompressed.
    Same,
    /// The recipe records what its layers compress to.
    Known(Digest),
    /// Layers are compressed on the way.
    Unknown,
}

impl Pushed {
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
            Some(layers) => Self::Known(Digest::of(&image.manifest_with(layers)?)),
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

/// What is printed of each image.
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
            // The others are shown first.
            Err(error) => incomplete = incomplete.or(Some(error)),
        }
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

/// Prints a template, filled with what skopeo's `inspect` has, or with the config.
pub fn format(location: &Location, template: &str, of_config: bool, source: &ImageArguments) -> Result<ExitCode> {
    let read = source.source.options(&[location])?;
    let opened = source.source.open_with(location, location, &read)?;
    let image = opened.image(source.platform.as_ref())?;
    let value = match of_config {
        true => serde_json::from_slice(&image.config).context("parsing the config")?,
        false => {
            let reference = location.registry_reference();
            let tags = match reference {
                Some(reference) if template.contains(".RepoTags") => Client::new(reference, &read.registry)?.tags()?,
                _ => None,
            };
            // Of a multi-platform image, the digest that its tag leads to.
            let digest = match &opened {
                Opened::Found(found) if reference.is_some() => found.root()?.descriptor.digest,
                _ => image.digest(),
            };
            fields(&image, reference, digest, tags.unwrap_or_default())?
        }
    };
    let mut out = terminal::stdout();
    writeln!(out, "{}", inspect_format::render(template, &value)?)?;
    Ok(ExitCode::SUCCESS)
}

/// The fields of skopeo's `inspect`.
fn fields(image: &Image, reference: Option<&Reference>, digest: Digest, tags: Vec<String>) -> Result<Value> {
    let config = image.parse_config().context("parsing the config")?;
    let layer = |layer: &LayerBlob| {
        json!({ "MIMEType": layer.descriptor.media_type, "Digest": layer.descriptor.digest, "Size": layer.descriptor.size,
            "Annotations": layer.descriptor.annotations })
    };
    Ok(json!({
        "Name": reference.map(|reference| format!("{}/{}", reference.host, reference.repository)).unwrap_or_default(),
        "Tag": reference.and_then(|reference| reference.tag.clone()).unwrap_or_default(),
        "Digest": digest,
        "RepoTags": tags,
        "Created": config.created.map(|created| created.to_string()),
        "DockerVersion": "",
        "Labels": config.config.labels,
        "Architecture": config.architecture,
        "Variant": image.platform.variant.clone().unwrap_or_default(),
        "Os": config.os,
        "Layers": image.layers.iter().map(|layer| layer.descriptor.digest).collect::<Vec<_>>(),
        "LayersData": image.layers.iter().map(layer).collect::<Vec<_>>(),
        "Env": config.config.env,
    }))
}

/// Prints the tags of a repository, as skopeo's `list-tags` does.
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

fn inspect(image: &Image) -> Result<Inspected> {
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
    Ok(Inspected {
        reference: image.reference.clone(),
        digest: image.digest(),
        config_blob: image.config.clone(),
        manifest: image.manifest.clone(),
        pushed: Pushed::from_image(image)?,
        config: config.with_context(|| format!("parsing the config of {}", image.digest()))?,
        artifact_type: manifest.artifact_type.or((!is_image).then_some(manifest.config.media_type)),
        layers: image.layers.iter().map(layer).collect(),
    })
}

fn table(out: &mut impl Write, image: &Inspected) -> io::Result<()> {
    writeln!(out, "{}", line(image.reference.as_deref().unwrap_or("(no name)")))?;
    match (&image.config, &image.artifact_type) {
        (Some(config), _) => writeln!(out, "  platform    {}", line(&config.platform().to_string()))?,
        (None, Some(kind)) => writeln!(out, "  artifact    {}", line(kind))?,
        (None, None) => {}
    }
    match image.pushed {
        Pushed::Same => writeln!(out, "  digest      {} (a push keeps it)", image.digest)?,
        Pushed::Known(pushed) => {
            writeln!(out, "  digest      {} (with uncompressed layers)", image.digest)?;
            writeln!(out, "  pushed as   {pushed} (gzip)")?;
        }
        Pushed::Unknown => writeln!(
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
