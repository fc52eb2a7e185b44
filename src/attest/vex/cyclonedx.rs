//! The VEX document in [CycloneDX 1.6](https://cyclonedx.org/docs/1.6/json/#vulnerabilities).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    Vex,
    statement::{Justification, Status, VexStatement},
};

/// Package URLs, each with its CPE.
type Packages = BTreeMap<String, Option<String>>;

impl Vex {
    /// Returns the CycloneDX document. It has no statements about other images, because scanners apply all statements to the image,
    /// and none about packages without a package URL, because `affects` would be empty.
    pub fn cyclonedx(&self) -> Value {
        let image = self.product.as_deref();
        let statements = self.statements.iter().map(|statement| (statement, statement.packages_in(image)));
        let statements: Vec<(&VexStatement, Packages)> =
            statements.filter(|(_, packages)| !packages.is_empty()).collect();
        let components: Packages = statements.iter().flat_map(|(_, packages)| packages.clone()).collect();
        let others = components.iter().filter(|(purl, _)| Some(purl.as_str()) != image);
        let mut document = json!({
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "version": 1,
            "metadata": {
                "timestamp": self.created.to_string(),
                "authors": [ { "name": self.author } ],
            },
            "components": others.map(component).collect::<Vec<_>>(),
            "vulnerabilities":
                statements.iter().map(|(statement, packages)| vulnerability(statement, packages)).collect::<Vec<_>>(),
        });
        if let Some(image) = image {
            document["metadata"]["component"] =
                json!({ "type": "container", "bom-ref": image, "name": name_of(image), "purl": image });
        }
        document
    }
}

fn vulnerability(statement: &VexStatement, packages: &Packages) -> Value {
    let state = match statement.status {
        Status::NotAffected => "not_affected",
        Status::Affected => "exploitable",
        Status::Fixed => "resolved",
        Status::UnderInvestigation => "in_triage",
    };
    let mut analysis = json!({ "state": state });
    if let Some(time) = &statement.timestamp {
        analysis["lastUpdated"] = time.as_str().into();
    }
    if let Some(justification) = statement.justification {
        analysis["justification"] = justification.cyclonedx().into();
    }
    let details = [&statement.status_notes, &statement.impact_statement, &statement.action_statement];
    let details: Vec<&str> = details.into_iter().flatten().map(String::as_str).collect();
    if !details.is_empty() {
        analysis["detail"] = details.join("; ").into();
    }
    let affects: Vec<Value> = packages.keys().map(|purl| json!({ "ref": purl })).collect();
    json!({ "id": statement.vulnerability.name, "analysis": analysis, "affects": affects })
}

fn component((purl, cpe): (&String, &Option<String>)) -> Value {
    let mut value = json!({ "type": "library", "bom-ref": purl, "name": name_of(purl), "purl": purl });
    if let Some(cpe) = cpe {
        value["cpe"] = cpe.as_str().into();
    }
    value
}

impl Justification {
    /// The nearest value of CycloneDX (`impactAnalysisJustification`).
    fn cyclonedx(self) -> &'static str {
        match self {
            Self::ComponentNotPresent | Self::VulnerableCodeNotPresent => "code_not_present",
            Self::VulnerableCodeNotInExecutePath => "code_not_reachable",
            Self::VulnerableCodeCannotBeControlledByAdversary => "requires_environment",
            Self::InlineMitigationsAlreadyExist => "protected_by_mitigating_control",
        }
    }
}

fn name_of(purl: &str) -> &str {
    let name = purl.split(['@', '?']).next().unwrap_or(purl);
    name.rsplit('/').next().unwrap_or(name)
}
