//! `strata serve [NAME:TAG=]IMAGE…`

use std::{io::Write, net::SocketAddr, path::PathBuf, process::ExitCode, str::FromStr};

use super::{
    also::{self, Also},
    copy_flags,
    flake::FlakeArguments,
    source::SourceArguments,
};
use crate::terminal::{self, note};
use crate::{
    image::{Chunked, FoundReferrers, ManifestGraph, Opened},
    layer::compress::Compression,
    oci::Reference,
    serve::{self, AccessLog, AllowedUsers, Catalogue, Demand, Pulls, Server, ServerIdentity, ServerSettings},
    transport::Location,
};
use anyhow::{Context, Result};
use clap::Args;

/// An image, and its name in the registry.
#[derive(Clone, Debug)]
pub struct NamedImage {
    name: Option<String>,
    image: Location,
}

impl FromStr for NamedImage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, image) = match text.split_once('=') {
            // The name of a store path and the query of a flake reference may contain an equals sign.
            Some((name, image)) if !name.starts_with('/') && !name.contains(['?', '#']) => {
                (Some(name.to_owned()), image)
            }
            _ => (None, text),
        };
        Ok(Self { name, image: image.parse()? })
    }
}

/// The arguments of `strata serve`.
#[derive(Args, Debug)]
pub struct ServeArguments {
    /// Any source of `copy`; NAME:TAG= overrides the image's own name.
    #[arg(required_unless_present = "flake", value_name = "[NAME:TAG=]IMAGE")]
    images: Vec<NamedImage>,
    /// The address to listen on; port 0 picks a free one. Loopback addresses are reachable from this machine only.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5000")]
    listen: SocketAddr,
    /// Serve uncompressed layers as zstd:chunked, of which podman, buildah and CRI-O fetch only the chunks that they lack.
    /// Each layer is compressed once before serving; its table of contents is cached.
    #[arg(long)]
    chunked: bool,
    /// Serve uncompressed layers as zstd:chunked for nodes that run stargz-snapshotter, which start containers before the layers
    /// are pulled. podman, buildah and CRI-O pull such layers whole.
    #[arg(long, conflicts_with = "chunked")]
    lazy: bool,
    /// Serve an index that also has a manifest of zstd:chunked layers, which podman, buildah and CRI-O select; docker and containerd
    /// select the first one. FORMAT is zstd:chunked.
    #[arg(long, value_name = "FORMAT", value_parser = also::parse)]
    also: Option<Also>,
    /// Serve with TLS: a PEM file with the certificate and its intermediate certificates.
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The key of the certificate, if it is not in the same file.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Require a login: a file of names and bcrypt hashes of passwords, as `htpasswd -B` writes it.
    #[arg(long, value_name = "FILE")]
    basic_auth_file: Option<PathBuf>,
    /// Append a line for each response to this file, in Apache's "combined" format; - is standard error.
    #[arg(long, value_name = "FILE")]
    access_log: Option<PathBuf>,
    /// Serve /metrics in Prometheus' text format.
    #[arg(long)]
    metrics: bool,
    #[command(flatten)]
    flake: FlakeArguments,
    #[command(flatten)]
    source: SourceArguments,
}

impl ServeArguments {
    /// Returns what uncompressed layers are compressed for.
    fn pulls(&self) -> Option<Pulls> {
        match (self.chunked, self.lazy) {
            (true, _) => Some(Pulls::Partial),
            (false, true) => Some(Pulls::Lazy),
            (false, false) => None,
        }
    }

    /// Returns the compression of the first manifest of each platform.
    fn compression(&self) -> Compression {
        match self.pulls() {
            Some(Pulls::Partial) => Compression::ZstdChunked,
            Some(Pulls::Lazy) => Compression::Lazy,
            None => Compression::None,
        }
    }

    /// Returns the flag that changes the digests of images.
    fn conversion(&self) -> Option<&'static str> {
        let flags = [("--chunked", self.chunked), ("--lazy", self.lazy), ("--also", self.also.is_some())];
        flags.into_iter().find(|(_, given)| *given).map(|(flag, _)| flag)
    }

    /// Returns the manifests that are served for those of an image. Their layers are made when they are pulled.
    fn served(&self, image: &Location, found: ManifestGraph) -> Result<ManifestGraph> {
        if self.lazy {
            copy_flags::check_lazy(image, &found)?;
            warn_of_compressed_layers(image, &found);
        }
        let content = also::add(self.also, image, found)?;
        also::note_of_layers(self.also, self.compression());
        match self.pulls() {
            Some(pulls) => {
                serve::chunked(content, pulls).with_context(|| format!("making zstd:chunked layers of {image}"))
            }
            None => Ok(content),
        }
    }

    fn settings(&self) -> Result<ServerSettings> {
        let key = self.tls_key.as_ref().or(self.tls_cert.as_ref());
        let identity = self.tls_cert.as_ref().zip(key).map(|(certificate, key)| ServerIdentity::read(certificate, key));
        let log = |path: &PathBuf| AccessLog::open(path).with_context(|| format!("opening {}", path.display()));
        let users = self.basic_auth_file.as_deref().map(AllowedUsers::read).transpose()?;
        if users.is_some() && identity.is_none() && !self.listen.ip().is_loopback() {
            note!("warning: passwords are readable on the way to {}; --tls-cert encrypts them", self.listen);
        }
        Ok(ServerSettings {
            identity: identity.transpose()?,
            users,
            access_log: self.access_log.as_ref().map(log).transpose()?,
            metrics: self.metrics,
            ..ServerSettings::default()
        })
    }
}

/// Warns of layers that are served as they are with `--lazy`, as a push does.
fn warn_of_compressed_layers(name: &Location, content: &ManifestGraph) {
    for image in content.images() {
        for (number, layer) in (1..).zip(&image.layers) {
            if let Some(warning) = Chunked::lazy_warning(number, &layer.descriptor) {
                note!("strata: warning: {name}: {warning}");
            }
        }
    }
}

pub fn run(arguments: &ServeArguments) -> Result<ExitCode> {
    also::check(arguments.also, arguments.compression(), "--chunked")?;
    let settings = arguments.settings()?;
    if let Some(reference) = &arguments.flake.flake {
        let access = arguments.source.options(&[])?;
        let images = arguments.flake.images(reference, access)?;
        let demand = Demand::new(Box::new(images), arguments.flake.keep(), arguments.flake.max_builds);
        let server = Server::bind(arguments.listen, demand, settings)?;
        let mut out = terminal::stdout();
        writeln!(out, "{}", server.address())?;
        out.flush()?;
        server.run()?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut catalogue = Catalogue::default();
    let locations: Vec<&Location> = arguments.images.iter().map(|named| &named.image).collect();
    let all = arguments.source.open(&locations)?;
    for (named, opened) in arguments.images.iter().zip(&all) {
        add(&mut catalogue, arguments, named, opened)?;
    }
    let server = Server::bind(arguments.listen, catalogue, settings)?;
    let mut out = terminal::stdout();
    for reference in server.references() {
        writeln!(out, "{reference}")?;
    }
    out.flush()?;
    server.run()?;
    Ok(ExitCode::SUCCESS)
}

/// Adds an image and its referrers.
fn add(
    catalogue: &mut Catalogue,
    arguments: &ServeArguments,
    NamedImage { name, image }: &NamedImage,
    opened: &Opened,
) -> Result<()> {
    let found = opened.content()?;
    let FoundReferrers { graphs: referrers, skipped } = opened.referrers(&found)?;
    skipped.iter().for_each(|why| note!("a referrer of {image} is not served: {why}"));
    let content = arguments.served(image, found)?;
    let image_reference =
        content.reference().or_else(|| content.images().first()?.reference.as_deref()).map(str::to_owned);
    let reference = name.clone().or(image_reference).unwrap_or_else(|| "image:latest".to_owned());
    let reference: Reference = reference.parse().with_context(|| format!("the name of {image}"))?;
    // Here, every name belongs to this registry.
    let repository = reference.repository.strip_prefix("library/").unwrap_or(&reference.repository);
    let left_out = catalogue.add_referrers(repository, &content, referrers);
    if left_out > 0 {
        let cause = arguments.conversion().map(|flag| format!("; {flag} changes manifests: omit it to serve them"));
        let cause = cause.unwrap_or_default();
        note!("{left_out} referrers of {image} are not served, since the manifests to which they refer are not{cause}");
    }
    catalogue.add(repository, &reference.version(), content)?;
    Ok(())
}
