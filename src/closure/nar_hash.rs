//! What Nix recorded of a store path's content: `sha256:` and Nix base 32, or base 16.

use data_encoding::{BitOrder, HEXLOWER_PERMISSIVE, Specification};

/// The 32 bytes of a recorded hash, if it is one.
pub fn parse_nar_hash(text: &str) -> Option<[u8; 32]> {
    let text = text.strip_prefix("sha256:")?;
    let bytes = if text.len() == 64 {
        HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?
    } else {
        // Nix's base 32 is the usual little-endian one, read from its end.
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
    fn both_spellings_are_read() {
        // What `nix-hash --to-base32` says of the empty input's sha256.
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for text in [format!("sha256:{hex}"), "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73".to_owned()]
        {
            assert_eq!(HEXLOWER.encode(&parse_nar_hash(&text).unwrap()), hex);
        }
        assert_eq!(parse_nar_hash("md5:x"), None);
        assert_eq!(parse_nar_hash("sha256:0mdq"), None);
    }
}
