//! What the service writes on record in words, the same for every database.

use runstone_core::record::RunId;
use uuid::{Builder, Uuid};

use runstone_core::hash::ContentHash;
use runstone_core::time::Timestamp;

/// Why a submission is `done` whose run a person went on with.
pub(crate) const TAKEN_OVER: &str = "taken over by hand";

/// Why a submission is `cancelled`.
pub(crate) const CANCELLED: &str = "cancelled before it began";

/// Why a submission of a cancelled backfill is `cancelled`.
pub(crate) const BACKFILL_CANCELLED: &str = "its backfill was cancelled";

/// Why the times of a pause did not fire.
pub(crate) const PAUSED: &str = "paused";

/// The spelling of a request to end.
pub(crate) const fn cancel_mode(hard: bool) -> &'static str {
    if hard { "now" } else { "graceful" }
}

/// Whether a request to end adds nothing to the one that is on record: it is never softened.
pub(crate) fn is_asked(on_record: Option<&str>, mode: &str) -> bool {
    on_record == Some(mode) || on_record == Some("now")
}

/// A task's name for people: its step and its cell.
pub(crate) fn task_name(step: String, cell: &str) -> String {
    if cell.is_empty() { step } else { format!("{step}[{cell}]") }
}

/// The identity of the run of one partition of a backfill (UUIDv7): whoever submits it, and however often, names the same
/// one at the same time.
pub(crate) fn backfill_run(backfill: Uuid, partition: &str, now: Timestamp) -> RunId {
    let hash = ContentHash::of(&[backfill.as_bytes(), partition.as_bytes()].concat());
    let mut rest = [0; 10];
    rest.copy_from_slice(&hash.as_bytes()[..10]);
    let millis = u64::try_from(now.0 / 1_000).unwrap_or(0);
    RunId(Builder::from_unix_timestamp_millis(millis, &rest).into_uuid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_a_backfill_differ_by_partition_and_sort_by_time() {
        let run = |partition, now| backfill_run(Uuid::from_u128(7), partition, Timestamp(now));
        assert_eq!(run("2026-01-01", 5_000_000), run("2026-01-01", 5_000_000));
        assert_ne!(run("2026-01-01", 5_000_000), run("2026-01-02", 5_000_000));
        assert!(run("b", 1_000_000) < run("a", 2_000_000));
        assert_eq!(run("a", 1_000_000).0.get_version_num(), 7);
    }

    #[test]
    fn a_request_to_end_is_never_softened() {
        assert!(!is_asked(None, "graceful") && !is_asked(Some("graceful"), "now"));
        assert!(is_asked(Some("graceful"), "graceful") && is_asked(Some("now"), "graceful"));
    }
}
