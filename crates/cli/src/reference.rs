//! How people name things on the command line: runs (`#42`), tasks (`#42/train{lr=0.1}`), versions of datasets
//! (`tickets/model@v3`). Parsing only; what exists is looked up in [`crate::view`].

use std::str::FromStr;
use std::time::Duration;

use runstone_core::cell::TaskRef;
use runstone_core::store::{RunRef, VersionRef};

/// A length of time, as `90s`, `10m`, `24h`, `7d` or `2w`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Age(pub(crate) Duration);

impl FromStr for Age {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ReferenceError::Age(text.to_owned());
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

/// A text that names nothing; says what would.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReferenceError {
    #[error("{0:?} does not name a run; write a number (`42` or `#42`), the start of an id, or `latest`")]
    Run(String),
    #[error("{0:?} does not name a task; write `step`, `step{{axis=value}}` or `#42/step`")]
    Task(String),
    #[error("{0:?} does not name a version; write `@latest`, `@v3`, `@b3:` and at least four digits, or `@run:42`")]
    Version(String),
    #[error("{0:?} does not name a dataset; write `pipeline/step`, `pipeline/step.output` or `./path`")]
    Dataset(String),
    #[error("{0:?} is not a length of time; write `90s`, `10m`, `24h`, `7d` or `2w`")]
    Age(String),
}

/// A run: `42`, `#42`, `latest`, or the first digits of its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunArg(pub(crate) RunRef);

impl FromStr for RunArg {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ReferenceError::Run(text.to_owned());
        if text == "latest" {
            return Ok(Self(RunRef::Latest));
        }
        if let Some(digits) = text.strip_prefix('#') {
            return digits.parse().ok().filter(|n| *n > 0).map(|n| Self(RunRef::Number(n))).ok_or_else(wrong);
        }
        // Ids start with a zero for centuries to come (UUIDv7), numbers never do.
        let is_number = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
        if is_number && !text.is_empty() {
            return text.parse().map(|n| Self(RunRef::Number(n))).map_err(|_| wrong());
        }
        let digits = text.bytes().filter(u8::is_ascii_hexdigit).count();
        let is_id = text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        if is_id && digits >= 4 { Ok(Self(RunRef::Prefix(text.to_ascii_lowercase()))) } else { Err(wrong()) }
    }
}

/// Tasks of a run: `step`, `step{lr=0.1}`, `#42/step`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TaskArg {
    /// Which run; none means the newest that has such a task.
    pub(crate) run: Option<RunArg>,
    /// The step and, perhaps, some axes of the cell.
    pub(crate) task: TaskRef,
}

impl FromStr for TaskArg {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (run, task) = match text.strip_prefix('#').and_then(|rest| rest.split_once('/')) {
            Some((run, task)) => (Some(format!("#{run}").parse()?), task),
            None => (None, text),
        };
        let task = task.parse().map_err(|_| ReferenceError::Task(text.to_owned()))?;
        Ok(Self { run, task })
    }
}

/// A dataset and which version of it: `NAME`, `NAME{cell}`, each with `@latest`, `@v3`, `@b3:prefix` or `@run:42`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DatasetArg {
    /// The name as given: full, or only its last part.
    pub(crate) name: String,
    /// Axes that the subset must agree with.
    pub(crate) cell: Vec<(String, String)>,
    /// Which version; none where nothing was said, which means the latest.
    pub(crate) version: Option<VersionRef>,
}

impl DatasetArg {
    /// The version meant.
    pub(crate) fn version(&self) -> VersionRef {
        self.version.clone().unwrap_or(VersionRef::Latest)
    }
}

impl FromStr for DatasetArg {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Content may be named alone: whatever dataset it is of.
        if text.starts_with("b3:") {
            return Ok(Self { name: String::new(), cell: Vec::new(), version: Some(parse_version(text)?) });
        }
        // A path or a cell may hold an `@` of its own, so the last one counts.
        let (name, version) = match text.rsplit_once('@') {
            Some((name, version)) if !version.contains(['}', '/']) => (name, Some(parse_version(version)?)),
            _ => (text, None),
        };
        let wrong = || ReferenceError::Dataset(text.to_owned());
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

fn parse_version(text: &str) -> Result<VersionRef, ReferenceError> {
    let wrong = || ReferenceError::Version(text.to_owned());
    if text == "latest" {
        return Ok(VersionRef::Latest);
    }
    if let Some(run) = text.strip_prefix("run:") {
        return run.parse::<RunArg>().map(|run| VersionRef::Run(run.0)).map_err(|_| wrong());
    }
    if let Some(digits) = text.strip_prefix("b3:") {
        let is_hash = (4..=64).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        return if is_hash { Ok(VersionRef::HashPrefix(digits.to_ascii_lowercase())) } else { Err(wrong()) };
    }
    let number = text.strip_prefix('v').and_then(|digits| digits.parse().ok()).filter(|number| *number > 0);
    number.map(VersionRef::Number).ok_or_else(wrong)
}

/// Whether the text of a cell on record (`lr=0.1,seed=1`) agrees with every pair. Values may be given with or without
/// the quotes of the record.
pub(crate) fn cell_agrees(cell: &str, wanted: &[(String, String)]) -> bool {
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
    fn runs_are_named_by_number_or_id() {
        let run = |text: &str| text.parse::<RunArg>().map(|run| run.0);
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
    fn ages_have_a_unit() {
        assert_eq!("24h".parse(), Ok(Age(Duration::from_secs(86_400))));
        for bad in ["", "24", "h", "1y", "-1d", "99999999999999999999w"] {
            assert!(bad.parse::<Age>().is_err(), "{bad}");
        }
    }

    #[test]
    fn tasks_may_say_their_run_and_parts_of_their_cell() {
        let task: TaskArg = "#42/train{lr=0.1}".parse().unwrap();
        assert_eq!(task.run, Some(RunArg(RunRef::Number(42))));
        assert_eq!((task.task.step.as_str(), task.task.cell.len()), ("train", 1));
        assert_eq!("train".parse::<TaskArg>().unwrap().run, None);
        for bad in ["", "#42/", "#x/train", "train{lr", "train{lr}"] {
            assert!(bad.parse::<TaskArg>().is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_are_named_in_five_ways() {
        let dataset = |text: &str| text.parse::<DatasetArg>().map(|it| (it.name, it.version));
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
        let path: DatasetArg = "./in/a@b.csv@v2".parse().unwrap();
        assert_eq!((path.name.as_str(), path.version()), ("./in/a@b.csv", VersionRef::Number(2)));
        let path: DatasetArg = "./in@home/a.csv".parse().unwrap();
        assert_eq!((path.name.as_str(), path.version()), ("./in@home/a.csv", VersionRef::Latest));
        let cell: DatasetArg = "p/model{lr=0.1,who=\"a@b\"}@v2".parse().unwrap();
        assert_eq!((cell.name.as_str(), cell.cell.len(), cell.version()), ("p/model", 2, VersionRef::Number(2)));
        let cell: DatasetArg = "p/model{who=\"a@b\"}".parse().unwrap();
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
