//! Many worlds, each from its own seed.

use crate::judge::{Report, live};
use crate::world::{Config, Faults};

fn config(seed: u64) -> Config {
    let schedulers = 1 + usize::try_from(seed % 4).unwrap();
    // Some worlds have one kind of trouble only, which leaves room for long chances.
    let faults = match seed / 4 % 8 {
        0 => Faults { kills: true, ..Faults::NONE },
        1 => Faults { pauses: true, database: true, ..Faults::NONE },
        2 => Faults { database: true, clocks: true, ..Faults::NONE },
        3 => Faults { drains: true, kills: true, ..Faults::NONE },
        _ => Faults::ALL,
    };
    let stragglers = if faults.database { [0, 5, 60][usize::try_from(seed / 8 % 3).unwrap()] } else { 0 };
    Config { faults, people: true, slow: seed % 11 == 7, stragglers, ..Config::quiet(schedulers) }
}

fn check(seed: u64) -> Report {
    let report = live(seed, config(seed), false);
    if !report.violations.is_empty() {
        let again = live(seed, config(seed), true);
        let from = again.log.len().saturating_sub(lines());
        panic!("seed {seed}: {:#?}\n{}", again.violations, again.log[from..].join("\n"));
    }
    report
}

fn lines() -> usize {
    std::env::var("SIMULATOR_LINES").ok().and_then(|text| text.parse().ok()).unwrap_or(60)
}

fn number_of_seeds() -> u64 {
    std::env::var("SIMULATOR_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(32)
}

/// `SIMULATOR_SEEDS=100000 cargo test --release -p runstone-core --test simulator seeds -- --nocapture` for a long one;
/// `SIMULATOR_FROM` says where to begin.
#[test]
fn whatever_goes_wrong_nothing_is_lost_or_doubled_and_everything_ends() {
    let from = std::env::var("SIMULATOR_FROM").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let began = std::time::Instant::now();
    let (mut steps, mut runs, mut fires, mut attempts) = (0, 0, 0, 0);
    for seed in from..from + number_of_seeds() {
        let report = check(seed);
        steps += report.steps;
        runs += report.runs;
        fires += report.fires;
        attempts += report.attempts;
    }
    let per_minute = steps as f64 / began.elapsed().as_secs_f64() * 60.0 / 1e6;
    println!(
        "{} worlds, {steps} steps, {fires} fires, {runs} runs, {attempts} attempts; {per_minute:.1} million steps a minute",
        number_of_seeds()
    );
    assert!(runs > 0 && fires > 0 && attempts > 0);
}

#[test]
fn the_same_seed_gives_the_same_world() {
    for seed in [3, 7, 19] {
        let (one, other) = (live(seed, config(seed), false), live(seed, config(seed), true));
        assert_eq!((one.trace, one.steps, one.runs), (other.trace, other.steps, other.runs));
        assert_ne!(one.trace, live(seed + 4, config(seed), false).trace);
    }
}

/// Worlds that broke down once.
#[test]
fn what_was_found_once_stays_away() {
    for seed in [11, 25, 1_004_521] {
        check(seed);
    }
}
