//! An envelope made elsewhere, and envelopes that are not to be trusted.

use super::*;

const TYPE: &str = "http://example.com/HelloWorld";

/// Made with securesystemslib 1.6.0 (Python): `Envelope(b"hello world", TYPE, {})` signed by a `CryptoSigner` of the
/// first key of RFC 8032 § 7.1, and then `json.dumps(envelope.to_dict())` without spaces.
const KNOWN: &str = r#"{"payload":"aGVsbG8gd29ybGQ=","payloadType":"http://example.com/HelloWorld","signatures":[{"keyid":"74c181c7ad8a0855d4b55e44d2ba87aabdddb196832571f15f92fece332e4916","sig":"4DHX3Zn4qpBKvEj7maE8O9u9bjXEnPLLnyXVUJ2PXJR8DSLcL3QDpFvfJOj3pB/SPHsl6Jg4boxsMb6KvuYABw=="}]}"#;

/// The secret key of test 1 in RFC 8032 § 7.1.
fn key() -> SigningKey {
    SigningKey::from_seed([
        0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49,
        0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
    ])
}

fn other() -> SigningKey {
    SigningKey::from_seed([7; 32])
}

#[test]
fn the_encoding_is_that_of_the_specification() {
    // Source: the test vector in protocol.md.
    let bytes = pre_authentication_encoding(TYPE, b"hello world");
    assert_eq!(str::from_utf8(&bytes), Ok("DSSEv1 29 http://example.com/HelloWorld 11 hello world"));
    assert_eq!(pre_authentication_encoding("\u{e9}", b""), b"DSSEv1 2 \xc3\xa9 0 ", "lengths are bytes");
}

#[test]
fn the_same_envelope_is_made_here_and_elsewhere() {
    let envelope = Envelope::sign(TYPE, *b"hello world", &key());
    assert_eq!(serde_json::to_string(&envelope).unwrap(), KNOWN);
    let read: Envelope = serde_json::from_str(KNOWN).unwrap();
    assert_eq!(read, envelope);
    assert_eq!(read.verify(TYPE, &[other().verifying_key(), key().verifying_key()]), Ok(vec![&key().verifying_key()]));
}

#[test]
fn what_was_changed_is_refused() {
    let trusted = [key().verifying_key()];
    let envelope = Envelope::sign(TYPE, *b"hello world", &key());
    let untrusted = Err(EnvelopeError::Untrusted { signatures: 1 });
    let mut changed = envelope.clone();
    changed.payload[0] ^= 1;
    assert_eq!(changed.verify(TYPE, &trusted), untrusted);
    let mut changed = envelope.clone();
    changed.signatures[0].sig[5] ^= 1;
    assert_eq!(changed.verify(TYPE, &trusted), untrusted);
    let mut changed = envelope.clone();
    changed.payload_type = "x".to_owned();
    assert_eq!(changed.verify("x", &trusted), untrusted, "the type is signed too");
    assert_eq!(envelope.verify(TYPE, &[other().verifying_key()]), untrusted);
    assert_eq!(envelope.verify(TYPE, &[]), untrusted);
    let wrong = EnvelopeError::Type { wanted: "x".to_owned(), found: TYPE.to_owned() };
    assert_eq!(envelope.verify("x", &trusted), Err(wrong));
    let unsigned = Envelope { signatures: Vec::new(), ..envelope };
    assert_eq!(unsigned.verify(TYPE, &trusted), Err(EnvelopeError::Untrusted { signatures: 0 }));
}

#[test]
fn several_keys_sign_and_each_counts_once() {
    let mut envelope = Envelope::sign(TYPE, *b"hello world", &key());
    envelope.cosign(&other());
    envelope.cosign(&key());
    assert_eq!(envelope.signatures.len(), 2, "a key's new signature replaces its old one");
    let (first, second) = (key().verifying_key(), other().verifying_key());
    assert_eq!(envelope.verify(TYPE, &[first, first, second]), Ok(vec![&first, &second]));
    // The id is only a hint.
    envelope.signatures[0].keyid = "nonsense".to_owned();
    envelope.signatures[1].keyid.clear();
    assert_eq!(envelope.verify(TYPE, &[first, second]), Ok(vec![&first, &second]));
}

#[test]
fn both_alphabets_and_unknown_fields_are_read() {
    let read = |payload: &str| {
        let json = format!(
            r#"{{"payload":"{payload}","payloadType":"x","signatures":[{{"sig":"AA==","cert":1}}],"more":[]}}"#
        );
        serde_json::from_str::<Envelope>(&json)
    };
    assert_eq!(read("+/+/").unwrap().payload, [0xfb, 0xff, 0xbf]);
    assert_eq!(read("-_-_").unwrap(), read("+/+/").unwrap());
    assert_eq!(read("").unwrap().signatures, [EnvelopeSignature { keyid: String::new(), sig: vec![0] }]);
    for wrong in ["+_+_", "AA", "AB==", "A A=", "AAA\u{e9}"] {
        let error = read(wrong).unwrap_err().to_string();
        assert!(error.starts_with("not base64"), "{wrong}: {error}");
    }
}
