//! Signed statements in the Dead Simple Signing Envelope, which in-toto, SLSA and sigstore use.
//!
//! Source: <https://github.com/secure-systems-lab/dsse>, `protocol.md` and `envelope.md` of version 1.0. Signatures are
//! Ed25519. Not here: what the payload says.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::key::{SigningKey, VerifyingKey};

/// A payload, what it is, and signatures over both. The names and the order in JSON are those of the specification;
/// fields that it does not know are ignored.
///
/// The payload means nothing before [`verify`](Self::verify) has found a signature of a key that is trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// The bytes of the statement, in base64.
    #[serde(serialize_with = "encode", deserialize_with = "decode")]
    pub payload: Vec<u8>,
    /// What the payload is, such as `application/vnd.in-toto+json`. It is signed too.
    pub payload_type: String,
    /// The signatures.
    pub signatures: Vec<EnvelopeSignature>,
}

/// A signature of an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvelopeSignature {
    /// A hint which key it is by; empty, and then not written, where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub keyid: String,
    /// The signature, in base64.
    #[serde(serialize_with = "encode", deserialize_with = "decode")]
    pub sig: Vec<u8>,
}

/// Why an envelope is not to be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The payload is of another type than the reader understands.
    #[error("the envelope holds {found:?}, and {wanted:?} is wanted")]
    Type {
        /// The type that is wanted.
        wanted: String,
        /// The type that the envelope states.
        found: String,
    },
    /// None of the signatures is of a trusted key.
    #[error("none of the {signatures} signatures of the envelope is by a trusted key over this payload and type")]
    Untrusted {
        /// The number of signatures.
        signatures: usize,
    },
}

impl Envelope {
    /// Signs a payload of this type.
    #[must_use]
    pub fn sign(payload_type: impl Into<String>, payload: impl Into<Vec<u8>>, key: &SigningKey) -> Self {
        let mut envelope =
            Self { payload: payload.into(), payload_type: payload_type.into(), signatures: Vec::with_capacity(1) };
        envelope.cosign(key);
        envelope
    }

    /// Adds a signature behind the others. One with the same key id is replaced, because securesystemslib refuses
    /// envelopes with two.
    pub fn cosign(&mut self, key: &SigningKey) {
        let keyid = key.verifying_key().key_id();
        self.signatures.retain(|signature| signature.keyid != keyid);
        let sig = key.sign(&self.signed_bytes()).to_vec();
        self.signatures.push(EnvelopeSignature { keyid, sig });
    }

    /// Verifies the envelope, and returns the trusted keys that signed it, each once and in the order they are given
    /// in. The ids of keys are not looked at: they are not signed. Signatures that fit no trusted key are passed over.
    ///
    /// # Errors
    /// [`EnvelopeError`] where the payload is of another type, or none of the keys signed it.
    pub fn verify<'k>(
        &self,
        payload_type: &str,
        trusted: &'k [VerifyingKey],
    ) -> Result<Vec<&'k VerifyingKey>, EnvelopeError> {
        if self.payload_type != payload_type {
            return Err(EnvelopeError::Type { wanted: payload_type.to_owned(), found: self.payload_type.clone() });
        }
        let bytes = self.signed_bytes();
        let signed = |key: &VerifyingKey| self.signatures.iter().any(|line| key.verify(&bytes, &line.sig).is_ok());
        let mut keys = Vec::new();
        for key in trusted {
            if !keys.contains(&key) && signed(key) {
                keys.push(key);
            }
        }
        if keys.is_empty() {
            return Err(EnvelopeError::Untrusted { signatures: self.signatures.len() });
        }
        Ok(keys)
    }

    fn signed_bytes(&self) -> Vec<u8> {
        pre_authentication_encoding(&self.payload_type, &self.payload)
    }
}

/// What is signed (PAE in the specification): `DSSEv1`, and type and payload behind their lengths, so that no bytes can
/// move from one to the other.
#[must_use]
pub fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

fn encode<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
}

/// Verifiers must accept both alphabets (`protocol.md`).
fn decode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
    let bytes = BASE64_STANDARD.decode(text.as_bytes()).or_else(|_| BASE64_URL_SAFE.decode(text.as_bytes()));
    bytes.map_err(|error| serde::de::Error::custom(format!("not base64: {error}")))
}

#[cfg(test)]
mod tests;
