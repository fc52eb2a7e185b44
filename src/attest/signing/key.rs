//! Keys of `cosign generate-key-pair` and of openssl.
//!
//! | PEM label | what it is |
//! |---|---|
//! | `ENCRYPTED SIGSTORE PRIVATE KEY`, `ENCRYPTED COSIGN PRIVATE KEY` | PKCS #8, encrypted with a password |
//! | `PRIVATE KEY` | PKCS #8 (`openssl genpkey`) |
//! | `EC PRIVATE KEY` | SEC 1 (`openssl ecparam -genkey`) |
//! | `PUBLIC KEY` | X.509's SubjectPublicKeyInfo |

use std::{fs::File, path::Path};

use pkcs8::{
    AlgorithmIdentifierRef, ObjectIdentifier, PrivateKeyInfoRef,
    der::{
        Decode, Encode,
        asn1::{Any, AnyRef, BitString, Null, OctetStringRef},
    },
    spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned},
};
use ring::{
    rand::SystemRandom,
    signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair, UnparsedPublicKey, VerificationAlgorithm},
};
use sec1::EcPrivateKey;

use super::{Result, SigningError, encrypted};
use crate::budget::{self, Budget};

const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// A private key for signatures.
pub struct SigningKey {
    pair: Pair,
    random: SystemRandom,
}

enum Pair {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// A public key that verifies signatures.
#[derive(Clone)]
pub struct VerifyingKey {
    algorithm: &'static dyn VerificationAlgorithm,
    point: Vec<u8>,
    der: Vec<u8>,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VerifyingKey({})", self.hint())
    }
}

impl SigningKey {
    /// Reads a private key. `password` is called if the file is encrypted.
    ///
    /// # Errors
    ///
    /// [`SigningError::Io`] and [`SigningError::Key`].
    pub fn open(path: &Path, password: impl FnOnce() -> Option<String>) -> Result<Self> {
        let fail = |why: String| SigningError::Key { path: path.to_owned(), why };
        let (label, bytes) = pem(path)?;
        let pkcs8 = match label.as_str() {
            "ENCRYPTED SIGSTORE PRIVATE KEY" | "ENCRYPTED COSIGN PRIVATE KEY" => {
                let password = password().ok_or_else(|| {
                    fail(
                        "the key is encrypted; put its password into the environment variable COSIGN_PASSWORD"
                            .to_owned(),
                    )
                })?;
                encrypted::decrypt(&bytes, password.as_bytes()).map_err(|why| fail(why.to_owned()))?
            }
            "PRIVATE KEY" => bytes,
            "EC PRIVATE KEY" => {
                pkcs8_from_sec1(&bytes).ok_or_else(|| fail("it is not a P-256 or P-384 key".to_owned()))?
            }
            "ENCRYPTED PRIVATE KEY" => {
                return Err(fail(
                    "keys that openssl encrypted are not read; `cosign import-key-pair` takes them".to_owned(),
                ));
            }
            "PUBLIC KEY" => return Err(fail("it is a public key; a private key signs".to_owned())),
            other => return Err(fail(format!("it contains a {other:?}, not a private key"))),
        };
        let random = SystemRandom::new();
        let ec = |algorithm| EcdsaKeyPair::from_pkcs8(algorithm, &pkcs8, &random).ok();
        let pair = ec(&signature::ECDSA_P256_SHA256_ASN1_SIGNING)
            .map(Pair::P256)
            .or_else(|| ec(&signature::ECDSA_P384_SHA384_ASN1_SIGNING).map(Pair::P384))
            .or_else(|| RsaKeyPair::from_pkcs8(&pkcs8).ok().map(Pair::Rsa))
            .or_else(|| Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pkcs8).ok().map(Pair::Ed25519))
            .ok_or_else(|| fail("it is not a P-256, P-384, RSA (2048 bits or more) or Ed25519 key".to_owned()))?;
        Ok(Self { pair, random })
    }

    /// Signs a message.
    ///
    /// # Errors
    ///
    /// If the machine has no source of randomness.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let fail = |_| SigningError::Malformed { what: "the key", why: "it does not sign".to_owned() };
        match &self.pair {
            Pair::P256(pair) | Pair::P384(pair) => {
                pair.sign(&self.random, message).map(|signature| signature.as_ref().to_vec()).map_err(fail)
            }
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signed = vec![0; pair.public().modulus_len()];
                pair.sign(&signature::RSA_PKCS1_SHA256, &self.random, message, &mut signed).map_err(fail)?;
                Ok(signed)
            }
        }
    }

    /// Returns the public key that belongs to the private key.
    ///
    /// # Errors
    ///
    /// Never, for a key that was read.
    pub fn verifying_key(&self) -> Result<VerifyingKey> {
        let (oid, parameters, public) = match &self.pair {
            Pair::P256(pair) => (EC, Some(Any::from(&P256)), pair.public_key().as_ref()),
            Pair::P384(pair) => (EC, Some(Any::from(&P384)), pair.public_key().as_ref()),
            Pair::Rsa(pair) => (RSA, Some(Any::from(Null)), pair.public_key().as_ref()),
            Pair::Ed25519(pair) => (ED25519, None, pair.public_key().as_ref()),
        };
        encode(oid, parameters, public)
            .and_then(|der| VerifyingKey::from_der(&der))
            .map_err(|why| SigningError::Malformed { what: "the key", why })
    }
}

impl VerifyingKey {
    /// Reads a public key.
    ///
    /// # Errors
    ///
    /// [`SigningError::Io`] and [`SigningError::Key`].
    pub fn open(path: &Path) -> Result<Self> {
        let fail = |why: String| SigningError::Key { path: path.to_owned(), why };
        let (label, bytes) = pem(path)?;
        match label.as_str() {
            "PUBLIC KEY" => Self::from_der(&bytes).map_err(fail),
            other if other.ends_with("PRIVATE KEY") => {
                Err(fail("it is a private key; signatures are checked with the public key (cosign.pub)".to_owned()))
            }
            other => Err(fail(format!("it contains a {other:?}, not a public key"))),
        }
    }

    fn from_der(der: &[u8]) -> std::result::Result<Self, String> {
        let info =
            SubjectPublicKeyInfoOwned::from_der(der).map_err(|error| format!("it is not a public key: {error}"))?;
        let curve = info.algorithm.parameters.as_ref().and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
        let oid = info.algorithm.oid;
        let (algorithm, parameters): (&'static dyn VerificationAlgorithm, _) = match (oid, curve) {
            (EC, Some(P256)) => (&signature::ECDSA_P256_SHA256_ASN1, Some(Any::from(&P256))),
            (EC, Some(P384)) => (&signature::ECDSA_P384_SHA384_ASN1, Some(Any::from(&P384))),
            (RSA, _) => (&signature::RSA_PKCS1_2048_8192_SHA256, Some(Any::from(Null))),
            (ED25519, _) => (&signature::ED25519, None),
            (other, _) => {
                return Err(format!("its algorithm {other} is not supported; use P-256, P-384, RSA or Ed25519"));
            }
        };
        let point = info.subject_public_key.raw_bytes().to_vec();
        // A key may have other parameters that change nothing. It is encoded anew, so that it has one hint.
        Ok(Self { algorithm, der: encode(oid, parameters, &point)?, point })
    }

    /// Whether the signature of the message was made with this key.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(self.algorithm, &self.point).verify(message, signature).is_ok()
    }

    /// Returns the hint that identifies the key in bundles: its SHA-256 in base64.
    pub fn hint(&self) -> String {
        data_encoding::BASE64.encode(ring::digest::digest(&ring::digest::SHA256, &self.der).as_ref())
    }
}

/// Encodes a public key.
fn encode(oid: ObjectIdentifier, parameters: Option<Any>, public: &[u8]) -> std::result::Result<Vec<u8>, String> {
    let key = BitString::from_bytes(public).map(|subject_public_key| SubjectPublicKeyInfoOwned {
        algorithm: AlgorithmIdentifierOwned { oid, parameters },
        subject_public_key,
    });
    key.and_then(|key| key.to_der()).map_err(|error| error.to_string())
}

/// Returns the label and the contents of the only block of a PEM file.
fn pem(path: &Path) -> Result<(String, Vec<u8>)> {
    let fail = |why: String| SigningError::Key { path: path.to_owned(), why };
    // The path may be a pipe: `--key <(…)`.
    let text = File::open(path).and_then(|file| Budget::new(&budget::KEY).read(file));
    let text = text.map_err(|source| SigningError::Io { path: path.to_owned(), source })?;
    let (label, bytes) = pem_rfc7468::decode_vec(skip_parameters(&text))
        .map_err(|_| fail("it is not a PEM file; write keys with `cosign generate-key-pair` or openssl".to_owned()))?;
    Ok((label.to_owned(), bytes))
}

/// Skips the block with the curve that `openssl ecparam -genkey` writes before the key.
fn skip_parameters(text: &[u8]) -> &[u8] {
    let (begin, end) = (b"-----BEGIN EC PARAMETERS-----", b"-----END EC PARAMETERS-----");
    let after = text.strip_prefix(begin).and_then(|rest| {
        let at = rest.windows(end.len()).position(|window| window == end)?;
        Some(rest[at + end.len()..].trim_ascii_start())
    });
    after.unwrap_or(text)
}

/// Converts a SEC 1 key to PKCS #8. The algorithm is the curve in the key.
fn pkcs8_from_sec1(bytes: &[u8]) -> Option<Vec<u8>> {
    let curve = EcPrivateKey::from_der(bytes).ok()?.parameters?.named_curve()?;
    let algorithm = AlgorithmIdentifierRef { oid: EC, parameters: Some(AnyRef::from(&curve)) };
    let key = PrivateKeyInfoRef::new(algorithm, OctetStringRef::new(bytes).ok()?);
    [P256, P384].contains(&curve).then(|| key.to_der().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The output of `openssl ecparam -name prime256v1 -genkey`, and the same for secp384r1 and secp256k1.
    const P256_KEY: &str = "\
-----BEGIN EC PARAMETERS-----
BggqhkjOPQMBBw==
-----END EC PARAMETERS-----
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIFhH6u75KAeRe7pkrxZOZgCQUi+5zESPIg2aN1m/SeFzoAoGCCqGSM49
AwEHoUQDQgAEVfnaHWe2PiInZFOGLh3dMpObHYLlAYbJC1L3M+L7sb7WzsT8Yn2X
52z/lO7dMglxdbouW+BmqMX+VmOTNbddQg==
-----END EC PRIVATE KEY-----
";
    const P384_KEY: &str = "\
-----BEGIN EC PARAMETERS-----
BgUrgQQAIg==
-----END EC PARAMETERS-----
-----BEGIN EC PRIVATE KEY-----
MIGkAgEBBDBEDc5sMPjzTwFAJLaI5iqvmxbVBTyKel4FkNiTN0lcXDIHCwG1+90Q
R0u7Jh/X94WgBwYFK4EEACKhZANiAAQ+Umz3LllXIxFTj8GcW9AifQGcM/7L9LnP
WBC7XxPldJRUsZVUzRmCyrYxQ1nvGablC3MkRPx39aCuIXhAkY6zH/yePEaZhXt3
nqs4xN1SwUUyYxOZP1Z2GTMT79RyX90=
-----END EC PRIVATE KEY-----
";
    const SECP256K1_KEY: &str = "\
-----BEGIN EC PARAMETERS-----
BgUrgQQACg==
-----END EC PARAMETERS-----
-----BEGIN EC PRIVATE KEY-----
MHQCAQEEIPw8gnBJyzGz8tWXBqU/ho6pio65oUwbylDFc6qHrbNkoAcGBSuBBAAK
oUQDQgAE6iR2yyIBZ4ieqAG/Te4lJzEYjUBE0kVh1YlZnHGA1mm/DbYw7vijU/Xe
qoe8dNmY9bBfyDM96tHqMpjyMPITIA==
-----END EC PRIVATE KEY-----
";

    fn open(pem: &str) -> Result<SigningKey> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), pem).unwrap();
        SigningKey::open(file.path(), || None)
    }

    #[test]
    fn keys_of_openssl_ecparam_sign() {
        // The first two bytes of the point in the output of `openssl ec -pubout`.
        for (pem, algorithm, point) in [(P256_KEY, P256, [0x55, 0xf9]), (P384_KEY, P384, [0x3e, 0x52])] {
            let key = open(pem).unwrap();
            let public = key.verifying_key().unwrap();
            assert!(public.verifies(b"message", &key.sign(b"message").unwrap()));
            assert_eq!(public.point[1..3], point);
            assert!(public.der.windows(algorithm.as_bytes().len()).any(|window| window == algorithm.as_bytes()));
        }
    }

    #[test]
    fn keys_of_other_curves_and_damaged_keys_are_refused() {
        // The inner sequence ends before the end of the key.
        let damaged = P256_KEY.replace("MHcCAQEEIFhH", "MHYCAQEEIFhH");
        for pem in [SECP256K1_KEY, &damaged] {
            let error = open(pem).unwrap_err().to_string();
            assert!(error.contains("it is not a P-256 or P-384 key"), "{error}");
        }
    }

    #[test]
    fn encodings_of_one_key_have_one_hint() {
        let encode = |oid, parameters| encode(oid, parameters, &[7; 32]).unwrap();
        for (oid, expected, other) in [(ED25519, None, Some(Any::from(Null))), (RSA, Some(Any::from(Null)), None)] {
            let [first, second] = [expected, other].map(|parameters| encode(oid, parameters));
            assert_ne!(first, second);
            let hints = [&first, &second].map(|der| VerifyingKey::from_der(der).unwrap().hint());
            assert_eq!(hints[0], hints[1]);
            assert_eq!(VerifyingKey::from_der(&second).unwrap().der, first);
        }
    }
}
