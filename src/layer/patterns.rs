//! The compiled regular expressions of a recipe. One budget limits their memory, because `[ab]{60000}x` has 12 bytes and
//! needs megabytes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use regex::bytes::{Regex, RegexBuilder};

use super::{LayerError, Result};
use crate::{
    budget::{self, Budget},
    threads::lock,
};

/// Limits for compiled expressions in bytes. The budget counts an expression with the smallest limit that it does not
/// exceed. A store path fits the first one, and a list of a thousand store paths the last one.
const SIZES: [usize; 3] = [16 << 10, 256 << 10, 2 << 20];

/// Compiled expressions, and the budget for further ones. Clones share both.
#[derive(Clone, Debug)]
pub struct Patterns(Arc<Mutex<SharedPatterns>>);

#[derive(Debug)]
struct SharedPatterns {
    compiled: HashMap<String, Arc<Regex>>,
    budget: Budget,
}

impl Default for Patterns {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(SharedPatterns { compiled: HashMap::new(), budget: Budget::new(&budget::PATTERNS) })))
    }
}

/// All values are equal: they are a cache, which does not change what options mean.
impl PartialEq for Patterns {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Patterns {}

impl Patterns {
    /// Returns the compiled `pattern`. Equal patterns are compiled once.
    ///
    /// # Errors
    ///
    /// [`LayerError::Regex`], and [`LayerError::Patterns`] if all patterns together exceed [`budget::PATTERNS`].
    pub(super) fn compile(&self, pattern: &str) -> Result<Arc<Regex>> {
        let mut shared = lock(&self.0);
        if let Some(regex) = shared.compiled.get(pattern) {
            return Ok(Arc::clone(regex));
        }
        let (regex, size) = compile_within(pattern)?;
        shared.budget.take(size + pattern.len()).map_err(|error| LayerError::Patterns(error.into()))?;
        let regex = Arc::new(regex);
        shared.compiled.insert(pattern.to_owned(), Arc::clone(&regex));
        Ok(regex)
    }
}

/// Compiles a pattern. `\d`, `\w` and `\s` match ASCII only, as in Go; paths need not be UTF-8.
pub(super) fn compile(pattern: &str) -> Result<Regex> {
    compile_within(pattern).map(|(regex, _)| regex)
}

/// Returns the compiled pattern and the bytes that the budget counts for it.
fn compile_within(pattern: &str) -> Result<(Regex, usize)> {
    let build = |size| RegexBuilder::new(pattern).unicode(false).size_limit(size).dfa_size_limit(size).build();
    let mut result = build(SIZES[0]).map(|regex| (regex, SIZES[0]));
    for size in &SIZES[1..] {
        if matches!(result, Err(regex::Error::CompiledTooBig(_))) {
            result = build(*size).map(|regex| (regex, *size));
        }
    }
    result
        .map_err(|source| LayerError::Regex { pattern: pattern.chars().take(200).collect(), source: Box::new(source) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_compiled_once_and_count_by_their_size() {
        let path = r"^/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-a-name-of-a-package-1\.2\.3-doc/share/(.*)\.html$";
        for (pattern, expected) in [(path, 0), (r"^/nix/store/\w{32}-.*", 0), ("[ab]{2000}x", 1), ("[ab]{20000}", 2)] {
            assert_eq!(compile_within(pattern).unwrap().1, SIZES[expected], "{pattern}");
        }
        let patterns = Patterns::default();
        let first = patterns.compile(path).unwrap();
        assert!(Arc::ptr_eq(&first, &patterns.clone().compile(path).unwrap()));
    }

    #[test]
    fn expressions_beyond_a_limit_are_refused() {
        let error = compile("[ab]{60000}x").unwrap_err();
        assert!(error.to_string().contains("[ab]{60000}x"), "{error}");
        let patterns = Patterns::default();
        let error = (0..1000).find_map(|at| patterns.compile(&format!("[ab]{{20000}}{at}")).err());
        let source = std::error::Error::source(&error.expect("a limit")).map(ToString::to_string);
        assert!(source.clone().is_some_and(|text| text.contains("is the limit")), "{source:?}");
    }
}
