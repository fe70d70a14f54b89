//! `retention:` in `runstone.yaml`, as people write it. What it means is in [`runstone_core::retention`].

use std::time::Duration;

use runstone_core::retention::{DatasetPattern, InputsOf, LogRule, ObjectRule, Rules, parse_age};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// The whole section.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Section {
    logs: Option<Logs>,
    events: Option<Events>,
    #[serde(default)]
    objects: Vec<Objects>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Logs {
    older_than: Option<Limit>,
    keep_runs: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Events {
    older_than: Limit,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Objects {
    r#match: String,
    keep_versions: Option<u32>,
    younger_than: Option<Age>,
    cheaper_than: Option<Cost>,
    keep_inputs_of: Option<Vec<Root>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Root {
    Latest,
    Tags,
}

#[derive(Debug)]
struct Age(Duration);

/// A length of time, or `never`.
#[derive(Debug)]
struct Limit(Option<Duration>);

/// A length of time, or `any`.
#[derive(Debug)]
struct Cost(Option<Duration>);

fn age<E: Error>(text: &str) -> Result<Duration, E> {
    parse_age(text).map_err(E::custom)
}

impl<'de> Deserialize<'de> for Age {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        age(&String::deserialize(deserializer)?).map(Self)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "never" => Ok(Self(None)),
            text => age(text).map(Some).map(Self),
        }
    }
}

impl<'de> Deserialize<'de> for Cost {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "any" => Ok(Self(None)),
            text => age(text).map(Some).map(Self),
        }
    }
}

impl From<Section> for Rules {
    fn from(section: Section) -> Self {
        let logs = LogRule::default();
        Self {
            logs: section.logs.map_or_else(LogRule::default, |given| LogRule {
                older_than: given.older_than.map_or(logs.older_than, |limit| limit.0),
                keep_runs: given.keep_runs.unwrap_or(logs.keep_runs),
            }),
            events: section.events.and_then(|given| given.older_than.0),
            objects: section.objects.into_iter().map(ObjectRule::from).collect(),
        }
    }
}

impl From<Objects> for ObjectRule {
    fn from(given: Objects) -> Self {
        let rule = Self::new(DatasetPattern::new(&given.r#match));
        let roots =
            |roots: Vec<Root>| InputsOf { latest: roots.contains(&Root::Latest), tags: roots.contains(&Root::Tags) };
        Self {
            keep_versions: given.keep_versions.unwrap_or(rule.keep_versions),
            younger_than: given.younger_than.map_or(rule.younger_than, |age| age.0),
            cheaper_than: given.cheaper_than.map_or(rule.cheaper_than, |cost| cost.0),
            keep_inputs_of: given.keep_inputs_of.map_or(rule.keep_inputs_of, roots),
            ..rule
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Result<Rules, String> {
        serde_yaml::from_str::<Section>(text).map(Rules::from).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_left_out_keeps_more() {
        let all = rules(
            "
logs: {older_than: 7d, keep_runs: 5}
events: {older_than: 90d}
objects:
  - {match: 'tickets/features*', keep_versions: 1, younger_than: 14d, cheaper_than: any, keep_inputs_of: [tags]}
  - {match: '*'}
",
        )
        .unwrap();
        let day = Duration::from_secs(86_400);
        assert_eq!(all.logs, LogRule { older_than: Some(7 * day), keep_runs: 5 });
        assert_eq!(all.events, Some(90 * day));
        assert_eq!(
            all.objects[0],
            ObjectRule {
                datasets: DatasetPattern::new("tickets/features*"),
                keep_versions: 1,
                younger_than: 14 * day,
                cheaper_than: None,
                keep_inputs_of: InputsOf { latest: false, tags: true },
            }
        );
        assert_eq!(all.objects[1], ObjectRule::new(DatasetPattern::new("*")));
        assert_eq!(rules("{}").unwrap(), Rules::default());
        let never = rules("{logs: {older_than: never}, events: {older_than: never}}").unwrap();
        assert_eq!((never.logs.older_than, never.events), (None, None));
        assert_eq!(never.logs.keep_runs, 20);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, part) in [
            ("objects: [{keep_versions: 1}]", "match"),
            ("objects: [{match: a, younger_than: soon}]", "`soon` is not a length of time"),
            ("objects: [{match: a, younger_than: never}]", "not a length of time"),
            ("objects: [{match: a, keep_inputs_of: [all]}]", "all"),
            ("objects: [{match: a, keep: 3}]", "unknown field `keep`"),
            ("events: {older_than: 30}", "30"),
            ("events: {}", "older_than"),
            ("bytes: {}", "unknown field `bytes`"),
        ] {
            let error = rules(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
