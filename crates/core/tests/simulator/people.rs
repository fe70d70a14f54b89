//! What people ask for at any moment, from any shell.

use runstone_core::record::{RunEnvironment, RunId};
use runstone_core::schedule::Compiled;
use runstone_core::service::launch::{ScheduleSpec, When};
use runstone_core::service::machine::Input;
use runstone_core::service::record::{BackfillState, NewBackfill, NewSubmission, ScheduleId, ScheduleRecord};
use runstone_core::service::store::ServiceStore;
use runstone_core::time::Timestamp;
use serde_json::Value;

use crate::plans::random_schedule;
use crate::shell::Mail;
use crate::world::{Event, SECOND, World};

impl World {
    pub(crate) fn people(&mut self) {
        if !self.config.people {
            return;
        }
        match self.dice.below(20) {
            0..=4 => self.somebody_submits(),
            5..=7 => self.somebody_cancels(),
            8..=10 => self.somebody_pauses(),
            11..=12 => self.somebody_edits(),
            13 => self.somebody_removes_a_file(),
            14 => self.somebody_backfills(),
            15 => self.somebody_changes_a_backfill(),
            16..=17 => self.dataset += 1,
            _ => {
                let pids: Vec<_> = self.procs.iter().map(|(pid, proc)| (*pid, proc.id)).collect();
                if let Some((pid, id)) = self.dice.pick(&pids).copied() {
                    self.after(10, Event::Arrive(pid, Mail::Service(id, Input::Nudge)));
                }
            }
        }
        let pause = self.dice.between(SECOND / 10, 6 * SECOND);
        self.after(pause, Event::People);
    }

    /// A run of a pipeline, as somebody asks for it.
    pub(crate) fn wish(&mut self, pipeline: &str, group: Option<&str>) -> NewSubmission {
        NewSubmission {
            run: RunId(self.dice.uuid()),
            pipeline: pipeline.to_owned(),
            definition: None,
            definition_path: String::new(),
            params: Value::Null,
            request: Value::Null,
            trigger: "manual".to_owned(),
            partition: None,
            priority: i32::try_from(self.dice.below(3)).unwrap(),
            group: group.map(str::to_owned),
            backfill: None,
            key: None,
            environment: RunEnvironment::default(),
            store_marker: self.store_marker,
        }
    }

    fn somebody_submits(&mut self) {
        let place = self.dice.below(self.plans.len());
        let name = self.plans[place].name.clone();
        let group = self.dice.permille(500).then_some(name.as_str());
        let mut wish = self.wish(&name, group);
        if self.dice.permille(200) {
            // The answer was lost, and it is asked for again.
            wish.key = Some(format!("k{}", self.dice.below(4)));
        }
        let now = self.model.now;
        self.model.submit(&wish, now).expect("a model does not fail");
    }

    fn somebody_cancels(&mut self) {
        let live: Vec<RunId> = self.model.live.values().copied().collect();
        if let Some(run) = self.dice.pick(&live).copied() {
            let hard = self.dice.permille(500);
            self.note(|| format!("somebody cancels {run}"));
            self.model.request_cancel(run, hard);
        }
    }

    fn somebody_pauses(&mut self) {
        let all: Vec<(ScheduleId, bool)> = self.model.schedules.values().map(|one| (one.id, one.paused)).collect();
        if let Some((id, paused)) = self.dice.pick(&all).copied() {
            let catch_up = self.dice.permille(300);
            self.note(|| format!("somebody changes the pause of schedule {}", id.0));
            let now = self.model.now;
            self.model.set_paused(&[id], !paused, catch_up, now, &missed(now)).expect("a model does not fail");
        }
    }

    fn somebody_edits(&mut self) {
        let place = self.dice.below(self.plans.len());
        let count = self.plans[place].schedules.len();
        if count == 0 {
            return;
        }
        let index = self.dice.below(count);
        if self.plans[place].schedules[index].spec.get("schedule").is_some() {
            let name = self.plans[place].name.clone();
            let old = self.plans[place].schedules[index].name.clone();
            let mut new = random_schedule(&mut self.dice, &name, index);
            new.name = old;
            self.plans[place].schedules[index] = new;
        }
        let enabled = self.dice.permille(900);
        self.plans[place].schedules[index].enabled = enabled;
        self.declare();
    }

    fn somebody_removes_a_file(&mut self) {
        let place = self.dice.below(self.plans.len());
        self.plans[place].present = !self.plans[place].present;
        self.declare();
    }

    fn somebody_backfills(&mut self) {
        let place = self.dice.below(self.plans.len());
        let name = self.plans[place].name.clone();
        let partitions = (0..self.dice.between(1, 6)).map(|number| format!("2026-01-{:02}", number + 1)).collect();
        let parallel = 1 + u32::try_from(self.dice.below(3)).unwrap();
        let template = NewSubmission { definition: Some(format!("pipeline: {name}")), ..self.wish(&name, None) };
        let backfill = NewBackfill { id: self.dice.uuid(), partitions, parallel, template };
        let now = self.model.now;
        self.model.create_backfill(&backfill, now).expect("a model does not fail");
    }

    fn somebody_changes_a_backfill(&mut self) {
        let all: Vec<_> = self.model.backfills.keys().copied().collect();
        if let Some(id) = self.dice.pick(&all).copied() {
            let states = [BackfillState::Active, BackfillState::Paused, BackfillState::Cancelled];
            let state = *self.dice.pick(&states).unwrap();
            let now = self.model.now;
            self.model.set_backfill(id, state, now).expect("a model does not fail");
        }
    }

    /// Whatever waits for people goes on.
    pub(crate) fn people_let_everything_go_on(&mut self) {
        let now = self.model.now;
        let sure = "a model does not fail";
        for plan in &mut self.plans {
            plan.present = true;
        }
        self.declare();
        let all: Vec<ScheduleId> = self.model.schedules.keys().copied().collect();
        self.model.set_paused(&all, false, false, now, &missed(now)).expect(sure);
        let all: Vec<_> = self.model.backfills.keys().copied().collect();
        for id in all {
            self.model.set_backfill(id, BackfillState::Active, now).expect(sure);
        }
    }

    /// All files are removed.
    pub(crate) fn people_remove_every_file(&mut self) {
        for plan in &mut self.plans {
            plan.present = false;
        }
        self.declare();
    }
}

pub(crate) fn compiled(schedule: &ScheduleRecord) -> Option<Compiled> {
    match ScheduleSpec::read(schedule).ok()?.when {
        When::Schedule(timed) => timed.compile().ok(),
        When::Trigger(_) => None,
    }
}

/// How many fires a pause has swallowed.
pub(crate) fn missed(now: Timestamp) -> impl Fn(&ScheduleRecord) -> u64 {
    move |schedule| compiled(schedule).map_or(0, |compiled| compiled.count_between(schedule.cursor, now))
}
