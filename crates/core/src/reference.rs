//! How people name runs, tasks, datasets and versions: texts read into values. Whether there is such a thing, the store knows.

use std::str::FromStr;

use crate::cell::TaskRef;
use crate::hash::CONTENT_PREFIX;
use crate::lineage::tag::TagName;
use crate::partition::Key;
use crate::schedule::moment;
use crate::time::Timestamp;

/// Which run is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunRef {
    /// `#42` or `42`.
    Number(i64),
    /// A prefix of the id, at least four digits.
    Prefix(String),
    /// The newest.
    Latest,
}

/// Which version of a dataset is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionRef {
    /// What the moving heads point at: one publication per subset.
    Latest,
    /// `v3`.
    Number(i64),
    /// `b3:prefix`, hexadecimal digits.
    HashPrefix(String),
    /// What that run published or reused.
    Run(RunRef),
    /// Where a tag leads.
    Tag(TagName),
    /// What `latest` named at that time.
    AsOf(Timestamp),
    /// What `latest` names, of this partition alone.
    Partition(Key),
}

/// A text that names no version or run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} does not name a {what}; write {forms}")]
pub struct ParseRefError {
    /// As given.
    pub given: String,
    /// What was expected.
    pub what: &'static str,
    /// How it is written.
    pub forms: &'static str,
}

impl FromStr for RunRef {
    type Err = ParseRefError;

    /// `#42`, `42`, `latest`, or at least four digits of an id.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseRefError {
            given: text.to_owned(),
            what: "run",
            forms: "its number (42 or '#42'), the first digits of its id, or latest",
        };
        if text == "latest" {
            return Ok(Self::Latest);
        }
        if let Some(digits) = text.strip_prefix('#') {
            return digits.parse().ok().filter(|number| *number > 0).map(Self::Number).ok_or_else(wrong);
        }
        // Ids start with a zero for centuries to come (UUIDv7), numbers never do.
        let is_number = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
        if is_number && !text.is_empty() {
            return text.parse().map(Self::Number).map_err(|_| wrong());
        }
        let digits = text.bytes().filter(u8::is_ascii_hexdigit).count();
        let is_id = text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        if is_id && digits >= 4 { Ok(Self::Prefix(text.to_ascii_lowercase())) } else { Err(wrong()) }
    }
}

impl FromStr for VersionRef {
    type Err = ParseRefError;

    /// `latest`, `v3`, `b3:` and at least four digits, `run:` and a run, `partition:` and a key, a moment with its offset
    /// (`2026-11-01T12:00Z`), or a tag.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseRefError {
            given: text.to_owned(),
            what: "version",
            forms: "latest, v3, b3:DIGITS, run:ID, partition:KEY, 2026-11-01T12:00Z or a tag",
        };
        if text == "latest" {
            return Ok(Self::Latest);
        }
        if let Some(run) = text.strip_prefix("run:") {
            return run.parse().map(Self::Run).map_err(|_| wrong());
        }
        if let Some(key) = text.strip_prefix("partition:") {
            return Key::new(key).map(Self::Partition).map_err(|_| wrong());
        }
        if let Some(digits) = text.strip_prefix(CONTENT_PREFIX) {
            let is_hash = (4..=64).contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_hexdigit());
            return if is_hash { Ok(Self::HashPrefix(digits.to_ascii_lowercase())) } else { Err(wrong()) };
        }
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            return moment::parse_moment(text).map(Self::AsOf).ok_or_else(wrong);
        }
        if let Some(number) = text.strip_prefix('v').and_then(|number| number.parse().ok()) {
            return if number > 0 { Ok(Self::Number(number)) } else { Err(wrong()) };
        }
        TagName::new(text).map(Self::Tag).map_err(|_| wrong())
    }
}

/// Tasks of a run: `step`, `step{lr=0.1}`, `#42/step`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunTaskRef {
    /// Which run; none means the newest that has such a task.
    pub run: Option<RunRef>,
    /// The step and, perhaps, some axes of the cell.
    pub task: TaskRef,
}

impl FromStr for RunTaskRef {
    type Err = ParseRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (run, task) = match text.strip_prefix('#').and_then(|rest| rest.split_once('/')) {
            Some((run, task)) => (Some(format!("#{run}").parse()?), task),
            None => (None, text),
        };
        let task = task.parse().map_err(|_| ParseRefError {
            given: text.to_owned(),
            what: "task",
            forms: "`step`, `step{axis=value}` or `#42/step`",
        })?;
        Ok(Self { run, task })
    }
}

/// A dataset and which version of it: `NAME`, `NAME{cell}`, each with `@` and a [`VersionRef`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetRef {
    /// The name as given: full, or only its last part.
    pub name: String,
    /// Axes that the subset must agree with.
    pub cell: Vec<(String, String)>,
    /// Which version; none where nothing was said, which means the latest.
    pub version: Option<VersionRef>,
}

impl DatasetRef {
    /// The version meant.
    #[must_use]
    pub fn version(&self) -> VersionRef {
        self.version.clone().unwrap_or(VersionRef::Latest)
    }
}

impl FromStr for DatasetRef {
    type Err = ParseRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Content may be named alone: whatever dataset it is of.
        if text.starts_with("b3:") {
            return Ok(Self { name: String::new(), cell: Vec::new(), version: Some(text.parse()?) });
        }
        // A path or a cell may hold an `@` of its own, so the last one counts.
        let (name, version) = match text.rsplit_once('@') {
            Some((name, version)) if !version.contains(['}', '/']) => (name, Some(version.parse()?)),
            _ => (text, None),
        };
        let wrong = || ParseRefError {
            given: text.to_owned(),
            what: "dataset",
            forms: "`pipeline/step`, `pipeline/step.output` or `./path`",
        };
        let is_path = name.starts_with("./") || name.starts_with('/');
        let (name, cell) = if is_path {
            (name.to_owned(), Vec::new())
        } else {
            let task: TaskRef = name.parse().map_err(|_| wrong())?;
            (task.step, task.cell)
        };
        if name.is_empty() || name.contains(char::is_control) {
            return Err(wrong());
        }
        Ok(Self { name, cell, version })
    }
}

/// Whether the text of a cell on record (`lr=0.1,seed=1`) agrees with every pair. Values may be given with or without
/// the quotes of the record.
#[must_use]
pub fn cell_agrees(cell: &str, wanted: &[(String, String)]) -> bool {
    if wanted.is_empty() {
        return true;
    }
    let Ok(recorded) = format!("x{{{cell}}}").parse::<TaskRef>() else { return false };
    let unquoted = |text: &str| serde_json::from_str::<String>(text).unwrap_or_else(|_| text.to_owned());
    wanted.iter().all(|(axis, value)| {
        recorded.cell.iter().any(|(key, text)| key == axis && (text == value || unquoted(text) == unquoted(value)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_version_is_told_from_the_others() {
        let tag = |text| VersionRef::Tag(TagName::new(text).unwrap());
        for (text, version) in [
            ("latest", VersionRef::Latest),
            ("v12", VersionRef::Number(12)),
            ("b3:12AB", VersionRef::HashPrefix("12ab".into())),
            ("run:42", VersionRef::Run(RunRef::Number(42))),
            ("run:latest", VersionRef::Run(RunRef::Latest)),
            ("champion", tag("champion")),
            ("v2-rc.1", tag("v2-rc.1")),
            ("1970-01-01T00:01Z", VersionRef::AsOf(Timestamp(60_000_000))),
            ("1970-01-01T01:00:00.5+01:00", VersionRef::AsOf(Timestamp(500_000))),
            ("partition:2026-11-01", VersionRef::Partition(Key::new("2026-11-01").unwrap())),
        ] {
            assert_eq!(text.parse(), Ok(version), "{text}");
        }
    }

    #[test]
    fn what_could_be_two_things_is_neither() {
        for text in
            ["", "v0", "v-1", "b3:12", "run:", "partition:", "2026-11-01", "2026-11-01T12:00", "7", "Prod", "a b"]
        {
            let error = text.parse::<VersionRef>().unwrap_err();
            assert!(error.to_string().contains("2026-11-01T12:00Z"), "{error}");
        }
    }

    #[test]
    fn runs_are_named_by_number_or_id() {
        let run = |text: &str| text.parse::<RunRef>();
        assert_eq!(run("42"), Ok(RunRef::Number(42)));
        assert_eq!(run("#42"), Ok(RunRef::Number(42)));
        assert_eq!(run("latest"), Ok(RunRef::Latest));
        assert_eq!(run("0193ab"), Ok(RunRef::Prefix("0193ab".into())));
        assert_eq!(run("01934567"), Ok(RunRef::Prefix("01934567".into())));
        for bad in ["", "#", "#0", "#x", "-1", "abc", "no-run", "99999999999999999999"] {
            assert!(run(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tasks_may_say_their_run_and_parts_of_their_cell() {
        let task: RunTaskRef = "#42/train{lr=0.1}".parse().unwrap();
        assert_eq!(task.run, Some(RunRef::Number(42)));
        assert_eq!((task.task.step.as_str(), task.task.cell.len()), ("train", 1));
        assert_eq!("train".parse::<RunTaskRef>().unwrap().run, None);
        for bad in ["", "#42/", "#x/train", "train{lr", "train{lr}"] {
            assert!(bad.parse::<RunTaskRef>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_dataset_may_carry_its_version() {
        let dataset = |text: &str| text.parse::<DatasetRef>().map(|it| (it.name, it.version));
        let named = |version| Ok(("a/b.c".to_owned(), version));
        assert_eq!(dataset("a/b.c"), named(None));
        assert_eq!(dataset("a/b.c@latest"), named(Some(VersionRef::Latest)));
        assert_eq!(dataset("a/b.c@v3"), named(Some(VersionRef::Number(3))));
        assert_eq!(dataset("a/b.c@b3:12AB"), named(Some(VersionRef::HashPrefix("12ab".into()))));
        assert_eq!(dataset("a/b.c@run:42"), named(Some(VersionRef::Run(RunRef::Number(42)))));
        assert_eq!(dataset("b3:12ab"), Ok((String::new(), Some(VersionRef::HashPrefix("12ab".into())))));
        for bad in ["", "@v1", "a@", "a@v0", "a@3", "a@b3:12", "a@b3:xyzw", "a@run:", "b3:1", "a{x"] {
            assert!(dataset(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_dataset_may_be_a_path_or_a_cell() {
        let path: DatasetRef = "./in/a@b.csv@v2".parse().unwrap();
        assert_eq!((path.name.as_str(), path.version()), ("./in/a@b.csv", VersionRef::Number(2)));
        let path: DatasetRef = "./in@home/a.csv".parse().unwrap();
        assert_eq!((path.name.as_str(), path.version()), ("./in@home/a.csv", VersionRef::Latest));
        let cell: DatasetRef = "p/model{lr=0.1,who=\"a@b\"}@v2".parse().unwrap();
        assert_eq!((cell.name.as_str(), cell.cell.len(), cell.version()), ("p/model", 2, VersionRef::Number(2)));
        let cell: DatasetRef = "p/model{who=\"a@b\"}".parse().unwrap();
        assert_eq!(cell.version, None);
    }

    #[test]
    fn cells_agree_in_part_and_whatever_the_quotes() {
        let pairs = |text: &str| text.parse::<TaskRef>().unwrap().cell;
        let cell = "data=\"a,b\",lr=0.1,n=\"1\"";
        for wanted in ["s", "s{lr=0.1}", "s{data=\"a,b\",lr=0.1}", "s{n=1}"] {
            assert!(cell_agrees(cell, &pairs(wanted)), "{wanted}");
        }
        for wanted in ["s{lr=0.2}", "s{seed=1}"] {
            assert!(!cell_agrees(cell, &pairs(wanted)), "{wanted}");
        }
        assert!(!cell_agrees("", &pairs("s{lr=0.1}")));
    }
}
