//! Times, read in the forms of ISO 8601 and those that `date` prints, written as Go writes them: RFC 3339.
//!
//! ```text
//! 2024-01-01T10:11:12Z   20240101T101112Z   2024-01-01 10:11:12 +02:00   2024-01-01   2024-W01-1   2024-001
//! 20240101101112         Mon, 01 Jan 2024 10:11:12 +0200   Mon Jan  1 10:11:12 AM UTC 2024   @1700000000
//! ```
//!
//! A time without an offset is UTC; a day is its first second. The third line begins with a flake's `lastModifiedDate`.

use std::{fmt, str::FromStr, sync::LazyLock};

use regex::{Captures, Regex};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::{Date, OffsetDateTime, Weekday, format_description::well_known::Rfc3339};

/// A point in time with its UTC offset; fractions keep no trailing zeros and
/// UTC prints as `Z`.
///
/// [Example](crate#recipe).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp(OffsetDateTime);

/// Text that is no time.
///
/// [Example](crate#recipe).
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
            Some(seconds) => since_epoch(seconds),
            None => OffsetDateTime::parse(text, &Rfc3339).ok().or_else(|| {
                let other = numbers(text).or_else(|| words(text))?;
                OffsetDateTime::parse(&other, &Rfc3339).ok()
            }),
        };
        parsed.and_then(Self::of).ok_or_else(|| ParseTimestampError(text.to_owned()))
    }
}

/// Seconds since the epoch, with a fraction or without.
fn since_epoch(text: &str) -> Option<OffsetDateTime> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = fraction.len() <= 9 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let nanoseconds: i64 = format!("{fraction:0<9}").parse().ok().filter(|_| digits)?;
    let nanoseconds = if text.starts_with('-') { -nanoseconds } else { nanoseconds };
    let time = OffsetDateTime::from_unix_timestamp(whole.parse().ok()?).ok()?;
    time.checked_add(time::Duration::nanoseconds(nanoseconds))
}

/// What follows a day: a time, `AM` or `PM`, and an offset.
const TIME: &str = r"(?<hour>[0-9][0-9]):?(?<minute>[0-9][0-9])(?::?(?<second>[0-9][0-9])(?:[.,](?<fraction>[0-9]+))?)?(?:\x20(?<half>[AP])M)?";
const OFFSET: &str = r"\x20?(?:Z|UTC|GMT|(?<offset>[+-][0-9][0-9])(?::?(?<offset_minute>[0-9][0-9]))?)";

/// Another form of ISO 8601, in RFC 3339's words.
fn numbers(text: &str) -> Option<String> {
    static FORM: LazyLock<Regex> = LazyLock::new(|| {
        let month = "(?<month>[0-9][0-9])-?(?<day>[0-9][0-9])";
        let day = format!(
            "(?<year>[0-9]{{4}})(?:-?W(?<week>[0-9][0-9])-?(?<weekday>[1-7])|-?{month}|-(?<of_year>[0-9]{{3}}))"
        );
        pattern(&format!("^{day}(?:[T\\x20]?{TIME})?(?:{OFFSET})?$"))
    });
    let parts = FORM.captures(text)?;
    let year: i32 = parts["year"].parse().ok()?;
    let number = |name: &str| parts.name(name).and_then(|part| part.as_str().parse::<u16>().ok());
    let date = match (number("week"), number("of_year")) {
        (Some(week), _) => {
            let weekday = Weekday::Monday.nth_next(u8::try_from(number("weekday")? - 1).ok()?);
            Date::from_iso_week_date(year, u8::try_from(week).ok()?, weekday).ok()?
        }
        (None, Some(day)) => Date::from_ordinal_date(year, day).ok()?,
        (None, None) => return rfc3339(&parts, &parts["year"], &parts["month"], &parts["day"]),
    };
    // The days of a year's weeks may be in another year.
    rfc3339(
        &parts,
        &format!("{:04}", date.year()),
        &format!("{:02}", u8::from(date.month())),
        &format!("{:02}", date.day()),
    )
}

/// What `date` and `date -R` print, and what people write of it, in RFC 3339's words.
fn words(text: &str) -> Option<String> {
    static FORMS: LazyLock<[Regex; 3]> = LazyLock::new(|| {
        let weekday = r"^(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,?\x20)?";
        let (month, day, year) = ("(?<month>[A-Z][a-z]{2})[a-z]*", "(?<day>[0-9]{1,2})", "(?<year>[0-9]{4})");
        [
            format!(r"{weekday}{day}\x20{month}\x20{year}(?:\x20{TIME})?(?:{OFFSET})?$"),
            format!(r"{weekday}{month}\x20{day},?\x20{year}(?:\x20{TIME})?(?:{OFFSET})?$"),
            format!(r"{weekday}{month}\x20{day}\x20{TIME}(?:{OFFSET})?\x20{year}$"),
        ]
        .map(|form| pattern(&form))
    });
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    // `date` fills days up with blanks.
    let text = text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    let parts = FORMS.iter().find_map(|form| form.captures(&text))?;
    let month = MONTHS.iter().position(|month| *month == &parts["month"])? + 1;
    rfc3339(&parts, &parts["year"], &format!("{month:02}"), &format!("{:0>2}", &parts["day"]))
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is a constant")
}

fn rfc3339(parts: &Captures<'_>, year: &str, month: &str, day: &str) -> Option<String> {
    let part = |name: &str, missing: &'static str| parts.name(name).map_or(missing, |part| part.as_str());
    let mut hour: u8 = part("hour", "0").parse().ok()?;
    if let Some(half) = parts.name("half") {
        if !(1..=12).contains(&hour) {
            return None;
        }
        hour = hour % 12 + if half.as_str() == "P" { 12 } else { 0 };
    }
    let fraction = parts.name("fraction").map(|part| format!(".{}", part.as_str())).unwrap_or_default();
    Some(format!(
        "{year}-{month}-{day}T{hour:02}:{}:{}{fraction}{}:{}",
        part("minute", "00"),
        part("second", "00"),
        part("offset", "+00"),
        part("offset_minute", "00"),
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
            ("@1700000000.5", "2023-11-14T22:13:20.5Z"),
            ("@-1.5", "1969-12-31T23:59:58.5Z"),
            ("20240101101112", "2024-01-01T10:11:12Z"),
            // A week's and a year's days, as ISO 8601 has them.
            ("2024-W01-1", "2024-01-01T00:00:00Z"),
            ("2020-W53-7", "2021-01-03T00:00:00Z"),
            ("2024W071T10:11Z", "2024-02-12T10:11:00Z"),
            ("2024-060", "2024-02-29T00:00:00Z"),
            // What `date`, `date -R` and `date` in English print.
            ("Mon Jan  1 10:11:12 UTC 2024", "2024-01-01T10:11:12Z"),
            ("Mon, 01 Jan 2024 10:11:12 +0200", "2024-01-01T10:11:12+02:00"),
            ("Mon 01 Jan 2024 12:11:12 AM UTC", "2024-01-01T00:11:12Z"),
            ("1 January 2024", "2024-01-01T00:00:00Z"),
            ("Jan 1, 2024 01:02 PM", "2024-01-01T13:02:00Z"),
        ] {
            assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for text in
            ["", "now", "yesterday", "2026-13-01T00:00:00Z", "2026-01", "@x", "@", "@1.x", "2026-W54-1", "2026-366"]
                .into_iter()
                .chain(["1 Foo 2024", "Jan 32 2024", "Jan 1 2024 13:00 PM", "2024-W01-1 10:11 CET"])
                // What no text has a year for: fuzzing found the first.
                .chain(["@-200000000000", "9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00+01:00"])
        {
            let error = text.parse::<Timestamp>().unwrap_err().to_string();
            assert!(error.contains("1970-01-01T00:00:01Z"), "{error}");
        }
    }
}
