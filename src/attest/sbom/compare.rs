//! Compares two SBOMs: added, removed and changed components.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Bom, DocumentKind};

/// The differences between the packages of two images.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Differences {
    /// The packages that only the second image has.
    pub added: Vec<PackageVersion>,
    /// The packages that only the first image has.
    pub removed: Vec<PackageVersion>,
    /// The packages with different versions.
    pub changed: Vec<VersionChange>,
    /// The packages with the same versions and different store paths.
    pub rebuilt: Vec<PackageVersion>,
}

/// A version of a package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PackageVersion {
    /// The name of the package, followed by the output unless it is the main one.
    pub name: String,
    /// The version, if it is known.
    pub version: Option<String>,
}

/// A package with different versions in the two images.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct VersionChange {
    /// The name of the package.
    pub name: String,
    /// The versions in the first image.
    pub before: Vec<String>,
    /// The versions in the second image.
    pub after: Vec<String>,
}

/// The versions and the component references of each package name.
type Versions = BTreeMap<String, (BTreeSet<Option<String>>, BTreeSet<String>)>;

/// Compares the packages of two images.
pub fn compare(old: &Bom, new: &Bom) -> Differences {
    let (old, new) = (versions(old), versions(new));
    let mut differences = Differences::default();
    let entries = |name: &String, versions: &BTreeSet<Option<String>>| -> Vec<PackageVersion> {
        versions.iter().map(|version| PackageVersion { name: name.clone(), version: version.clone() }).collect()
    };
    for (name, (before, references)) in &old {
        match new.get(name) {
            None => differences.removed.extend(entries(name, before)),
            Some((after, _)) if before != after => {
                let texts = |versions: &BTreeSet<Option<String>>| -> Vec<String> {
                    versions.iter().map(|version| version.clone().unwrap_or_default()).collect()
                };
                differences.changed.push(VersionChange {
                    name: name.clone(),
                    before: texts(before),
                    after: texts(after),
                });
            }
            Some((_, others)) if references != others => differences.rebuilt.extend(entries(name, before)),
            Some(_) => {}
        }
    }
    let added = new.iter().filter(|(name, _)| !old.contains_key(*name));
    differences.added = added.flat_map(|(name, (versions, _))| entries(name, versions)).collect();
    differences
}

fn versions(bom: &Bom) -> Versions {
    let mut versions = Versions::new();
    for component in bom.components.iter().filter(|component| !matches!(component.kind, DocumentKind::Unknown)) {
        let identity = &component.identity;
        let output = identity.output.as_ref().map_or_else(String::new, |output| format!(" ({output})"));
        let (all, references) = versions.entry(format!("{}{output}", identity.name)).or_default();
        all.insert(identity.version.clone());
        references.insert(component.reference.clone());
    }
    versions
}
