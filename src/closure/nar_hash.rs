//! The NAR hash that Nix records for a store path: `sha256:` and Nix base 32, or base 16.

use data_encoding::{BitOrder, HEXLOWER_PERMISSIVE, Specification};

/// Parses a recorded hash. Returns `None` if the text is not a SHA-256 hash in one of the two forms.
pub fn parse_nar_hash(text: &str) -> Option<[u8; 32]> {
    let text = text.strip_prefix("sha256:")?;
    let bytes = if text.len() == 64 {
        HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?
    } else {
        // Nix writes base 32 with the least significant bits first, and the characters in reverse order.
        let mut specification = Specification::new();
        specification.symbols.push_str("0123456789abcdfghijklmnpqrsvwxyz");
        specification.bit_order = BitOrder::LeastSignificantFirst;
        specification.check_trailing_bits = false;
        let reversed: String = text.chars().rev().collect();
        specification.encoding().ok()?.decode(reversed.as_bytes()).ok()?
    };
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    #[test]
    fn base_16_and_nix_base_32_are_parsed() {
        // The output of `nix-hash --to-base32` for the SHA-256 of the empty input.
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for text in [format!("sha256:{hex}"), "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73".to_owned()]
        {
            assert_eq!(HEXLOWER.encode(&parse_nar_hash(&text).unwrap()), hex);
        }
        assert_eq!(parse_nar_hash("md5:x"), None);
        assert_eq!(parse_nar_hash("sha256:0mdq"), None);
    }
}
