//! One world from its beginning to its end, and what must be true then.

use runstone_core::attempt::Cause;
use runstone_core::record::{AttemptState, RunState};
use runstone_core::service::record::SubmissionState;
use runstone_core::service::store::ServiceStore;

use crate::host::PickUp;
use crate::people::compiled;
use crate::world::{Config, SECOND, World};

/// How long things go wrong.
const BUSY: u64 = 150 * SECOND;

/// How many leases after that every schedule has to be up to date.
const SETTLES: u64 = 4;

/// How many leases the queue may take after that, for each run that is left.
const FOR_EACH: u64 = 10;

/// What came of a world.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) violations: Vec<String>,
    pub(crate) steps: u64,
    pub(crate) trace: u64,
    pub(crate) runs: usize,
    pub(crate) fires: usize,
    pub(crate) attempts: usize,
    pub(crate) log: Vec<String>,
}

/// Lets a world live and end.
pub(crate) fn live(seed: u64, config: Config, logged: bool) -> Report {
    let mut world = World::random(seed, config);
    if logged {
        world.log = Some(std::collections::VecDeque::new());
    }
    world.run_until(BUSY);
    finish(&mut world);
    report(world)
}

/// Faults off: everything comes to its end in bounded time.
pub(crate) fn finish(world: &mut World) {
    world.calm();
    world.people_let_everything_go_on();
    let ttl = world.config.pace.ttl;
    world.run_until(world.at + SETTLES * ttl);
    if !world.violations.is_empty() {
        return;
    }
    world.check_that_nothing_is_late();
    world.people_remove_every_file();
    let limit = world.at + (SETTLES + FOR_EACH * (1 + world.model.live.len() as u64)) * ttl;
    let ended = !world.run_while(limit, |world| !world.is_quiet());
    if ended && world.violations.is_empty() {
        let left = world.what_is_left();
        world.violated(format!("{} runs do not end: {left}", world.model.live.len()));
    }
    world.look_at_everything();
    world.check_outcomes();
}

pub(crate) fn report(world: World) -> Report {
    Report {
        steps: world.steps,
        trace: world.trace(),
        runs: world.model.runs.len(),
        fires: world.model.fires.len(),
        attempts: world.model.runs.values().map(|rows| rows.attempts.len()).sum(),
        violations: world.violations,
        log: world.log.unwrap_or_default().into(),
    }
}

impl World {
    fn is_quiet(&self) -> bool {
        self.model.live.is_empty()
            && self.host.running.is_empty()
            && self.procs.values().all(|proc| proc.drivers.is_empty())
            && self.model.backfills_are_over()
    }

    /// The first live runs as they are on record, and who waits for the pool.
    fn what_is_left(&mut self) -> String {
        let live: Vec<_> = self.model.live.values().copied().take(5).collect();
        let mut lines = Vec::new();
        for run in live {
            let one = &self.model.submissions[&run];
            let tasks = self
                .model
                .runs
                .get(&run)
                .map(|rows| rows.tasks.iter().map(|task| task.state.as_str()).collect::<Vec<_>>().join(" "));
            let driven: Vec<_> =
                self.procs.iter().filter(|(_, proc)| proc.drivers.contains_key(&run)).map(|(pid, _)| *pid).collect();
            lines.push(format!("#{} {} driven by {driven:?}: {tasks:?}", one.number, one.state.as_str()));
        }
        for pool in self.model.pools().expect("a model does not fail") {
            let uses = |all: &[runstone_core::service::record::PoolUse]| {
                all.iter()
                    .map(|one| format!("#{}.{}×{}", one.number, one.task, one.slots))
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            lines.push(format!(
                "pool {}: held by {}; wanted by {}",
                pool.name,
                uses(&pool.holders),
                uses(&pool.waiting)
            ));
        }
        lines.join("\n")
    }

    /// Every schedule that fires has decided what was due some seconds ago.
    pub(crate) fn check_that_nothing_is_late(&mut self) {
        let now = self.true_time(self.at - 10 * SECOND).0;
        let mut late = Vec::new();
        for schedule in self.model.schedules.values().filter(|one| one.active && !one.paused) {
            let Some(compiled) = compiled(schedule) else {
                if schedule.seen.as_u64() != Some(self.dataset) {
                    late.push(format!(
                        "trigger {} of {} has not seen the newest version",
                        schedule.name, schedule.pipeline
                    ));
                }
                continue;
            };
            let next = compiled.after(schedule.cursor).map(|fire| compiled.due("", fire).0.max(fire.0));
            if next.is_some_and(|next| next < now - i64::try_from(compiled.jitter().as_micros()).unwrap()) {
                late.push(format!("schedule {} of {} is late", schedule.name, schedule.pipeline));
            }
        }
        late.into_iter().for_each(|sentence| self.violated(sentence));
    }

    /// What is on record is what happened.
    fn check_outcomes(&mut self) {
        let mut wrong = Vec::new();
        for rows in self.model.runs.values() {
            for attempt in &rows.attempts {
                let name = format!("attempt {} of task {} of run #{}", attempt.number, attempt.task, rows.run.number);
                let Some(end) = &attempt.end else { continue };
                let fits = match self.host.pick_up_ever(attempt.uuid) {
                    PickUp::Ended(outcome) => (outcome.cause, outcome.exit_code) == (end.cause, end.exit_code),
                    PickUp::Gone => end.cause == Cause::Lost,
                    PickUp::Never => matches!(end.cause, Cause::Cancelled | Cause::Lost),
                    PickUp::Runs => false,
                };
                // Where the machine was restarted, a journal may be torn and counts for nothing.
                if !fits && end.cause != Cause::Lost {
                    wrong.push(format!("{name} ended with {}, and that is not what happened", end.cause.as_str()));
                }
                let published = rows.published.iter().filter(|one| one.attempt == attempt.id).count();
                if (attempt.state == AttemptState::Succeeded) != (published == 1) {
                    wrong.push(format!("{name} is {} and published {published} outputs", attempt.state.as_str()));
                }
            }
            let all_well = rows.tasks.iter().all(|task| task.state.as_str() != "failed");
            if rows.run.state == RunState::Succeeded && !all_well {
                wrong.push(format!("run #{} succeeded with a failed task", rows.run.number));
            }
        }
        for submission in self.model.submissions.values() {
            if submission.state == SubmissionState::Failed {
                wrong.push(format!("submission #{} failed", submission.number));
            }
        }
        wrong.into_iter().for_each(|sentence| self.violated(sentence));
    }
}
