//! Paragraphs of `Field: value` lines with an empty line after each, read as a stream: dpkg's and apk's databases.

use std::io::{self, BufRead, BufReader, Read};

/// The maximum number of bytes of a line that are kept. Names and versions are much shorter.
const LINE_LIMIT: usize = 1024;

/// The value of a field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Field {
    #[default]
    Missing,
    /// A value without white space at both ends, which is not empty.
    Value(String),
    /// A value that is too long to be valid, or not UTF-8.
    Malformed,
}

impl Field {
    pub fn value(self) -> Option<String> {
        match self {
            Self::Value(value) => Some(value),
            Self::Missing | Self::Malformed => None,
        }
    }
}

/// Calls `each` for every paragraph with the first value of each of `names`. `is_name` compares the names of fields.
pub fn read<const N: usize>(
    reader: &mut dyn Read,
    names: [&str; N],
    is_name: fn(&[u8], &[u8]) -> bool,
    each: &mut dyn FnMut([Field; N]) -> io::Result<()>,
) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(64 * 1024, reader);
    let (mut line, mut fields, mut is_empty) = (Vec::new(), [const { Field::Missing }; N], true);
    loop {
        let read = read_line(&mut reader, &mut line)?;
        if read == 0 || line.is_empty() {
            if !is_empty {
                each(std::mem::replace(&mut fields, [const { Field::Missing }; N]))?;
            }
            is_empty = true;
        } else {
            is_empty = false;
            let colon = line.iter().position(|&byte| byte == b':').unwrap_or(line.len());
            let place = names.iter().position(|name| is_name(name.as_bytes(), &line[..colon]));
            if let Some(field) = place.map(|place| &mut fields[place]).filter(|field| **field == Field::Missing) {
                *field = parse(line.get(colon + 1..).unwrap_or_default(), read > LINE_LIMIT);
            }
        }
        if read == 0 {
            return Ok(());
        }
    }
}

fn parse(value: &[u8], is_truncated: bool) -> Field {
    match std::str::from_utf8(value) {
        Ok(value) if !is_truncated => match value.trim() {
            "" => Field::Missing,
            value => Field::Value(value.to_owned()),
        },
        _ => Field::Malformed,
    }
}

/// Reads a line without its end. At most [`LINE_LIMIT`] bytes are kept. Returns the length of the line, or 0 at the
/// end.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<usize> {
    line.clear();
    let mut length = 0;
    loop {
        let available = reader.fill_buf()?;
        let end = memchr::memchr(b'\n', available);
        let part = &available[..end.unwrap_or(available.len())];
        line.extend_from_slice(&part[..part.len().min(LINE_LIMIT - line.len())]);
        let used = part.len() + usize::from(end.is_some());
        reader.consume(used);
        length += used;
        if end.is_some() || used == 0 {
            return Ok(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paragraphs(text: &[u8]) -> Vec<[Field; 2]> {
        let mut all = Vec::new();
        let is_name = |one: &[u8], other: &[u8]| one == other;
        let mut each = |fields| {
            all.push(fields);
            Ok(())
        };
        read(&mut { text }, ["A", "B"], is_name, &mut each).unwrap();
        all
    }

    #[test]
    fn fields_are_read_per_paragraph() {
        let value = |text: &str| Field::Value(text.to_owned());
        let text = b"A: 1\n more\nB:2\nA: again\n\n\n\nB:\nA\nC: x\n\nA: last";
        let expected = [[value("1"), value("2")], [Field::Missing, Field::Missing], [value("last"), Field::Missing]];
        assert_eq!(paragraphs(text), expected);
        assert!(paragraphs(b"").is_empty() && paragraphs(b"\n\n").is_empty());
    }

    #[test]
    fn long_and_invalid_values_are_malformed() {
        let long = format!("A: {}\nB: 1\n", "x".repeat(100_000));
        assert_eq!(paragraphs(long.as_bytes()), [[Field::Malformed, Field::Value("1".to_owned())]]);
        assert_eq!(paragraphs(b"A: \xff\n"), [[Field::Malformed, Field::Missing]]);
        let other = format!("Other: {}\nA: 1\n", "x".repeat(1_000_000));
        assert_eq!(paragraphs(other.as_bytes()), [[Field::Value("1".to_owned()), Field::Missing]]);
    }
}
