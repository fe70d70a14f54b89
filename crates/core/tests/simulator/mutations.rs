//! Rules broken on purpose: the simulator is worth something only as far as it finds them.

use crate::judge::live;
use crate::model::Mutation;
use crate::world::{Config, Faults};

/// The first of some seeds whose world breaks down, and the first sentence about it. `from` saves time: it is where one was
/// found before.
fn found(mutation: Mutation, from: u64) -> Option<(u64, String)> {
    (from..from + 100).find_map(|seed| {
        // What goes wrong at a certain moment is found where that moment lasts.
        let pauses = Faults { pauses: true, ..Faults::NONE };
        let (faults, slow, stragglers) = match mutation {
            Mutation::ClaimsWithoutLease => (Faults::ALL, false, 150),
            Mutation::AdoptsWithoutLock => (pauses, true, 0),
            _ => (Faults::ALL, false, 5),
        };
        let config = Config { faults, people: true, slow, stragglers, mutation: Some(mutation), ..Config::quiet(3) };
        let first = live(seed, config, false).violations.into_iter().next()?;
        Some((seed, first))
    })
}

fn check(mutation: Mutation, from: u64, expected: &[&str]) {
    let (seed, sentence) = found(mutation, from).unwrap_or_else(|| panic!("{mutation:?} is not found"));
    println!("{mutation:?}: seed {seed}: {sentence}");
    assert!(expected.iter().any(|part| sentence.contains(part)), "{mutation:?}, seed {seed}: {sentence}");
}

#[test]
fn a_claim_without_a_lease_is_found() {
    check(Mutation::ClaimsWithoutLease, 19, &["and its owner is gone"]);
}

#[test]
fn a_claim_out_of_turn_is_found() {
    check(Mutation::ClaimsOutOfTurn, 0, &["Group: "]);
}

#[test]
fn a_commit_without_an_epoch_is_found() {
    check(
        Mutation::CommitsWithoutEpoch,
        4,
        &["Terminal: ", "OneAttempt: ", "OneEnd: ", "Publication: ", "another state than its owner", "Companions: "],
    );
}

#[test]
fn a_fire_without_a_cursor_is_found() {
    check(Mutation::FiresWithoutCursor, 0, &["FireOnce: "]);
}

#[test]
fn a_run_that_ends_alone_is_found() {
    check(Mutation::EndsTheRunAlone, 0, &["and its run is"]);
}

#[test]
fn a_pool_that_is_not_counted_is_found() {
    check(Mutation::PoolNotCounted, 1, &["slots of pool gpu are taken"]);
}

#[test]
fn an_owner_that_does_not_ask_for_the_lock_is_found() {
    check(Mutation::AdoptsWithoutLock, 67, &["executed twice", "run at once"]);
}

#[test]
fn a_capacity_that_is_not_counted_is_found() {
    check(Mutation::CapacityNotCounted, 0, &["began more runs than"]);
}

#[test]
fn a_journal_that_is_not_read_is_found() {
    check(Mutation::JournalNotRead, 0, &["executed twice"]);
}
