//! `strata inspect IMAGE`

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::Result;
use serde::Serialize;
use strata::{
    image::Layer,
    oci::{Digest, ImageConfig, json},
    source::{self, Contents, Listed, Opened},
};

/// One image, whatever it was read from.
#[derive(Serialize)]
struct Inspected {
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    config: ImageConfig,
    layers: Vec<InspectedLayer>,
}

#[derive(Serialize)]
struct InspectedLayer {
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    diff_id: Option<Digest>,
    size: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    paths: Vec<String>,
}

pub fn run(path: &Path, as_json: bool, raw: bool) -> Result<ExitCode> {
    let images = match source::open(path, false)? {
        Opened::Recipe(image) => vec![Inspected {
            reference: image.reference(),
            config: serde_json::from_slice(&image.config_blob())?,
            layers: image.layers.iter().map(from_recipe).collect(),
        }],
        Opened::Contents(contents) => {
            let images = contents.images()?.into_iter();
            images.map(|image| from_contents(&contents, image)).collect()
        }
    };
    let mut out = io::stdout().lock();
    if as_json {
        serde_json::to_writer_pretty(&mut out, &images).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        for image in &images {
            if raw {
                out.write_all(&json::to_vec(&image.config))?;
            } else {
                table(&mut out, image)?;
            }
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn from_recipe(layer: &Layer) -> InspectedLayer {
    InspectedLayer {
        digest: Some(layer.digest),
        diff_id: Some(layer.diff_id),
        size: Some(layer.size),
        paths: layer.paths.iter().map(|path| path.path.display().to_string()).collect(),
    }
}

fn from_contents(contents: &Contents, image: Listed) -> Inspected {
    let layers = image.layers.iter().enumerate().map(|(at, name)| InspectedLayer {
        digest: image.manifest.as_ref().map(|manifest| manifest.layers[at].digest),
        diff_id: image.config.rootfs.diff_ids.get(at).copied(),
        size: contents.blobs.get(name).map(|blob| blob.size),
        paths: Vec::new(),
    });
    Inspected { layers: layers.collect(), reference: image.reference, config: image.config }
}

fn table(out: &mut impl Write, image: &Inspected) -> io::Result<()> {
    let config = &image.config;
    writeln!(out, "{}", image.reference.as_deref().unwrap_or("(no name)"))?;
    writeln!(out, "  platform    {}/{}", config.os, config.architecture)?;
    if let Some(created) = config.created {
        writeln!(out, "  created     {created}")?;
    }
    for (name, values) in
        [("entrypoint", &config.config.entrypoint), ("cmd", &config.config.cmd), ("env", &config.config.env)]
    {
        for value in values {
            writeln!(out, "  {name:<10}  {value}")?;
        }
    }
    for (at, layer) in image.layers.iter().enumerate() {
        let digest = layer.digest.or(layer.diff_id).map(|digest| digest.to_string());
        let size = layer.size.map_or_else(|| "?".to_owned(), |size| size.to_string());
        writeln!(out, "  layer {:<4}  {size:>12} bytes  {}", at + 1, digest.unwrap_or_default())?;
        for path in &layer.paths {
            writeln!(out, "                {path}")?;
        }
    }
    Ok(())
}
