//! Reports about images: their contents, the references that cause them, and the cost of updates.
//!
//! ```text
//! image      ──▶ explain: layers, paths, probabilities, costs ──▶ text, JSON, page (HTML)
//!            ──▶ why: the references that bring a store path in
//!            ──▶ cut: the references whose removal saves most, and the places that contain them
//!            ──▶ start: the store paths that the start of a container needs
//!            ──▶ budget: sizes, and excesses over the allowed sizes
//!            ──▶ forecast: the bytes that partial pulls fetch after updates
//! two images ──▶ diff: paths, layers, configuration
//!            ──▶ push: the blobs that a push sends
//!            ──▶ partial: the bytes that a partial pull of zstd:chunked layers fetches
//!            ──▶ contents: the files that differ, their offsets, and the probable causes
//! closure    ──▶ plan: the cost of each layering strategy
//! ```

pub(crate) mod budget;
pub(crate) mod cause;
pub(crate) mod contents;
pub(crate) mod cut;
pub(crate) mod diff;
mod dissect;
pub(crate) mod explain;
pub(crate) mod forecast;
pub(crate) mod page;
pub(crate) mod partial;
pub(crate) mod plan;
pub(crate) mod push;
pub(crate) mod start;
pub(crate) mod why;

/// Formats a number of bytes for people, with a decimal unit: `1.2 MB`.
pub fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 999.5 {
            return if unit == "B" || value >= 99.95 {
                format!("{value:.0} {unit}")
            } else {
                format!("{value:.1} {unit}")
            };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

#[cfg(test)]
mod tests {
    #[test]
    fn bytes_are_formatted_with_decimal_units() {
        for (bytes, expected) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1_250_000, "1.2 MB"),
            (999_700, "1.0 MB"),
            (123_456_789_000, "123 GB"),
        ] {
            assert_eq!(super::bytes(bytes), expected);
        }
    }
}
