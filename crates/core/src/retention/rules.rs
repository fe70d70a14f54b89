//! The rules that people declare: how long what is kept. What is left out of a rule keeps more, never less.

use std::fmt;
use std::time::Duration;

use crate::spec::values;

const DAY: Duration = Duration::from_secs(86_400);

/// Everything that is declared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// Folders of runs, with their logs.
    pub logs: LogRule,
    /// Events of runs that ended longer ago than this go; none: never.
    pub events: Option<Duration>,
    /// Bytes of versions. The first rule that matches a dataset counts; without one all of it is kept.
    pub objects: Vec<ObjectRule>,
}

/// Which folders of runs go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRule {
    /// Those of runs that ended longer ago than this; none: never.
    pub older_than: Option<Duration>,
    /// So many of the newest runs keep theirs in any case.
    pub keep_runs: usize,
}

impl Default for LogRule {
    fn default() -> Self {
        Self { older_than: Some(30 * DAY), keep_runs: 20 }
    }
}

/// What is kept of the datasets that match. Bytes of a version may go only where nothing speaks for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectRule {
    /// Datasets it is about.
    pub datasets: DatasetPattern,
    /// So many of the newest versions of each cell stay.
    pub keep_versions: u32,
    /// What was published or read last less long ago than this stays.
    pub younger_than: Duration,
    /// Only what took at most so long to make goes; none: any of it.
    pub cheaper_than: Option<Duration>,
    /// Whatever these were made of stays.
    pub keep_inputs_of: InputsOf,
}

impl ObjectRule {
    /// The rule for some datasets where nothing else was said.
    #[must_use]
    pub fn new(datasets: DatasetPattern) -> Self {
        Self {
            datasets,
            keep_versions: 3,
            younger_than: 30 * DAY,
            cheaper_than: Some(Duration::from_secs(600)),
            keep_inputs_of: InputsOf { latest: true, tags: true },
        }
    }
}

/// Versions whose inputs, at any distance, are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InputsOf {
    /// Those that `@latest` names.
    pub latest: bool,
    /// Those that tags lead to.
    pub tags: bool,
}

/// Names of datasets, with `*` for any characters and `?` for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetPattern(String);

impl DatasetPattern {
    /// The pattern as written.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Whether the whole name fits.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name): (Vec<char>, Vec<char>) = (self.0.chars().collect(), name.chars().collect());
        let (mut p, mut n) = (0, 0);
        // The last star, and how much of the name it has taken: all that ever has to be tried again.
        let mut star = None;
        while n < name.len() {
            match pattern.get(p) {
                Some('*') => {
                    star = Some((p, n));
                    p += 1;
                }
                Some(c) if *c == '?' || *c == name[n] => (p, n) = (p + 1, n + 1),
                _ => {
                    let Some((at, taken)) = star else { return false };
                    star = Some((at, taken + 1));
                    (p, n) = (at + 1, taken + 1);
                }
            }
        }
        pattern[p..].iter().all(|c| *c == '*')
    }
}

impl fmt::Display for DatasetPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a length of time of at most ten years, such as `90s`, `10m`, `24h`, `30d` or `2w`")]
pub struct AgeError(String);

/// A length of time as pipelines write it: whole numbers with units.
///
/// # Errors
/// [`AgeError`] for anything else.
pub fn parse_age(text: &str) -> Result<Duration, AgeError> {
    values::duration(text).map_err(|_| AgeError(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, expected) in [
            ("tickets/features*", "tickets/features", true),
            ("tickets/features*", "tickets/features.train", true),
            ("tickets/features*", "other/tickets/features", false),
            ("*", "", true),
            ("*.log", "a/b.log.log", true),
            ("*a*b", "xaxbxab", true),
            ("*a*b", "xaxbxa", false),
            ("p/?", "p/é", true),
            ("p/?", "p/", false),
            ("p/a", "p/ab", false),
            ("", "p", false),
        ] {
            assert_eq!(DatasetPattern::new(pattern).matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn ages_have_units_and_an_end() {
        assert_eq!(parse_age("30d"), Ok(30 * DAY));
        assert_eq!(parse_age("0s"), Ok(Duration::ZERO));
        for bad in ["", "30", "1y", "-1d", "9999w"] {
            assert!(parse_age(bad).unwrap_err().to_string().contains("length of time"), "{bad}");
        }
    }
}
