//! `Range` headers of clients: the ranges are in order, do not touch, and lie in the blob.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strata::internals::serve::{RequestedRange, parse_ranges};

fuzz_target!(|header: (&str, u64)| {
    let (text, size) = header;
    if let RequestedRange::Parts(ranges) = parse_ranges(text, size) {
        assert!(!ranges.is_empty());
        assert!(ranges.iter().all(|range| range.start < range.end && range.end <= size), "{ranges:?} of {size}");
        assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start), "{ranges:?}");
    }
});
