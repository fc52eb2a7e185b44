//! Compares two SBOMs: added, removed and changed components.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Bom, Kind};

/// What differs between two images.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Differences {
    /// Only in the second.
    pub added: Vec<Entry>,
    /// Only in the first.
    pub removed: Vec<Entry>,
    /// In both, in other versions.
    pub changed: Vec<Change>,
    /// In both in the same versions, but built anew: packages whose store paths differ.
    pub rebuilt: Vec<Entry>,
}

/// A package in one of its versions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Entry {
    /// Its name, with its output where that is not the main one.
    pub name: String,
    /// Its version, where it has one.
    pub version: Option<String>,
}

/// A package in both.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its name.
    pub name: String,
    /// Its versions in the first.
    pub before: Vec<String>,
    /// Its versions in the second.
    pub after: Vec<String>,
}

/// By name: the versions, and the components that have them.
type Versions = BTreeMap<String, (BTreeSet<Option<String>>, BTreeSet<String>)>;

/// Compares what two images are made of.
pub fn compare(old: &Bom, new: &Bom) -> Differences {
    let (old, new) = (versions(old), versions(new));
    let mut differences = Differences::default();
    let entries = |name: &String, versions: &BTreeSet<Option<String>>| -> Vec<Entry> {
        versions.iter().map(|version| Entry { name: name.clone(), version: version.clone() }).collect()
    };
    for (name, (before, references)) in &old {
        match new.get(name) {
            None => differences.removed.extend(entries(name, before)),
            Some((after, _)) if before != after => {
                let shown = |versions: &BTreeSet<Option<String>>| -> Vec<String> {
                    versions.iter().map(|version| version.clone().unwrap_or_default()).collect()
                };
                differences.changed.push(Change { name: name.clone(), before: shown(before), after: shown(after) });
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
    for component in bom.components.iter().filter(|component| !matches!(component.kind, Kind::Unknown)) {
        let identity = &component.identity;
        let output = identity.output.as_ref().map_or_else(String::new, |output| format!(" ({output})"));
        let (all, references) = versions.entry(format!("{}{output}", identity.name)).or_default();
        all.insert(identity.version.clone());
        references.insert(component.reference.clone());
    }
    versions
}
