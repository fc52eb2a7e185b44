//! The requirement `reproducedBy` of a policy: builders with different keys have reproduced the image.

use std::{collections::BTreeMap, path::Path};

use anyhow::Result;

use crate::{
    attest::{ReproducedBy, VerifyingKey, rebuild},
    oci::Digest,
    transport::registry::{Client, signatures::SignatureReader},
};

/// The keys of the builders, each once.
pub struct ReproducedKeys {
    count: usize,
    full: bool,
    /// By hint, so that two files with the same key count once.
    keys: BTreeMap<String, (String, VerifyingKey)>,
}

impl ReproducedKeys {
    /// Reads the keys. Relative paths begin at `directory`.
    pub fn open(required: &ReproducedBy, directory: &Path) -> Result<Self> {
        let mut keys = BTreeMap::new();
        for file in &required.keys {
            let key = VerifyingKey::open(&directory.join(file))?;
            keys.entry(key.hint()).or_insert_with(|| (file.display().to_string(), key));
        }
        anyhow::ensure!(
            required.count <= keys.len(),
            "reproducedBy: {} builders are required, but the files contain {} different keys",
            required.count,
            keys.len()
        );
        Ok(Self { count: required.count, full: required.full, keys })
    }

    /// Returns the violation for the image with this digest, if fewer builders have reproduced it.
    pub fn violation(&self, client: &Client, digest: &Digest) -> Result<Option<String>> {
        let mut reasons = Vec::new();
        let mut count = 0;
        for (file, key) in self.keys.values() {
            let signatures = SignatureReader { client, key, limit: usize::MAX };
            let statements = signatures.statements(digest, &mut Vec::new())?;
            let checks: Vec<_> = statements.iter().filter_map(|found| rebuild::check(found, self.full)).collect();
            if checks.iter().any(Result::is_ok) {
                count += 1;
                continue;
            }
            let why = checks.into_iter().find_map(Result::err);
            reasons.push(format!("{file}: {}", why.as_deref().unwrap_or("it signed no statement about this image")));
        }
        let is_violated = count < self.count;
        Ok(is_violated.then(|| {
            format!("reproducedBy: {count} of {} builders have reproduced it ({})", self.count, reasons.join("; "))
        }))
    }
}
