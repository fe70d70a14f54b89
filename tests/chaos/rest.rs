//! After the faults: everything comes to rest.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use runstone_core::record::RunState;
use runstone_core::service::launch::{ScheduleSpec, When};
use runstone_core::service::record::ScheduleRecord;
use runstone_core::store::{RunFilter, Store};
use runstone_core::time::Timestamp;
use rustix::process::Pid;

use crate::pipelines::PIPELINES;
use crate::world::{SCHEDULERS, World, processes};

/// Everything that goes on or waits ends within this, on a slow machine with other work to do.
const PATIENCE: Duration = Duration::from_secs(240);

/// Looks until something is so. Where it does not become so, says what there is instead.
pub(crate) fn until(what: &str, world: &mut World, mut condition: impl FnMut(&mut World) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition(world) {
        if Instant::now() >= deadline {
            for args in [["queue"], ["schedules"]] {
                let output = world.runstone(&args);
                eprintln!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            }
            panic!("waited for too long: {what}; surprises: {:?}", world.surprises);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Waits until what is due is decided, lets nothing new begin, waits until all is over, and has the schedulers leave.
pub(crate) fn reach(world: &mut World) {
    let mut store = world.store();
    let end = now();
    until("every fire time up to the end is decided", world, |_| {
        store.schedules(0).unwrap().iter().filter(|one| one.active).all(|one| is_decided(one, end))
    });
    let names: Vec<&str> = PIPELINES.iter().filter_map(|(name, _)| name.strip_suffix(".yaml")).collect();
    for name in names.into_iter().filter(|name| !["day", "manual"].contains(name)) {
        world.insist(&["schedules", "pause", name]);
    }
    world.tell("schedules are paused");
    until("everything is over", world, |_| is_at_rest(store.as_mut()));
    world.tell("everything is over");
    assert_eq!(world.running().len(), SCHEDULERS, "they are all there: {:?}", world.surprises);
    (0..SCHEDULERS).for_each(|slot| world.terminate(slot));
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap();
    Timestamp(i64::try_from(since.as_micros()).unwrap())
}

fn is_decided(schedule: &ScheduleRecord, end: Timestamp) -> bool {
    let When::Schedule(timed) = ScheduleSpec::read(schedule).unwrap().when else { return true };
    let last = timed.compile().unwrap().last_between(schedule.activated, end);
    last.is_none_or(|last| last <= schedule.cursor)
}

fn is_at_rest(store: &mut dyn Store) -> bool {
    let running = RunFilter { state: Some(RunState::Running), ..RunFilter::default() };
    store.live_submissions(u32::MAX).unwrap().is_empty()
        && store.backfills(true).unwrap().is_empty()
        && store.runs(&running).unwrap().is_empty()
        && store.pools().unwrap().iter().all(|pool| pool.holders.is_empty() && pool.waiting.is_empty())
}

/// Processes that carry the identity of one of these attempts.
pub(crate) fn left_behind(attempts: &BTreeSet<&str>) -> Vec<Pid> {
    processes(|process| {
        let Ok(environment) = std::fs::read(process.join("environ")) else { return false };
        environment.split(|byte| *byte == 0).any(|one| {
            let value = one.strip_prefix(b"RUNSTONE_ATTEMPT_ID=").and_then(|value| std::str::from_utf8(value).ok());
            value.is_some_and(|value| attempts.contains(value))
        })
    })
}
