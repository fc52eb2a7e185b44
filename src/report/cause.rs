//! The probable cause of a difference between two builds of one file, from the bytes around it.
//!
//! The result is a hint for people. Causes that leave no trace in the bytes are [`Cause::Unknown`].

use serde::Serialize;

/// The number of bytes before and after a difference that are examined.
pub const WINDOW: usize = 128;

/// The seconds since the epoch that are taken for a time: from 2001-09-09, when they got ten digits, to 2038.
const TIMES: std::ops::RangeInclusive<u64> = 1_000_000_000..=2_147_483_647;
const BUILD_DIRECTORIES: [&str; 2] = ["/build/", "/nix-build-"];
const STORE: &str = "/nix/store/";
const HASH: usize = 32;

/// Why two builds of a file differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// The file names another store path.
    StorePath,
    /// The file names the directory of the build.
    BuildDirectory,
    /// The file contains a time.
    Timestamp,
    /// Both files have the same bytes in another order, as with random seeds of hash tables, threads, and unsorted directories.
    Order,
    /// None of the others.
    Unknown,
}

impl Cause {
    /// Returns a phrase for people.
    pub fn phrase(self) -> &'static str {
        match self {
            Self::StorePath => "another store path",
            Self::BuildDirectory => "the directory of the build",
            Self::Timestamp => "looks like a timestamp",
            Self::Order => "the same bytes in another order",
            Self::Unknown => "unknown cause",
        }
    }
}

/// Parts of both files around the first difference, which is at the index `at` of both.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    pub first: &'a [u8],
    pub second: &'a [u8],
    pub at: usize,
}

/// Returns the cause of a difference. `is_reordered` is whether both files have the same bytes.
pub fn cause(around: &Around<'_>, is_reordered: bool) -> Cause {
    let sides = [around.first, around.second];
    let tokens = sides.map(|side| token(side, around.at));
    if sides.iter().all(|side| is_in_store_hash(side, around.at)) {
        return Cause::StorePath;
    }
    if tokens.iter().any(|token| BUILD_DIRECTORIES.iter().any(|directory| token.contains(directory))) {
        return Cause::BuildDirectory;
    }
    if tokens.iter().all(|token| is_time(token)) || is_binary_time(around) {
        return Cause::Timestamp;
    }
    if is_reordered { Cause::Order } else { Cause::Unknown }
}

/// Returns the printable text without blanks around a position. A date may have one colon or dash in it.
fn token(side: &[u8], at: usize) -> String {
    let is_part = |byte: &u8| byte.is_ascii_graphic();
    let start = side[..at.min(side.len())].iter().rposition(|byte| !is_part(byte)).map_or(0, |end| end + 1);
    let end = side[start..].iter().position(|byte| !is_part(byte)).map_or(side.len(), |length| start + length);
    String::from_utf8_lossy(&side[start..end.max(start)]).into_owned()
}

fn is_in_store_hash(side: &[u8], at: usize) -> bool {
    let start = at.saturating_sub(HASH + STORE.len() - 1);
    (start..=at).any(|start| {
        let hash = start + STORE.len();
        side.get(start..hash) == Some(STORE.as_bytes()) && (hash..hash + HASH).contains(&at)
    })
}

/// Whether a text contains a time: `2026-11-28`, `23:45:53`, or seconds (with a fraction: more digits) since the epoch.
fn is_time(token: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit();
    let bytes = token.as_bytes();
    let matches = |pattern: &[u8]| {
        bytes.windows(pattern.len()).any(|window| {
            window.iter().zip(pattern).all(|(&byte, &form)| if form == b'0' { is_digit(byte) } else { byte == form })
        })
    };
    let is_epoch = |digits: &str| {
        (10..=19).contains(&digits.len()) && digits[..10].parse().is_ok_and(|seconds: u64| TIMES.contains(&seconds))
    };
    matches(b"0000-00-00") || matches(b"00:00:00") || token.split(|c: char| !c.is_ascii_digit()).any(is_epoch)
}

/// Whether four bytes around the difference are a time on both sides: that of a gzip header or of Python's compiled files, or
/// another one in little endian.
fn is_binary_time(around: &Around<'_>) -> bool {
    let is_time_at = |start: usize| {
        [around.first, around.second].iter().all(|side| {
            let bytes: Option<[u8; 4]> = side.get(start..start + 4).and_then(|bytes| bytes.try_into().ok());
            // Four letters are a number in this range, too.
            let is_text =
                |bytes: &[u8; 4]| bytes.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
            bytes.is_some_and(|bytes| !is_text(&bytes) && TIMES.contains(&u64::from(u32::from_le_bytes(bytes))))
        })
    };
    (around.at.saturating_sub(3)..=around.at).any(is_time_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(first: &[u8], second: &[u8]) -> Cause {
        let at = first.iter().zip(second).position(|(a, b)| a != b).unwrap();
        let sorted = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            bytes.sort_unstable();
            bytes
        };
        cause(&Around { first, second, at }, sorted(first) == sorted(second))
    }

    #[test]
    fn causes_are_recognised() {
        let store = |letter: &str| format!("PATH=/nix/store/{}-x/bin", letter.repeat(32));
        assert_eq!(found(store("a").as_bytes(), store("b").as_bytes()), Cause::StorePath);
        assert_eq!(found(b"file=/build/a/x.c", b"file=/build/b/x.c"), Cause::BuildDirectory);
        assert_eq!(found(b"at /tmp/nix-build-x.drv-0/y", b"at /tmp/nix-build-x.drv-1/y"), Cause::BuildDirectory);
        assert_eq!(found(b"built 2026-11-28T23:45:53Z", b"built 2026-11-28T23:46:01Z"), Cause::Timestamp);
        assert_eq!(found(b"1796000000\n", b"1796000001\n"), Cause::Timestamp);
        assert_eq!(found(b"1796000000123456789", b"1796000000223456789"), Cause::Timestamp);
        // The header of gzip has the time in bytes 4 to 7.
        assert_eq!(
            found(b"\x1f\x8b\x08\x00\x00\x5f\x0d\x6b\x00\x03", b"\x1f\x8b\x08\x00\x01\x5f\x0d\x6b\x00\x03"),
            Cause::Timestamp
        );
        assert_eq!(found(b"a b c\n", b"b a c\n"), Cause::Order);
        assert_eq!(found(b"seed 17\n", b"seed 18\n"), Cause::Unknown);
        assert_eq!(found(b"some words", b"some wordy"), Cause::Unknown);
        assert_eq!(found(b"0123456789\n", b"1123456789\n"), Cause::Unknown);
    }

    #[test]
    fn differences_at_the_ends_are_examined() {
        for (first, second) in [(&b""[..], &b"x"[..]), (b"x", b""), (b"x", b"xy")] {
            let at = first.len().min(second.len());
            assert_eq!(cause(&Around { first, second, at }, false), Cause::Unknown);
        }
    }
}
