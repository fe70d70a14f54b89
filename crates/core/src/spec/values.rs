//! Scalars with a syntax of their own: durations, sizes, cores, causes of failure. Text in, value or problem out.

use std::time::Duration;

use super::diagnostic::{Code, Diagnostic, shown};
use super::source::Span;
use super::suggest;
use crate::attempt::Cause;
use crate::name::{Name, NameError};

use super::model::RetryOn;

/// Why a text is not the value it should be, before it is known where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Problem {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) help: Option<&'static str>,
    /// What was probably meant.
    pub(crate) fix: Option<String>,
}

impl Problem {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: None, fix: None }
    }

    pub(crate) fn help(self, help: &'static str) -> Self {
        Self { help: Some(help), ..self }
    }

    pub(crate) fn fix(self, fix: Option<String>) -> Self {
        Self { fix, ..self }
    }

    pub(crate) fn at(self, span: Span) -> Diagnostic {
        Diagnostic::error(self.code, span, self.message).maybe_help(self.help).did_you_mean(span, self.fix.as_deref())
    }
}

const MAX_DURATION_MS: u64 = 10 * 366 * DAY;
const DAY: u64 = 24 * 3_600_000;
const UNITS: [(&str, u64); 6] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", DAY), ("w", 7 * DAY)];

/// Whole numbers with units, largest first: `30s`, `1h30m`, `500ms`; at most ten years.
pub(crate) fn duration(text: &str) -> Result<Duration, Problem> {
    let bad = |help| Problem::new(Code::BadDuration, format!("{} is not a duration", shown(text))).help(help);
    let syntax = "durations are whole numbers with units ms, s, m, h, d, w, such as `30s` or `1h30m`";
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad("a duration needs a unit: ms, s, m, h, d or w").fix(Some(format!("{text}s"))));
    }
    let (mut rest, mut total, mut smaller_than) = (text, 0u64, u64::MAX);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let unit = UNITS.iter().find(|(name, _)| *name == unit);
        let Some(&(_, millis)) = unit.filter(|(_, millis)| !number.is_empty() && *millis < smaller_than) else {
            return Err(bad(syntax));
        };
        let part = number.parse().ok().and_then(|number: u64| number.checked_mul(millis));
        total = match part.and_then(|part| total.checked_add(part)) {
            Some(total) if total <= MAX_DURATION_MS => total,
            _ => return Err(bad("the longest duration is ten years")),
        };
        (rest, smaller_than) = (tail, millis);
    }
    if text.is_empty() { Err(bad(syntax)) } else { Ok(Duration::from_millis(total)) }
}

const BYTES: [(&str, u64); 8] = [
    ("k", 1000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
];

/// Bytes with a unit: `16Gi`, `1.5Gi`, `512Mi`, `2G`.
pub(crate) fn size(text: &str) -> Result<u64, Problem> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let bad = |help| Problem::new(Code::BadSize, format!("{} is not a size", shown(text))).help(help);
    let Some(&(_, factor)) = BYTES.iter().find(|(name, _)| *name == unit) else {
        let near = BYTES.iter().find(|(name, _)| {
            unit.len() > 1 && name.eq_ignore_ascii_case(unit.trim_end_matches(['B', 'b']))
                || name.eq_ignore_ascii_case(unit)
        });
        let fix = near.filter(|_| millis(number).is_some()).map(|(name, _)| format!("{number}{name}"));
        return Err(
            bad("a size is a number with a unit: k, M, G, T (powers of 1000) or Ki, Mi, Gi, Ti (of 1024)").fix(fix)
        );
    };
    let bytes = millis(number).and_then(|milli| u64::try_from(u128::from(milli) * u128::from(factor) / 1000).ok());
    bytes.ok_or_else(|| bad("a size has at most three digits after the point and fits 64 bits"))
}

/// Thousandths of a core: `2`, `0.5`, `500m`; at least `1m`.
pub(crate) fn cpu(text: &str) -> Result<u64, Problem> {
    let milli = match text.strip_suffix('m') {
        Some(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => number.parse().ok(),
        Some(_) => None,
        None => millis(text),
    };
    milli.filter(|milli| (1..=1_000_000_000).contains(milli)).ok_or_else(|| {
        Problem::new(Code::OutOfRange, format!("{} is not a number of cores", shown(text)))
            .help("write cores as `2`, `0.5` or `500m` (thousandths)")
    })
}

/// A decimal number with at most three digits after the point, times 1000.
fn millis(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 3 {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let fraction: u64 = format!("{fraction:0<3}").parse().ok()?;
    whole.checked_mul(1000)?.checked_add(fraction)
}

/// A cause of failure, or `exit:CODE`.
pub(crate) fn retry_on(text: &str) -> Result<RetryOn, Problem> {
    if let Some(code) = text.strip_prefix("exit:") {
        return match code.parse::<u8>() {
            Ok(code) if code > 0 && !text.contains('+') => Ok(RetryOn::ExitCode(i32::from(code))),
            _ => Err(Problem::new(Code::OutOfRange, format!("{} names no failure", shown(text)))
                .help("exit codes of failures are 1 to 255, such as `exit:75`")),
        };
    }
    match Cause::parse(text) {
        Some(Cause::Cancelled) => Err(Problem::new(Code::BadValue, "what was cancelled is not tried again")),
        Some(cause) => Ok(RetryOn::Cause(cause)),
        None => {
            let known = Cause::ALL.map(Cause::as_str);
            Err(Problem::new(Code::BadValue, format!("{} is not a cause of failure", shown(text)))
                .help("causes are exit, exit:CODE, signal, timeout, out_of_memory, spawn, missing_output, require, no_space, lost, internal")
                .fix(suggest::nearest(text, known).map(str::to_owned)))
        }
    }
}

/// A name, or what is wrong with it and how it could be written.
pub(crate) fn name(text: &str) -> Result<Name, Problem> {
    Name::new(text).map_err(|error| {
        let message = match error {
            NameError::Empty => "a name must not be empty".to_owned(),
            _ => format!("{} is not a name", shown(text)),
        };
        let fix: String = text
            .chars()
            .take(crate::name::MAX_NAME_LEN)
            .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c.to_ascii_lowercase() } else { '_' })
            .collect();
        let fix = Name::new(fix.trim_matches('_')).ok().filter(|_| text.len() <= crate::name::MAX_NAME_LEN);
        Problem::new(Code::BadName, message)
            .help("a name starts with a small letter and has up to 64 small letters, digits, `_` and `-`")
            .fix(fix.map(|name| name.to_string()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert_eq!(duration("30").unwrap_err().fix.as_deref(), Some("30s"));
        for bad in ["", "1.5h", "30m1h", "1h1h", "s", "-1s", "1 h", "11000d", "99999999999999999999s", "1H", "é"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(size("1.5Gi"), Ok(3 << 29));
        assert_eq!(size("2G"), Ok(2_000_000_000));
        assert_eq!(size("4GiB").unwrap_err().fix.as_deref(), Some("4Gi"));
        assert_eq!(size("4g").unwrap_err().fix.as_deref(), Some("4G"));
        for bad in ["", "4", "Gi", "-1Gi", "1.2345Gi", "1e3Gi", "99999999999Ti", "1..2Gi"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn cores_are_thousandths() {
        assert_eq!((cpu("2"), cpu("0.5"), cpu("500m")), (Ok(2000), Ok(500), Ok(500)));
        for bad in ["0", "0m", "-1", "1e3", "m", "0.0001", "two"] {
            assert!(cpu(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn causes_are_words_or_exit_codes() {
        assert_eq!(retry_on("exit:75"), Ok(RetryOn::ExitCode(75)));
        assert_eq!(retry_on("lost"), Ok(RetryOn::Cause(Cause::Lost)));
        assert_eq!(retry_on("time_out").unwrap_err().fix.as_deref(), Some("timeout"));
        for bad in ["exit:0", "exit:256", "exit:", "exit:+1", "cancelled", "oops"] {
            assert!(retry_on(bad).is_err(), "{bad}");
        }
    }
}
