//! `runstone.yaml`: what people settle for a whole project, and which variables of the environment override it.
//!
//! Every value knows where it came from, so that `doctor` can say so. Values are passed on from here; nothing in the
//! program reads configuration on its own.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use runstone_core::attempt::LogLimit;
use runstone_core::retention::Rules;
use serde::{Deserialize, Deserializer};

use super::{CONFIG_FILE, ProjectError, retention};

/// The variable that moves the records to another database.
pub const DATABASE_VARIABLE: &str = "RUNSTONE_DATABASE_URL";
/// The variable that bounds how many steps run at once.
pub const JOBS_VARIABLE: &str = "RUNSTONE_JOBS";

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// This configuration file.
    File(PathBuf),
    /// This variable of the environment.
    Variable(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => path.display().fmt(f),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Where it came from.
    pub origin: Origin,
}

/// What the environment says, read once by the program's outermost layer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// [`DATABASE_VARIABLE`].
    pub database_url: Option<String>,
    /// [`JOBS_VARIABLE`].
    pub jobs: Option<String>,
}

/// What is settled for a project.
#[derive(Clone, PartialEq)]
pub struct Config {
    /// The file, where there is one.
    pub file: Option<PathBuf>,
    /// URL of the database; none means the embedded one.
    pub database: Sourced<Option<String>>,
    /// How many steps run at once.
    pub jobs: Sourced<NonZeroUsize>,
    /// Slots of pools, which bound those that pipelines declare.
    pub pools: Sourced<BTreeMap<String, u32>>,
    /// Where secrets come from.
    pub secrets: Sourced<BTreeMap<String, SecretSource>>,
    /// How much of each log stays on disk.
    pub log_limit: Sourced<LogLimit>,
    /// Published tables up to so many bytes are profiled at once.
    pub profile_limit: Sourced<u64>,
    /// The file with the key that signs the log; none means the one in the state folder. Relative to the root.
    pub signing_key: Sourced<Option<PathBuf>>,
    /// Where objects are kept; none means the state folder. Relative to the root.
    pub objects: Sourced<Option<PathBuf>>,
    /// Variables that steps receive beyond the built-in allow-list.
    pub env_allow: Sourced<BTreeSet<String>>,
    /// What is kept for how long.
    pub retention: Sourced<Rules>,
}

/// The URL may hold a password, so it is not shown.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("file", &self.file).field("jobs", &self.jobs).finish_non_exhaustive()
    }
}

/// Where a secret comes from. The value is read when an attempt starts, and never kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    /// This variable of runstone's own environment.
    Env(String),
    /// This file, relative to the root; one line break at its end is dropped.
    File(PathBuf),
}

/// A secret could not be had. Never holds the secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// No source is configured under this name.
    #[error("secret {0:?} is not configured; add it under `secrets:` in {CONFIG_FILE}")]
    Unknown(String),
    /// The variable is not set, or is not UTF-8.
    #[error("secret {name:?}: the variable {variable} is not set to a text")]
    Variable {
        /// Name of the secret.
        name: String,
        /// The variable.
        variable: String,
    },
    /// The file cannot be read.
    #[error("secret {name:?}: cannot read {}", path.display())]
    File {
        /// Name of the secret.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Config {
    /// Reads the configuration of the project at `root`, where there is one, and applies the overrides.
    ///
    /// # Errors
    /// [`ProjectError::Config`] names the file or variable and what is wrong with it.
    pub fn load(root: &Path, overrides: &Overrides) -> Result<Self, ProjectError> {
        let path = root.join(CONFIG_FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(source) => return Err(ProjectError::Io { action: "read", path, source }),
        };
        let origin = Origin::File(path.clone());
        let file: Document = match &text {
            None => Document::default(),
            Some(text) => parse(text).map_err(|message| ProjectError::Config { origin: origin.clone(), message })?,
        };
        Ok(Self {
            file: text.is_some().then_some(path),
            database: database(file.database, &origin, overrides)?,
            jobs: jobs(file.jobs, &origin, overrides)?,
            pools: or_default(file.pools, &origin),
            secrets: or_default(file.secrets, &origin),
            log_limit: or_default(file.log_limit.map(|limit| limit.0), &origin),
            profile_limit: Sourced {
                origin: origin_of(file.profile_limit.is_some(), &origin),
                value: file.profile_limit.map_or(PROFILE_LIMIT, |limit| limit.0),
            },
            signing_key: Sourced { origin: origin_of(file.signing_key.is_some(), &origin), value: file.signing_key },
            objects: Sourced { origin: origin_of(file.objects.is_some(), &origin), value: file.objects },
            env_allow: or_default(file.env_allow, &origin),
            retention: or_default(file.retention.map(Rules::from), &origin),
        })
    }

    /// The pools of the project and their slots, as the record takes them.
    #[must_use]
    pub fn pool_slots(&self) -> Vec<(String, u32)> {
        self.pools.value.iter().map(|(name, slots)| (name.clone(), *slots)).collect()
    }

    /// Reads a secret from its source. `variable` looks up the environment.
    ///
    /// # Errors
    /// [`SecretError`] says which source is missing.
    pub fn secret(
        &self,
        name: &str,
        root: &Path,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<String, SecretError> {
        match self.secrets.value.get(name) {
            None => Err(SecretError::Unknown(name.to_owned())),
            Some(SecretSource::Env(key)) => variable(key)
                .and_then(|value| value.into_string().ok())
                .ok_or_else(|| SecretError::Variable { name: name.to_owned(), variable: key.clone() }),
            Some(SecretSource::File(path)) => {
                let path = root.join(path);
                let mut text = std::fs::read_to_string(&path).map_err(|source| SecretError::File {
                    name: name.to_owned(),
                    path,
                    source,
                })?;
                if text.ends_with('\n') {
                    text.pop();
                }
                Ok(text)
            }
        }
    }
}

/// The file as written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    database: Option<String>,
    jobs: Option<NonZeroUsize>,
    pools: Option<BTreeMap<String, u32>>,
    #[serde(default, deserialize_with = "secret_sources")]
    secrets: Option<BTreeMap<String, SecretSource>>,
    log_limit: Option<LogLimitText>,
    profile_limit: Option<SizeText>,
    signing_key: Option<PathBuf>,
    objects: Option<PathBuf>,
    env_allow: Option<BTreeSet<String>>,
    retention: Option<retention::Section>,
}

/// One way to write a source, as `{env: NAME}` or `{file: ./path}`, without YAML tags.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretText {
    env: Option<String>,
    file: Option<PathBuf>,
}

fn secret_sources<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<BTreeMap<String, SecretSource>>, D::Error> {
    let texts = BTreeMap::<String, SecretText>::deserialize(deserializer)?;
    let sources = texts.into_iter().map(|(name, text)| match (text.env, text.file) {
        (Some(env), None) => Ok((name, SecretSource::Env(env))),
        (None, Some(file)) => Ok((name, SecretSource::File(file))),
        _ => Err(serde::de::Error::custom(format!("secret `{name}` needs either `env: NAME` or `file: ./path`"))),
    });
    sources.collect::<Result<_, _>>().map(Some)
}

/// Read in a fraction of a second.
const PROFILE_LIMIT: u64 = 64 << 20;

/// `64Mi`.
struct SizeText(u64);

impl<'de> Deserialize<'de> for SizeText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a size such as 64Mi")]
        enum Text {
            Bytes(u64),
            Size(String),
        }
        match Text::deserialize(deserializer)? {
            Text::Bytes(bytes) => Ok(Self(bytes)),
            Text::Size(text) => parse_size(&text)
                .map(Self)
                .ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not a size such as 64Mi"))),
        }
    }
}

/// `{head: 4Mi, tail: 12Mi}`, or one size of which a quarter goes to the head.
struct LogLimitText(LogLimit);

impl<'de> Deserialize<'de> for LogLimitText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a size such as 16Mi, or {head: 4Mi, tail: 12Mi}")]
        enum Text {
            Bytes(u64),
            Size(String),
            Ends { head: String, tail: String },
        }
        let size = |text: &str| {
            parse_size(text).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not a size such as 16Mi")))
        };
        let total = |total: u64| LogLimit { head: total / 4, tail: total - total / 4 };
        Ok(Self(match Text::deserialize(deserializer)? {
            Text::Bytes(bytes) => total(bytes),
            Text::Size(text) => total(size(&text)?),
            Text::Ends { head, tail } => LogLimit { head: size(&head)?, tail: size(&tail)? },
        }))
    }
}

/// A number of bytes with an optional binary unit: `512`, `64Ki`, `16Mi`, `1Gi`.
fn parse_size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match &text[digits.len()..] {
        "" => 0,
        "Ki" => 10,
        "Mi" => 20,
        "Gi" => 30,
        "Ti" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn parse(text: &str) -> Result<Document, String> {
    // A file of comments alone is the null document.
    serde_yaml::from_str::<Option<Document>>(text).map(Option::unwrap_or_default).map_err(|error| error.to_string())
}

fn origin_of(given: bool, file: &Origin) -> Origin {
    if given { file.clone() } else { Origin::Default }
}

fn or_default<T: Default>(given: Option<T>, file: &Origin) -> Sourced<T> {
    Sourced { origin: origin_of(given.is_some(), file), value: given.unwrap_or_default() }
}

fn database(
    given: Option<String>,
    file: &Origin,
    overrides: &Overrides,
) -> Result<Sourced<Option<String>>, ProjectError> {
    let (value, origin) = match (&overrides.database_url, given) {
        (Some(url), _) if !url.is_empty() => (Some(url.clone()), Origin::Variable(DATABASE_VARIABLE)),
        (_, Some(url)) => (Some(url), file.clone()),
        (_, None) => (None, Origin::Default),
    };
    if value.as_ref().is_some_and(|url| !url.contains(':')) {
        // The text may be a password put in the wrong place, so it is not repeated.
        let message = "the database must be a URL such as postgres://user@host/name".to_owned();
        return Err(ProjectError::Config { origin, message });
    }
    Ok(Sourced { value, origin })
}

fn jobs(
    given: Option<NonZeroUsize>,
    file: &Origin,
    overrides: &Overrides,
) -> Result<Sourced<NonZeroUsize>, ProjectError> {
    if let Some(text) = overrides.jobs.as_deref().filter(|text| !text.is_empty()) {
        let origin = Origin::Variable(JOBS_VARIABLE);
        return match text.parse() {
            Ok(value) => Ok(Sourced { value, origin }),
            Err(_) => Err(ProjectError::Config { origin, message: format!("{text:?} is not a number from 1") }),
        };
    }
    Ok(match given {
        Some(value) => Sourced { value, origin: file.clone() },
        None => Sourced {
            value: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            origin: Origin::Default,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, overrides: &Overrides) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(CONFIG_FILE), text).unwrap();
        Config::load(folder.path(), overrides).map_err(|error| error.to_string())
    }

    #[test]
    fn every_value_can_be_written_and_knows_its_origin() {
        let text = "
database: postgres://me@db/lab
jobs: 3
pools: {gpu: 1}
secrets:
  hub: {env: HUB_TOKEN}
  key: {file: ./key.txt}
log_limit: {head: 1Mi, tail: 2Mi}
objects: ../objects
env_allow: [CUDA_VISIBLE_DEVICES]
retention: {logs: {keep_runs: 3}}
";
        let config = load(text, &Overrides::default()).unwrap();
        let file = Origin::File(config.file.clone().unwrap());
        assert_eq!(config.database.value.as_deref(), Some("postgres://me@db/lab"));
        assert_eq!((config.jobs.value.get(), &config.jobs.origin), (3, &file));
        assert_eq!(config.pools.value["gpu"], 1);
        assert_eq!(config.secrets.value["hub"], SecretSource::Env("HUB_TOKEN".into()));
        assert_eq!(config.secrets.value["key"], SecretSource::File("./key.txt".into()));
        assert_eq!(config.log_limit.value, LogLimit { head: 1 << 20, tail: 2 << 20 });
        assert_eq!(config.objects.value.as_deref(), Some(Path::new("../objects")));
        assert!(config.env_allow.value.contains("CUDA_VISIBLE_DEVICES"));
        assert_eq!((config.retention.value.logs.keep_runs, &config.retention.origin), (3, &file));
        let overrides = Overrides { database_url: Some("postgres://other/x".into()), jobs: Some("7".into()) };
        let config = load(text, &overrides).unwrap();
        assert_eq!(config.database.value.as_deref(), Some("postgres://other/x"));
        assert_eq!((config.jobs.value.get(), config.jobs.origin), (7, Origin::Variable(JOBS_VARIABLE)));
    }

    #[test]
    fn nothing_written_means_defaults() {
        for text in ["", "# nothing yet\n"] {
            let config = load(text, &Overrides::default()).unwrap();
            assert_eq!(config.database, Sourced { value: None, origin: Origin::Default });
            assert_eq!(config.log_limit.value, LogLimit::default());
            assert_eq!(config.retention, Sourced { value: Rules::default(), origin: Origin::Default });
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, part) in [
            ("jobs: 2\ndatabse: x\n", "unknown field `databse`"),
            ("jobs: 0\n", "jobs"),
            ("secrets: {a: {}}\n", "secret `a` needs either"),
            ("secrets: {a: {vault: x}}\n", "unknown field `vault`"),
            ("log_limit: 12 parsecs\n", "not a size"),
            ("log_limit: []\n", "expected a size"),
            ("retention: {logs: {older_than: 3}}\n", "3"),
            ("database: swordfish\n", "must be a URL"),
        ] {
            let error = load(text, &Overrides::default()).unwrap_err();
            assert!(error.contains(part) && error.contains("runstone.yaml"), "{text:?}: {error}");
            assert!(!error.contains("swordfish"), "{error}");
        }
        let overrides = Overrides { jobs: Some("many".into()), ..Overrides::default() };
        assert!(load("", &overrides).unwrap_err().contains("RUNSTONE_JOBS: \"many\""));
    }

    #[test]
    fn a_secret_is_read_from_its_source_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(CONFIG_FILE), "secrets: {a: {env: A}, b: {file: b}, c: {file: c}}").unwrap();
        std::fs::write(folder.path().join("b"), "sw0rd\n").unwrap();
        let config = Config::load(folder.path(), &Overrides::default()).unwrap();
        let lookup = |key: &str| (key == "A").then(|| OsString::from("value"));
        assert_eq!(config.secret("a", folder.path(), lookup).unwrap(), "value");
        assert_eq!(config.secret("b", folder.path(), lookup).unwrap(), "sw0rd");
        assert!(matches!(config.secret("c", folder.path(), lookup), Err(SecretError::File { .. })));
        assert!(matches!(config.secret("d", folder.path(), lookup), Err(SecretError::Unknown(_))));
        assert!(matches!(config.secret("a", folder.path(), |_| None), Err(SecretError::Variable { .. })));
    }

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!(parse_size("16Mi"), Some(16 << 20));
        assert_eq!(parse_size("7"), Some(7));
        for bad in ["", "Mi", "1MB", "-1", "1.5Gi", "99999999999Ti"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }
}
