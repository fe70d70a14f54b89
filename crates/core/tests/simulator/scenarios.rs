//! The conditions under which other schedulers failed, one test for each, by the name and number of the report.

use runstone_core::record::{RunId, RunState};
use runstone_core::service::machine::{Command, Input, Look, Machine, Now, Settings};
use runstone_core::service::oracle::{self, Rule};
use runstone_core::service::record::{SchedulerId, SchedulerState, SubmissionState};
use runstone_core::service::store::ServiceStore;
use runstone_core::store::{Change, Ownership};
use serde_json::json;
use uuid::Uuid;

use crate::host::Pid;
use crate::judge::finish;
use crate::plans::{Plan, every};
use crate::shell::{Mail, TTL};
use crate::world::{Config, Event, SECOND, World};

/// Far more than anything here takes.
const LONG: u64 = 3600 * SECOND;

fn world(seed: u64, schedulers: usize, plans: Vec<Plan>) -> World {
    let mut world = World::empty(seed, Config::quiet(schedulers));
    world.plans = plans;
    world.lucky = true;
    world.declare();
    world.boot_all();
    world
}

impl World {
    fn submit(&mut self, pipeline: &str) -> RunId {
        let wish = self.wish(pipeline, None);
        let now = self.model.now;
        self.model.submit(&wish, now).unwrap().run
    }

    fn wait(&mut self, what: &str, until: impl Fn(&Self) -> bool) {
        let came = self.run_while(self.at + LONG, |world| !until(world));
        assert!(came && self.violations.is_empty(), "{what}: {:?}", self.violations);
    }

    fn driver_of(&self, run: RunId) -> Option<Pid> {
        self.procs.iter().find(|(_, proc)| proc.drivers.contains_key(&run)).map(|(pid, _)| *pid)
    }

    fn state_of(&self, run: RunId) -> Option<RunState> {
        self.model.runs.get(&run).map(|rows| rows.run.state)
    }

    fn is_over(&self, run: RunId) -> bool {
        self.state_of(run).is_some_and(|state| state != RunState::Running)
    }

    fn attempts_of(&self, run: RunId) -> usize {
        self.model.runs[&run].attempts.len()
    }

    /// Ends the world, in which nothing may have been wrong.
    fn end(mut self) -> Self {
        finish(&mut self);
        assert_eq!(self.violations, [""; 0]);
        self
    }
}

/// airflow #58570: a scheduler died between handing a task over and noting that it had, and the task ran twice.
#[test]
fn airflow_58570() {
    for seed in 0..25 {
        let mut world = world(seed, 2, vec![Plan::chain("p", &[20], Vec::new())]);
        let run = world.submit("p");
        // Somewhere between the intent on record and the process, or just after that.
        world.wait("the attempt is on record", |world| {
            world.model.runs.get(&run).is_some_and(|rows| !rows.attempts.is_empty())
        });
        let moment = world.at + seed * 2_000;
        world.run_until(moment);
        let owner = world.driver_of(run).unwrap();
        world.kill(owner);
        world.wait("the run ends", |world| world.is_over(run));
        assert_eq!((world.state_of(run), world.attempts_of(run)), (Some(RunState::Succeeded), 1));
        let world = world.end();
        assert_eq!(world.host.journal.len(), 1, "one process was ever started");
    }
}

/// river #1302: a rescuer that acted on what it had read some time ago overwrote a job that was complete by then.
#[test]
fn river_1302() {
    let mut world = world(1, 1, vec![Plan::chain("p", &[1], Vec::new())]);
    let run = world.submit("p");
    world.wait("the run is being driven", |world| world.state_of(run) == Some(RunState::Running));
    // What a rescuer reads while the owner is silent: a run in progress whose owner is gone.
    let mut stale = world.model.live_submissions(9).unwrap();
    stale[0].scheduler = Some(SchedulerId(Uuid::max()));
    world.wait("the run ends", |world| world.is_over(run));
    let before = world.model.snapshot();
    let (me, mut rescuer) = rescuer(&mut world);
    let schedulers = world.model.schedulers(0).unwrap();
    let now = world.model.now;
    let at = |steady| Now { wall: now, steady };
    rescuer.step(Input::Registered { asked: 0 }, at(0));
    let look = Look { live: stale, schedulers, ..Look::default() };
    let commands = rescuer.step(Input::Looked(look), at(1000));
    assert!(commands.contains(&Command::Claim(run)), "it wants the run: {commands:?}");
    let claimed = world.model.claim(run, me, now).unwrap();
    assert_eq!(claimed, None, "what is over cannot be claimed");
    let commands = rescuer.step(Input::Claimed { run, claimed: None }, at(2000));
    assert!(!commands.iter().any(|command| matches!(command, Command::Drive(_))));
    let failed = Change::EndRun { state: RunState::Failed, reason: Some("it was stuck".to_owned()) };
    for epoch in [0, 1, 2] {
        drop(world.model.commit(Ownership { run, epoch }, now, std::slice::from_ref(&failed)));
    }
    assert_eq!(world.state_of(run), Some(RunState::Succeeded));
    assert_eq!(oracle::compare(&before, &world.model.snapshot()), []);
}

/// A scheduler that is on record, and its machine.
fn rescuer(world: &mut World) -> (SchedulerId, Machine) {
    let id = SchedulerId(Uuid::from_u128(77));
    let settings = Settings {
        id,
        project: world.project,
        store_marker: world.store_marker,
        capacity: 4,
        ttl_us: TTL,
        margin_us: 5 * SECOND,
        renew_us: 5 * SECOND,
        poll_us: SECOND,
        grace_us: 10 * SECOND,
        watch_us: SECOND,
    };
    let new = runstone_core::service::record::NewScheduler {
        id,
        host: String::new(),
        pid: 0,
        pid_start: 0,
        place: String::new(),
        version: String::new(),
        store_marker: world.store_marker,
        capacity: 4,
        ttl_ms: TTL / 1000,
    };
    world.model.register(&new).unwrap();
    (id, Machine::new(settings))
}

/// dbos #716: the database was restarted while runs were being recovered, and they stayed where they were for ever.
#[test]
fn dbos_716() {
    for seed in 0..10 {
        let mut world = world(seed, 2, vec![Plan::chain("p", &[30, 5], Vec::new())]);
        let runs: Vec<RunId> = (0..4).map(|_| world.submit("p")).collect();
        world.wait("a run has a process", |world| !world.host.running.is_empty());
        let (run, _) = *world.host.running.keys().next().unwrap();
        let owner = world.driver_of(run).unwrap();
        let dead = world.procs[&owner].id;
        world.kill(owner);
        world.wait("its death is on record", |world| world.model.schedulers[&dead].state == SchedulerState::Gone);
        let moment = world.at + seed * 4_000;
        world.run_until(moment);
        world.down_until = world.at + 20 * SECOND;
        world.run_until(world.at + 150 * SECOND);
        for run in runs {
            assert_eq!(world.state_of(run), Some(RunState::Succeeded), "seed {seed}: no restart was needed");
        }
        world.end();
    }
}

/// dbos #759: runs with an empty identity were recovered as new ones, some hundred times a day.
#[test]
fn dbos_759() {
    let minutely = every("p", "t", 60, &json!({"overlap": "queue"}));
    let mut world = world(3, 2, vec![Plan::chain("p", &[200], vec![minutely])]);
    let mut nameless = world.wish("p", None);
    nameless.run = RunId(Uuid::nil());
    nameless.key = Some(String::new());
    for _ in 0..3 {
        let now = world.model.now;
        let again = runstone_core::service::record::NewSubmission { run: nameless.run, ..nameless.clone() };
        assert_eq!(world.model.submit(&again, now).unwrap().number, 1, "an empty key is a key, too");
        nameless.run = RunId(Uuid::from_u128(5));
    }
    for _ in 0..96 {
        world.run_until(world.at + 3 * SECOND);
        let pids: Vec<Pid> = world.procs.keys().copied().collect();
        pids.into_iter().for_each(|pid| world.kill(pid));
    }
    let world = world.end();
    let asked = world.model.fires.iter().filter(|fire| fire.run.is_some()).count();
    assert_eq!(world.model.submissions.len(), 1 + asked, "recovering asks for nothing new");
    assert_eq!(world.model.runs.len(), world.model.submissions.len());
}

/// kestra #19730: an execution that had been killed was run again ten minutes later.
#[test]
fn kestra_19730() {
    for seed in 0..20 {
        let mut world = world(seed, 2, vec![Plan::chain("p", &[60, 60], Vec::new())]);
        let run = world.submit("p");
        world.wait("a step runs", |world| !world.host.running.is_empty());
        assert!(world.model.request_cancel(run, true));
        // The owner dies before, while or after it hears of it.
        let moment = world.at + seed * 100_000;
        world.run_until(moment);
        if let Some(owner) = world.driver_of(run) {
            world.kill(owner);
        }
        world.wait("the run ends", |world| world.is_over(run));
        let (ends, processes) = (world.at, world.host.journal.len());
        assert_eq!(world.state_of(run), Some(RunState::Cancelled));
        assert!(world.host.running.is_empty(), "what is cancelled has no process");
        world.run_until(ends + 900 * SECOND);
        assert_eq!(world.host.journal.len(), processes, "and never has one again");
        world.end();
    }
}

/// oban #1488: a leader that was none any more doubled every cron job, for nineteen days.
#[test]
fn oban_1488() {
    let schedules = vec![every("p", "t", 2, &json!({"overlap": "allow"}))];
    let mut world = world(5, 3, vec![Plan::chain("p", &[1], schedules)]);
    for round in 0..20 {
        world.run_until(world.at + 7 * SECOND);
        let pids: Vec<Pid> = world.procs.keys().copied().collect();
        // Each in its turn sleeps through its lease, wakes up and believes that it is still what it was; its clock is late.
        let place = round % 3;
        world.skew[place] = -3_000_000 * i64::try_from(round % 2).unwrap();
        world.clock_jumped(place);
        world.pause(pids[place], 2 * TTL);
    }
    let world = world.end();
    let times: std::collections::BTreeSet<_> = world.model.fires.iter().map(|fire| fire.time).collect();
    assert!(times.len() > 60);
    assert_eq!(times.len(), world.model.fires.len(), "each fire is on record once");
    let runs = world.model.fires.iter().filter(|fire| fire.run.is_some()).count();
    assert_eq!(world.model.submissions.len(), runs);
}

/// wolverine #2602: the database ended the leader's session, another one led, and the first went on.
#[test]
fn wolverine_2602() {
    let mut world = world(8, 2, vec![Plan::chain("p", &[100, 1], Vec::new())]);
    let run = world.submit("p");
    world.wait("a step runs", |world| !world.host.running.is_empty());
    let first = world.driver_of(run).unwrap();
    let old = world.procs[&first].id;
    world.cut_off.insert(first);
    world.wait("another one has it on record", |world| {
        world.model.submissions[&run].scheduler.is_some_and(|owner| owner != old)
    });
    assert!(!world.procs[&first].drivers.contains_key(&run), "the first let go by itself before that");
    assert_ne!(world.procs[&first].id, old, "and would be another one from then on");
    world.cut_off.clear();
    world.wait("the run ends", |world| world.is_over(run));
    assert_eq!((world.state_of(run), world.attempts_of(run)), (Some(RunState::Succeeded), 2));
    assert_eq!(world.end().host.journal.len(), 2);
}

/// quartz #1516: triggers stayed acquired by a scheduler that was dead, and nobody looked for ten months.
#[test]
fn quartz_1516() {
    let mut world = world(4, 2, vec![Plan::chain("p", &[1], Vec::new())]);
    let run = world.submit("p");
    world.wait("it is claimed", |world| world.model.submissions[&run].state == SubmissionState::Claimed);
    let owner = world.model.submissions[&run].scheduler.unwrap();
    let pid = *world.procs.iter().find(|(_, proc)| proc.id == owner).unwrap().0;
    world.kill(pid);
    let died = world.at;
    world.wait("the run ends all the same", |world| world.is_over(run));
    assert!(world.at - died < 2 * TTL + 10 * SECOND, "and soon");
    // Rows that contradict each other are found, whoever made them so.
    let all_well = world.model.snapshot();
    assert_eq!(oracle::check(&all_well), []);
    let mut frozen = all_well.clone();
    (frozen.submissions[0].state, frozen.submissions[0].ended) = (SubmissionState::Running, None);
    assert!(oracle::check(&frozen).iter().any(|finding| finding.rule == Rule::Companions));
    let mut frozen = all_well;
    (frozen.submissions[0].state, frozen.submissions[0].ended) = (SubmissionState::Claimed, None);
    frozen.schedulers.iter_mut().for_each(|one| one.state = SchedulerState::Gone);
    assert!(oracle::check(&frozen).iter().any(|finding| finding.rule == Rule::Ownership));
    world.end();
}

/// sidekiq #6804: a process that died at the moment of a fire lost it or made it twice.
#[test]
fn sidekiq_6804() {
    for seed in 0..40 {
        let more = json!({"overlap": "allow", "catchup": {"window_ms": 600_000, "keep": "all"}});
        let schedules = vec![every("p", "t", 10, &more)];
        let mut world = world(seed, 2, vec![Plan::chain("p", &[1], schedules)]);
        // 20 s after the beginning a fire is due: the kills come a little before, at, and a little after it.
        world.run_until(20 * SECOND - 10_000 + seed * 1_000);
        let pids: Vec<Pid> = world.procs.keys().copied().collect();
        for pid in pids {
            if seed % 3 == 0 {
                world.after(seed, Event::Arrive(pid, Mail::Drain));
            } else {
                world.kill(pid);
            }
        }
        world.run_until(60 * SECOND);
        let fire = |fire: &&runstone_core::service::record::FireRecord| {
            fire.time.0 == crate::world::EPOCH + 20_000_000 && fire.run.is_some()
        };
        assert_eq!(world.model.fires.iter().filter(fire).count(), 1, "seed {seed}");
        world.end();
    }
}

/// snakemake #3808: what a failed job had left was used by the next one. The files of it are looked at where there are
/// files (the engine's tests); here: whatever is attempted and fails, nothing of it is ever published.
#[test]
fn snakemake_3808() {
    let mut world = world(6, 2, vec![Plan::chain("p", &[5, 5], Vec::new())]);
    world.lucky = false;
    let runs: Vec<RunId> = (0..30).map(|_| world.submit("p")).collect();
    let world = world.end();
    let rows = || runs.iter().map(|run| &world.model.runs[run]);
    let failed = rows().flat_map(|rows| &rows.attempts).filter(|one| one.state.as_str() == "failed").count();
    assert!(failed > 0, "some did fail");
    for rows in rows() {
        for published in &rows.published {
            let attempt = rows.attempts.iter().find(|attempt| attempt.id == published.attempt).unwrap();
            assert_eq!(attempt.state.as_str(), "succeeded");
        }
        let state = |task: usize| rows.tasks[task].state.as_str();
        assert!(state(0) != "failed" || matches!(state(1), "skipped" | "cancelled"), "nobody reads what is not there");
    }
}

/// Found by the simulator: what died held slots, or stood at the head of the line for them, and everybody who could have
/// taken it over was full of runs that waited behind it.
#[test]
fn nobody_waits_for_slots_of_the_dead() {
    for seed in 0..12 {
        let plan = Plan::chain("p", &[20], Vec::new()).with_slots(2);
        let mut world = world(seed, 2, vec![plan]);
        world.capacity = Some(1);
        let runs: Vec<RunId> = (0..6).map(|_| world.submit("p")).collect();
        world.wait("both are full", |world| world.procs.values().filter(|proc| proc.drivers.len() == 1).count() == 2);
        let moment = world.at + seed * 300_000;
        world.run_until(moment);
        // Whoever holds the slots dies for good, or whoever waits for them.
        let holds = |run: &RunId| world.model.runs.get(run).is_some_and(|rows| !rows.attempts.is_empty());
        let victim = world.procs.iter().find(|(_, proc)| proc.drivers.keys().any(|run| holds(run) == (seed % 2 == 0)));
        let place = victim.map(|(pid, proc)| (*pid, proc.place));
        if let Some((pid, place)) = place {
            world.kill(pid);
            world.closed.insert(place);
        }
        world.wait("all runs end", |world| runs.iter().all(|run| world.is_over(*run)));
        world.end();
    }
}

/// Any number of schedulers decide the same fires as one, whatever becomes of them.
#[test]
fn many_schedulers_fire_what_one_fires() {
    let fires = |schedulers: usize, kills: bool| {
        let more = json!({"overlap": "allow", "catchup": {"window_ms": 3_600_000, "keep": "all"}});
        let schedules = (1..=4).map(|number| every("p", &format!("t{number}"), number * 5, &more)).collect();
        let mut world = world(9, schedulers, vec![Plan::chain("p", &[1], schedules)]);
        while world.at < 300 * SECOND {
            world.run_until(world.at + 20 * SECOND);
            let pids: Vec<Pid> = if kills { world.procs.keys().copied().collect() } else { Vec::new() };
            pids.into_iter().for_each(|pid| world.kill(pid));
        }
        world.run_until(340 * SECOND);
        let end = crate::world::EPOCH + 300_000_000;
        let mut fires: Vec<_> =
            world.model.fires.iter().filter(|fire| fire.time.0 <= end && fire.run.is_some()).collect();
        fires.sort_by_key(|fire| (fire.schedule, fire.time));
        fires.iter().map(|fire| (fire.schedule, fire.time)).collect::<Vec<_>>()
    };
    let one = fires(1, false);
    assert_eq!(one.len(), 60 + 30 + 20 + 15);
    for (schedulers, kills) in [(1, true), (2, false), (3, true), (4, true)] {
        assert_eq!(fires(schedulers, kills), one, "{schedulers} schedulers, kills: {kills}");
    }
}
