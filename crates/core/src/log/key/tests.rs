//! Published vectors, keys that are none, and texts that other tools read.

use super::*;

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    std::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
}

/// Seed, public key, message and signature. Source: RFC 8032 § 7.1, tests 1 to 3.
const RFC_8032: [(&str, &str, &[u8], &str); 3] = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        &[],
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        &[0x72],
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        &[0xaf, 0x82],
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
];

fn first() -> SigningKey {
    SigningKey::from_seed(bytes(RFC_8032[0].0))
}

#[test]
fn keys_and_signatures_are_those_of_the_rfc() {
    for (seed, public, message, signature) in RFC_8032 {
        let key = SigningKey::from_seed(bytes(seed));
        assert_eq!(key.verifying_key().to_string(), public);
        assert_eq!(VerifyingKey::from_bytes(bytes(public)), Ok(key.verifying_key()));
        assert_eq!(key.sign(message), bytes(signature));
        assert_eq!(key.verifying_key().verify(message, &bytes::<SIGNATURE_LEN>(signature)), Ok(()));
    }
}

#[test]
fn a_signature_fits_one_message_of_one_key_and_has_one_spelling() {
    let (key, other) = (first().verifying_key(), SigningKey::from_seed([7; KEY_LEN]).verifying_key());
    let signature = first().sign(b"message");
    assert_eq!(key.verify(b"message", &signature), Ok(()));
    assert_eq!(key.verify(b"messagf", &signature), Err(BadSignature));
    assert_eq!(other.verify(b"message", &signature), Err(BadSignature));
    for bit in 0..8 * SIGNATURE_LEN {
        let mut changed = signature;
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(key.verify(b"message", &changed), Err(BadSignature), "bit {bit}");
    }
    for wrong in [&[], &signature[1..], &[signature.as_slice(), &[0]].concat()] {
        assert_eq!(key.verify(b"message", wrong), Err(BadSignature));
    }
    // S + L is the same number modulo the order L of the group, which RFC 8032 § 5.1.7 refuses.
    let order: [u8; KEY_LEN] = bytes("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let (mut changed, mut carry) = (signature, 0);
    for (byte, add) in changed[KEY_LEN..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
    }
    assert_eq!(carry, 0);
    assert_eq!(key.verify(b"message", &changed), Err(BadSignature));
}

#[test]
fn weak_keys_and_second_spellings_are_refused() {
    let sign = |mut bytes: [u8; KEY_LEN]| {
        bytes[KEY_LEN - 1] |= 0x80;
        bytes
    };
    for weak in SMALL_ORDER {
        assert_eq!(VerifyingKey::from_bytes(weak), Err(KeyError::Weak));
        assert_eq!(VerifyingKey::from_bytes(sign(weak)), Err(KeyError::Weak));
    }
    // 2^255 - 19 to 2^255 - 1 are 0 to 18 again.
    for first in 0xed..=0xff {
        let second = field(first, 0xff, 0x7f);
        assert_eq!(VerifyingKey::from_bytes(second), Err(KeyError::NotCanonical));
        assert_eq!(VerifyingKey::from_bytes(sign(second)), Err(KeyError::NotCanonical));
    }
    assert!(VerifyingKey::from_bytes(field(0xeb, 0xff, 0x7f)).is_ok());
    assert!(VerifyingKey::from_bytes(field(2, 0, 0)).is_ok());
}

#[test]
fn a_secret_key_shows_its_public_key_only() {
    let shown = format!("{:?}", first());
    assert_eq!(shown, format!("SigningKey(of {})", RFC_8032[0].1));
}

/// Made with Python: `cryptography` 50.0 for the PEM text and `SSlibKey.from_crypto(key).keyid` of securesystemslib 1.6.0
/// for the id, both for the first key of RFC 8032.
#[test]
fn other_tools_know_a_key_by_the_same_names() {
    let key = first().verifying_key();
    assert_eq!(
        key.to_pem(),
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n"
    );
    assert_eq!(key.key_id(), "74c181c7ad8a0855d4b55e44d2ba87aabdddb196832571f15f92fece332e4916");
}
