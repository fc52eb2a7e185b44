//! Images that explain themselves: what is in them, why, and what an update costs.
//!
//! ```text
//! ImageBlobs ──▶ explain: layers, paths, chances, costs ──▶ table, JSON, page (HTML)
//!            ──▶ why: the references that bring a store path in; cut: those that bring much in, and where they stand
//!            ──▶ budget: sizes, and what is more than allowed
//! two of them ──▶ diff: paths, layers, configuration; push: the blobs a push would send
//! both        ──▶ partial, forecast: what a pull of zstd:chunked layers fetches in parts
//! a closure   ──▶ plan: what each strategy would cost
//! ```

pub(crate) mod budget;
pub(crate) mod cut;
pub(crate) mod diff;
mod dissect;
pub(crate) mod explain;
pub(crate) mod forecast;
pub(crate) mod page;
pub(crate) mod partial;
pub(crate) mod plan;
pub(crate) mod push;
pub(crate) mod why;

/// A number of bytes, as people read it: three digits and a unit of a thousand.
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
    fn bytes_are_short() {
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
