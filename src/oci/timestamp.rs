//! Times. They are read in the forms of ISO 8601 and in the forms that `date` prints, and written as Go does: RFC 3339.
//!
//! ```text
//! 2024-01-01T10:11:12Z   20240101T101112Z   2024-01-01 10:11:12 +02:00   2024-01-01   2024-W01-1   2024-001
//! 20240101101112         Mon, 01 Jan 2024 10:11:12 +0200   Mon Jan  1 10:11:12 AM UTC 2024   @1700000000
//! ```
//!
//! A time without an offset is UTC, and a day stands for its first second. 20240101101112 is the form of the
//! `lastModifiedDate` of flakes.

use std::{fmt, str::FromStr, sync::LazyLock};

use jiff::{
    SignedDuration,
    civil::{Date, DateTime, ISOWeekDate, Time, Weekday},
    tz::Offset,
};
use regex::{Captures, Regex};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time with its UTC offset. Fractions are printed without trailing zeros, and
/// UTC is printed as `Z`.
///
/// [Example](crate#recipe).
#[derive(Clone, Copy, Debug)]
pub struct Timestamp {
    /// The local time. `jiff::Timestamp` and `jiff::Zoned` end a day before the year 9999 does, and the last second of that
    /// year is in use for "never".
    local: DateTime,
    offset: Offset,
}

/// Text that is not a time.
///
/// [Example](crate#recipe).
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a time; write it like 1970-01-01T00:00:01Z, 2024-01-01 or @1700000000")]
pub struct ParseTimestampError(String);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self::from_utc(DateTime::constant(1970, 1, 1, 0, 0, 0, 0));

    const fn from_utc(local: DateTime) -> Self {
        Self { local, offset: Offset::UTC }
    }

    /// Returns the timestamp if its year is from 0 to 9999 in its own offset and in UTC. RFC 3339 has no other years.
    fn in_range(self) -> Option<Self> {
        let utc = self.local.checked_sub(self.offset.since(Offset::UTC)).ok()?;
        [self.local, utc].iter().all(|time| (0..=9999).contains(&time.year())).then_some(self)
    }

    fn from_duration(since_epoch: SignedDuration) -> Option<Self> {
        Self::from_utc(Self::EPOCH.local.checked_add(since_epoch).ok()?).in_range()
    }

    /// Creates a UTC timestamp from seconds after the epoch. Returns `None` after the year 9999.
    pub fn from_unix(seconds: u64) -> Option<Self> {
        Self::from_unix_nanoseconds(seconds, 0)
    }

    /// Creates a UTC timestamp from seconds and nanoseconds after the epoch.
    pub(crate) fn from_unix_nanoseconds(seconds: u64, nanoseconds: u32) -> Option<Self> {
        let nanoseconds = i32::try_from(nanoseconds).ok().filter(|nanoseconds| *nanoseconds < 1_000_000_000)?;
        Self::from_duration(SignedDuration::new(i64::try_from(seconds).ok()?, nanoseconds))
    }

    fn utc(self) -> DateTime {
        self.local.saturating_sub(self.offset.since(Offset::UTC))
    }

    /// Returns the same time in UTC, without fractions of seconds.
    pub fn to_whole_utc(self) -> Self {
        let utc = self.utc();
        Self::from_utc(utc.with().subsec_nanosecond(0).build().unwrap_or(utc))
    }

    /// Returns the whole seconds after the epoch.
    pub fn unix(self) -> i64 {
        self.to_whole_utc().local.duration_since(Self::EPOCH.local).as_secs()
    }
}

impl PartialEq for Timestamp {
    /// Returns whether both are the same moment. Offsets may differ.
    fn eq(&self, other: &Self) -> bool {
        self.utc() == other.utc()
    }
}

impl Eq for Timestamp {}

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    fn from_str(text: &str) -> Result<Self, ParseTimestampError> {
        let parsed = match text.strip_prefix('@') {
            Some(seconds) => parse_unix(seconds),
            None => parse_iso8601(text).or_else(|| parse_words(text)),
        };
        parsed.and_then(Self::in_range).ok_or_else(|| ParseTimestampError(text.to_owned()))
    }
}

/// Parses seconds since the epoch, with or without a fraction.
fn parse_unix(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_fraction = fraction.len() <= 9 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let nanoseconds: i32 = format!("{fraction:0<9}").parse().ok().filter(|_| is_fraction)?;
    let nanoseconds = if text.starts_with('-') { -nanoseconds } else { nanoseconds };
    Timestamp::from_duration(SignedDuration::new(whole.parse().ok()?, nanoseconds))
}

/// The time of day, with or without `AM` or `PM`.
const TIME: &str = r"(?<hour>[0-9][0-9]):?(?<minute>[0-9][0-9])(?::?(?<second>[0-9][0-9])(?:[.,](?<fraction>[0-9]+))?)?(?:\x20(?<half>[AP])M)?";
/// The UTC offset after the time of day.
const OFFSET: &str = r"\x20?(?:[Zz]|UTC|GMT|(?<offset>[+-][0-9][0-9])(?::?(?<offset_minute>[0-9][0-9]))?)";

/// Parses RFC 3339 and the other forms of ISO 8601.
fn parse_iso8601(text: &str) -> Option<Timestamp> {
    static FORM: LazyLock<Regex> = LazyLock::new(|| {
        let month = "(?<month>[0-9][0-9])-?(?<day>[0-9][0-9])";
        let day = format!(
            "(?<year>[0-9]{{4}})(?:-?W(?<week>[0-9][0-9])-?(?<weekday>[1-7])|-?{month}|-(?<of_year>[0-9]{{3}}))"
        );
        compile(&format!("^{day}(?:[Tt\\x20]?{TIME})?(?:{OFFSET})?$"))
    });
    let parts = FORM.captures(text)?;
    let year: i16 = number(&parts, "year")?;
    let date = if let Some(week) = number(&parts, "week") {
        let weekday = Weekday::from_monday_one_offset(number(&parts, "weekday")?).ok()?;
        ISOWeekDate::new(year, week, weekday).ok()?.date()
    } else if let Some(day) = number(&parts, "of_year") {
        Date::new(year, 1, 1).ok()?.with().day_of_year(day).build().ok()?
    } else {
        Date::new(year, number(&parts, "month")?, number(&parts, "day")?).ok()?
    };
    timestamp(&parts, date)
}

/// Parses the output of `date` and `date -R`, and shorter forms of it.
fn parse_words(text: &str) -> Option<Timestamp> {
    static FORMS: LazyLock<[Regex; 3]> = LazyLock::new(|| {
        let weekday = r"^(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,?\x20)?";
        let (month, day, year) = ("(?<month>[A-Z][a-z]{2})[a-z]*", "(?<day>[0-9]{1,2})", "(?<year>[0-9]{4})");
        [
            format!(r"{weekday}{day}\x20{month}\x20{year}(?:\x20{TIME})?(?:{OFFSET})?$"),
            format!(r"{weekday}{month}\x20{day},?\x20{year}(?:\x20{TIME})?(?:{OFFSET})?$"),
            format!(r"{weekday}{month}\x20{day}\x20{TIME}(?:{OFFSET})?\x20{year}$"),
        ]
        .map(|form| compile(&form))
    });
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    // `date` pads days with blanks.
    let text = text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    let parts = FORMS.iter().find_map(|form| form.captures(&text))?;
    let month = MONTHS.iter().position(|month| *month == &parts["month"])? + 1;
    timestamp(&parts, Date::new(number(&parts, "year")?, i8::try_from(month).ok()?, number(&parts, "day")?).ok()?)
}

fn compile(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is a constant")
}

fn number<T: FromStr>(parts: &Captures<'_>, name: &str) -> Option<T> {
    parts.name(name)?.as_str().parse().ok()
}

/// Combines a day with the time and the offset that were matched.
fn timestamp(parts: &Captures<'_>, date: Date) -> Option<Timestamp> {
    let mut hour: i8 = number(parts, "hour").unwrap_or(0);
    if let Some(half) = parts.name("half") {
        if !(1..=12).contains(&hour) {
            return None;
        }
        hour = hour % 12 + if half.as_str() == "P" { 12 } else { 0 };
    }
    let (minute, second) = (number(parts, "minute").unwrap_or(0), number(parts, "second").unwrap_or(0));
    let fraction = parts.name("fraction").map_or("", |fraction| fraction.as_str());
    let nanoseconds = format!("{:0<9}", &fraction[..fraction.len().min(9)]).parse().ok()?;
    let time = Time::new(hour, minute, second, nanoseconds).ok()?;
    let hours: i32 = number(parts, "offset").unwrap_or(0);
    let minutes: i32 = number(parts, "offset_minute").unwrap_or(0);
    if hours.abs() > 23 || minutes > 59 {
        return None;
    }
    let is_west = parts.name("offset").is_some_and(|offset| offset.as_str().starts_with('-'));
    let minutes = hours * 60 + if is_west { -minutes } else { minutes };
    Some(Timestamp { local: date.to_datetime(time), offset: Offset::from_seconds(minutes * 60).ok()? })
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset.seconds() / 60 {
            0 => write!(f, "{}Z", self.local),
            minutes => {
                let sign = if minutes < 0 { '-' } else { '+' };
                write!(f, "{}{sign}{:02}:{:02}", self.local, minutes.abs() / 60, minutes.abs() % 60)
            }
        }
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
    fn rfc_3339_times_are_printed_as_go_does() {
        for (text, expected) in [
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("1970-01-01T00:00:01+00:00", "1970-01-01T00:00:01Z"),
            ("2026-08-01T10:00:00.120+02:00", "2026-08-01T10:00:00.12+02:00"),
            ("2026-08-01T10:00:00.1234567891-00:30", "2026-08-01T10:00:00.123456789-00:30"),
            ("2026-08-01t10:00:00z", "2026-08-01T10:00:00Z"),
            ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999999Z"),
            ("9999-12-31T23:59:59+14:00", "9999-12-31T23:59:59+14:00"),
            ("0000-01-01T00:00:00-12:00", "0000-01-01T00:00:00-12:00"),
        ] {
            assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), expected);
        }
    }

    /// The expected values are those of `date -u -Iseconds -d`.
    #[test]
    fn other_forms_are_parsed_as_date_does() {
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
            // Week dates and ordinal dates of ISO 8601.
            ("2024-W01-1", "2024-01-01T00:00:00Z"),
            ("2020-W53-7", "2021-01-03T00:00:00Z"),
            ("2024W071T10:11Z", "2024-02-12T10:11:00Z"),
            ("2024-060", "2024-02-29T00:00:00Z"),
            // The output of `date`, of `date -R`, and of `date` in English locales.
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
    fn times_are_compared_and_counted_in_utc() {
        let east: Timestamp = "2024-01-01T10:11:12.9+02:00".parse().unwrap();
        assert_eq!(east, "2024-01-01T08:11:12.9Z".parse().unwrap());
        assert_ne!(east, "2024-01-01T10:11:12.9Z".parse().unwrap());
        assert_eq!(east.to_whole_utc().to_string(), "2024-01-01T08:11:12Z");
        for (text, seconds) in [("@0", 0), ("@-1.5", -2), ("@1.5", 1), ("0001-01-01T00:00:00Z", -62_135_596_800)] {
            assert_eq!(text.parse::<Timestamp>().unwrap().unix(), seconds, "{text}");
        }
        assert_eq!(Timestamp::from_unix(1_700_000_000).unwrap(), "@1700000000".parse().unwrap());
        assert!(Timestamp::from_unix(u64::MAX).is_none());
    }

    #[test]
    fn malformed_times_are_refused_with_an_example() {
        for text in
            ["", "now", "yesterday", "2026-13-01T00:00:00Z", "2026-01", "@x", "@", "@1.x", "2026-W54-1", "2026-366"]
                .into_iter()
                .chain(["1 Foo 2024", "Jan 32 2024", "Jan 1 2024 13:00 PM", "2024-W01-1 10:11 CET"])
                // Go refuses leap seconds and such offsets, too (time.Parse).
                .chain(["2016-12-31T23:59:60Z", "2024-01-01T24:00:00Z", "2024-01-01T00:00:00+24:00"])
                // Times out of the range of RFC 3339. Fuzzing found the first one.
                .chain(["@-200000000000", "9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00+01:00"])
        {
            let error = text.parse::<Timestamp>().unwrap_err().to_string();
            assert!(error.contains("1970-01-01T00:00:01Z"), "{error}");
        }
    }
}
