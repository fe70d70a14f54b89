//! What counts and what does not, word by word.

use std::io::{Seek, Write};

use flate2::{Compression, GzBuilder};
use runstone_core::spec::model::Normalizer::{self, Csv, Gzip, Json, Jsonl, Notebook, Text, UnorderedLines, Zip};
use zip::write::SimpleFileOptions;

use super::*;

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

fn of(words: &[Normalizer], bytes: impl AsRef<[u8]>) -> Result<NormalHash, String> {
    normal_hash(file(bytes.as_ref()), words).map_err(|error| error.to_string())
}

fn same(words: &[Normalizer], one: impl AsRef<[u8]>, other: impl AsRef<[u8]>) -> bool {
    of(words, one).unwrap() == of(words, other).unwrap()
}

fn gzip(text: &str, time: u32, level: u32) -> Vec<u8> {
    let mut encoder = GzBuilder::new().mtime(time).filename("f").write(Vec::new(), Compression::new(level));
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn zip(entries: &[(&str, &str)], hour: u8) -> Vec<u8> {
    let time = zip::DateTime::from_date_and_time(2026, 1, 2, hour, 0, 0).unwrap();
    let options = SimpleFileOptions::default().last_modified_time(time);
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, text) in entries {
        writer.start_file(*name, options).unwrap();
        writer.write_all(text.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn without_words_every_byte_counts() {
    assert!(same(&[], "a\n", "a\n"));
    assert!(!same(&[], "a\n", "a"));
}

#[test]
fn a_gzip_file_is_what_is_compressed() {
    let long = "abc".repeat(10_000);
    let (one, other) = (gzip(&long, 1, 1), gzip(&long, 2, 9));
    assert_ne!(one, other);
    assert!(same(&[Gzip], &one, &other));
    assert!(!same(&[Gzip], &one, gzip("abd", 1, 1)));
    assert!(same(&[Gzip, Csv], gzip("a,\"b\"\r\n", 1, 1), gzip("a,b\n", 9, 1)));
    let parts = [gzip("ab", 1, 1), gzip("c", 1, 1)].concat();
    assert!(same(&[Gzip], parts, gzip("abc", 7, 9)), "a file may have several members");
    for (bytes, part) in [(b"no gzip".to_vec(), "gzip"), (one[..one.len() - 9].to_vec(), "gzip")] {
        let message = of(&[Gzip], bytes).unwrap_err();
        assert!(message.starts_with("it is not a gzip file: ") && message.contains(part), "{message}");
    }
}

#[test]
fn a_zip_file_is_its_entries_by_name() {
    let one = zip(&[("b", "2"), ("a", "1")], 3);
    assert!(same(&[Zip], &one, zip(&[("a", "1"), ("b", "2")], 4)));
    assert!(!same(&[Zip], &one, zip(&[("a", "1"), ("b", "3")], 3)));
    assert!(!same(&[Zip], &one, zip(&[("a", "1"), ("c", "2")], 3)));
    assert!(!same(&[Zip], &one, zip(&[("a", "1")], 3)));
    let json = |text: &str| zip(&[("x.json", text)], 1);
    assert!(same(&[Zip, Json], json("{\"a\": 1}"), json("{\"a\":1.0}")));
    for bytes in [b"PK".to_vec(), Vec::new(), [b"#!prefix".to_vec(), one.clone()].concat(), one[..20].to_vec()] {
        let message = of(&[Zip], bytes).unwrap_err();
        assert!(message.starts_with("it is not a zip file: "), "{message}");
    }
}

#[test]
fn a_damaged_entry_has_no_normal_form() {
    let mut bytes = zip(&[("a", &"text ".repeat(100))], 1);
    bytes[45] ^= 0x55;
    assert!(of(&[Zip], bytes).unwrap_err().starts_with("it is not a zip file"));
}

#[test]
fn json_is_a_value() {
    let same = |one: &str, other: &str| same(&[Json], one, other);
    assert!(same(
        r#"{"b": [1, 2.0], "a": {"y": null, "x": "ü"}}"#,
        "{\"a\":{\"x\":\"\\u00fc\",\"y\":null},\n\"b\":[1.0,2]}"
    ));
    assert!(same("1e2", "100") && same("-0.0", "0") && same("0.1", "0.10"));
    assert!(!same("[1,2]", "[2,1]") && !same("1", "\"1\"") && !same("0.1", "0.2") && !same("{}", "[]"));
    assert!(!same("9007199254740993", "9007199254740992"), "whole numbers are exact");
    assert!(!same(r#"["a,b"]"#, r#"["a","b"]"#) && !same("[[],[]]", "[[[]]]"));
    for text in ["{", "", "NaN", "{} {}"] {
        assert!(of(&[Json], text).unwrap_err().starts_with("it is not a JSON document: "), "{text}");
    }
}

#[test]
fn json_lines_are_values_in_order() {
    assert!(same(&[Jsonl], "{\"a\":1,\"b\":2}\n[3]\n", "{\"b\":2, \"a\":1}\r\n\n[3]"));
    assert!(!same(&[Jsonl], "1\n2\n", "2\n1\n"));
    assert!(same(&[Jsonl, UnorderedLines], "1\n{\"a\": 2}\n", "{\"a\":2}\n1.0\n"));
    let message = of(&[Jsonl], "1\n\n{\n").unwrap_err();
    assert!(message.contains("line 3: "), "{message}");
}

#[test]
fn csv_is_rows_of_fields() {
    assert!(same(&[Csv], "a,b\r\n1,\"x\"\r\n", "\"a\",b\n1,x"));
    assert!(same(&[Csv], "a,\"say \"\"b\"\"\"\n", "\"a\",\"say \"\"b\"\"\"\n\n"));
    assert!(!same(&[Csv], "a,b\n", "b,a\n") && !same(&[Csv], "a\nb\n", "b\na\n"));
    assert!(!same(&[Csv], "\"a\nb\"\n", "a\nb\n"), "a line end in a field is none of a row");
    assert!(!same(&[Csv], "\"a\nb\"\n", "a\\nb\n") && !same(&[Csv], "\"a\tb\"\n", "a,b\n"), "escapes are unambiguous");
    assert!(!same(&[Csv], "a,\n", "a\n") && same(&[Csv], "", "\n"));
    assert!(same(&[Csv, UnorderedLines], "h\n\"1\n2\"\n3\n", "3\nh\n\"1\n2\"\n"));
    let wide = "x".repeat(100_000);
    assert!(same(&[Csv], format!("{wide},{wide}\n"), format!("\"{wide}\",\"{wide}\"")));
    assert!(!same(&[Csv], format!("{wide},{wide}\n"), format!("{wide},{wide}y\n")));
}

#[test]
fn lines_in_any_order_are_each_as_often_there() {
    assert!(same(&[UnorderedLines], "b\na\nb\n", "b\nb\na"));
    assert!(!same(&[UnorderedLines], "a\na\nb\n", "a\nb\nb\n"));
    assert!(!same(&[UnorderedLines], "a\n", "a\r\n"));
    assert!(same(&[Text, UnorderedLines], "a\nb \n", "b\r\na\r\n"));
}

#[test]
fn text_ends_where_its_last_word_does() {
    assert!(same(&[Text], "a  \nb\r\n\n \n", "a\nb"));
    assert!(!same(&[Text], "a\n\nb", "a\nb") && !same(&[Text], "a\n\nb", "a\n\n\nb") && !same(&[Text], " a", "a"));
    assert!(!same(&[Text], "a\n\nb", "a\n1\nb"), "how many lines are empty is unambiguous");
    assert!(same(&[Text], "", "\n\n"));
}

#[test]
fn a_notebook_is_what_was_written_and_not_what_came_of_it() {
    let notebook = |source: &str, count: &str, outputs: &str, metadata: &str| {
        format!(
            r#"{{"nbformat": 4, "metadata": {{"kernelspec": {{"name": "python3"}} {metadata}}},
              "cells": [{{"cell_type": "code", "source": ["{source}"], "execution_count": {count},
                          "metadata": {{"tags": []}}, "outputs": {outputs}}}]}}"#
        )
    };
    let fresh = notebook("x", "null", "[]", "");
    let run = notebook("x", "7", r#"[{"text": ["9"]}]"#, r#", "papermill": {"duration": 1.5}"#);
    assert!(same(&[Notebook], &fresh, &run));
    assert!(!same(&[Notebook], &fresh, notebook("y", "null", "[]", "")));
    assert!(!same(&[Notebook], &fresh, notebook("x", "null", "[]", r#", "title": "t""#)));
    assert!(of(&[Notebook], "{}").unwrap_err().contains("`cells`"));
}

#[test]
fn what_is_too_large_has_no_normal_form() {
    let document = format!("[{}1]", "0,".repeat(40 << 20));
    assert!(of(&[Json], document).unwrap_err().contains("more than 64 MiB"));
    let long = vec![b'x'; (64 << 20) + 1];
    assert!(of(&[Text], &long).unwrap_err().contains("a line has more than 64 MiB"));
    assert!(of(&[Text], &long[1..]).is_ok());
    let budget = Budget::new();
    budget.0.set(10);
    let mut bounded = budget.bound(&b"0123456789"[..]);
    assert_eq!(std::io::copy(&mut bounded, &mut std::io::sink()).unwrap(), 10);
    let mut more = budget.bound(&b"x"[..]);
    assert!(meaning(std::io::copy(&mut more, &mut std::io::sink()).unwrap_err()).to_string().contains("1 TiB"));
}
