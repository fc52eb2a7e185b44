//! YAML with the rules of container-structure-test: one document, whose scalars have the type of their field.
//!
//! ```text
//! exposedPorts: [8080]     "8080": a plain scalar is a string where a string is expected
//! shouldExist: yes         true: the booleans of YAML 1.1
//! exitCode: 0x10           16
//! <<: *defaults            the keys of another map that are missing in this one
//! ```
//!
//! (gopkg.in/yaml.v2, resolve.go and decode.go.) JSON is YAML too. The size of the file, its depth and the number of
//! its values are limited. Aliases count with all values that they stand for.

mod deserialize;

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};

use crate::budget::{Budget, ExceededError, STRUCTURE_TEST};

/// The maximum depth of lists and maps. Test files have a depth of six.
const DEPTH_LIMIT: usize = 64;

/// A value of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum YamlNode {
    /// An empty value, `~` or `null`.
    Null,
    /// A scalar without quotes, whose type depends on its field.
    Plain(String),
    /// A string.
    Text(String),
    List(Vec<YamlNode>),
    /// A mapping, in the order of the file.
    Map(Vec<(String, YamlNode)>),
}

/// The error of a malformed test file.
#[derive(Debug, thiserror::Error)]
pub enum YamlError {
    #[error("line {line}: {what}")]
    Syntax {
        /// The number of the line, from 1.
        line: usize,
        what: String,
    },
    /// The text has too many values.
    #[error(transparent)]
    Exceeded(#[from] ExceededError),
}

/// Parses a file.
///
/// # Errors
///
/// If it is malformed, exceeds the limits, or has several documents.
pub fn parse(text: &str) -> Result<YamlNode, YamlError> {
    let mut budget = Budget::new(&STRUCTURE_TEST);
    budget.take_bytes(text.len() as u64)?;
    let mut reader = Reader { events: Parser::new_from_str(text), anchors: HashMap::new(), budget };
    let mut document = YamlNode::Null;
    let mut documents = 0;
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamStart | Event::Nothing | Event::DocumentEnd => {}
            Event::StreamEnd => return Ok(document),
            Event::DocumentStart(_) if documents == 1 => {
                return Err(syntax(&span, "a second document; a file has one"));
            }
            Event::DocumentStart(_) => {
                documents += 1;
                let (event, span) = reader.next()?;
                document = reader.node(event, &span, 0)?;
            }
            _ => return Err(syntax(&span, "a value outside of a document")),
        }
    }
}

fn syntax(span: &Span, what: impl Into<String>) -> YamlError {
    YamlError::Syntax { line: span.start.line(), what: what.into() }
}

struct Reader<'a> {
    events: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, YamlNode>,
    budget: Budget,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), YamlError> {
        match self.events.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(YamlError::Syntax { line: error.marker().line(), what: error.info().to_owned() }),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    /// Parses the value that begins with `event`.
    fn node(&mut self, event: Event<'a>, span: &Span, depth: usize) -> Result<YamlNode, YamlError> {
        self.budget.take_parts(1)?;
        if depth > DEPTH_LIMIT {
            return Err(syntax(span, format!("more than {DEPTH_LIMIT} lists and maps in each other")));
        }
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => (scalar(&text, style, tag.as_deref(), span)?, anchor),
            Event::SequenceStart(anchor, tag) => {
                check_tag(tag.as_deref(), "seq", span)?;
                (self.list(depth)?, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                check_tag(tag.as_deref(), "map", span)?;
                (self.map(depth)?, anchor)
            }
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).ok_or_else(|| syntax(span, "an alias of a value around it"))?;
                self.budget.take_parts(node.count())?;
                return Ok(node.clone());
            }
            _ => return Err(syntax(span, "a value is missing")),
        };
        if anchor > 0 {
            self.budget.take_parts(node.count())?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<YamlNode, YamlError> {
        let mut list = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(YamlNode::List(list));
            }
            list.push(self.node(event, &span, depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<YamlNode, YamlError> {
        let mut map: Vec<(String, YamlNode)> = Vec::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let key = self.node(event, &span, depth + 1)?;
            let (event, value_span) = self.next()?;
            let value = self.node(event, &value_span, depth + 1)?;
            match key {
                YamlNode::Plain(key) if key == "<<" => merged.extend(merge_sources(value, &span)?),
                YamlNode::Plain(key) | YamlNode::Text(key) => {
                    if map.iter().any(|(other, _)| *other == key) {
                        return Err(syntax(&span, format!("{key} is given twice")));
                    }
                    map.push((key, value));
                }
                YamlNode::Null | YamlNode::List(_) | YamlNode::Map(_) => {
                    return Err(syntax(&span, "a key that is not a string"));
                }
            }
        }
        for (key, value) in merged {
            if !map.iter().any(|(other, _)| *other == key) {
                map.push((key, value));
            }
        }
        Ok(YamlNode::Map(map))
    }
}

/// Returns the entries that `<<` adds to a map.
fn merge_sources(value: YamlNode, span: &Span) -> Result<Vec<(String, YamlNode)>, YamlError> {
    let all = match value {
        YamlNode::List(list) => list,
        other => vec![other],
    };
    let mut entries = Vec::new();
    for source in all {
        match source {
            YamlNode::Map(map) => entries.extend(map),
            _ => return Err(syntax(span, "<< takes a map, or a list of maps")),
        }
    }
    Ok(entries)
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, span: &Span) -> Result<YamlNode, YamlError> {
    let text = text.to_owned();
    match tag {
        None if style == ScalarStyle::Plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL") => {
            Ok(YamlNode::Null)
        }
        None if style == ScalarStyle::Plain => Ok(YamlNode::Plain(text)),
        None => Ok(YamlNode::Text(text)),
        Some(tag) if tag.is_yaml_core_schema() => match tag.suffix.as_str() {
            "str" => Ok(YamlNode::Text(text)),
            "int" | "bool" => Ok(YamlNode::Plain(text)),
            "null" => Ok(YamlNode::Null),
            suffix => Err(syntax(span, format!("the tag !!{suffix} has no meaning here"))),
        },
        Some(tag) => Err(syntax(span, format!("the tag {tag} has no meaning here"))),
    }
}

fn check_tag(tag: Option<&Tag>, expected: &str, span: &Span) -> Result<(), YamlError> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() || tag.suffix != expected => {
            Err(syntax(span, format!("the tag {tag} has no meaning here")))
        }
        _ => Ok(()),
    }
}

impl YamlNode {
    /// Returns the number of values in the node, including itself.
    fn count(&self) -> u64 {
        match self {
            Self::Null | Self::Plain(_) | Self::Text(_) => 1,
            Self::List(list) => 1 + list.iter().map(Self::count).sum::<u64>(),
            Self::Map(map) => 1 + map.iter().map(|(_, value)| value.count()).sum::<u64>(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> YamlNode {
        YamlNode::Text(text.to_owned())
    }

    fn plain(text: &str) -> YamlNode {
        YamlNode::Plain(text.to_owned())
    }

    #[test]
    fn yaml_documents_are_parsed_to_values() {
        let parsed =
            parse("a: &x [1, '2', ~, !!str 3]\nb: *x\n\"c\": |\n  line\n  line\n---\n".trim_end_matches("---\n"));
        let list = YamlNode::List(vec![plain("1"), text("2"), YamlNode::Null, text("3")]);
        let expected = [("a", list.clone()), ("b", list), ("c", text("line\nline\n"))];
        let expected = expected.map(|(key, value)| (key.to_owned(), value));
        assert_eq!(parsed.unwrap(), YamlNode::Map(expected.to_vec()));
        assert_eq!(parse("").unwrap(), YamlNode::Null);
        assert_eq!(
            parse("{\"a\": [true]}").unwrap(),
            YamlNode::Map(vec![("a".to_owned(), YamlNode::List(vec![plain("true")]))])
        );
    }

    #[test]
    fn merge_keys_add_what_a_map_lacks() {
        let parsed = parse("base: &base {a: 1, b: 2}\nown:\n  <<: *base\n  b: 3\n").unwrap();
        let YamlNode::Map(map) = parsed else { panic!("{parsed:?}") };
        let expected = [("b", plain("3")), ("a", plain("1"))].map(|(key, value)| (key.to_owned(), value));
        assert_eq!(map[1].1, YamlNode::Map(expected.to_vec()));
    }

    #[test]
    fn malformed_and_boundless_files_are_refused() {
        let bomb = (1..20).fold("a0: &a0 [x, x]\n".to_owned(), |text, at| {
            format!("{text}a{at}: &a{at} [*a{0}, *a{0}, *a{0}, *a{0}]\n", at - 1)
        });
        let deep = "[".repeat(100) + &"]".repeat(100);
        for (text, message) in [
            ("a: 1\na: 2", "line 2: a is given twice"),
            ("a: [1", "line 2: while parsing a flow sequence"),
            ("a: 1\n---\nb: 2", "a second document"),
            ("? [a]\n: b", "a key that is not a string"),
            ("a: !x b", "the tag !x has no meaning here"),
            ("a: !!seq b", "the tag !!seq has no meaning here"),
            ("<<: 1", "<< takes a map"),
            ("a: &a [*a]", "an alias of a value around it"),
            (&bomb, "more than 100000 values"),
            (&deep, "lists and maps in each other"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}
