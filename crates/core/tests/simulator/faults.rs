//! What goes wrong, and when it stops going wrong.

use crate::dice::Dice;
use crate::host::Pid;
use crate::shell::Mail;
use crate::world::{Event, Faults, SECOND, World};

impl World {
    pub(crate) fn fault(&mut self) {
        if self.config.faults == Faults::NONE {
            return;
        }
        let Faults { kills, pauses, database, clocks, supervisors, drains } = self.config.faults;
        let kinds = [
            (kills, 4, Self::somebody_kills as fn(&mut Self)),
            (kills, 1, Self::power_fails),
            (pauses, 3, Self::somebody_is_paused),
            (database, 1, Self::the_database_stops),
            (database, 1, Self::the_database_is_slow),
            (clocks, 2, Self::a_clock_jumps),
            (supervisors, 2, Self::a_supervisor_dies),
            (drains, 2, Self::somebody_is_to_leave),
        ];
        let weighted = kinds.iter().filter(|(wanted, ..)| *wanted).flat_map(|(_, weight, kind)| vec![*kind; *weight]);
        if let Some(kind) = self.dice.pick(&weighted.collect::<Vec<_>>()) {
            kind(self);
        }
        let pause = self.dice.between(SECOND / 2, 8 * SECOND);
        self.after(pause, Event::Fault);
    }

    pub(crate) fn anybody(&mut self) -> Option<Pid> {
        let pids: Vec<Pid> = self.procs.keys().copied().collect();
        self.dice.pick(&pids).copied()
    }

    fn somebody_kills(&mut self) {
        if let Some(pid) = self.anybody() {
            self.kill(pid);
        }
    }

    fn power_fails(&mut self) {
        if self.dice.permille(300) {
            self.note(|| "the machine is restarted".to_owned());
            self.reboot();
        }
    }

    fn somebody_is_paused(&mut self) {
        let lasts = self.dice.between(SECOND, 50 * SECOND);
        if let Some(pid) = self.anybody() {
            self.pause(pid, lasts);
        }
    }

    fn the_database_stops(&mut self) {
        let lasts = self.dice.between(SECOND / 2, 30 * SECOND);
        self.down_until = self.at + lasts;
        self.note(|| "the database is down".to_owned());
    }

    fn the_database_is_slow(&mut self) {
        let until = self.at + self.dice.between(SECOND, 20 * SECOND);
        self.slow_until = self.slow_until.max(until);
    }

    fn a_clock_jumps(&mut self) {
        let place = self.dice.below(self.skew.len());
        self.skew[place] = random_skew(&mut self.dice);
        self.note(|| format!("the clock of place {place} jumps"));
        self.clock_jumped(place);
    }

    pub(crate) fn a_supervisor_dies(&mut self) {
        let running: Vec<_> = self.host.running.values().flatten().copied().collect();
        if let Some(attempt) = self.dice.pick(&running) {
            self.kill_supervisor(*attempt);
        }
    }

    pub(crate) fn somebody_is_to_leave(&mut self) {
        if let Some(pid) = self.anybody() {
            self.note(|| format!("{pid} is asked to leave"));
            self.after(1, Event::Arrive(pid, Mail::Drain));
        }
    }

    /// Nothing goes wrong any more, and nobody asks for anything: what was wrong is put right.
    pub(crate) fn calm(&mut self) {
        self.note(|| "faults off".to_owned());
        self.config.faults = Faults::NONE;
        self.config.people = false;
        (self.down_until, self.slow_until, self.flaky) = (0, 0, 0);
        for place in 0..self.skew.len() {
            self.skew[place] = 0;
            self.clock_jumped(place);
        }
        let pids: Vec<Pid> = self.procs.keys().copied().collect();
        for pid in pids {
            self.thaw(pid);
        }
    }
}

fn random_skew(dice: &mut Dice) -> i64 {
    let most = *dice.pick(&[1, 1, 10, 100, 600]).unwrap() * SECOND;
    let by = i64::try_from(dice.between(0, most)).unwrap();
    match dice.below(3) {
        0 => 0,
        1 => by,
        _ => -by,
    }
}
