//! Whether and when a failed task is tried again.

use super::{Failure, Machine};
use crate::attempt::Cause;
use crate::spec::model::{Retry, RetryOn};
use crate::time::{Timestamp, micros};

impl Machine {
    /// Counts a failure and says when the next attempt is due; none where this failure is final.
    ///
    /// The first attempt that is lost with its supervisor is made good at once and does not count: nothing is known
    /// about the step from it. The next loss does count, so that a step that takes its supervisor down ends.
    pub(super) fn retry_at(&mut self, task: usize, failure: &Failure, now: Timestamp) -> Option<Timestamp> {
        if failure.cause == Cause::Lost && !std::mem::replace(&mut self.tasks[task].lost, true) {
            return Some(now);
        }
        self.tasks[task].failures += 1;
        let failures = self.tasks[task].failures;
        let retry = &self.layout.nodes[self.tasks[task].node].retry;
        if failures > retry.max || !is_worth_it(retry, failure) {
            return None;
        }
        Some(now.plus_micros(delay_us(retry, failures, spread(self.policy.seed, task, failures))))
    }
}

/// Cancellation is final by nature. An unmet `require` and a program that cannot be started would be the same again, so
/// they are tried again only where the list says so.
fn is_worth_it(retry: &Retry, failure: &Failure) -> bool {
    if failure.cause == Cause::Cancelled {
        return false;
    }
    if retry.on.is_empty() {
        return !matches!(failure.cause, Cause::Require | Cause::Spawn);
    }
    retry.on.iter().any(|on| match on {
        RetryOn::Cause(cause) => *cause == failure.cause && (*cause != Cause::Exit || failure.exit_code != Some(0)),
        RetryOn::ExitCode(code) => failure.cause == Cause::Exit && failure.exit_code == Some(*code),
    })
}

/// `backoff × factor^(failures − 1)`, at most `max_backoff`; with jitter between half of that and all of it.
fn delay_us(retry: &Retry, failures: u32, spread: f64) -> u64 {
    let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
    let whole = (retry.backoff.as_secs_f64() * retry.factor.powi(exponent)).min(retry.max_backoff.as_secs_f64());
    let wait = if retry.jitter { whole * (0.5 + spread / 2.0) } else { whole };
    std::time::Duration::try_from_secs_f64(wait).map_or(u64::MAX, micros)
}

/// A number in [0, 1) that is always the same for the same run, task and number of failures.
fn spread(seed: u64, task: usize, failures: u32) -> f64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(&(task as u64).to_le_bytes());
    hasher.update(&failures.to_le_bytes());
    let hash = hasher.finalize();
    let bytes = hash.as_bytes();
    let bits = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn retry(jitter: bool) -> Retry {
        Retry {
            max: 5,
            backoff: Duration::from_secs(10),
            factor: 2.0,
            max_backoff: Duration::from_secs(60),
            jitter,
            on: Vec::new(),
        }
    }

    fn failure(cause: Cause, exit_code: Option<i32>) -> Failure {
        Failure { cause, exit_code, message: String::new() }
    }

    #[test]
    fn waits_grow_by_the_factor_up_to_the_bound() {
        let waits: Vec<u64> = (1..=5).map(|n| delay_us(&retry(false), n, 0.0) / 1_000_000).collect();
        assert_eq!(waits, [10, 20, 40, 60, 60]);
    }

    #[test]
    fn jitter_stays_between_half_and_whole_and_repeats() {
        for attempt in 1..20 {
            let part = spread(7, 3, attempt);
            assert!((5_000_000..=60_000_000).contains(&delay_us(&retry(true), attempt, part)));
            assert_eq!(part.to_bits(), spread(7, 3, attempt).to_bits());
        }
        assert_ne!(spread(7, 3, 1).to_bits(), spread(8, 3, 1).to_bits());
    }

    #[test]
    fn only_listed_causes_are_tried_again_and_cancellation_never() {
        let mut listed = retry(false);
        listed.on = vec![RetryOn::Cause(Cause::Timeout), RetryOn::ExitCode(75)];
        assert!(is_worth_it(&listed, &failure(Cause::Timeout, None)));
        assert!(is_worth_it(&listed, &failure(Cause::Exit, Some(75))));
        assert!(!is_worth_it(&listed, &failure(Cause::Exit, Some(1))));
        assert!(!is_worth_it(&retry(false), &failure(Cause::Cancelled, None)));
        assert!(is_worth_it(&retry(false), &failure(Cause::Exit, Some(1))));
    }

    #[test]
    fn absurd_settings_wait_long_and_do_not_overflow() {
        let mut absurd = retry(false);
        absurd.factor = 1e300;
        absurd.max_backoff = Duration::MAX;
        assert!(delay_us(&absurd, u32::MAX, 1.0) > 0);
    }
}
