//! Types of plain scalars. Source: YAML 1.2.2, § 10.3 (core schema): `yes`, `no`, `on` and `12:30` are text.

/// A scalar with the type the core schema gives it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Untyped<'t> {
    /// Nothing was written.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A finite number with a fraction or an exponent.
    Float(f64),
    /// Anything else.
    Text(&'t str),
    /// A number that cannot be kept, and why.
    BadNumber(&'static str),
}

pub(super) fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

pub(crate) fn plain(text: &str) -> Untyped<'_> {
    match text {
        _ if is_null(text) => Untyped::Null,
        "true" | "True" | "TRUE" => Untyped::Bool(true),
        "false" | "False" | "FALSE" => Untyped::Bool(false),
        _ => number(text).unwrap_or(Untyped::Text(text)),
    }
}

fn number(text: &str) -> Option<Untyped<'_>> {
    if let Some((digits, radix)) = text.strip_prefix("0x").map(|d| (d, 16)).or(text.strip_prefix("0o").map(|d| (d, 8)))
    {
        let valid = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
        return valid.then(|| i64::from_str_radix(digits, radix).map_or(BIG, Untyped::Int));
    }
    let body = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(body, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return Some(Untyped::BadNumber("infinities and NaN are not values that can be compared"));
    }
    let mantissa = body.split(['e', 'E']).next().unwrap_or(body);
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count();
    let dots = mantissa.bytes().filter(|&byte| byte == b'.').count();
    if digits == 0 || dots > 1 || digits + dots != mantissa.len() {
        return None;
    }
    let exponent = body[mantissa.len()..].trim_start_matches(['e', 'E']).trim_start_matches(['-', '+']);
    let has_exponent = mantissa.len() != body.len();
    if has_exponent && (exponent.is_empty() || !exponent.bytes().all(|byte| byte.is_ascii_digit())) {
        return None;
    }
    if mantissa.len() > 1 && mantissa.starts_with('0') && mantissa.as_bytes()[1].is_ascii_digit() {
        return Some(Untyped::BadNumber(
            "a leading zero is read differently by different programs; quote it to keep it",
        ));
    }
    if dots == 0 && !has_exponent {
        return Some(text.parse().map_or(BIG, Untyped::Int));
    }
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Some(Untyped::Float(value)),
        _ => Some(BIG),
    }
}

const BIG: Untyped<'static> = Untyped::BadNumber("the number does not fit 64 bits; quote it to keep it as text");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_traps_of_yaml_1_1_are_text() {
        for text in [
            "no",
            "on",
            "yes",
            "y",
            "Off",
            "12:30:45",
            "1_000",
            "2026-01-01",
            "1.2.3",
            "0x",
            "e5",
            "1e",
            ".",
            "-",
            "1e5e5",
            "+e1",
        ] {
            assert_eq!(plain(text), Untyped::Text(text));
        }
    }

    #[test]
    fn numbers_are_those_of_the_core_schema() {
        assert_eq!(plain("-7"), Untyped::Int(-7));
        assert_eq!(plain("0x1F"), Untyped::Int(31));
        assert_eq!(plain("0o10"), Untyped::Int(8));
        assert_eq!(plain("1.10"), Untyped::Float(1.1));
        assert_eq!(plain("1e-3"), Untyped::Float(0.001));
        assert_eq!(plain(".5"), Untyped::Float(0.5));
        assert_eq!(plain("0"), Untyped::Int(0));
        for text in ["012", "-007", "9223372036854775808", "1e999", ".inf", "-.Inf", ".nan"] {
            assert!(matches!(plain(text), Untyped::BadNumber(_)), "{text}");
        }
    }
}
