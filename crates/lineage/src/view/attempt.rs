//! Attempts as programs get them.

use runstone_core::attempt::Cause;
use runstone_core::record::{AttemptEnd, AttemptKind, AttemptRecord, AttemptState};
use serde::Serialize;

use super::time::Rfc3339;

/// An attempt.
#[derive(Debug, Clone, Serialize)]
pub struct AttemptView {
    /// Its node.
    pub node: i64,
    /// Identity.
    pub id: String,
    /// Number of its run.
    pub run_number: i64,
    /// From 1 within its task.
    pub number: u32,
    /// What it is.
    pub kind: AttemptKind,
    /// Its state.
    pub state: AttemptState,
    /// What was asked.
    pub fingerprint: String,
    /// When it was put on record.
    pub created_at: Rfc3339,
    /// For kind `reuse`: the attempt that did the work.
    pub reused_from_node: Option<i64>,
    /// Absent until it ended.
    #[serde(flatten)]
    pub end: Option<EndView>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Serialize)]
pub struct EndView {
    /// When its process was started.
    pub started_at: Rfc3339,
    /// When nothing of it was left.
    pub ended_at: Rfc3339,
    /// Why it ended.
    pub cause: Cause,
    /// Exit code.
    pub exit_code: Option<i32>,
    /// Signal.
    pub signal: Option<i32>,
    /// A sentence for people.
    pub message: Option<String>,
    /// From start to end, microseconds.
    pub wall_us: u64,
    /// Processor time in user mode, microseconds.
    pub user_us: u64,
    /// Processor time in the kernel, microseconds.
    pub system_us: u64,
    /// Peak memory.
    pub peak_memory_bytes: u64,
    /// Written to standard output.
    pub stdout_bytes: u64,
    /// Written to standard error.
    pub stderr_bytes: u64,
    /// Processes killed after the step's own had ended.
    pub killed_leftovers: u32,
    /// Why it cannot be relied on, or whether.
    pub tainted: Option<String>,
}

impl From<&AttemptEnd> for EndView {
    fn from(end: &AttemptEnd) -> Self {
        Self {
            started_at: Rfc3339(end.started),
            ended_at: Rfc3339(end.ended),
            cause: end.cause,
            exit_code: end.exit_code,
            signal: end.signal,
            message: end.message.clone(),
            wall_us: end.ended.since(end.started),
            user_us: end.user_us,
            system_us: end.system_us,
            peak_memory_bytes: end.peak_rss,
            stdout_bytes: end.stdout_bytes,
            stderr_bytes: end.stderr_bytes,
            killed_leftovers: end.leftovers,
            tainted: end.tainted.clone(),
        }
    }
}

impl From<&AttemptRecord> for AttemptView {
    fn from(attempt: &AttemptRecord) -> Self {
        Self {
            node: attempt.id.0,
            id: attempt.uuid.to_string(),
            run_number: attempt.run_number,
            number: attempt.number,
            kind: attempt.kind,
            state: attempt.state,
            fingerprint: attempt.fingerprint.to_string(),
            created_at: Rfc3339(attempt.created),
            reused_from_node: attempt.reused_from.map(|node| node.0),
            end: attempt.end.as_ref().map(EndView::from),
        }
    }
}
