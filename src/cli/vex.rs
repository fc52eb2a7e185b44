//! `strata vex IMAGE`: which vulnerabilities patches of the image's packages fix, for scanners.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use super::{nix_store::Nix, source::ImageArguments};
use crate::{
    attest::vex::{self, Document, Package, Vex},
    budget::{self, Budget},
    closure::{Derivation, StorePath},
    image::Image,
    oci::{Digest, Reference},
    terminal::{self, note},
    transport::Location,
};

#[derive(Debug, Args)]
pub struct VexArguments {
    /// Any source of `copy`.
    image: Location,
    /// The format of the document.
    #[arg(long, value_enum, default_value_t = VexFormat::Openvex)]
    format: VexFormat,
    /// Add the statements of an OpenVEX document; may be repeated.
    #[arg(long, value_name = "FILE")]
    vex: Vec<PathBuf>,
    /// The author of the document.
    #[arg(long, value_name = "NAME", default_value = vex::AUTHOR)]
    author: String,
    #[command(flatten)]
    source: ImageArguments,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum VexFormat {
    Openvex,
    Cyclonedx,
}

pub fn run(arguments: &VexArguments) -> Result<ExitCode> {
    let VexArguments { image: location, format, vex: files, author, source } = arguments;
    let image = source.image(location)?;
    let documents = read_documents(files)?;
    let reference = location.registry_reference();
    let document = document(&image, &image.digest(), reference, author, &documents);
    let document = document.with_context(|| format!("generating the VEX document of {location}"))?;
    let value = match format {
        VexFormat::Openvex if document.is_empty() => bail!(
            "{location}: no patch has a CVE number, and OpenVEX has no documents without statements; add statements with --vex FILE"
        ),
        VexFormat::Openvex => document.openvex(),
        VexFormat::Cyclonedx => document.cyclonedx(),
    };
    let mut out = terminal::stdout();
    serde_json::to_writer_pretty(out.exact(), &value).map_err(std::io::Error::from)?;
    writeln!(out)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Reads OpenVEX documents, each within the limit of documents.
pub fn read_documents<P: AsRef<Path>>(files: &[P]) -> Result<Vec<Document>> {
    let read = |file: &P| {
        let file = file.as_ref();
        // The user can name a pipe.
        let text = File::open(file).and_then(|opened| Budget::new(&budget::DOCUMENT).read(opened));
        let text = text.with_context(|| format!("reading {}", file.display()))?;
        Document::parse(&text).with_context(|| format!("{} is not an OpenVEX document", file.display()))
    };
    files.iter().map(read).collect()
}

/// Returns the document of an image with the digest and the place in a registry: the statements of its patches, and of other
/// documents.
pub fn document(
    image: &Image,
    digest: &Digest,
    reference: Option<&Reference>,
    author: &str,
    documents: &[Document],
) -> Result<Vex> {
    let mut vex = Vex::new(image, digest, reference, author).context("reading the configuration of the image")?;
    packages(image)?.iter().for_each(|package| vex.add(package));
    documents.iter().for_each(|document| vex.merge(document));
    Ok(vex)
}

/// Returns the packages of the image with patches, from the derivations that the store has.
fn packages(image: &Image) -> Result<Vec<Package>> {
    let paths: Vec<StorePath> = image.known_store_paths().into_iter().collect();
    let derivers = derivers(&paths)?;
    let mut found = Vec::new();
    let mut unknown = 0;
    for path in &paths {
        match patches(path, derivers.get(path))? {
            None => unknown += 1,
            Some(listed) if listed.is_empty() => {}
            Some(listed) => found.push(Package::new(path, vex::read(path, listed.iter().map(String::as_str)), None)),
        }
    }
    if unknown > 0 {
        note!(
            "the derivations of {unknown} of {} store paths are not in the store or have other outputs; their patches are not listed",
            paths.len()
        );
    }
    Ok(found)
}

/// Returns the patches of a store path. Returns `None` if the store does not have its derivation.
fn patches(path: &StorePath, deriver: Option<&StorePath>) -> Result<Option<Vec<String>>> {
    let Some(text) = deriver.and_then(|deriver| fs::read(deriver.as_path()).ok()) else {
        return Ok(None);
    };
    let derivation = Derivation::parse(&text).with_context(|| format!("parsing the derivation of {path}"))?;
    Ok(vex::list(&derivation, path))
}

/// Returns the derivations of the paths, as far as the store of this machine knows them.
fn derivers(paths: &[StorePath]) -> Result<BTreeMap<StorePath, StorePath>> {
    if paths.is_empty() || !Nix::is_installed() {
        return Ok(BTreeMap::new());
    }
    let nix = Nix::create(true)?;
    let missing = nix.missing(paths)?;
    let present: Vec<StorePath> = paths.iter().filter(|path| !missing.contains(path)).cloned().collect();
    nix.derivers(&present)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_beyond_the_limit_are_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let document = r#"{"@context":"https://openvex.dev/ns/v0.2.0","statements":[]}"#;
        fs::write(file.path(), document).unwrap();
        assert_eq!(read_documents(&[file.path()]).unwrap().len(), 1);
        // The document remains valid with white space at its end.
        let padding = " ".repeat(usize::try_from(budget::DOCUMENT.bytes).unwrap());
        fs::write(file.path(), format!("{document}{padding}")).unwrap();
        let error = format!("{:#}", read_documents(&[file.path()]).unwrap_err());
        assert!(error.contains("the document has more than 4194304 bytes"), "{error}");
    }
}
