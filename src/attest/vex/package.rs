//! The statements about a package, from its patches and its metadata.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
};

use super::{
    patches::{Patches, cves, is_revert},
    statement::{Product, Status, VexStatement, Vulnerability},
};
use crate::{
    attest::sbom::{About, identifiers},
    closure::StorePath,
};

/// A store path, and what is known of its vulnerabilities.
#[derive(Clone, Debug)]
pub struct Package {
    /// The package URL in the SBOM.
    purl: String,
    /// The CPE in the SBOM.
    cpe: Option<String>,
    patches: Patches,
    /// `meta.knownVulnerabilities`.
    known: Vec<String>,
}

impl Package {
    /// Returns the package of a store path. `about` is its metadata, if the expression of the image is known.
    pub fn new(path: &StorePath, patches: Patches, about: Option<&About>) -> Self {
        let (purl, cpe) = identifiers(path, about);
        let known = about.map(|about| about.known_vulnerabilities.clone()).unwrap_or_default();
        Self { purl, cpe, patches, known }
    }

    /// Returns a statement for each vulnerability with a CVE number: `affected` for those for which nixpkgs marks the package as
    /// insecure, and `fixed` for the others that a patch names. `image` is the package URL of the image, if it is known.
    pub fn statements(&self, image: Option<&str>) -> Vec<VexStatement> {
        let mut affected: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for text in &self.known {
            cves(text).into_iter().for_each(|cve| affected.entry(cve).or_default().push(text));
        }
        let mut statements: Vec<VexStatement> = Vec::new();
        for (cve, texts) in &affected {
            let action = format!(
                "replace it with a version that nixpkgs does not mark as insecure; meta.knownVulnerabilities: {}",
                texts.join("; ")
            );
            let statement = self.statement(cve, Status::Affected, image);
            statements.push(VexStatement { action_statement: Some(action), ..statement });
        }
        let fixed = fixed(&self.patches).into_iter().filter(|(cve, _)| !affected.contains_key(cve));
        statements.extend(fixed.map(|(cve, notes)| {
            let notes: Vec<String> = notes.into_iter().collect();
            let statement = self.statement(&cve, Status::Fixed, image);
            VexStatement { status_notes: Some(notes.join("; ")), ..statement }
        }));
        statements
    }

    fn statement(&self, cve: &str, status: Status, image: Option<&str>) -> VexStatement {
        // Scanners look for the image with the package, or for the package alone.
        let with_image = |image: &str| Product {
            id: Some(image.to_owned()),
            subcomponents: vec![self.product()],
            ..Product::default()
        };
        let products = image.map(with_image).into_iter().chain([self.product()]).collect();
        let vulnerability = Vulnerability { id: None, name: cve.to_owned(), description: None, aliases: Vec::new() };
        VexStatement {
            id: None,
            version: None,
            vulnerability,
            timestamp: None,
            last_updated: None,
            products,
            status,
            supplier: None,
            status_notes: None,
            justification: None,
            impact_statement: None,
            action_statement: None,
            action_statement_timestamp: None,
        }
    }

    fn product(&self) -> Product {
        let mut identifiers = BTreeMap::from([("purl".to_owned(), self.purl.clone())]);
        identifiers.extend(self.cpe.clone().map(|cpe| ("cpe23".to_owned(), cpe)));
        Product { id: Some(self.purl.clone()), identifiers, ..Product::default() }
    }
}

/// Returns the vulnerabilities that patches fix, each with the patches that name it.
///
/// ```text
/// revert-fix-of-CVE-2024-1111.patch   fixes nothing, and CVE-2024-1111 is not fixed by other patches either
/// Subject: Revert "CVE-2024-2222"     the same for the numbers in the header
/// ```
fn fixed(patches: &Patches) -> BTreeMap<String, BTreeSet<String>> {
    let mut fixed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut reverted: BTreeSet<String> = BTreeSet::new();
    for (name, header) in patches {
        let reverting = iter::once(name.as_str()).chain(header.lines()).filter(|line| is_revert(line));
        reverted.extend(reverting.flat_map(cves));
        if is_revert(name) {
            continue;
        }
        for cve in cves(name) {
            fixed.entry(cve).or_default().insert(format!("patch {name}"));
        }
        let found = if is_revert(header) { BTreeSet::new() } else { cves(header) };
        for cve in found.into_iter().filter(|cve| !cves(name).contains(cve)) {
            fixed.entry(cve).or_default().insert(format!("patch {name}, by its header"));
        }
    }
    fixed.retain(|cve, _| !reverted.contains(cve));
    fixed
}
