//! What goes wrong, and what people do meanwhile, in an order that a seed decides.

use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use crate::dice::Dice;
use crate::world::{LEASE, SCHEDULERS, World};

/// Something that happens to schedulers, their helpers or the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Kill,
    Freeze,
    Terminate,
    KillReaper,
    KillAll,
    RestartDatabase,
    StopDatabase,
    CutConnections,
}

/// Something that people do.
#[derive(Debug, Clone, Copy)]
enum Wish {
    Trigger,
    TriggerAgain,
    Cancel,
    EditSchedule,
    BreakFile,
    PauseAndUnpause,
}

/// What is to happen to a scheduler later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Later {
    Start,
    Thaw,
}

/// A run that somebody asked for and was told the number of.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) key: Option<String>,
    pub(crate) number: i64,
}

/// How often what was done.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) kills: u32,
    pub(crate) freezes: u32,
    pub(crate) terminations: u32,
    pub(crate) reapers: u32,
    pub(crate) restarts: u32,
    pub(crate) outages: u32,
    pub(crate) cuts: u32,
    pub(crate) cancels: u32,
}

/// All the trouble of one test.
pub(crate) struct Trouble {
    dice: Dice,
    faults: Vec<Fault>,
    wishes: Vec<Wish>,
    later: Vec<(Instant, usize, Later)>,
    keys: u32,
    pub(crate) told: Vec<Told>,
    pub(crate) counts: Counts,
}

impl Trouble {
    pub(crate) fn new(seed: u64) -> Self {
        let (faults, wishes, later) = (Vec::new(), Vec::new(), Vec::new());
        Self { dice: Dice::new(seed), faults, wishes, later, keys: 0, told: Vec::new(), counts: Counts::default() }
    }

    /// Makes trouble for so long, and starts a backfill in the middle.
    pub(crate) fn make(&mut self, world: &mut World, length: Duration) {
        let begun = Instant::now();
        let mut next_fault = begun + Duration::from_secs(4);
        let mut next_wish = begun + Duration::from_secs(2);
        let mut backfilled = false;
        while begun.elapsed() < length {
            self.do_what_is_due(world);
            for slot in world.vacant() {
                // One that found no database is started again, as by a service manager.
                if self.later.iter().all(|(_, other, _)| *other != slot) {
                    self.start_later(slot);
                }
            }
            if Instant::now() >= next_fault {
                self.fault(world);
                next_fault = Instant::now() + Duration::from_millis(self.dice.between(1000, 4000));
            }
            if Instant::now() >= next_wish {
                self.wish(world);
                next_wish = Instant::now() + Duration::from_millis(self.dice.between(500, 3000));
            }
            if !backfilled && begun.elapsed() >= length / 3 {
                let args = ["backfill", "day", "--from", "2026-01-01", "--to", "2026-01-12", "--parallel", "2"];
                let output = world.runstone(&args);
                backfilled = output.status.success();
                world.tell(&format!("backfill: {}", first_line(&output)));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends all trouble: every scheduler is there and awake.
    pub(crate) fn end(&mut self, world: &mut World) {
        for (_, slot, _) in std::mem::take(&mut self.later) {
            world.thaw(slot);
        }
        (0..SCHEDULERS).for_each(|slot| world.start(slot));
    }

    fn do_what_is_due(&mut self, world: &mut World) {
        let now = Instant::now();
        let due: Vec<(usize, Later)> =
            self.later.iter().filter(|(at, ..)| *at <= now).map(|(_, slot, what)| (*slot, *what)).collect();
        self.later.retain(|(at, ..)| *at > now);
        for (slot, what) in due {
            world.tell(&format!("  {what:?} scheduler {slot}"));
            if what == Later::Thaw {
                world.thaw(slot);
            }
            // Where another ended it while it was stopped, the service manager starts it again.
            world.start(slot);
        }
    }

    fn start_later(&mut self, slot: usize) {
        let pause = Duration::from_millis(self.dice.between(100, 6000));
        self.later.push((Instant::now() + pause, slot, Later::Start));
    }

    /// Every kind once, in some order, before any of them again.
    fn fault(&mut self, world: &mut World) {
        if self.faults.is_empty() {
            self.faults = vec![
                Fault::Kill,
                Fault::Kill,
                Fault::Freeze,
                Fault::Terminate,
                Fault::KillReaper,
                Fault::KillReaper,
                Fault::KillAll,
                Fault::RestartDatabase,
                Fault::StopDatabase,
                Fault::CutConnections,
            ];
            self.dice.shuffle(&mut self.faults);
        }
        let Some(fault) = self.faults.pop() else { return };
        let running = world.running();
        let slot = self.dice.one_of(&running).copied();
        world.tell(&format!("{fault:?} {}", slot.map_or_else(String::new, |slot| format!("(scheduler {slot})"))));
        match fault {
            Fault::Kill => self.kill(world, slot),
            Fault::KillAll => running.iter().for_each(|slot| self.kill(world, Some(*slot))),
            Fault::Freeze => {
                let Some(slot) = slot else { return };
                world.freeze(slot);
                self.later.push((Instant::now() + LEASE * 5 / 2, slot, Later::Thaw));
                self.counts.freezes += 1;
            }
            Fault::Terminate => {
                let Some(slot) = slot else { return };
                world.terminate(slot);
                self.start_later(slot);
                self.counts.terminations += 1;
            }
            Fault::KillReaper => {
                let reapers = world.reapers();
                if let Some(pid) = self.dice.one_of(&reapers) {
                    // It may have ended by itself meanwhile.
                    let _ = kill_process(*pid, Signal::KILL);
                    self.counts.reapers += 1;
                }
            }
            Fault::RestartDatabase => {
                world.without_database(Duration::ZERO);
                self.counts.restarts += 1;
            }
            Fault::StopDatabase => {
                world.without_database(LEASE * 5 / 2);
                self.counts.outages += 1;
            }
            Fault::CutConnections => self.cut(world),
        }
    }

    fn kill(&mut self, world: &mut World, slot: Option<usize>) {
        let Some(slot) = slot else { return };
        world.kill(slot);
        self.start_later(slot);
        self.counts.kills += 1;
    }

    fn cut(&mut self, world: &mut World) {
        let count = self.dice.between(1, 8);
        world.admin().execute(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = 'chaos' AND pid <> pg_backend_pid() ORDER BY md5(pid::text || '{count}') LIMIT {count}"
        ));
        self.counts.cuts += 1;
    }

    fn wish(&mut self, world: &mut World) {
        if self.wishes.is_empty() {
            self.wishes = vec![
                Wish::Trigger,
                Wish::Trigger,
                Wish::TriggerAgain,
                Wish::TriggerAgain,
                Wish::Cancel,
                Wish::Cancel,
                Wish::EditSchedule,
                Wish::BreakFile,
                Wish::PauseAndUnpause,
            ];
            self.dice.shuffle(&mut self.wishes);
        }
        match self.wishes.pop() {
            Some(Wish::Trigger) => self.trigger(world),
            Some(Wish::TriggerAgain) => self.trigger_again(world),
            Some(Wish::Cancel) => self.cancel(world),
            Some(Wish::EditSchedule) => {
                let text = world.read("pipelines/skip.yaml");
                let every = self.dice.between(2, 4);
                let old = text.lines().find(|line| line.starts_with("schedule:")).unwrap_or_default().to_owned();
                let new = format!("schedule: {{every: {every}s, overlap: skip}}");
                world.write("pipelines/skip.yaml", &text.replace(&old, &new));
            }
            Some(Wish::BreakFile) => {
                let text = world.read("pipelines/fan.yaml");
                let broken = "\nthis: is not known\n";
                let new = if text.ends_with(broken) { text.replace(broken, "") } else { text + broken };
                world.write("pipelines/fan.yaml", &new);
            }
            Some(Wish::PauseAndUnpause) => {
                world.runstone(&["schedules", "pause", "pool"]);
                world.insist(&["schedules", "unpause", "pool"]);
            }
            None => {}
        }
    }

    fn trigger(&mut self, world: &World) {
        self.keys += 1;
        let (key, value) = (format!("key-{}", self.keys), format!("n={}", self.keys));
        self.ask(world, &["trigger", "manual", "-p", &value, "--key", &key, "--json"], Some(&key));
    }

    /// Somebody who got no answer asks again, and somebody who got one as well.
    fn trigger_again(&mut self, world: &World) {
        if self.keys == 0 || self.dice.below(4) == 0 {
            return self.ask(world, &["trigger", "manual", "--json"], None);
        }
        let again = self.dice.between(1, u64::from(self.keys));
        let (key, value) = (format!("key-{again}"), format!("n={again}"));
        self.ask(world, &["trigger", "manual", "-p", &value, "--key", &key, "--json"], Some(&key));
    }

    fn ask(&mut self, world: &World, args: &[&str], key: Option<&str>) {
        let output = world.runstone(args);
        let answer: Option<serde_json::Value> = serde_json::from_slice(&output.stdout).ok();
        if let Some(number) = answer.and_then(|answer| answer["number"].as_i64()) {
            self.told.push(Told { key: key.map(str::to_owned), number });
        }
    }

    fn cancel(&mut self, world: &World) {
        let numbers: Vec<String> = self.told.iter().rev().take(3).map(|told| told.number.to_string()).collect();
        let Some(number) = self.dice.one_of(&numbers) else { return };
        let mut args = vec!["cancel", number.as_str()];
        if self.dice.below(2) == 0 {
            args.push("--now");
        }
        let output = world.runstone(&args);
        world.tell(&format!("{}: {}", args.join(" "), first_line(&output)));
        self.counts.cancels += u32::from(output.status.success());
    }
}

fn first_line(output: &std::process::Output) -> String {
    let text = [output.stderr.as_slice(), b"\n", output.stdout.as_slice()].concat();
    String::from_utf8_lossy(&text).lines().find(|line| !line.is_empty()).unwrap_or_default().to_owned()
}
