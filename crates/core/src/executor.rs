//! The seam between deciding that an attempt runs and running it somewhere.
//!
//! The local machine is the first implementation; batch systems and clusters are to be others. An executor never
//! talks to the database: it starts, stops and reports, and the owner of the run records.

use uuid::Uuid;

use crate::attempt::{AttemptSpec, OutcomeRecord};

/// Values that reach a step's environment and nothing else. Has no `Debug` that shows them and no serde.
#[derive(Clone, Default)]
pub struct SecretEnv(pub Vec<(String, String)>);

impl std::fmt::Debug for SecretEnv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// How hard an attempt is to be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// TERM, then KILL after the grace period of its spec.
    Gracefully,
    /// KILL at once.
    Now,
}

/// What an executor tells the owner of a run, in whatever order things happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The attempt is over; its outcome is already on record beside its logs.
    Ended(OutcomeRecord),
    /// The supervisor of the attempt went away without leaving an outcome.
    Vanished {
        /// Which attempt.
        attempt: Uuid,
        /// What was seen, for people.
        message: String,
    },
}

/// An executor could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[error("executor {executor}: {message}")]
pub struct ExecutorError {
    /// Which executor.
    pub executor: &'static str,
    /// What went wrong.
    pub message: String,
    /// The cause, where there is one.
    #[source]
    pub source: Option<std::io::Error>,
}

/// Runs attempts somewhere. Reports go to the channel the executor was made with.
pub trait Executor: Send {
    /// Starts an attempt that is already on record. Returns once the start is handed over, not once it runs.
    ///
    /// # Errors
    /// When the attempt certainly does not run and never will.
    fn start(&mut self, spec: &AttemptSpec, secrets: &SecretEnv) -> Result<(), ExecutorError>;

    /// Asks for the end of an attempt. Its report still comes; unknown attempts are ignored.
    fn stop(&mut self, attempt: Uuid, how: Stop);
}
