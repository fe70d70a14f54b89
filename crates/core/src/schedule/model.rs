//! A schedule as plain data: what the file said, checked, in the form in which it is put on record.

use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{PatternError, Zone};
use crate::name::Name;
use crate::scalar::Scalar;
use crate::time::Timestamp;

/// One schedule of a pipeline. As JSON its durations are whole milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Unique within the pipeline; `main` for the only one.
    pub name: Name,
    /// When it fires.
    pub timing: Timing,
    /// What becomes of fires that were missed.
    pub catchup: Catchup,
    /// What a fire does while an earlier run of the pipeline goes on.
    pub overlap: Overlap,
    /// The largest delay added to a fire time; see [`super::Compiled::due`].
    #[serde(rename = "jitter_ms", with = "millis")]
    pub jitter: Duration,
    /// No fire is before it.
    pub start: Option<Timestamp>,
    /// Every fire is before it.
    pub end: Option<Timestamp>,
    /// Whether it fires at all. Fire times are the same either way.
    pub enabled: bool,
    /// Parameters of the runs it starts.
    pub params: IndexMap<Name, Scalar>,
}

/// When a schedule fires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Timing {
    /// When a clock shows certain times.
    Cron {
        /// Five fields, six with seconds first, or a word such as `@daily`.
        expression: String,
        /// Whose clock.
        tz: Zone,
        /// What happens when that clock is changed.
        dst: Dst,
    },
    /// At even distances: at the schedule's start, or 1970-01-01T00:00Z without one, and at every whole number of
    /// intervals after it.
    Every {
        /// The distance; at least a second.
        #[serde(rename = "interval_ms", with = "millis")]
        interval: Duration,
    },
}

/// What happens to fixed times of a clock that is changed. Patterns whose hour field starts with `*` are not about
/// fixed times: they fire whenever the clock shows a match, and these rules do not apply to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dst {
    /// For times that do not exist.
    pub gap: Gap,
    /// For times that exist twice.
    pub fold: Fold,
}

/// What happens to times that a clock leaps over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gap {
    /// All of one gap fire together, once, at the first instant after it.
    #[default]
    RunAfter,
    /// They do not fire.
    Skip,
}

/// What happens to times that a clock shows twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fold {
    /// They fire the first time.
    #[default]
    Once,
    /// They fire both times.
    Twice,
}

/// What becomes of fires that were missed, because no scheduler was alive or the schedule was not reached in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catchup {
    /// Older ones are never made up.
    #[serde(rename = "window_ms", with = "millis")]
    pub window: Duration,
    /// Which of the others are.
    pub keep: Keep,
}

impl Default for Catchup {
    fn default() -> Self {
        Self { window: Duration::from_secs(24 * 3600), keep: Keep::Latest }
    }
}

/// Which missed fires are made up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// The newest.
    #[default]
    Latest,
    /// Every one.
    All,
    /// None.
    None,
}

/// What a fire does while an earlier run of the pipeline goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// Its run waits for the earlier one.
    #[default]
    Queue,
    /// It starts no run.
    Skip,
    /// The earlier run is cancelled.
    Replace,
    /// Both go on.
    Allow,
}

/// Why a schedule cannot be asked for its fire times.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Its pattern.
    #[error("the pattern {expression:?} cannot be used: {source}")]
    Pattern {
        /// The pattern as written.
        expression: String,
        /// What is wrong with it.
        source: PatternError,
    },
    /// Its interval.
    #[error("an interval of less than a second")]
    TooOften,
}

/// Durations as whole milliseconds.
mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nightly() -> Schedule {
        Schedule {
            name: Name::new("main").unwrap(),
            timing: Timing::Cron {
                expression: "0 2 * * *".to_owned(),
                tz: Zone::named("Europe/Berlin").unwrap(),
                dst: Dst::default(),
            },
            catchup: Catchup::default(),
            overlap: Overlap::Queue,
            jitter: Duration::from_millis(1500),
            start: Some(Timestamp(5)),
            end: None,
            enabled: true,
            params: IndexMap::from_iter([(Name::new("n").unwrap(), Scalar::Float(1.0))]),
        }
    }

    #[test]
    fn what_is_put_on_record_is_read_back() {
        let text = serde_json::to_string(&nightly()).unwrap();
        assert_eq!(
            text,
            r#"{"name":"main","timing":{"cron":{"expression":"0 2 * * *","tz":"Europe/Berlin","dst":{"gap":"run_after","fold":"once"}}},"catchup":{"window_ms":86400000,"keep":"latest"},"overlap":"queue","jitter_ms":1500,"start":5,"end":null,"enabled":true,"params":{"n":1.0}}"#
        );
        assert_eq!(serde_json::from_str::<Schedule>(&text).unwrap(), nightly());
        let every = Timing::Every { interval: Duration::from_secs(90) };
        let text = serde_json::to_string(&every).unwrap();
        assert_eq!(
            (text.as_str(), serde_json::from_str(&text).ok()),
            (r#"{"every":{"interval_ms":90000}}"#, Some(every))
        );
    }

    #[test]
    fn a_record_with_more_to_say_is_refused() {
        let text = serde_json::to_string(&nightly()).unwrap();
        for (known, more) in [
            (r#""enabled":true"#, r#""enabled":true,"colour":"red""#),
            (r#""keep":"latest""#, r#""keep":"latest","keep_most":3"#),
            (r#""fold":"once""#, r#""fold":"once","leap":"smear""#),
            (r#""tz":"Europe/Berlin""#, r#""tz":"Europe/Berlin","year":2026"#),
            (r#""tz":"Europe/Berlin""#, r#""tz":"Europe/Bonn""#),
        ] {
            assert!(serde_json::from_str::<Schedule>(&text.replace(known, more)).is_err(), "{more}");
        }
    }
}
