//! Lengths of time as people write them on the command line. How they name runs, tasks and versions is the same
//! everywhere: [`runstone_core::reference`].

use std::str::FromStr;
use std::time::Duration;

/// A length of time, as `90s`, `10m`, `24h`, `7d` or `2w`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Age(pub(crate) Duration);

impl FromStr for Age {
    type Err = AgeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || AgeError(text.to_owned());
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = match &text[digits.len()..] {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            "w" => 604_800,
            _ => return Err(wrong()),
        };
        let seconds = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(wrong)?;
        Ok(Self(Duration::from_secs(seconds)))
    }
}

/// A text that is no length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a length of time; write `90s`, `10m`, `24h`, `7d` or `2w`")]
pub(crate) struct AgeError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_a_unit() {
        assert_eq!("24h".parse(), Ok(Age(Duration::from_secs(86_400))));
        for bad in ["", "24", "h", "1y", "-1d", "99999999999999999999w"] {
            assert!(bad.parse::<Age>().is_err(), "{bad}");
        }
    }
}
