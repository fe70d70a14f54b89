//! JSON in one spelling: keys sorted, no white space, each number as the 64-bit value it stands for.
//!
//! Whole numbers of up to 64 bits are exact; others are doubles, as in RFC 8785 (JSON Canonicalization Scheme), so that
//! `1`, `1.0` and `1e0` are one number. Of a key that is there twice the last one counts, as with most readers.

use std::io::{self, Read};

use serde_json::Value;

use super::lines::Lines;
use super::{Pieces, format, too_large};

/// The largest document, in bytes: it is held in memory, several times its size.
const MAX_DOCUMENT: u64 = 64 << 20;
/// Whole numbers below this are exact as doubles, too.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// What tools note in a notebook's metadata about its execution.
const OF_EXECUTION: [&str; 3] = ["execution", "papermill", "ExecuteTime"];

/// One document.
pub(super) fn document(input: impl Read) -> io::Result<Vec<u8>> {
    Ok(spelled(&parse(input, "a JSON document")?))
}

/// A document for each line that is not empty.
pub(super) fn lines(input: impl Read) -> impl Read {
    let mut lines = Lines::new(input);
    let mut number = 0_u64;
    Pieces::new(move |out| {
        let Some(line) = lines.next()? else { return Ok(false) };
        number += 1;
        if line.trim_ascii().is_empty() {
            return Ok(true);
        }
        let value: Value = serde_json::from_slice(line)
            .map_err(|error| format("a file of JSON lines", &format_args!("line {number}: {error}")))?;
        write(&value, out);
        out.push(b'\n');
        Ok(true)
    })
}

/// A Jupyter notebook without what executing it leaves: outputs, counts, and notes of tools.
/// Source: the notebook format, version 4 (<https://nbformat.readthedocs.io/en/latest/format_description.html>).
pub(super) fn notebook(input: impl Read) -> io::Result<Vec<u8>> {
    const FORMAT: &str = "a Jupyter notebook";
    let mut notebook = parse(input, FORMAT)?;
    without_notes(&mut notebook);
    let cells = notebook.get_mut("cells").and_then(Value::as_array_mut);
    for cell in cells.ok_or_else(|| format(FORMAT, &"it has no list of `cells`"))? {
        without_notes(cell);
        if let Some(fields) = cell.as_object_mut() {
            fields.remove("outputs");
            fields.remove("execution_count");
        }
    }
    Ok(spelled(&notebook))
}

fn without_notes(owner: &mut Value) {
    if let Some(metadata) = owner.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|key, _| !OF_EXECUTION.contains(&key.as_str()));
    }
}

fn parse(input: impl Read, what: &'static str) -> io::Result<Value> {
    let mut bytes = Vec::new();
    input.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(too_large("a JSON document", "64 MiB"));
    }
    serde_json::from_slice(&bytes).map_err(|error| format(what, &error))
}

fn spelled(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write(value, &mut out);
    out
}

/// Recursion is bounded by the depth that the reader accepts.
fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            #[expect(clippy::cast_possible_truncation, reason = "it is whole and small")]
            Some(float) if float.fract() == 0.0 && float.abs() < EXACT => {
                out.extend_from_slice((float as i64).to_string().as_bytes());
            }
            _ => out.extend_from_slice(number.to_string().as_bytes()),
        },
        Value::Array(values) => {
            out.push(b'[');
            for value in values {
                write(value, out);
                out.push(b',');
            }
            out.push(b']');
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(key, _)| *key);
            out.push(b'{');
            for (key, value) in fields {
                write(&Value::String(key.clone()), out);
                out.push(b':');
                write(value, out);
                out.push(b',');
            }
            out.push(b'}');
        }
        Value::Null | Value::Bool(_) | Value::String(_) => out.extend_from_slice(value.to_string().as_bytes()),
    }
}
