//! Kinds `merge` and `export`: the dockerTools functions that convert existing images.

use std::{collections::HashSet, fs::File, path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{attributes::Attributes, base::FromImage, root};
use crate::{
    layer::{self, PathOptions, Source, Tree, compress::Compression},
    threads,
    transport::{self, archive},
};

/// One archive of several images.
pub fn merge(attributes: &Attributes) -> Result<()> {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Request {
        images: Vec<PathBuf>,
    }
    let request: Request = attributes.request()?;
    let mut images = Vec::new();
    for path in &request.images {
        let all = transport::open(path).and_then(|opened| opened.images());
        for image in all.with_context(|| format!("argument images: {}", path.display()))? {
            images.push(archive::for_docker(&image, &HashSet::new())?.into_owned());
        }
    }
    let writing = || format!("writing {}", attributes.out().display());
    let file = File::create_new(attributes.out()).with_context(writing)?;
    let compressor = Compression::Gzip.writer(file, threads::jobs(), None).with_context(writing)?;
    let named: Vec<_> = images.iter().map(|image| (image, image.reference.as_deref())).collect();
    let compressor = archive::write_all(&named, compressor)?;
    compressor.finish().with_context(writing).map(drop)
}

/// The root file system of an image as one tar.
pub fn export(attributes: &Attributes) -> Result<()> {
    let scratch = tempfile::tempdir().context("making a directory to unpack to")?;
    let image = attributes.request::<FromImage>()?.open(scratch.path())?;
    let root = scratch.path().join("root");
    let owners = root::unpack_base(Some(&image), &root)?;
    let moved = Some((root.clone(), "/".into()));
    let options = PathOptions { moved, owners: Some(Arc::new(owners)), ..PathOptions::default() };
    let tree = Tree::new(&[Source { path: root, files: Default::default(), options, follow: false }])?;
    let writing = || format!("writing {}", attributes.out().display());
    // Users unpack this tar, so names are relative.
    layer::write_relative(&tree, File::create_new(attributes.out()).with_context(writing)?)?;
    Ok(())
}
