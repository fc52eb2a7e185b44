//! Deserializes the values of a document.

use serde::{
    Deserializer,
    de::{
        Error as _, IntoDeserializer, Unexpected, Visitor,
        value::{Error, MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};

use super::YamlNode;

impl<'de> IntoDeserializer<'de, Error> for YamlNode {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl YamlNode {
    fn unexpected(&self) -> Unexpected<'_> {
        match self {
            Self::Null => Unexpected::Unit,
            Self::Plain(text) => match (boolean(text), integer(text)) {
                (Some(value), _) => Unexpected::Bool(value),
                (_, Some(value)) => Unexpected::Signed(value),
                _ => Unexpected::Str(text),
            },
            Self::Text(text) => Unexpected::Str(text),
            Self::List(_) => Unexpected::Seq,
            Self::Map(_) => Unexpected::Map,
        }
    }

    fn integer<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self {
            Self::Plain(text) => match integer(text) {
                Some(value) => visitor.visit_i64(value),
                None => Err(Error::invalid_type(self.unexpected(), &"i64")),
            },
            _ => Err(Error::invalid_type(self.unexpected(), &"i64")),
        }
    }
}

impl<'de> Deserializer<'de> for YamlNode {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::Null => visitor.visit_unit(),
            Self::Plain(text) | Self::Text(text) => visitor.visit_string(text),
            Self::List(_) => self.deserialize_seq(visitor),
            Self::Map(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self {
            Self::Plain(text) if boolean(text).is_some() => visitor.visit_bool(boolean(text).unwrap_or_default()),
            _ => Err(Error::invalid_type(self.unexpected(), &"a boolean")),
        }
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.integer(visitor)
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.integer(visitor)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.integer(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::Plain(text) | Self::Text(text) => visitor.visit_string(text),
            // As in Go, null is an empty string.
            Self::Null => visitor.visit_str(""),
            Self::List(_) | Self::Map(_) => Err(Error::invalid_type(self.unexpected(), &"a string")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_string(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::Null => visitor.visit_none(),
            other => visitor.visit_some(other),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::List(list) => visitor.visit_seq(SeqDeserializer::new(list.into_iter())),
            Self::Null => visitor.visit_seq(SeqDeserializer::new(Vec::<Self>::new().into_iter())),
            other => Err(Error::invalid_type(other.unexpected(), &"a sequence")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::Map(map) => visitor.visit_map(MapDeserializer::new(map.into_iter())),
            Self::Null => visitor.visit_map(MapDeserializer::new(Vec::<(String, Self)>::new().into_iter())),
            other => Err(Error::invalid_type(other.unexpected(), &"a map")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        i8 i16 i128 u8 u16 u32 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct enum identifier
        ignored_any
    }
}

/// Parses a boolean of YAML 1.1 (gopkg.in/yaml.v2, resolve.go).
fn boolean(text: &str) -> Option<bool> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// Parses an integer in a notation of Go: `10`, `1_000`, `0x10`, `0b10`, `0o10`, `010`.
fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let digits = digits.replace('_', "");
    let (radix, digits) = match digits.get(..2) {
        Some("0x" | "0X") => (16, &digits[2..]),
        Some("0b" | "0B") => (2, &digits[2..]),
        Some("0o" | "0O") => (8, &digits[2..]),
        Some(start) if start.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits.as_str()),
    };
    if !digits.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_those_of_go() {
        for (text, value) in [
            ("0", Some(0)),
            ("10", Some(10)),
            ("-1", Some(-1)),
            ("+1", Some(1)),
            ("1_000", Some(1000)),
            ("0x1F", Some(31)),
            ("-0x1F", Some(-31)),
            ("0755", Some(493)),
            ("0o755", Some(493)),
            ("0b11", Some(3)),
            ("", None),
            ("-", None),
            ("0x", None),
            ("0x-1", None),
            ("1.5", None),
            ("99999999999999999999", None),
            ("x", None),
        ] {
            assert_eq!(integer(text), value, "{text}");
        }
    }
}
