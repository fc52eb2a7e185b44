//! Times, read in the forms of ISO 8601 and of `date -d`, written as Go writes them: RFC 3339.
//!
//! ```text
//! 2024-01-01T10:11:12Z   20240101T101112Z   2024-01-01 10:11:12 +02:00   2024-01-01   @1700000000
//! ```
//!
//! A time without an offset is UTC; a day is its first second.

use std::{fmt, str::FromStr, sync::LazyLock};

use regex::Regex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// A point in time with its UTC offset; fractions keep no trailing zeros and
/// UTC prints as `Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp(OffsetDateTime);

/// Text that is no time.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a time; write it like 1970-01-01T00:00:01Z, 2024-01-01 or @1700000000")]
pub struct ParseTimestampError(String);

impl Timestamp {
    /// RFC 3339 has the years from 0 to 9999, here and in UTC.
    fn of(time: OffsetDateTime) -> Option<Self> {
        let utc = time.checked_to_offset(time::UtcOffset::UTC)?;
        [time, utc].iter().all(|time| (0..=9999).contains(&time.year())).then_some(Self(time))
    }

    /// So many seconds after the epoch, UTC.
    pub fn from_unix(seconds: u64) -> Option<Self> {
        OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok().and_then(Self::of)
    }

    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(OffsetDateTime::UNIX_EPOCH);

    /// The same time in UTC, without fractions of seconds.
    pub fn to_whole_utc(self) -> Self {
        let utc = self.0.to_offset(time::UtcOffset::UTC);
        Self(utc.replace_nanosecond(0).unwrap_or(utc))
    }

    /// Seconds after the epoch.
    pub fn unix(self) -> i64 {
        self.0.unix_timestamp()
    }
}

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    fn from_str(text: &str) -> Result<Self, ParseTimestampError> {
        let parsed = match text.strip_prefix('@') {
            Some(seconds) => seconds.parse().ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok()),
            None => OffsetDateTime::parse(text, &Rfc3339)
                .ok()
                .or_else(|| OffsetDateTime::parse(&rfc3339(text)?, &Rfc3339).ok()),
        };
        parsed.and_then(Self::of).ok_or_else(|| ParseTimestampError(text.to_owned()))
    }
}

/// Another form of ISO 8601, in RFC 3339's words.
fn rfc3339(text: &str) -> Option<String> {
    static FORM: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"(?x)^([0-9]{4})-?([0-9][0-9])-?([0-9][0-9])
              (?:[T\ ]([0-9][0-9]):?([0-9][0-9])(?::?([0-9][0-9])([.,][0-9]+)?)?)?
              \ ?(?:Z|UTC|GMT|([+-][0-9][0-9])(?::?([0-9][0-9]))?)?$",
        )
        .expect("the pattern is a constant")
    });
    let parts = FORM.captures(text)?;
    let part = |at: usize, missing: &'static str| parts.get(at).map_or(missing, |part| part.as_str()).to_owned();
    let fraction = part(7, "").replace(',', ".");
    Some(format!(
        "{}-{}-{}T{}:{}:{}{fraction}{}:{}",
        part(1, ""),
        part(2, ""),
        part(3, ""),
        part(4, "00"),
        part(5, "00"),
        part(6, "00"),
        part(8, "+00"),
        part(9, "00"),
    ))
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_normalized_as_go_does() {
        for (text, expected) in [
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("1970-01-01T00:00:01+00:00", "1970-01-01T00:00:01Z"),
            ("2026-08-01T10:00:00.120+02:00", "2026-08-01T10:00:00.12+02:00"),
        ] {
            assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), expected);
        }
    }

    /// As `date -u -Iseconds -d` reads them.
    #[test]
    fn other_forms_are_read() {
        for (text, expected) in [
            ("2024-01-01", "2024-01-01T00:00:00Z"),
            ("20240101", "2024-01-01T00:00:00Z"),
            ("20240101T101112Z", "2024-01-01T10:11:12Z"),
            ("2024-01-01T10:11", "2024-01-01T10:11:00Z"),
            ("2024-01-01 10:11:12", "2024-01-01T10:11:12Z"),
            ("2024-01-01 10:11:12.5 UTC", "2024-01-01T10:11:12.5Z"),
            ("2024-01-01T10:11:12+0200", "2024-01-01T10:11:12+02:00"),
            ("2024-01-01T10:11:12 -05", "2024-01-01T10:11:12-05:00"),
            ("@1700000000", "2023-11-14T22:13:20Z"),
            ("@0", "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for text in ["", "now", "yesterday", "2026-13-01T00:00:00Z", "2026-01", "@x", "@"]
            // What no text has a year for: fuzzing found the first.
            .into_iter()
            .chain(["@-200000000000", "9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00+01:00"])
        {
            let error = text.parse::<Timestamp>().unwrap_err().to_string();
            assert!(error.contains("1970-01-01T00:00:01Z"), "{error}");
        }
    }
}
