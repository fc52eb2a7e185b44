//! Decrypts private keys of cosign: JSON in the format of go-securesystemslib, `encrypted/encrypted.go`.
//!
//! ```json
//! { "kdf": { "name": "scrypt", "params": { "N": 65536, "r": 8, "p": 1 }, "salt": "…" },
//!   "cipher": { "name": "nacl/secretbox", "nonce": "…" }, "ciphertext": "…" }
//! ```

use crypto_secretbox::{KeyInit, XSalsa20Poly1305, aead::Aead};
use serde::Deserialize;

/// The values of scrypt's N that cosign uses, with their log2. Other values are refused, because a malicious file could
/// otherwise take any amount of time and memory.
const STRENGTHS: [(u64, u8); 3] = [(1 << 15, 15), (1 << 16, 16), (1 << 17, 17)];

#[derive(Deserialize)]
struct Sealed {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Deserialize)]
struct Kdf {
    name: String,
    params: Params,
    salt: String,
}

#[derive(Deserialize)]
struct Params {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

pub fn decrypt(text: &[u8], password: &[u8]) -> Result<Vec<u8>, &'static str> {
    let malformed = "it is not a key that cosign encrypted";
    let sealed: Sealed = serde_json::from_slice(text).map_err(|_| malformed)?;
    let bytes = |text: &str| data_encoding::BASE64.decode(text.as_bytes()).map_err(|_| malformed);
    let Params { n, r, p } = sealed.kdf.params;
    let strength = STRENGTHS.iter().find(|(allowed, _)| *allowed == n).map(|(_, log_n)| *log_n);
    let (Some(log_n), 8, 1, "scrypt", "nacl/secretbox") = (strength, r, p, &*sealed.kdf.name, &*sealed.cipher.name)
    else {
        return Err("it is encrypted in a way that cosign does not use");
    };
    let params = scrypt::Params::new(log_n, r, p).map_err(|_| malformed)?;
    let mut key = [0; 32];
    scrypt::scrypt(password, &bytes(&sealed.kdf.salt)?, &params, &mut key).map_err(|_| malformed)?;
    let nonce: [u8; 24] = bytes(&sealed.cipher.nonce)?.try_into().map_err(|_| malformed)?;
    XSalsa20Poly1305::new(&key.into())
        .decrypt(&nonce.into(), bytes(&sealed.ciphertext)?.as_slice())
        .map_err(|_| "the password is wrong")
}
