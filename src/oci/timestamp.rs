//! RFC 3339 times, written as Go writes them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// A point in time with its UTC offset; fractions keep no trailing zeros and
/// UTC prints as `Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp(OffsetDateTime);

/// Text that is no RFC 3339 time.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no RFC 3339 time; write it like 1970-01-01T00:00:01Z")]
pub struct ParseTimestampError(String);

impl Timestamp {
    /// So many seconds after the epoch, UTC.
    pub fn from_unix(seconds: u64) -> Option<Self> {
        OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok().map(Self)
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
        OffsetDateTime::parse(text, &Rfc3339).map(Self).map_err(|_| ParseTimestampError(text.to_owned()))
    }
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

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for text in ["", "now", "yesterday", "2026-13-01T00:00:00Z", "2026-01-01"] {
            let error = text.parse::<Timestamp>().unwrap_err().to_string();
            assert!(error.contains("1970-01-01T00:00:01Z"), "{error}");
        }
    }
}
