//! `strata serve [NAME:TAG=]IMAGE…`

use std::{
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
    str::FromStr,
};

use anyhow::{Context, Result};
use strata::{
    registry::{Options, Reference},
    sink::serve::{Catalogue, Server},
    source::Location,
};

use super::SubstituterArguments;

/// An image, and what to call it.
#[derive(Clone, Debug)]
pub struct Named {
    name: Option<String>,
    image: Location,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, image) = match text.split_once('=') {
            // A store path may have = in its name.
            Some((name, image)) if !name.contains('/') || !name.starts_with('/') => (Some(name.to_owned()), image),
            _ => (None, text),
        };
        Ok(Self { name, image: image.parse()? })
    }
}

pub fn run(images: &[Named], listen: SocketAddr, substituters: &SubstituterArguments) -> Result<ExitCode> {
    let access = substituters.access(Options::default())?;
    let mut catalogue = Catalogue::default();
    for Named { name, image } in images {
        let blobs = image.open(&access)?.images()?;
        let own = blobs.first().and_then(|image| image.reference.clone());
        let reference = name.clone().or(own).unwrap_or_else(|| "image:latest".to_owned());
        let reference: Reference = reference.parse().with_context(|| format!("the name of {image}"))?;
        // Here every name is a name of this registry's.
        let repository = reference.repository.strip_prefix("library/").unwrap_or(&reference.repository);
        catalogue.add(repository, &reference.version(), blobs)?;
    }
    let server = Server::bind(listen, catalogue)?;
    let mut out = io::stdout();
    for reference in server.references() {
        writeln!(out, "{reference}")?;
    }
    out.flush()?;
    server.run()?;
    Ok(ExitCode::SUCCESS)
}
