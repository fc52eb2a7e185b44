//! Builds an image, and determines the origin of each of its store paths.
//!
//! | a store path that … | is |
//! |---|---|
//! | was missing, and was built here | rebuilt |
//! | was present without a cache's signature, or with `--full` from any source: is built again, with equal results | rebuilt |
//! | is a source with a content address, or has a derivation that fixes the hash of its contents | fixed |
//! | has the signature of a cache, without `--full` or without a known derivation | cached |
//! | cannot be built again | existing |
//!
//! Derivations with the builder of the image's own one (strata) make the recipe and its layers. They are always built again.
//!
//! Archives and layouts, and layers that a program wrote, do not list the store paths whose files they contain. For such images,
//! all inputs of the derivation are listed. Those that this command did not build are cached or existing, and refused by `--full`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::{differences::Rebuilt, links::linked_paths};
use crate::{
    attest::rebuild::{Origins, PathOrigin},
    cli::nix_store::{Nix, PathInfo, Repeated},
    closure::{Derivation, StorePath},
    image::{Image, LayerBlob},
    terminal::note,
    transport::{Location, ReadOptions},
};

/// Builds the image of a derivation. Returns it with the origins of its store paths, and the system that built it.
pub fn build(nix: &Nix, top: &StorePath, is_full: bool) -> Result<(Rebuilt, Origins, String)> {
    let derivations = nix.derivations(top)?;
    let own = &derivations[top];
    let systems = nix.systems()?;
    if !systems.contains(&own.system) && own.system != "builtin" {
        let here = systems.join(", ");
        bail!(
            "{top} is for {}, but this machine builds for {here}; run strata rebuild on one that builds it",
            own.system
        );
    }
    let outputs = outputs(&derivations);
    let before = nix.missing(&outputs.keys().cloned().collect::<Vec<_>>())?;
    let output = nix.realise(top)?;
    let linked = linked_paths(&output, &nix.requisites(std::slice::from_ref(&output))?)?;
    let image = open(&output)?;

    let inputs = Inputs { derivations: &derivations, outputs: &outputs, builder: &own.builder };
    let made = inputs.made();
    let mut paths = paths_of_image(&image);
    paths.extend(linked);
    // Recipes of layers that Nix did not need are not in the store, and not a part of the image.
    paths.extend(nix.valid(made.iter().cloned())?);
    let is_listed = inputs.are_listed(&image);
    let further = if is_listed { BTreeSet::new() } else { nix.requisites(&nix.valid(inputs.all())?)? };

    let all: Vec<StorePath> = paths.union(&further).cloned().collect();
    let information = nix.information(&all)?;
    let classify = |path: &StorePath| {
        let info = information.get(path).cloned().unwrap_or_default();
        match classify(path, &outputs, &derivations, before.contains(path), &info, is_full || made.contains(path)) {
            // Inputs of an image that lists no store paths include compilers, which are not built again.
            Class::Again if !paths.contains(path) && info.keys.is_empty() => Class::Existing,
            Class::Again if !paths.contains(path) => Class::Cached,
            class => class,
        }
    };
    let classes: BTreeMap<StorePath, Class> = all.iter().map(|path| (path.clone(), classify(path))).collect();
    if is_full {
        check_full(top, &classes, is_listed)?;
    }
    let again: BTreeSet<&StorePath> =
        classes.iter().filter(|(_, class)| matches!(class, Class::Again)).map(|(path, _)| outputs[path]).collect();
    let different = repeat(nix, &again, &derivations)?;
    let hashes = nix.nar_hashes(&all)?;
    let mut origins = Origins::default();
    for (path, class) in classes {
        let keys = information.get(&path).map(|info| info.keys.clone()).unwrap_or_default();
        let nar_hash = hashes[&path].hex();
        let list = match class {
            Class::Fresh | Class::Again => &mut origins.rebuilt,
            Class::Fixed => &mut origins.fixed,
            Class::Cached => &mut origins.cached,
            Class::Existing => &mut origins.existing,
        };
        let keys = if matches!(class, Class::Cached) { keys } else { Vec::new() };
        list.push(PathOrigin { path, nar_hash, keys });
    }
    Ok((Rebuilt { image, hashes, different }, origins, own.system.clone()))
}

/// Opens the image that a derivation built.
fn open(output: &StorePath) -> Result<Image> {
    let built = fs::canonicalize(output.as_path()).with_context(|| format!("reading {output}"))?;
    let location: Location = built.display().to_string().parse().map_err(anyhow::Error::msg)?;
    let opened = location.open(&ReadOptions::default()).with_context(|| format!("reading {}", built.display()))?;
    Ok(opened.image(None)?)
}

/// Returns the store paths that the recipe or the history of an image names.
fn paths_of_image(image: &Image) -> BTreeSet<StorePath> {
    let layers = image.store_paths().into_iter().flatten();
    let files = image.layers.iter().filter_map(|layer| Some(layer.file.as_ref()?.path().to_owned()));
    let mut paths = image.known_store_paths();
    paths.extend(layers.chain(files).filter_map(|path| containing(&path)));
    paths
}

/// Returns the store path that contains a file.
fn containing(file: &Path) -> Option<StorePath> {
    file.ancestors().find_map(|path| StorePath::parse(path.to_str()?).ok())
}

/// Errors if a store path was neither built by this command nor has fixed contents.
fn check_full(top: &StorePath, classes: &BTreeMap<StorePath, Class>, is_listed: bool) -> Result<()> {
    let mut others = classes.iter().filter(|(_, class)| matches!(class, Class::Cached | Class::Existing));
    let Some((first, _)) = others.next() else { return Ok(()) };
    let count = others.count() + 1;
    if is_listed {
        bail!(
            "--full: {count} store paths of the image, such as {first}, have no derivation, so they cannot be built again; omit --full, or let the flake build them"
        );
    }
    bail!(
        "--full: the image of {top} does not list all store paths whose files it contains, and {count} inputs of its derivation, such as {first}, were not built by this command; use a store without them, or omit --full"
    )
}

/// The inputs of an image's derivation.
struct Inputs<'a> {
    derivations: &'a BTreeMap<StorePath, Derivation>,
    /// The derivation of each output.
    outputs: &'a BTreeMap<StorePath, &'a StorePath>,
    /// The builder of the image's derivation.
    builder: &'a str,
}

impl Inputs<'_> {
    /// Returns the outputs of derivations with the builder of the image.
    fn made(&self) -> BTreeSet<StorePath> {
        let made = self.derivations.values().filter(|derivation| derivation.builder == self.builder);
        made.flat_map(paths_of).collect()
    }

    /// Returns all outputs and sources, of which the store may have some.
    fn all(&self) -> impl Iterator<Item = StorePath> {
        let sources = self.derivations.values().flat_map(|derivation| derivation.input_sources.iter().cloned());
        self.outputs.keys().cloned().chain(sources)
    }

    /// Whether every file of the image is in a listed store path, or in a blob with fixed contents. Only recipes list all store
    /// paths: any derivation can write an archive, whose history may name a part of them.
    fn are_listed(&self, image: &Image) -> bool {
        let is_listed = |layer: &LayerBlob| match &layer.file {
            Some(file) if layer.paths.is_empty() => {
                containing(file.path()).is_some_and(|path| self.has_fixed_contents(&path))
            }
            _ => true,
        };
        image.closure.is_some() && image.layers.iter().all(is_listed)
    }

    /// Whether the contents of a store path are those of sources and of derivations that fix a hash, possibly in another form
    /// that the builder of the image made.
    fn has_fixed_contents(&self, path: &StorePath) -> bool {
        let is_builder = |path: &StorePath| Path::new(self.builder).starts_with(path.as_path());
        let (mut left, mut seen) = (vec![path.clone()], BTreeSet::new());
        while let Some(path) = left.pop() {
            // A path without a derivation is classified itself.
            let Some(derivation) = self.outputs.get(&path).and_then(|path| self.derivations.get(*path)) else {
                continue;
            };
            if is_fixed(derivation, &path) || !seen.insert(path) {
                continue;
            }
            if derivation.builder != self.builder {
                return false;
            }
            let inputs = derivation.input_derivations.iter().filter_map(|path| self.derivations.get(path));
            left.extend(inputs.filter(|input| !paths_of(input).any(|path| is_builder(&path))).flat_map(paths_of));
        }
        true
    }
}

/// Builds derivations again. Returns the outputs that are different.
fn repeat(
    nix: &Nix,
    again: &BTreeSet<&StorePath>,
    derivations: &BTreeMap<StorePath, Derivation>,
) -> Result<BTreeMap<StorePath, PathBuf>> {
    let mut different = BTreeMap::new();
    if again.is_empty() {
        return Ok(different);
    }
    note!("building {} derivations again", again.len());
    nix.realise_all(&again.iter().copied().cloned().collect::<Vec<_>>())?;
    for path in again {
        if let Repeated::Different(found) = nix.repeat(path, &derivations[*path])? {
            different.extend(found);
        }
    }
    Ok(different)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// Built by this command.
    Fresh,
    /// To be built again by this command.
    Again,
    Fixed,
    Cached,
    Existing,
}

fn classify(
    path: &StorePath,
    outputs: &BTreeMap<StorePath, &StorePath>,
    derivations: &BTreeMap<StorePath, Derivation>,
    was_missing: bool,
    info: &PathInfo,
    is_required: bool,
) -> Class {
    let Some(derivation) = outputs.get(path).and_then(|path| derivations.get(*path)) else {
        // Nix names a source by the hash of its contents. An expression can also make an input-addressed path a source, without
        // its derivation (builtins.storePath, builtins.appendContext).
        let is_source = derivations.values().any(|derivation| derivation.input_sources.contains(path));
        return match is_source && info.is_content_addressed {
            true => Class::Fixed,
            false if !info.keys.is_empty() => Class::Cached,
            false => Class::Existing,
        };
    };
    if is_fixed(derivation, path) {
        Class::Fixed
    } else if was_missing && info.is_built_here {
        Class::Fresh
    } else if is_required || info.keys.is_empty() {
        Class::Again
    } else {
        Class::Cached
    }
}

fn is_fixed(derivation: &Derivation, path: &StorePath) -> bool {
    derivation.outputs.values().any(|output| output.is_fixed && output.path.as_ref() == Some(path))
}

/// Returns the derivation of each output.
fn outputs(derivations: &BTreeMap<StorePath, Derivation>) -> BTreeMap<StorePath, &StorePath> {
    let outputs =
        derivations.iter().flat_map(|(path, derivation)| paths_of(derivation).map(move |output| (output, path)));
    outputs.collect()
}

fn paths_of(derivation: &Derivation) -> impl Iterator<Item = StorePath> {
    derivation.outputs.values().filter_map(|output| output.path.clone())
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use super::*;
    use crate::{
        closure::Graph,
        image::BlobFile,
        oci::{Algorithm, Descriptor, Digest, Platform, descriptor::media_type},
    };

    fn path(letter: &str, name: &str) -> StorePath {
        StorePath::parse(&format!("/nix/store/{}-{name}", letter.repeat(32))).unwrap()
    }

    #[test]
    fn paths_of_caches_are_not_rebuilt() {
        let derivation = |output: &StorePath, hash: &str| {
            let text =
                format!(r#"Derive([("out","{output}","","{hash}")],[],["{}"],"s","b",[],[])"#, path("d", "source"));
            Derivation::parse(text.as_bytes()).unwrap()
        };
        let (built, fixed) = (path("a", "built"), path("b", "fixed"));
        let derivations = BTreeMap::from([
            (path("a", "built.drv"), derivation(&built, "")),
            (path("b", "fixed.drv"), derivation(&fixed, "00")),
        ]);
        let outputs = outputs(&derivations);
        let signed = PathInfo { keys: vec!["cache-1".to_owned()], ..PathInfo::default() };
        let local = PathInfo { is_built_here: true, ..PathInfo::default() };
        let source = PathInfo { is_content_addressed: true, ..local.clone() };
        let copied = PathInfo::default();
        let class = |path: &StorePath, was_missing, info, is_required| {
            classify(path, &outputs, &derivations, was_missing, info, is_required)
        };
        assert_eq!(class(&built, true, &local, false), Class::Fresh);
        assert_eq!(class(&built, true, &local, true), Class::Fresh);
        assert_eq!(class(&built, false, &local, false), Class::Again);
        // A path that this command took from a cache was missing, too.
        assert_eq!(class(&built, true, &signed, false), Class::Cached);
        assert_eq!(class(&built, false, &signed, false), Class::Cached);
        assert_eq!(class(&built, true, &signed, true), Class::Again);
        assert_eq!(class(&built, true, &copied, false), Class::Again);
        assert_eq!(class(&fixed, true, &local, true), Class::Fixed);
        assert_eq!(class(&path("d", "source"), false, &source, true), Class::Fixed);
        // Input-addressed paths that the expression names as sources.
        assert_eq!(class(&path("d", "source"), false, &signed, true), Class::Cached);
        assert_eq!(class(&path("d", "source"), false, &local, true), Class::Existing);
        assert_eq!(class(&path("f", "unknown"), false, &local, true), Class::Existing);
        assert_eq!(class(&path("f", "unknown"), false, &source, true), Class::Existing);
        assert_eq!(class(&path("f", "unknown"), false, &signed, true), Class::Cached);
    }

    /// Returns an image with one layer, whose blob is in a file.
    fn image(file: &StorePath, is_recipe: bool) -> Image {
        let digest = Digest::sha256(b"");
        let place = file.as_path().join("blob");
        let layer =
            LayerBlob::new(Descriptor::new(media_type::LAYER_TAR, digest, 0), digest, || Ok(Box::new(io::empty())))
                .with_file(BlobFile::new(place.clone(), (digest, 0), move || std::fs::File::open(&place)));
        Image {
            reference: None,
            platform: Platform::here(),
            media_type: media_type::MANIFEST.to_owned(),
            manifest: Vec::new(),
            manifest_algorithm: Algorithm::default(),
            config_media_type: media_type::CONFIG.to_owned(),
            config: b"{}".to_vec(),
            config_algorithm: Algorithm::default(),
            config_origin: None,
            layers: vec![layer],
            closure: is_recipe.then(|| Arc::new(Graph::union([]))),
            as_is: false,
        }
    }

    #[test]
    fn archives_and_blobs_of_programs_list_no_store_paths() {
        let strata = path("s", "strata");
        let derive = |output: &StorePath, hash: &str, builder: &str, inputs: &[&StorePath]| {
            let inputs: Vec<String> = inputs.iter().map(|path| format!(r#"("{path}",["out"])"#)).collect();
            let text =
                format!(r#"Derive([("out","{output}","","{hash}")],[{}],[],"s","{builder}",[],[])"#, inputs.join(","));
            Derivation::parse(text.as_bytes()).unwrap()
        };
        let builder = format!("{strata}/bin/strata");
        let (download, archive) = (path("a", "download"), path("b", "archive"));
        let (of_download, of_archive) = (path("c", "image"), path("d", "image"));
        let [strata_drv, download_drv, archive_drv] =
            ["strata", "download", "archive"].map(|name| path("f", &format!("{name}.drv")));
        let derivations = BTreeMap::from([
            (strata_drv.clone(), derive(&strata, "", "bash", &[])),
            (download_drv.clone(), derive(&download, "00", "bash", &[])),
            (archive_drv.clone(), derive(&archive, "", "bash", &[])),
            (path("g", "image.drv"), derive(&of_download, "", &builder, &[&strata_drv, &download_drv])),
            (path("h", "image.drv"), derive(&of_archive, "", &builder, &[&strata_drv, &archive_drv])),
        ]);
        let outputs = outputs(&derivations);
        let inputs = Inputs { derivations: &derivations, outputs: &outputs, builder: &builder };
        for (file, is_recipe, expected) in [
            (&download, true, true),
            (&of_download, true, true),
            (&download, false, false),
            // Its layers may contain files of any input.
            (&archive, true, false),
            (&of_archive, true, false),
        ] {
            let image = image(file, is_recipe);
            assert_eq!(inputs.are_listed(&image), expected, "{file} {is_recipe}");
            assert_eq!(paths_of_image(&image), BTreeSet::from([file.clone()]));
        }
        assert_eq!(inputs.made(), BTreeSet::from([of_download, of_archive]));
    }

    #[test]
    fn full_rebuilds_have_no_paths_of_caches() {
        let top = path("a", "image.drv");
        let check = |class, is_listed| check_full(&top, &BTreeMap::from([(path("b", "x"), class)]), is_listed);
        for class in [Class::Fresh, Class::Again, Class::Fixed] {
            check(class, true).and_then(|()| check(class, false)).unwrap();
        }
        for class in [Class::Cached, Class::Existing] {
            assert!(check(class, true).unwrap_err().to_string().contains("1 store paths of the image, such as"));
            assert!(check(class, false).unwrap_err().to_string().contains("1 inputs of its derivation, such as"));
        }
    }
}
