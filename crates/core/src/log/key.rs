//! Ed25519 keys: signing, strict verification, and the forms in which other tools know a public key.
//!
//! Source: RFC 8032, RFC 8410 for the PEM form. Signing is deterministic, so it needs no source of chance; where the 32
//! bytes of a secret key come from and how they are kept is up to the caller.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};

/// The bytes of a secret key's seed, and of a public key.
pub const KEY_LEN: usize = 32;

/// The bytes of a signature.
pub const SIGNATURE_LEN: usize = 64;

/// `SEQUENCE { SEQUENCE { OID 1.3.101.112 }, BIT STRING }` up to the key itself (RFC 8410 § 4).
const DER_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The prime of the field, 2^255 - 19, in little-endian order.
const PRIME: [u8; KEY_LEN] = field(0xed, 0xff, 0x7f);

/// The y-coordinates of the eight points whose order divides 8, in little-endian order: 0, 1, -1, and the two of order
/// 8. Source: `ge25519_has_small_order` of libsodium; they solve `d y^4 + 2 y^2 = 1`.
const SMALL_ORDER: [[u8; KEY_LEN]; 5] = [
    field(0, 0, 0),
    field(1, 0, 0),
    field(0xec, 0xff, 0x7f),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];

/// A number whose inner bytes are all alike, in little-endian order.
const fn field(first: u8, inner: u8, last: u8) -> [u8; KEY_LEN] {
    let mut bytes = [inner; KEY_LEN];
    bytes[0] = first;
    bytes[KEY_LEN - 1] = last;
    bytes
}

/// Bytes that are no public key to trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A second spelling of a smaller number.
    #[error("these bytes are no public key: RFC 8032 spells this point differently")]
    NotCanonical,
    /// One signature by such a key fits many messages.
    #[error("this public key is one of the eight weak points of Ed25519: anybody can sign for it")]
    Weak,
}

/// The signature is not by this key over these bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not by this key over these bytes")]
pub struct BadSignature;

/// A secret key. It shows its public key only.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// The key of a seed, which RFC 8032 calls the private key: 32 bytes that nobody can guess.
    #[must_use]
    pub fn from_seed(seed: [u8; KEY_LEN]) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&seed).expect("each seed of 32 bytes is a key"))
    }

    /// The public key, by which others verify.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        let bytes = self.0.public_key().as_ref();
        VerifyingKey(bytes.try_into().expect("a public key has 32 bytes"))
    }

    /// Signs a message: the same bytes each time.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_LEN] {
        self.0.sign(message).as_ref().try_into().expect("a signature has 64 bytes")
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(of {})", self.verifying_key())
    }
}

/// A public key. Written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerifyingKey([u8; KEY_LEN]);

impl VerifyingKey {
    /// The key of these bytes (RFC 8032 § 5.1.2). Bytes that are no point of the curve are accepted, but no signature
    /// fits them.
    ///
    /// # Errors
    /// [`KeyError`] for the keys for which a signature says nothing, and for second spellings.
    pub fn from_bytes(bytes: [u8; KEY_LEN]) -> Result<Self, KeyError> {
        let mut y = bytes;
        y[KEY_LEN - 1] &= 0x7f; // the highest bit is the sign of x
        if y.iter().rev().ge(PRIME.iter().rev()) {
            return Err(KeyError::NotCanonical);
        }
        if SMALL_ORDER.contains(&y) {
            return Err(KeyError::Weak);
        }
        Ok(Self(bytes))
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// Checks a signature. There is exactly one spelling of it: S is less than the group's order, R is compared by its
    /// bytes, and the equation is the one without the cofactor.
    ///
    /// # Errors
    /// [`BadSignature`] where it does not fit, or is none at all.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).map_err(|_| BadSignature)
    }

    /// The key as a PEM text (`SubjectPublicKeyInfo` of RFC 8410), which openssl, cosign and others read.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let der = [DER_PREFIX.as_slice(), &self.0].concat();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64_STANDARD.encode(der))
    }

    /// The name of this key among signatures of [DSSE](crate::log::dsse), as securesystemslib computes it: SHA-256 of
    /// the key in canonical JSON, 64 hexadecimal digits. It is a hint, and no proof of anything.
    ///
    /// Source: `compute_default_keyid` in securesystemslib 1.6, as `SSlibKey.from_crypto` calls it.
    #[must_use]
    pub fn key_id(&self) -> String {
        let json = format!(r#"{{"keytype":"ed25519","keyval":{{"public":"{self}"}},"scheme":"ed25519"}}"#);
        blake3::Hash::from_bytes(Sha256::digest(json).into()).to_hex().to_string()
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({self})")
    }
}

#[cfg(test)]
mod tests;
