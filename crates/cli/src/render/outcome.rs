//! How attempts and runs ended, in words.

use runstone_core::attempt::Cause;
use runstone_engine::report::Counts;

use super::count;

/// Why an attempt ended: `exit 1`, `signal 11 (SEGV)`, `timeout`.
pub(crate) fn cause_text(cause: Cause, exit_code: Option<i32>, signal: Option<i32>) -> String {
    match (cause, exit_code, signal) {
        (Cause::Exit, Some(code), _) => format!("exit {code}"),
        (Cause::Signal, _, Some(signal)) => match signal_name(signal) {
            // Nobody here sent it; on most machines that is the kernel, short of memory.
            Some("KILL") => "signal 9 (KILL), possibly memory".to_owned(),
            Some(name) => format!("signal {signal} ({name})"),
            None => format!("signal {signal}"),
        },
        (Cause::OutOfMemory, ..) => "out of memory".to_owned(),
        (Cause::MissingOutput, ..) => "missing output".to_owned(),
        (Cause::NoSpace, ..) => "no space left".to_owned(),
        (Cause::Require, ..) => "requirement not met".to_owned(),
        (Cause::Spawn, ..) => "could not start".to_owned(),
        (Cause::Internal, ..) => "internal error".to_owned(),
        (other, ..) => other.as_str().to_owned(),
    }
}

/// The signals with the same number on every system we run on. Source: POSIX.1-2024, `kill`.
fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "HUP",
        2 => "INT",
        3 => "QUIT",
        4 => "ILL",
        6 => "ABRT",
        8 => "FPE",
        9 => "KILL",
        11 => "SEGV",
        13 => "PIPE",
        14 => "ALRM",
        15 => "TERM",
        _ => return None,
    })
}

/// `4: 1 succeeded, 1 reused, 2 open`; `total` counts tasks that are not decided yet as well.
pub(crate) fn counts_text(counts: &Counts, total: usize) -> String {
    let open = total.saturating_sub(counts.total() as usize);
    let parts = [
        (counts.succeeded as usize, "succeeded"),
        (counts.reused as usize, "reused"),
        (counts.failed as usize, "failed"),
        (counts.skipped as usize, "skipped"),
        (counts.cancelled as usize, "cancelled"),
        (open, "open"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(number, _)| *number > 0).map(|(number, word)| format!("{number} {word}")).collect();
    if parts.is_empty() { count(0, "task") } else { format!("{total}: {}", parts.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_in_words() {
        assert_eq!(cause_text(Cause::Exit, Some(3), None), "exit 3");
        assert_eq!(cause_text(Cause::Signal, None, Some(11)), "signal 11 (SEGV)");
        assert_eq!(cause_text(Cause::Signal, None, Some(9)), "signal 9 (KILL), possibly memory");
        assert_eq!(cause_text(Cause::Timeout, None, Some(15)), "timeout");
    }

    #[test]
    fn only_what_happened_is_counted() {
        let counts = Counts { succeeded: 2, failed: 1, ..Counts::default() };
        assert_eq!(counts_text(&counts, 3), "3: 2 succeeded, 1 failed");
        assert_eq!(counts_text(&counts, 5), "5: 2 succeeded, 1 failed, 2 open");
        assert_eq!(counts_text(&Counts::default(), 0), "0 tasks");
    }
}
