//! A policy in JSON: which signed attestations an image must have, and which store paths its SBOM must not list.
//!
//! ```json
//! { "sbom": true,
//!   "provenance": { "builders": ["https://ci.example.com/"] },
//!   "forbiddenPaths": ["gcc", "*-dev"],
//!   "reproducedBy": { "count": 2, "keys": ["alice.pub", "bob.pub"], "full": true } }
//! ```
//!
//! Statements that the key did not sign are ignored.

use std::{collections::BTreeSet, path::PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::{Statement, statement::predicate};
use crate::closure::{PackagePattern, ParsePatternError, StoreDir, StorePath};

/// Requirements for one image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    sbom: bool,
    builders: Option<Vec<String>>,
    forbidden_paths: Vec<PackagePattern>,
    /// The builders that must have rebuilt the image.
    pub reproduced_by: Option<ReproducedBy>,
}

/// The requirement that several builders have reproduced an image.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReproducedBy {
    /// The number of builders, each with a key of its own.
    pub count: usize,
    /// The files of their public keys. Relative paths begin at the directory of the policy.
    pub keys: Vec<PathBuf>,
    /// Whether each builder must have rebuilt every store path of the image.
    #[serde(default)]
    pub full: bool,
}

/// A policy that cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The policy is not JSON, or has unknown fields.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A value is an array or a scalar instead of a map.
    #[error("{0} is not a map; write it as {1}")]
    NotMap(&'static str, &'static str),
    /// No builder can satisfy the policy.
    #[error("provenance.builders is empty; name at least one builder, or omit provenance")]
    NoBuilders,
    /// Every image, or none, would meet the requirement.
    #[error("reproducedBy: the count is {count} of {keys} keys; set it to 1 or more, and list at least as many keys")]
    Count {
        /// The required number of builders.
        count: usize,
        /// The number of keys.
        keys: usize,
    },
    /// Every image would meet the policy.
    #[error("it has no requirement; set sbom, provenance, forbiddenPaths or reproducedBy")]
    NoRequirement,
    /// A pattern cannot match any store path.
    #[error("forbiddenPaths")]
    Pattern(#[from] ParsePatternError),
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct PolicyDocument {
    sbom: bool,
    provenance: Option<Provenance>,
    forbidden_paths: Vec<String>,
    reproduced_by: Option<ReproducedBy>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Provenance {
    builders: Vec<String>,
}

impl Policy {
    /// Parses a policy.
    ///
    /// # Errors
    ///
    /// If the policy is not a map of known fields, or has a requirement that can never or always be met.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        // Serde deserializes structures from arrays too, and fills in defaults: [] would be a policy without requirements.
        let value: Value = serde_json::from_slice(bytes)?;
        let Value::Object(fields) = &value else {
            return Err(PolicyError::NotMap("the policy", r#"{ "sbom": true }"#));
        };
        if fields.get("provenance").is_some_and(|value| !value.is_object() && !value.is_null()) {
            return Err(PolicyError::NotMap("provenance", r#"{ "builders": [URI] }"#));
        }
        if fields.get("reproducedBy").is_some_and(|value| !value.is_object() && !value.is_null()) {
            return Err(PolicyError::NotMap("reproducedBy", r#"{ "count": 2, "keys": [FILE] }"#));
        }
        // The policy is parsed from the text again, because `Value` silently drops repeated fields.
        let PolicyDocument { sbom, provenance, forbidden_paths, reproduced_by } = serde_json::from_slice(bytes)?;
        let builders = provenance.map(|provenance| provenance.builders);
        if builders.as_ref().is_some_and(Vec::is_empty) {
            return Err(PolicyError::NoBuilders);
        }
        let parse = |pattern: &String| PackagePattern::parse(pattern, &StoreDir::default());
        let forbidden_paths: Vec<PackagePattern> = forbidden_paths.iter().map(parse).collect::<Result<_, _>>()?;
        if let Some(ReproducedBy { count, keys, .. }) = &reproduced_by {
            let distinct: BTreeSet<&PathBuf> = keys.iter().collect();
            if !(1..=distinct.len()).contains(count) {
                return Err(PolicyError::Count { count: *count, keys: distinct.len() });
            }
        }
        if !sbom && builders.is_none() && forbidden_paths.is_empty() && reproduced_by.is_none() {
            return Err(PolicyError::NoRequirement);
        }
        Ok(Self { sbom, builders, forbidden_paths, reproduced_by })
    }

    /// Returns a line for each requirement that the signed statements about an image do not meet.
    pub fn violations(&self, statements: &[Statement]) -> Vec<String> {
        let sboms: Vec<&Value> = statements.iter().filter_map(sbom).collect();
        let mut violations = Vec::new();
        if sboms.is_empty() && (self.sbom || !self.forbidden_paths.is_empty()) {
            violations.push("it has no signed SBOM; strata copy --sbom FORMAT --sign-key FILE attaches one".to_owned());
        }
        violations.extend(self.builder_violation(statements));
        if !sboms.is_empty() {
            violations.extend(self.path_violations(&sboms));
        }
        violations
    }

    fn builder_violation(&self, statements: &[Statement]) -> Option<String> {
        let allowed = self.builders.as_ref()?;
        let is_provenance = |statement: &&Statement| statement.predicate_type == predicate::PROVENANCE;
        let builders: Vec<&str> = statements.iter().filter(is_provenance).filter_map(builder).collect();
        if builders.is_empty() {
            return Some(
                "it has no signed provenance; strata copy --provenance --sign-key FILE attaches one".to_owned(),
            );
        }
        let is_allowed = builders.iter().any(|id| allowed.iter().any(|allowed| allowed == id));
        (!is_allowed).then(|| format!("it was built by {}, not by {}", builders.join(", "), allowed.join(" or ")))
    }

    fn path_violations(&self, sboms: &[&Value]) -> Vec<String> {
        if self.forbidden_paths.is_empty() {
            return Vec::new();
        }
        let mut paths = BTreeSet::new();
        sboms.iter().for_each(|sbom| find_store_paths(sbom, &mut paths));
        if paths.is_empty() {
            return vec![
                "forbiddenPaths: its signed SBOM lists no store paths; attach one that does (strata copy --sbom FORMAT)"
                    .to_owned(),
            ];
        }
        let violation = |pattern: &PackagePattern| {
            let path = paths.iter().find(|path| pattern.is_match(path))?;
            Some(format!("forbiddenPaths: {:?} is in it: {path}", pattern.as_str()))
        };
        self.forbidden_paths.iter().filter_map(violation).collect()
    }
}

fn builder(statement: &Statement) -> Option<&str> {
    statement.predicate.pointer("/runDetails/builder/id")?.as_str()
}

/// Returns the SBOM of a statement, if it has one. An empty predicate is not an SBOM.
fn sbom(statement: &Statement) -> Option<&Value> {
    let document = &statement.predicate;
    let is_sbom = match statement.predicate_type.as_str() {
        predicate::CYCLONEDX => document["bomFormat"] == "CycloneDX",
        // cosign writes SPDX in its tag-value form as one string (cosign, pkg/cosign/attestation/attestation.go).
        predicate::SPDX => {
            document["spdxVersion"].is_string() || document.as_str().is_some_and(|text| text.contains("SPDXVersion:"))
        }
        _ => false,
    };
    is_sbom.then_some(document)
}

/// Collects the store paths in all strings of an SBOM. Formats and tools list paths in different places (nested components,
/// properties, file names, evidence), and a path that is missed would not be checked.
fn find_store_paths(document: &Value, found: &mut BTreeSet<StorePath>) {
    match document {
        Value::String(text) => found.extend(store_paths(text)),
        Value::Array(items) => items.iter().for_each(|item| find_store_paths(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| find_store_paths(field, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Returns the store paths in a text, such as that of `/nix/store/<hash>-hello-2.12/bin/hello`.
fn store_paths(text: &str) -> impl Iterator<Item = StorePath> {
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || "+-._?=".contains(letter);
    text.split('/').skip(1).filter_map(move |part| {
        let base = part.split(|letter| !is_name(letter)).next().unwrap_or_default();
        StorePath::parse(&format!("/nix/store/{base}")).ok()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{attest::statement::predicate, oci::Digest};

    fn policy(value: &Value) -> Policy {
        Policy::parse(value.to_string().as_bytes()).unwrap()
    }

    fn statement(kind: &str, predicate: Value) -> Statement {
        Statement::new("", &Digest::sha256(b"image"), kind, predicate)
    }

    fn path(name: &str) -> String {
        format!("/nix/store/{}-{name}", "a".repeat(32))
    }

    #[test]
    fn missing_attestations_and_other_builders_are_violations() {
        let policy = policy(&json!({
            "sbom": true, "provenance": { "builders": ["https://ci.example.com/"] }, "forbiddenPaths": ["gcc-*"]
        }));
        assert_eq!(policy.violations(&[]).len(), 2);
        let sbom = json!({ "spdxVersion": "SPDX-2.3", "packages": [ { "packageFileName": path("gcc-13.2") } ] });
        let provenance = json!({ "runDetails": { "builder": { "id": "https://other/" } } });
        let statements = [statement(predicate::SPDX, sbom), statement(predicate::PROVENANCE, provenance)];
        let violations = policy.violations(&statements);
        assert_eq!(violations.len(), 2, "{violations:?}");
        assert!(violations[0].contains("built by https://other/, not by https://ci.example.com/"), "{violations:?}");
        assert!(violations[1].contains(&path("gcc-13.2")), "{violations:?}");
        assert!(Policy::default().violations(&[]).is_empty());
    }

    #[test]
    fn forbidden_paths_are_found_everywhere_in_an_sbom() {
        let gcc = path("gcc-13.2.0");
        let hello =
            json!({ "name": "hello", "properties": [ { "name": "nix:store_path", "value": path("hello-2.12") } ] });
        let property = json!([ { "name": "nix:store_path", "value": gcc } ]);
        let listings = [
            json!({ "components": [ hello, { "properties": property } ] }),
            json!({ "components": [ hello, { "components": [ { "components": [ { "properties": property } ] } ] } ] }),
            json!({ "components": [ hello ], "metadata": { "component": { "components": [ { "properties": property } ] } } }),
            json!({ "components": [ hello, { "evidence": { "occurrences": [ { "location": format!("{gcc}/bin/gcc") } ] } } ] }),
            json!({ "components": [ hello, { "name": format!("file:.{gcc}/lib") } ] }),
        ];
        for mut listing in listings {
            listing["bomFormat"] = "CycloneDX".into();
            let statements = [statement(predicate::CYCLONEDX, listing.clone())];
            for pattern in ["gcc", "gcc-13.2.0", "gcc-*", &gcc, &gcc["/nix/store/".len()..]] {
                let violations = policy(&json!({ "forbiddenPaths": [pattern] })).violations(&statements);
                assert_eq!(violations.len(), 1, "{pattern} in {listing}");
            }
            assert!(policy(&json!({ "forbiddenPaths": ["clang"] })).violations(&statements).is_empty());
        }
    }

    #[test]
    fn an_sbom_that_cannot_show_absence_is_a_violation() {
        let policy = policy(&json!({ "forbiddenPaths": ["gcc"] }));
        for (kind, sbom) in [
            (predicate::CYCLONEDX, json!({ "bomFormat": "CycloneDX", "components": [ { "name": "hello" } ] })),
            (predicate::CYCLONEDX, json!({ "bomFormat": "CycloneDX" })),
            (predicate::CYCLONEDX, json!({})),
            (predicate::CYCLONEDX, Value::Null),
            (predicate::SPDX, json!({ "spdxVersion": "SPDX-2.3", "packages": [] })),
            (predicate::SPDX, json!([])),
        ] {
            assert_eq!(policy.violations(&[statement(kind, sbom.clone())]).len(), 1, "{sbom}");
        }
    }

    #[test]
    fn policies_that_would_never_or_always_pass_are_refused() {
        for text in [
            "[]",
            "null",
            "true",
            r#""sbom""#,
            r#"[true, null, ["gcc"]]"#,
            r#"{ "sbom": "yes" }"#,
            r#"{ "sboms": true }"#,
            r#"{ "sbom": true, "sbom": false }"#,
            r#"{ "provenance": [["https://ci.example.com/"]] }"#,
            r#"{ "provenance": {} }"#,
            r#"{ "provenance": { "builders": [] } }"#,
            r#"{ "provenance": { "builders": "https://ci.example.com/" } }"#,
            r#"{ "forbiddenPaths": "gcc" }"#,
            r#"{ "forbiddenPaths": [".*-gcc-[0-9].*"] }"#,
            r#"{ "forbiddenPaths": ["/usr/bin/gcc"] }"#,
            r#"{ "forbiddenPaths": null }"#,
            r#"{ "reproducedBy": [2, ["a.pub", "b.pub"]] }"#,
            r#"{ "reproducedBy": { "count": 0, "keys": ["a.pub"] } }"#,
            r#"{ "reproducedBy": { "count": 2, "keys": ["a.pub"] } }"#,
            r#"{ "reproducedBy": { "count": 2, "keys": ["a.pub", "a.pub"] } }"#,
            r#"{ "reproducedBy": { "count": 1, "keys": [] } }"#,
            r#"{ "reproducedBy": { "count": 1, "keys": ["a.pub"], "ful": true } }"#,
        ] {
            assert!(Policy::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
