//! [DSSE](https://github.com/secure-systems-lab/dsse/blob/master/protocol.md): a payload, its type, and signatures of both.

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use super::{Result, SigningError, SigningKey, Statement, VerifyingKey};

/// The type of in-toto statements.
const IN_TOTO: &str = "application/vnd.in-toto+json";

/// A signed payload.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Signature {
    sig: String,
}

impl Envelope {
    /// Signs a statement.
    ///
    /// # Errors
    ///
    /// If [`SigningKey::sign`] fails.
    pub fn sign(statement: &Statement, key: &SigningKey) -> Result<Self> {
        let payload = statement.to_vec();
        let signature = key.sign(&pre_authentication_encoding(IN_TOTO, &payload))?;
        Ok(Self::from_signature(&payload, &signature))
    }

    /// Creates an envelope from the bytes of a statement and an external signature of [`to_sign`](Self::to_sign).
    pub fn from_signature(payload: &[u8], signature: &[u8]) -> Self {
        Self {
            payload: BASE64.encode(payload),
            payload_type: IN_TOTO.to_owned(),
            signatures: vec![Signature { sig: BASE64.encode(signature) }],
        }
    }

    /// Returns the bytes to sign for a statement.
    pub fn to_sign(statement: &Statement) -> Vec<u8> {
        pre_authentication_encoding(IN_TOTO, &statement.to_vec())
    }

    /// Returns the statement, if the key signed it.
    ///
    /// # Errors
    ///
    /// [`SigningError::NoMatch`] if the key did not, and [`SigningError::Malformed`] if the payload is not a statement.
    pub fn verify(&self, key: &VerifyingKey) -> Result<Statement> {
        let malformed = |why: String| SigningError::Malformed { what: "the envelope", why };
        let payload = BASE64.decode(self.payload.as_bytes()).map_err(|error| malformed(error.to_string()))?;
        let message = pre_authentication_encoding(&self.payload_type, &payload);
        let is_valid = |signature: &Signature| {
            BASE64.decode(signature.sig.as_bytes()).is_ok_and(|signature| key.verifies(&message, &signature))
        };
        if !self.signatures.iter().any(is_valid) {
            return Err(SigningError::NoMatch);
        }
        if self.payload_type != IN_TOTO {
            return Err(malformed(format!("it contains {}, not {IN_TOTO}", self.payload_type)));
        }
        Statement::parse(&payload)
    }
}

/// Encodes the type and the payload with their lengths, so that the boundary between them is unambiguous (PAE of DSSE).
fn pre_authentication_encoding(kind: &str, payload: &[u8]) -> Vec<u8> {
    let header = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len());
    [header.as_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pre_authentication_encoding_equals_the_example_of_the_specification() {
        let encoded = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world");
        assert_eq!(encoded, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }
}
