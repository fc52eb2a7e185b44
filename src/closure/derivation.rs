//! Derivations in the store, in the format of Nix's `.drv` files (the ATerms of nix, src/libstore/derivations.cc):
//!
//! ```text
//! Derive([("out","/nix/store/…-hello","",""), …],         outputs: name, path, hash algorithm, hash
//!        [("/nix/store/…-bash.drv",["out"]), …],           derivations of the inputs, and their outputs
//!        ["/nix/store/…-source", …],                       inputs without a derivation
//!        "x86_64-linux", "/nix/store/…/bin/bash", ["-e", …], system, builder, arguments
//!        [("name","hello"), …])                            environment
//! ```
//!
//! The files are read because the JSON of `nix derivation show` differs between versions of Nix.

use std::collections::BTreeMap;

use super::{ParseStorePathError, StorePath};

/// A derivation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derivation {
    /// The outputs by name.
    pub outputs: BTreeMap<String, DerivationOutput>,
    /// The derivations of the inputs.
    pub input_derivations: Vec<StorePath>,
    /// The inputs that have no derivation.
    pub input_sources: Vec<StorePath>,
    /// The system that builds it, for example `x86_64-linux`.
    pub system: String,
    /// The program that builds it.
    pub builder: String,
    /// The environment of the builder.
    pub environment: BTreeMap<String, String>,
}

/// An output of a derivation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DerivationOutput {
    /// The store path; `None` if it depends on the contents.
    pub path: Option<StorePath>,
    /// Whether the derivation determines the contents by a hash, as that of a download does.
    pub is_fixed: bool,
}

/// The reason that a file is not a derivation.
#[derive(Debug, thiserror::Error)]
pub enum ParseDerivationError {
    /// The syntax is wrong.
    #[error("byte {at}: expected {expected}")]
    Syntax {
        /// The position in bytes.
        at: usize,
        /// The text that the format has there.
        expected: &'static str,
    },
    /// A path is not a store path.
    #[error(transparent)]
    Path(#[from] ParseStorePathError),
}

type Result<T> = std::result::Result<T, ParseDerivationError>;

impl Derivation {
    /// Parses the contents of a `.drv` file.
    ///
    /// # Errors
    ///
    /// [`ParseDerivationError`].
    pub fn parse(text: &[u8]) -> Result<Self> {
        let mut parser = Parser { text, at: 0 };
        parser.expect("Derive(")?;
        let outputs = parser.list(|parser| {
            parser.expect("(")?;
            let name = parser.string()?;
            let [path, _algorithm, hash] = [(); 3].map(|()| parser.expect(",").and_then(|()| parser.string()));
            let (path, hash) = (path?, hash?);
            parser.expect(")")?;
            let path = if path.is_empty() { None } else { Some(StorePath::parse(&path)?) };
            Ok((name, DerivationOutput { path, is_fixed: !hash.is_empty() }))
        })?;
        parser.expect(",")?;
        let input_derivations = parser.list(|parser| {
            parser.expect("(")?;
            let path = StorePath::parse(&parser.string()?)?;
            parser.expect(",")?;
            parser.list(Parser::string)?;
            parser.expect(")")?;
            Ok(path)
        })?;
        parser.expect(",")?;
        let input_sources = parser.list(|parser| Ok(StorePath::parse(&parser.string()?)?))?;
        parser.expect(",")?;
        let system = parser.string()?;
        parser.expect(",")?;
        let builder = parser.string()?;
        parser.expect(",")?;
        parser.list(Parser::string)?;
        parser.expect(",")?;
        let environment = parser.list(|parser| {
            parser.expect("(")?;
            let key = parser.string()?;
            parser.expect(",")?;
            let value = parser.string()?;
            parser.expect(")")?;
            Ok((key, value))
        })?;
        parser.expect(")")?;
        Ok(Self {
            outputs: outputs.into_iter().collect(),
            input_derivations,
            input_sources,
            system,
            builder,
            environment: environment.into_iter().collect(),
        })
    }
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn expect(&mut self, expected: &'static str) -> Result<()> {
        let is_next = self.text[self.at..].starts_with(expected.as_bytes());
        self.at += if is_next { expected.len() } else { 0 };
        if is_next { Ok(()) } else { Err(ParseDerivationError::Syntax { at: self.at, expected }) }
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        self.expect("[")?;
        let mut items = Vec::new();
        while self.text.get(self.at) != Some(&b']') {
            if !items.is_empty() {
                self.expect(",")?;
            }
            items.push(item(self)?);
        }
        self.expect("]")?;
        Ok(items)
    }

    /// A string, which may contain bytes that are not UTF-8.
    fn string(&mut self) -> Result<String> {
        self.expect("\"")?;
        let mut bytes = Vec::new();
        loop {
            let end = ParseDerivationError::Syntax { at: self.at, expected: "the end of the string" };
            let byte = *self.text.get(self.at).ok_or(end)?;
            self.at += 1;
            match byte {
                b'"' => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
                b'\\' => {
                    let end = ParseDerivationError::Syntax { at: self.at, expected: "an escaped character" };
                    bytes.push(match *self.text.get(self.at).ok_or(end)? {
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        other => other,
                    });
                    self.at += 1;
                }
                byte => bytes.push(byte),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> String {
        format!("/nix/store/{}-{name}", "a".repeat(32))
    }

    #[test]
    fn derivations_are_parsed() {
        let text = format!(
            r#"Derive([("dev","{}","",""),("out","{}","r:sha256","00")],[("{}",["dev","out"])],["{}"],"x86_64-linux","/bin/sh",["-e","a\"b"],[("empty",""),("text","a\n\t\\\"b")])"#,
            path("x-dev"),
            path("x"),
            path("bash.drv"),
            path("source")
        );
        let parsed = Derivation::parse(text.as_bytes()).unwrap();
        assert_eq!(parsed.outputs["dev"].path.as_ref().unwrap().as_str(), path("x-dev"));
        assert!(!parsed.outputs["dev"].is_fixed && parsed.outputs["out"].is_fixed);
        assert_eq!(parsed.input_derivations[0].as_str(), path("bash.drv"));
        assert_eq!(parsed.input_sources[0].as_str(), path("source"));
        assert_eq!((parsed.system.as_str(), parsed.builder.as_str()), ("x86_64-linux", "/bin/sh"));
        assert_eq!(parsed.environment["text"], "a\n\t\\\"b");
        // Every prefix is an error and not a crash.
        for end in 0..text.len() {
            assert!(Derivation::parse(&text.as_bytes()[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn paths_of_content_addressed_outputs_are_unknown() {
        let text = r#"Derive([("out","","r:sha256","")],[],[],"x","y",[],[])"#;
        let parsed = Derivation::parse(text.as_bytes()).unwrap();
        assert_eq!(parsed.outputs["out"], DerivationOutput { path: None, is_fixed: false });
    }
}
