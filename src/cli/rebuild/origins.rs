//! Builds an image, and determines the origin of each of its store paths.
//!
//! | a store path that … | is |
//! |---|---|
//! | was missing, and was built here | rebuilt |
//! | was present without a cache's signature, or with `--full` from any source: is built again, with equal results | rebuilt |
//! | has no derivation, or one that fixes the hash of its contents | fixed |
//! | has the signature of a cache, without `--full` | cached |
//! | cannot be built again | existing |
//!
//! Derivations with the builder of the image's own one (strata) make the recipe and its layers. They are always built again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use anyhow::{Context, Result, bail};

use super::{differences::Rebuilt, links::linked_paths};
use crate::{
    attest::rebuild::{Origins, PathOrigin},
    cli::nix_store::{Nix, PathInfo, Repeated},
    closure::{Derivation, StorePath},
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
    let built = fs::canonicalize(output.as_path()).with_context(|| format!("reading {output}"))?;
    let location: Location = built.display().to_string().parse().map_err(anyhow::Error::msg)?;
    let opened = location.open(&ReadOptions::default()).with_context(|| format!("reading {}", built.display()))?;
    let image = opened.image(None)?;

    let mut paths: Vec<StorePath> = image.known_store_paths().into_iter().collect();
    paths.extend(linked);
    let made = derivations.iter().filter(|(_, derivation)| derivation.builder == own.builder);
    let made: BTreeSet<StorePath> = made.flat_map(|(_, derivation)| paths_of(derivation)).collect();
    let missing = nix.missing(&made.iter().cloned().collect::<Vec<_>>())?;
    // Recipes of layers that Nix did not need are not in the store, and not a part of the image.
    paths.extend(made.iter().filter(|path| !missing.contains(path)).cloned());
    paths.sort();
    paths.dedup();

    let information = nix.information(&paths)?;
    let classify = |path: &StorePath| {
        let info = information.get(path).cloned().unwrap_or_default();
        classify(path, &outputs, &derivations, before.contains(path), &info, is_full || made.contains(path))
    };
    let classes: BTreeMap<StorePath, Class> = paths.iter().map(|path| (path.clone(), classify(path))).collect();
    let again: BTreeSet<&StorePath> =
        classes.iter().filter(|(_, class)| matches!(class, Class::Again)).map(|(path, _)| outputs[path]).collect();
    let different = repeat(nix, &again, &derivations)?;
    let hashes = nix.nar_hashes(&paths)?;
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
        // A source is named by the hash of its contents. Other paths without a derivation have an unknown origin.
        let is_source = derivations.values().any(|derivation| derivation.input_sources.contains(path));
        return if is_source { Class::Fixed } else { Class::Existing };
    };
    let is_fixed = derivation.outputs.values().any(|output| output.is_fixed && output.path.as_ref() == Some(path));
    if is_fixed {
        Class::Fixed
    } else if was_missing && info.is_built_here {
        Class::Fresh
    } else if is_required || info.keys.is_empty() {
        Class::Again
    } else {
        Class::Cached
    }
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
    use super::*;

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
        let signed = PathInfo { is_built_here: false, keys: vec!["cache-1".to_owned()] };
        let local = PathInfo { is_built_here: true, keys: Vec::new() };
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
        assert_eq!(class(&path("d", "source"), false, &local, true), Class::Fixed);
        assert_eq!(class(&path("f", "unknown"), false, &local, true), Class::Existing);
    }
}
