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
    /// Those of [`SigningKey::sign`].
    pub fn sign(statement: &Statement, key: &SigningKey) -> Result<Self> {
        let payload = statement.to_vec();
        let signature = key.sign(&preauthenticated(IN_TOTO, &payload))?;
        Ok(Self::of(&payload, &signature))
    }

    /// An envelope of a statement's bytes that somebody else signed, as [`to_sign`](Self::to_sign) gives them.
    pub fn of(payload: &[u8], signature: &[u8]) -> Self {
        Self {
            payload: BASE64.encode(payload),
            payload_type: IN_TOTO.to_owned(),
            signatures: vec![Signature { sig: BASE64.encode(signature) }],
        }
    }

    /// The bytes of which a signature of the statement is made.
    pub fn to_sign(statement: &Statement) -> Vec<u8> {
        preauthenticated(IN_TOTO, &statement.to_vec())
    }

    /// The statement, if the key signed it.
    ///
    /// # Errors
    ///
    /// [`SigningError::NoMatch`], and [`SigningError::Malformed`] where a signed payload is no statement.
    pub fn verify(&self, key: &VerifyingKey) -> Result<Statement> {
        let malformed = |why: String| SigningError::Malformed { what: "the envelope", why };
        let payload = BASE64.decode(self.payload.as_bytes()).map_err(|error| malformed(error.to_string()))?;
        let message = preauthenticated(&self.payload_type, &payload);
        let is_ours = |signature: &Signature| {
            BASE64.decode(signature.sig.as_bytes()).is_ok_and(|signature| key.verifies(&message, &signature))
        };
        if !self.signatures.iter().any(is_ours) {
            return Err(SigningError::NoMatch);
        }
        if self.payload_type != IN_TOTO {
            return Err(malformed(format!("it contains {}, not {IN_TOTO}", self.payload_type)));
        }
        Statement::parse(&payload)
    }
}

/// Type and payload with their lengths, so that neither can pass for a part of the other.
fn preauthenticated(kind: &str, payload: &[u8]) -> Vec<u8> {
    let header = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len());
    [header.as_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_as_the_specification_has_it() {
        let encoded = preauthenticated("http://example.com/HelloWorld", b"hello world");
        assert_eq!(encoded, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }
}
