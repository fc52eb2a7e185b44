//! The metadata of packages, from the expression of the image.

use ::spdx::identifiers::LICENSES;
use serde::Deserialize;

use super::urls;

/// The identifier of SPDX for unknown licences.
const UNKNOWN: &str = "NOASSERTION";

/// The metadata of a package, `meta` in nixpkgs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct About {
    /// The name. It takes precedence over the name in the store path.
    pub pname: Option<String>,
    /// The version. It takes precedence over the version in the store path.
    pub version: Option<String>,
    /// A description in one line.
    pub description: Option<String>,
    /// The URL of the homepage.
    pub homepage: Option<String>,
    /// [CPE 2.3](https://nvlpubs.nist.gov/nistpubs/Legacy/IR/nistir7695.pdf) name.
    pub cpe: Option<String>,
    /// [Package URL](https://github.com/package-url/purl-spec).
    pub purl: Option<String>,
    /// The licences, all of which apply.
    pub licenses: Vec<License>,
    /// The maintainers of the package.
    pub maintainers: Vec<Person>,
    /// The program of the package. Packages without one are libraries.
    pub main_program: Option<String>,
    /// The organization that distributes the package.
    pub supplier: Option<Supplier>,
    /// Vulnerabilities for which nixpkgs marks the package as insecure (`meta.knownVulnerabilities`), as free text.
    pub known_vulnerabilities: Vec<String>,
}

impl About {
    /// Removes URLs and identifiers that are not valid.
    pub fn validated(self) -> Self {
        let homepage = self.homepage.as_deref().and_then(urls::page);
        let purl = self.purl.filter(|purl| urls::is_purl(purl));
        let cpe = self.cpe.filter(|cpe| urls::is_cpe(cpe));
        Self { homepage, purl, cpe, ..self }
    }
}

/// An organization.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Supplier {
    /// The name.
    pub name: String,
    /// The address of its page.
    pub url: String,
}

/// A licence.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct License {
    /// The SPDX identifier. It comes from the package definition and may be invalid.
    pub spdx_id: Option<String>,
    /// The name of the licence.
    pub name: String,
}

impl License {
    /// Returns the identifier if the SPDX list has it, because the formats allow no other identifiers.
    pub fn listed(&self) -> Option<&str> {
        let id = self.spdx_id.as_deref()?;
        let found = LICENSES.binary_search_by(|known| known.name.cmp(id)).is_ok();
        (found && id != UNKNOWN).then_some(id)
    }
}

/// A person.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// The name.
    pub name: String,
    /// The address.
    pub email: Option<String>,
}
