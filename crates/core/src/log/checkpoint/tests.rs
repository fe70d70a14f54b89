//! The example of the specification, what goes there and back, and texts that are no checkpoints.

use super::*;
use crate::log::key::SigningKey;
use crate::log::note::{Note, NoteKey};

/// Source: <https://c2sp.org/tlog-checkpoint>.
const EXAMPLE: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

fn parse(text: &str) -> Result<Checkpoint, CheckpointError> {
    text.parse()
}

#[test]
fn the_example_is_read_and_written() {
    let checkpoint = parse(EXAMPLE).unwrap();
    assert_eq!(checkpoint.origin, "example.com/behind-the-sofa");
    assert_eq!(checkpoint.size, 20_852_163);
    assert!(checkpoint.root.to_string().starts_with("0ac5186a91863e8e"));
    assert_eq!(checkpoint.text().as_deref(), Ok(EXAMPLE));
}

#[test]
fn extensions_are_kept() {
    let text = format!("{EXAMPLE}first\n second \u{e9}\n");
    let checkpoint = parse(&text).unwrap();
    assert_eq!(checkpoint.extensions, ["first", " second \u{e9}"]);
    assert_eq!(checkpoint.text(), Ok(text));
}

#[test]
fn a_checkpoint_goes_through_a_note() {
    let key = SigningKey::from_seed([9; 32]);
    let checkpoint = Checkpoint { size: 0, ..parse(EXAMPLE).unwrap() };
    let sent = Note::sign(checkpoint.text().unwrap(), &checkpoint.origin, &key).unwrap().to_string();
    let received = Note::parse(sent.as_bytes()).unwrap();
    let trusted = NoteKey::new(&checkpoint.origin, key.verifying_key()).unwrap();
    assert_eq!(received.verify(std::slice::from_ref(&trusted)), Ok(vec![&trusted]));
    assert_eq!(parse(received.text()), Ok(checkpoint));
}

#[test]
fn what_is_no_checkpoint_is_refused_with_the_reason() {
    let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
    let line = |number, found: &str| CheckpointError::Line { number, found: found.to_owned() };
    for text in ["", "\n", "log\n", "log\n1\n", EXAMPLE.trim_end()] {
        assert!(matches!(parse(text), Err(CheckpointError::Lines)), "{text:?}");
    }
    assert_eq!(parse(&format!("\n1\n{root}\n")), Err(line(1, "")));
    assert_eq!(parse(&format!("log\n1\n{root}\n\n")), Err(line(4, "")));
    assert_eq!(parse(&format!("log\r\n1\n{root}\n")), Err(line(1, "log\r")));
    for size in ["01", "+1", "-1", "1 ", "x", "18446744073709551616"] {
        assert_eq!(parse(&format!("log\n{size}\n{root}\n")), Err(CheckpointError::Size { found: size.to_owned() }));
    }
    for wrong in [&root[1..], &root[..43], "AAAA", &root.replace("I=", "J=")] {
        assert_eq!(parse(&format!("log\n1\n{wrong}\n")), Err(CheckpointError::Root { found: wrong.to_owned() }));
    }
}

#[test]
fn what_cannot_be_a_line_is_not_written() {
    let good = parse(EXAMPLE).unwrap();
    for origin in ["", "a\nb", "a\u{0}"] {
        let error = CheckpointError::Line { number: 1, found: origin.to_owned() };
        assert_eq!(Checkpoint { origin: origin.to_owned(), ..good.clone() }.text(), Err(error));
    }
    let extensions = vec!["fine".to_owned(), String::new()];
    let error = CheckpointError::Line { number: 5, found: String::new() };
    assert_eq!(Checkpoint { extensions, ..good }.text(), Err(error));
}
