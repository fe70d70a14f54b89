//! What a word means that stands in a CSV file, where nothing says whether `12` is a number or a name.
//!
//! Numbers are written as programs write them: no plus sign, no thousands separators, no leading zeros. `007` and
//! `+49` are texts, because they would not come back the same. Integers of more than 38 digits are texts too.

use super::{Value, time};

/// The most digits an integer has; one more could exceed 128 bits.
const MAX_DIGITS: usize = 38;

/// The meaning of a cell. An empty one is null. Numbers, truth values and times may have spaces around them.
pub(crate) fn meaning(word: &str) -> Value<'_> {
    let bytes = word.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else { return Value::Null };
    let (core, first) = if first == b' ' || last == b' ' {
        let core = word.trim_matches(' ');
        let Some(&first) = core.as_bytes().first() else { return Value::Text(word) };
        (core, first)
    } else {
        (word, first)
    };
    let known = match first {
        b'0'..=b'9' | b'-' | b'.' => number(core).or_else(|| time::parse(core)).or_else(|| named_float(core)),
        b't' | b'T' | b'f' | b'F' => boolean(core),
        b'n' | b'N' | b'i' | b'I' => named_float(core),
        _ => None,
    };
    known.unwrap_or(Value::Text(word))
}

fn boolean(word: &str) -> Option<Value<'static>> {
    match word {
        "true" | "True" | "TRUE" => Some(Value::Boolean(true)),
        "false" | "False" | "FALSE" => Some(Value::Boolean(false)),
        _ => None,
    }
}

fn named_float(word: &str) -> Option<Value<'static>> {
    match word {
        "NaN" | "nan" => Some(Value::Float(f64::NAN)),
        "inf" | "Inf" | "Infinity" => Some(Value::Float(f64::INFINITY)),
        "-inf" | "-Inf" | "-Infinity" => Some(Value::Float(f64::NEG_INFINITY)),
        _ => None,
    }
}

/// A number as CSV and JSON write it.
pub(crate) fn number(word: &str) -> Option<Value<'static>> {
    let digits = word.strip_prefix('-').unwrap_or(word).as_bytes();
    if digits.len() <= 18 && digits.iter().all(u8::is_ascii_digit) {
        // By far the most frequent: fits in 64 bits in any case.
        if digits.is_empty() || digits.len() > 1 && digits[0] == b'0' {
            return None;
        }
        let value = digits.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
        return Some(Value::Integer(if digits.len() < word.len() { -value } else { value }));
    }
    if digits.len() > 1 && digits[0] == b'0' && digits[1].is_ascii_digit() {
        return None;
    }
    if digits.iter().all(u8::is_ascii_digit) {
        return if digits.len() <= MAX_DIGITS { word.parse().ok().map(Value::integer) } else { None };
    }
    let is_decimal = digits.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    if !is_decimal {
        return None;
    }
    let value: f64 = word.parse().ok()?;
    value.is_finite().then_some(Value::Float(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_meanings() {
        let table: &[(&str, Value<'_>)] = &[
            ("", Value::Null),
            ("0", Value::Integer(0)),
            ("-0", Value::Integer(0)),
            ("12", Value::Integer(12)),
            (" 12 ", Value::Integer(12)),
            ("-9223372036854775808", Value::Integer(i64::MIN)),
            ("9223372036854775808", Value::Wide(1 << 63)),
            ("99999999999999999999999999999999999999", Value::Wide(99_999_999_999_999_999_999_999_999_999_999_999_999)),
            ("0.5", Value::Float(0.5)),
            (".5", Value::Float(0.5)),
            ("5.", Value::Float(5.0)),
            ("1.0", Value::Float(1.0)),
            ("-1e-3", Value::Float(-0.001)),
            ("1E+3", Value::Float(1000.0)),
            ("inf", Value::Float(f64::INFINITY)),
            ("-Infinity", Value::Float(f64::NEG_INFINITY)),
            ("true", Value::Boolean(true)),
            ("FALSE", Value::Boolean(false)),
            ("1970-01-01", Value::Date(0)),
            ("1970-01-01 00:00:00", Value::Timestamp(0)),
        ];
        for (word, value) in table {
            assert_eq!(meaning(word), *value, "{word:?}");
        }
        assert!(matches!(meaning("NaN"), Value::Float(value) if value.is_nan()));
    }

    #[test]
    fn what_would_not_come_back_the_same_is_text() {
        for word in [
            "007",
            "-07",
            "00.5",
            "+1",
            "1,000",
            "1_000",
            "0x10",
            "1e999",
            "--1",
            "1-2",
            "-",
            ".",
            "e5",
            "1 2",
            "tRue",
            "N/A",
            "null",
            "None",
            " ",
            "  ",
            "192.168.0.1",
            "2020-13-01",
            "infinite",
            "999999999999999999999999999999999999999",
            "½",
            "١",
        ] {
            assert_eq!(meaning(word), Value::Text(word), "{word:?}");
        }
    }
}
