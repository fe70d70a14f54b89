//! The notes of Go's own tests (`golang.org/x/mod/sumdb/note/note_test.go`), and what was done to them.

use super::*;
use crate::log::key::VerifyingKey;

const TEXT: &str =
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const PETER: &str = "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
const ENOCH: &str =
    "\u{2014} EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";
const PETER_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const ENOCH_KEY: &str = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";

fn peter() -> NoteKey {
    PETER_KEY.parse().unwrap()
}

fn enoch() -> NoteKey {
    ENOCH_KEY.parse().unwrap()
}

/// The seed of `PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz`.
fn peters_secret() -> SigningKey {
    let bytes = BASE64_STANDARD.decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz").unwrap();
    SigningKey::from_seed(bytes[1..].try_into().unwrap())
}

fn note(text: &str, lines: &[&str]) -> String {
    format!("{text}\n{}", lines.concat())
}

fn parse(note: impl AsRef<[u8]>) -> Result<Note, NoteError> {
    Note::parse(note.as_ref())
}

#[test]
fn a_note_is_signed_as_by_go() {
    let signed = Note::sign(TEXT, "PeterNeumann", &peters_secret()).unwrap();
    assert_eq!(signed.to_string(), note(TEXT, &[PETER]));
    assert_eq!(NoteKey::new("PeterNeumann", peters_secret().verifying_key()).unwrap().to_string(), PETER_KEY);
    let mut again = signed.clone();
    again.cosign("PeterNeumann", &peters_secret()).unwrap();
    assert_eq!(again, signed, "a signature under the same name and id is replaced");
}

#[test]
fn known_signatures_are_verified_and_others_are_kept() {
    let both = parse(note(TEXT, &[PETER, ENOCH])).unwrap();
    assert_eq!(both.text(), TEXT);
    assert_eq!(both.to_string(), note(TEXT, &[PETER, ENOCH]));
    assert_eq!(both.verify(&[peter()]), Ok(vec![&peter()]));
    assert_eq!(both.verify(&[enoch(), peter(), peter()]), Ok(vec![&peter(), &enoch()]));
    let untrusted =
        NoteVerifyError::Untrusted { found: vec!["PeterNeumann+c74f20a3".to_owned(), "EnochRoot+af0cfe78".to_owned()] };
    assert_eq!(both.verify(&[]), Err(untrusted));
    // One name and another key is another signer.
    let namesake = NoteKey::new("PeterNeumann", *enoch().key()).unwrap();
    assert!(matches!(both.verify(&[namesake]), Err(NoteVerifyError::Untrusted { .. })));
}

#[test]
fn one_forged_signature_of_a_known_key_spoils_the_note() {
    let forged = format!("{}ABCD{}", &PETER[..60], &PETER[60..]);
    let error = NoteVerifyError::Forged { name: "PeterNeumann".to_owned(), key_id: peter().id() };
    for lines in [[forged.as_str(), ENOCH], [PETER, &forged], [&forged, PETER]] {
        assert_eq!(parse(note(TEXT, &lines)).unwrap().verify(&[peter(), enoch()]), Err(error.clone()));
    }
    let unknown = parse(note(TEXT, &[&forged, ENOCH])).unwrap();
    assert_eq!(unknown.verify(&[enoch()]), Ok(vec![&enoch()]), "nobody asked about the other key");
}

/// The example of the specification, whose key is not published.
#[test]
fn the_text_ends_at_the_last_empty_line() {
    let text = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned \u{e8} subito sera.\n";
    let line = "\u{2014} quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";
    let parsed = parse(note(text, &[line])).unwrap();
    assert_eq!(parsed.text(), text);
    assert_eq!(parsed.signatures()[0].name, "quasimodo.example/salvatore");
    assert_eq!(parsed.signatures()[0].key_id.to_string(), "367ba04b");
    assert_eq!(parsed.to_string(), note(text, &[line]));
    for text in ["\n", "\n\n", "a\n\n\n"] {
        let signed = Note::sign(text, "name", &peters_secret()).unwrap();
        assert_eq!(parse(signed.to_string()), Ok(signed));
    }
}

#[test]
fn a_change_of_any_byte_is_found() {
    let original = note(TEXT, &[PETER]).into_bytes();
    for at in 0..original.len() {
        for change in (0..8).map(|bit| 1 << bit) {
            let mut changed = original.clone();
            changed[at] ^= change;
            if let Ok(note) = parse(&changed) {
                assert!(note.verify(&[peter()]).is_err(), "byte {at} xor {change}");
            }
        }
        let mut changed = original.clone();
        changed.remove(at);
        assert!(parse(&changed).map_or(true, |note| note.verify(&[peter()]).is_err()), "without byte {at}");
        assert!(parse(&original[..at]).is_err(), "cut at byte {at}");
    }
}

#[test]
fn what_is_no_note_is_refused_with_the_reason() {
    let line = |line: &str| note(TEXT, &[PETER, line]);
    let reason = |reason| NoteError::Signature { number: 2, reason };
    let dash = reason("it does not begin with an em dash and a space");
    let short = reason("the signature is too short to hold the id of a key and more");
    let table = [
        (TEXT.to_owned(), NoteError::NoSignatures),
        (note(TEXT, &[]), NoteError::NoSignatures),
        (note(TEXT, &[PETER.trim_end()]), NoteError::OpenLine),
        (format!("\u{1}{TEXT}\n{PETER}"), NoteError::Control { at: 0, found: '\u{1}' }),
        (note(TEXT, &[PETER]).replace('\n', "\r\n"), NoteError::Control { at: 56, found: '\r' }),
        (line("Unexpected line.\n"), dash.clone()),
        (line("- PeterNeumann AAAAAAA=\n"), dash),
        (line("\u{2014} PeterNeumann\n"), reason("there is no space between name and signature")),
        (line("\u{2014} a+b AAAAAAA=\n"), reason("the name is empty, or has spaces or a plus sign")),
        (line("\u{2014}  AAAAAAA=\n"), reason("the name is empty, or has spaces or a plus sign")),
        (line("\u{2014} a b AAAAAAA=\n"), reason("the signature is not in base64")),
        (line("\u{2014} a AAAAAAA\n"), reason("the signature is not in base64")),
        (line("\u{2014} a AAAA\n"), short.clone()),
        (line("\u{2014} a AAAAAA==\n"), short),
        (note(TEXT, &[PETER; MAX_SIGNATURES + 1]), NoteError::TooMany),
    ];
    for (text, error) in table {
        assert_eq!(parse(&text), Err(error), "{text}");
    }
    assert_eq!(parse(b"a\xff\n\n"), Err(NoteError::NotUtf8 { at: 1 }));
    assert!(parse(line("\u{2014} a AAAAAAA=\n")).is_ok(), "of an unknown kind, but a signature");
    assert!(parse(note(TEXT, &[PETER; MAX_SIGNATURES])).is_ok());
}

#[test]
fn what_cannot_be_a_note_is_not_signed() {
    let sign = |text: &str, name: &str| Note::sign(text, name, &peters_secret()).unwrap_err();
    assert_eq!(sign("abc", "name"), NoteError::OpenText);
    assert_eq!(sign("", "name"), NoteError::OpenText);
    assert_eq!(sign("a\tb\n", "name"), NoteError::Control { at: 1, found: '\t' });
    for name in ["", "a b", "a+b", "a\nb", "a\u{a0}b", "a\u{7}"] {
        assert_eq!(sign(TEXT, name), KeyNameError { name: name.to_owned() }.into());
    }
    let mut full = parse(note(TEXT, &[PETER; MAX_SIGNATURES])).unwrap();
    assert_eq!(full.cosign("another", &peters_secret()), Err(NoteError::TooMany));
    assert_eq!(full.cosign("PeterNeumann", &peters_secret()), Ok(()), "instead of its others");
}

#[test]
fn keys_are_read_as_they_are_written_and_in_no_other_way() {
    assert_eq!(peter().to_string(), PETER_KEY);
    assert_eq!((peter().name(), peter().id().to_string().as_str()), ("PeterNeumann", "c74f20a3"));
    for from in 0..PETER_KEY.len() {
        for to in from + 1..=PETER_KEY.len() {
            if (from, to) != (0, PETER_KEY.len()) {
                assert!(PETER_KEY[from..to].parse::<NoteKey>().is_err(), "{}", &PETER_KEY[from..to]);
            }
        }
    }
    for at in 0..PETER_KEY.len() {
        let mut changed = PETER_KEY.as_bytes().to_vec();
        changed[at] += 1;
        let changed = String::from_utf8(changed).unwrap();
        assert!(changed.parse::<NoteKey>().is_err(), "{changed}");
    }
    let error = |text: &str| text.parse::<NoteKey>().unwrap_err();
    let key = || NoteKeyError::Key { name: "PeterNeumann".to_owned() };
    // Both are of Go's tests: a key of the wrong length and an unknown kind, each with the right id.
    assert_eq!(error("PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY=="), key());
    assert_eq!(error("PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"), key());
    assert!(matches!(error(&PETER_KEY.replace("c74f20a3", "C74F20A3")), NoteKeyError::Id { .. }));
    assert!(matches!(error("PeterNeumann+c74f20a3"), NoteKeyError::Form { .. }));
    let weak = format!("name+00000000+{}", BASE64_STANDARD.encode([&[1], [0; 32].as_slice()].concat()));
    assert!(matches!(error(&weak), NoteKeyError::Unusable { .. }));
    assert!(VerifyingKey::from_bytes(*enoch().key().as_bytes()).is_ok());
}
