//! One spelling for each JSON value: no spaces, keys sorted by their bytes, the last of equal keys, numbers that are
//! equal written alike.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Value, hash, word};

/// Values nested deeper keep the spelling they came in. Real data is not, and each level costs stack.
const MAX_DEPTH: usize = 64;

/// A key or text, borrowed where it has no escapes.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// The value that a JSON text stands for. `text` is valid JSON without space around it; `scratch` is where texts
/// with escapes and nested values go.
pub(crate) fn read<'a>(text: &'a str, scratch: &'a mut String) -> Value<'a> {
    match text.as_bytes().first() {
        Some(b'"') => match plain(text) {
            Some(plain) => Value::Text(plain),
            None => {
                *scratch = serde_json::from_str(text).unwrap_or_else(|_| text.to_owned());
                Value::Text(scratch)
            }
        },
        Some(b't') => Value::Boolean(true),
        Some(b'f') => Value::Boolean(false),
        Some(b'{' | b'[') => {
            scratch.clear();
            write_canonical(text, 0, scratch);
            Value::Json(scratch)
        }
        Some(b'n') | None => Value::Null,
        // Numbers too large for a float are infinite, as `1e999` is.
        Some(_) => word::number(text).unwrap_or_else(|| Value::Float(text.parse().unwrap_or(f64::NAN))),
    }
}

/// The inside of a quoted text that has no escapes.
fn plain(text: &str) -> Option<&str> {
    let inside = text.get(1..text.len() - 1)?;
    memchr::memchr(b'\\', inside.as_bytes()).is_none().then_some(inside)
}

/// Appends the canonical spelling of a valid JSON text.
pub(crate) fn write_canonical(text: &str, depth: usize, out: &mut String) {
    let written = match text.as_bytes().first() {
        Some(b'{') if depth < MAX_DEPTH => write_object(text, depth, out),
        Some(b'[') if depth < MAX_DEPTH => write_array(text, depth, out),
        Some(b'{' | b'[') => None,
        Some(b'"') => serde_json::from_str::<Key<'_>>(text).ok().map(|Key(text)| write_text(&text, out)),
        Some(b'-' | b'0'..=b'9') => word::number(text).map(|number| write_number(number, out)),
        _ => None,
    };
    if written.is_none() {
        out.push_str(text);
    }
}

fn write_object(text: &str, depth: usize, out: &mut String) -> Option<()> {
    let entries: BTreeMap<Key<'_>, &RawValue> = serde_json::from_str(text).ok()?;
    out.push('{');
    for (at, (Key(key), value)) in entries.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_text(key, out);
        out.push(':');
        write_canonical(value.get(), depth + 1, out);
    }
    out.push('}');
    Some(())
}

fn write_array(text: &str, depth: usize, out: &mut String) -> Option<()> {
    let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    out.push('[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_canonical(item.get(), depth + 1, out);
    }
    out.push(']');
    Some(())
}

/// Appends a quoted text.
pub(crate) fn write_text(text: &str, out: &mut String) {
    out.push_str(&serde_json::to_string(text).expect("a text is always JSON"));
}

fn write_number(number: Value<'_>, out: &mut String) {
    match number {
        Value::Float(value) if let Some(whole) = hash::whole(value) => Value::Integer(whole).write(out),
        other => other.write(out),
    }
}

/// Appends any value as JSON. What JSON lacks is written as text: times, NaN and infinities.
pub(crate) fn write_value(value: Value<'_>, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Boolean(_) | Value::Json(_) | Value::Integer(_) | Value::Wide(_) => value.write(out),
        Value::Float(float) if float.is_finite() => write_number(value, out),
        Value::Float(_) | Value::Date(_) | Value::Timestamp(_) => {
            out.push('"');
            value.write(out);
            out.push('"');
        }
        Value::Text(text) => write_text(text, out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        let mut out = String::new();
        write_canonical(text, 0, &mut out);
        out
    }

    #[test]
    fn equal_values_have_one_spelling() {
        assert_eq!(
            canonical(r#"{ "b" : [1.0, 2 ,1e2], "a":{"y":null,"x":"\u0041"} }"#),
            r#"{"a":{"x":"A","y":null},"b":[1,2,100]}"#
        );
        assert_eq!(canonical(r#"{"a":1,"a":2}"#), r#"{"a":2}"#);
        assert_eq!(canonical("[-0.0,0.1,1e300,12345678901234567890]"), "[0,0.1,1e300,12345678901234567890]");
        assert_eq!(canonical(r#"["\n\"é"]"#), r#"["\n\"é"]"#);
    }

    #[test]
    fn deep_values_keep_their_spelling() {
        let deep = "[ ".repeat(100_000) + &"]".repeat(100_000);
        let written = canonical(&deep);
        assert!(written.starts_with(&"[".repeat(MAX_DEPTH)));
        assert!(written.contains("[ ["));
    }

    #[test]
    fn every_kind_is_read() {
        let mut scratch = String::new();
        assert_eq!(read("null", &mut scratch), Value::Null);
        assert_eq!(read("true", &mut scratch), Value::Boolean(true));
        assert_eq!(read("-12", &mut scratch), Value::Integer(-12));
        assert_eq!(read("1.50", &mut scratch), Value::Float(1.5));
        assert_eq!(read("1e999", &mut scratch), Value::Float(f64::INFINITY));
        assert_eq!(read(r#""a b""#, &mut scratch), Value::Text("a b"));
        assert_eq!(read(r#""a\tb""#, &mut scratch), Value::Text("a\tb"));
        assert_eq!(read(r#"{"b":1, "a":2}"#, &mut scratch), Value::Json(r#"{"a":2,"b":1}"#));
    }
}
