//! Every way a command can fail, and the exit code each has. Printed in one place: [`crate::app`].

use std::error::Error;
use std::fmt;

use runstone_core::store::StoreError;
use runstone_engine::project::ProjectError;
use runstone_engine::reproduce::ReproduceError;
use runstone_engine::retention::RetentionError;
use runstone_engine::seal::SealError;
use runstone_engine::{DriveError, RunError};
use runstone_exec::objects::ObjectError;

/// Shorthand.
pub(crate) type CommandResult<T> = Result<T, CommandError>;

/// Why a command ended as it did, as far as programs care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// A run failed, or a check found something wrong.
    Failed,
    /// Wrong arguments or configuration.
    Usage,
    /// A pipeline file is not valid.
    Definition,
    /// What was asked for does not exist.
    NotFound,
    /// The database or the objects cannot be used.
    Store,
    /// Refused, because it would destroy something or somebody else is at it.
    Refused,
    /// A bug of runstone itself.
    Internal,
    /// A file could not be read or written.
    Io,
    /// A person ended it.
    Interrupted,
    /// Whoever reads our output has gone; nothing is wrong and nobody needs to hear of it.
    BrokenPipe,
}

/// Exit code, short name and explanation, as in `runstone --help` and `docs/cli.md`.
pub(crate) const EXIT_CODES: &[(u8, &str)] = &[
    (0, "everything asked for was done"),
    (1, "the run failed, or a check found something wrong"),
    (2, "wrong arguments or configuration"),
    (3, "a pipeline file is not valid"),
    (4, "the run, task, dataset or project does not exist"),
    (5, "the database or the objects cannot be used, or are of a newer runstone"),
    (6, "refused: it would overwrite something, or somebody else is at it"),
    (70, "a bug in runstone"),
    (74, "a file could not be read or written"),
    (130, "interrupted"),
];

impl ErrorKind {
    /// The exit code; each stands in [`EXIT_CODES`].
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::BrokenPipe => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Definition => 3,
            Self::NotFound => 4,
            Self::Store => 5,
            Self::Refused => 6,
            Self::Internal => 70,
            Self::Io => 74,
            Self::Interrupted => 130,
        }
    }
}

/// A command could not do what it was asked to.
#[derive(Debug)]
pub(crate) struct CommandError {
    /// What programs need to know.
    pub(crate) kind: ErrorKind,
    /// A lower-case fragment; several lines where it is a report.
    message: String,
    /// Why.
    source: Option<Box<dyn Error + Send + Sync>>,
    /// What could be done about it.
    hints: Vec<String>,
}

impl CommandError {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None, hints: Vec::new() }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// `action` is such as `cannot read ./x`.
    pub(crate) fn io(action: impl Into<String>, source: std::io::Error) -> Self {
        Self::new(ErrorKind::Io, action).because(source)
    }

    pub(crate) fn because(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// What could be done about it.
    pub(crate) fn hints(&self) -> &[String] {
        &self.hints
    }

    /// The reasons behind it, nearest first, without those that only repeat what was said before.
    pub(crate) fn causes(&self) -> Vec<String> {
        let mut causes: Vec<String> = Vec::new();
        let mut next: Option<&dyn Error> = self.source.as_deref().map(|source| source as &dyn Error);
        while let Some(error) = next {
            let text = error.to_string();
            let said = causes.last().unwrap_or(&self.message);
            if !said.contains(&text) {
                causes.push(text);
            }
            next = error.source();
        }
        causes
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The text of an error with its own sources kept as causes.
fn wrap(kind: ErrorKind, error: impl Error + Send + Sync + 'static) -> CommandError {
    CommandError::new(kind, error.to_string()).because(error)
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::LostOwnership { .. } => wrap(ErrorKind::Refused, error),
            StoreError::Ambiguous { .. } => wrap(ErrorKind::Usage, error).hint("give more digits"),
            StoreError::NewerSchema { .. } | StoreError::Damaged(_) => wrap(ErrorKind::Store, error),
            StoreError::Database { .. } => wrap(ErrorKind::Store, error).hint("`runstone doctor` shows what is used"),
        }
    }
}

impl From<runstone_lineage::Error> for CommandError {
    fn from(error: runstone_lineage::Error) -> Self {
        use runstone_lineage::Kind;
        let kind = match error.kind {
            Kind::Usage => ErrorKind::Usage,
            Kind::NotFound => ErrorKind::NotFound,
            Kind::Damaged => ErrorKind::Store,
            Kind::Refused => ErrorKind::Refused,
            Kind::Io => ErrorKind::Io,
        };
        let hints = error.hints.clone();
        Self { hints, ..wrap(kind, error) }
    }
}

impl From<SealError> for CommandError {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Key { .. } | SealError::Checkpoint { .. } => wrap(ErrorKind::Io, error),
            SealError::BadKey { .. } => wrap(ErrorKind::Usage, error),
            SealError::Log(error) => error.into(),
        }
    }
}

impl From<RunError> for CommandError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Store(error) => error.into(),
            RunError::Drive(DriveError::Record(_) | DriveError::Store(_)) => {
                wrap(ErrorKind::Store, error).hint("nothing that was reported is lost; `runstone resume` goes on")
            }
            RunError::Drive(_) => wrap(ErrorKind::Refused, error),
            RunError::Prepare(_) => wrap(ErrorKind::Definition, error),
            RunError::Folder { .. } => wrap(ErrorKind::Io, error),
            RunError::Busy(_) | RunError::Over(_) | RunError::ElsewhereStored(_) | RunError::GivenUp { .. } => {
                wrap(ErrorKind::Refused, error)
            }
            RunError::Input(_) => wrap(ErrorKind::NotFound, error),
        }
    }
}

impl From<ReproduceError> for CommandError {
    fn from(error: ReproduceError) -> Self {
        match error {
            ReproduceError::Store(error) => error.into(),
            ReproduceError::Unknown(_) => wrap(ErrorKind::NotFound, error),
            ReproduceError::Folder { .. } | ReproduceError::Objects(_) => wrap(ErrorKind::Io, error),
            ReproduceError::Unreadable { .. } => wrap(ErrorKind::Store, error),
            ReproduceError::Executor(_) => wrap(ErrorKind::Refused, error),
            ReproduceError::Stopped => wrap(ErrorKind::Interrupted, error),
        }
    }
}

impl From<RetentionError> for CommandError {
    fn from(error: RetentionError) -> Self {
        match error {
            RetentionError::Store(error) => error.into(),
            RetentionError::Objects(error) => error.into(),
            RetentionError::Busy => wrap(ErrorKind::Refused, error),
            RetentionError::Damaged(_) => {
                wrap(ErrorKind::Refused, error).hint("`runstone verify` names it; running its step again makes it anew")
            }
            RetentionError::Io { .. } => wrap(ErrorKind::Io, error),
        }
    }
}

impl From<ProjectError> for CommandError {
    fn from(error: ProjectError) -> Self {
        match &error {
            ProjectError::Config { .. } => wrap(ErrorKind::Usage, error),
            ProjectError::Io { .. } | ProjectError::Identity { .. } => wrap(ErrorKind::Io, error),
            ProjectError::Foreign { root, .. } => {
                let hint = format!("`--project {}` says that you trust it", root.display());
                wrap(ErrorKind::Refused, error).hint(hint)
            }
        }
    }
}

impl From<ObjectError> for CommandError {
    fn from(error: ObjectError) -> Self {
        match &error {
            ObjectError::Io { .. } => wrap(ErrorKind::Io, error),
            ObjectError::Exists { .. } => wrap(ErrorKind::Refused, error),
            _ => wrap(ErrorKind::Store, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [ErrorKind; 10] = [
        ErrorKind::Failed,
        ErrorKind::Usage,
        ErrorKind::Definition,
        ErrorKind::NotFound,
        ErrorKind::Store,
        ErrorKind::Refused,
        ErrorKind::Internal,
        ErrorKind::Io,
        ErrorKind::Interrupted,
        ErrorKind::BrokenPipe,
    ];

    #[test]
    fn every_kind_has_a_documented_exit_code() {
        for kind in KINDS {
            assert!(EXIT_CODES.iter().any(|(code, _)| *code == kind.exit_code()), "{kind:?}");
        }
    }

    #[test]
    fn the_manual_lists_the_same_exit_codes() {
        let manual = include_str!("../../../docs/cli.md");
        let listed: Vec<(u8, &str)> = manual
            .lines()
            .skip_while(|line| *line != "## Exit codes")
            .skip(1)
            .take_while(|line| !line.starts_with("## "))
            .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "))
            .filter_map(|(code, meaning)| Some((code.trim().parse().ok()?, meaning.trim())))
            .collect();
        assert_eq!(listed, EXIT_CODES);
    }

    #[test]
    fn causes_do_not_repeat_the_message() {
        let source = std::io::Error::other("disk on fire");
        let error: CommandError =
            StoreError::Database { context: "cannot open x.db".into(), source: Box::new(source) }.into();
        assert_eq!(error.to_string(), "cannot open x.db");
        assert_eq!(error.causes(), ["disk on fire"]);
    }
}
