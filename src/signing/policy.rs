//! What an image must come with: a policy in JSON.
//!
//! ```json
//! { "sbom": true,
//!   "provenance": { "builders": ["https://ci.example.com/"] },
//!   "forbiddenPaths": ["gcc-*", "*-dev"] }
//! ```
//!
//! Only what the key signed counts.

use serde::Deserialize;
use serde_json::Value;

use super::{Statement, predicate};
use crate::closure::{StorePath, matches};

/// What is asked of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Policy {
    /// Whether it must have a bill of materials.
    sbom: bool,
    /// The provenance it must have.
    provenance: Option<Wanted>,
    /// Names of store paths that must not be in it; `*` stands for anything.
    forbidden_paths: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Any of these builders' ids.
    builders: Vec<String>,
}

impl Policy {
    /// What the signed statements about an image lack, a line each.
    pub fn violations(&self, statements: &[Statement]) -> Vec<String> {
        let mut violations = Vec::new();
        let of = |kinds: &[&str]| -> Vec<&Statement> {
            statements.iter().filter(|statement| kinds.contains(&statement.predicate_type.as_str())).collect()
        };
        let bills = of(&[predicate::CYCLONEDX, predicate::SPDX]);
        if bills.is_empty() && (self.sbom || !self.forbidden_paths.is_empty()) {
            violations.push(
                "it has no signed bill of materials (strata copy --sbom --sign-key FILE attaches one)".to_owned(),
            );
        }
        if let Some(wanted) = &self.provenance {
            let built: Vec<&str> = of(&[predicate::PROVENANCE]).into_iter().filter_map(builder).collect();
            if built.is_empty() {
                violations.push(
                    "it has no signed provenance (strata copy --provenance --sign-key FILE attaches one)".to_owned(),
                );
            } else if !built.iter().any(|id| wanted.builders.iter().any(|allowed| allowed == id)) {
                violations.push(format!(
                    "it was built by {}, not by {}",
                    built.join(", "),
                    wanted.builders.join(" or ")
                ));
            }
        }
        for pattern in &self.forbidden_paths {
            let paths = bills.iter().flat_map(|bill| store_paths(&bill.predicate));
            let mut found = paths.filter(|path| matches(pattern, path.name()));
            if let Some(path) = found.next() {
                violations.push(format!("forbiddenPaths: {pattern:?} is in it: {path}"));
            }
        }
        violations
    }
}

fn builder(statement: &Statement) -> Option<&str> {
    statement.predicate.pointer("/runDetails/builder/id")?.as_str()
}

/// The store paths that a bill lists, of either format.
fn store_paths(bill: &Value) -> Vec<StorePath> {
    let list = |key: &str| bill[key].as_array().into_iter().flatten();
    let cyclonedx = list("components").filter_map(|component| {
        let properties = component["properties"].as_array()?;
        properties.iter().find(|property| property["name"] == "nix:store_path")?["value"].as_str()
    });
    let spdx = list("packages").filter_map(|package| package["packageFileName"].as_str());
    cyclonedx.chain(spdx).filter_map(|path| StorePath::parse(path).ok()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::oci::Digest;

    #[test]
    fn what_is_missing_is_said() {
        let digest = Digest::of(b"image");
        let policy: Policy = serde_json::from_value(json!({
            "sbom": true, "provenance": { "builders": ["https://ci.example.com/"] }, "forbiddenPaths": ["gcc-*"]
        }))
        .unwrap();
        assert_eq!(policy.violations(&[]).len(), 2);
        let path = format!("/nix/store/{}-gcc-13.2", "a".repeat(32));
        let bill = json!({ "packages": [ { "packageFileName": path } ] });
        let statements = [
            Statement::new("", &digest, predicate::SPDX, bill),
            Statement::new(
                "",
                &digest,
                predicate::PROVENANCE,
                json!({ "runDetails": { "builder": { "id": "https://other/" } } }),
            ),
        ];
        let violations = policy.violations(&statements);
        assert_eq!(violations.len(), 2, "{violations:?}");
        assert!(violations[0].contains("built by https://other/, not by https://ci.example.com/"), "{violations:?}");
        assert!(violations[1].contains(&path), "{violations:?}");
        assert!(Policy::default().violations(&[]).is_empty());
    }
}
