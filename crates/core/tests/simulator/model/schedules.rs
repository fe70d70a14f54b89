//! Pipelines, schedules and their fires.

use runstone_core::hash::ContentHash;
use runstone_core::record::RunId;
use runstone_core::service::overlap::{self, Judgement};
use runstone_core::service::record::{
    DeclaredPipeline, DeclaredSchedule, FireDecision, FireOutcome, FireRecord, FireVerdict, PipelineRecord, ScheduleId,
    ScheduleRecord,
};
use runstone_core::time::Timestamp;
use serde_json::Value;

use super::{Model, Mutation};

impl Model {
    pub(super) fn declare_all(
        &mut self,
        folder: &str,
        pipelines: &[DeclaredPipeline],
        broken: &[(String, String)],
        now: Timestamp,
    ) -> Vec<PipelineRecord> {
        for declared in pipelines {
            let record = PipelineRecord {
                pipeline: declared.pipeline.clone(),
                definition: ContentHash::of(declared.definition.as_bytes()),
                definition_path: declared.definition_path.clone(),
                active: true,
                error: None,
                changed: now,
            };
            self.pipelines.insert(declared.pipeline.clone(), record);
            for schedule in &declared.schedules {
                self.declare_schedule(schedule, now);
            }
        }
        let is_declared = |one: &ScheduleRecord| {
            let of_it = pipelines.iter().find(|declared| declared.pipeline == one.pipeline);
            of_it.is_some_and(|declared| declared.schedules.iter().any(|schedule| schedule.name == one.name))
        };
        let path_of = |pipeline: &str| self.pipelines.get(pipeline).map(|one| one.definition_path.clone());
        let gone: Vec<ScheduleId> = self
            .schedules
            .values()
            .filter(|one| one.active && !is_declared(one))
            .filter(|one| {
                let path = path_of(&one.pipeline).unwrap_or_default();
                path.starts_with(folder) && !broken.iter().any(|(broken, _)| *broken == path)
            })
            .map(|one| one.id)
            .collect();
        for id in gone {
            self.rev += 1;
            let schedule = self.schedules.get_mut(&id).expect("found above");
            (schedule.active, schedule.rev) = (false, self.rev);
        }
        self.pipelines.values().filter(|one| one.definition_path.starts_with(folder)).cloned().collect()
    }

    fn declare_schedule(&mut self, declared: &DeclaredSchedule, now: Timestamp) {
        let known =
            self.schedules.values_mut().find(|one| one.pipeline == declared.pipeline && one.name == declared.name);
        let Some(schedule) = known else {
            self.rev += 1;
            let id = ScheduleId(i64::try_from(self.schedules.len()).unwrap() + 1);
            let record = ScheduleRecord {
                id,
                pipeline: declared.pipeline.clone(),
                name: declared.name.clone(),
                timing: declared.timing.clone(),
                spec: declared.spec.clone(),
                generation: 1,
                active: declared.enabled,
                paused: false,
                activated: now,
                cursor: now,
                seen: Value::Null,
                rev: self.rev,
            };
            self.schedules.insert(id, record);
            return;
        };
        let begins = schedule.timing != declared.timing || (declared.enabled && !schedule.active);
        if !begins && schedule.spec == declared.spec && schedule.active == declared.enabled {
            return;
        }
        if begins {
            self.former.push(schedule.clone());
            schedule.generation += 1;
            // Where another clock was ahead, the new generation begins where the old one ended.
            let begins = now.max(schedule.cursor);
            (schedule.activated, schedule.cursor, schedule.seen) = (begins, begins, Value::Null);
        }
        self.rev += 1;
        schedule.timing.clone_from(&declared.timing);
        schedule.spec.clone_from(&declared.spec);
        (schedule.active, schedule.rev) = (declared.enabled, self.rev);
    }

    pub(super) fn pause(
        &mut self,
        id: ScheduleId,
        paused: bool,
        catch_up: bool,
        now: Timestamp,
        missed: &dyn Fn(&ScheduleRecord) -> u64,
    ) -> Option<ScheduleRecord> {
        let schedule = self.schedules.get_mut(&id).filter(|one| one.paused != paused)?;
        if !paused && !catch_up && now > schedule.cursor {
            let count = missed(schedule);
            if count > 0 {
                let fire = FireRecord {
                    schedule: id,
                    generation: schedule.generation,
                    time: schedule.cursor.plus_micros(1),
                    until: now,
                    count,
                    decided: self.now,
                    run: None,
                    number: None,
                    reason: Some("paused".to_owned()),
                };
                self.fire_keys.insert((id, fire.generation, fire.time));
                self.fires.push(fire);
            }
            schedule.cursor = now;
        }
        self.rev += 1;
        (schedule.paused, schedule.rev) = (paused, self.rev);
        Some(schedule.clone())
    }

    pub(super) fn decide(&mut self, decision: &FireDecision) -> FireOutcome {
        let FireDecision { schedule: id, generation, cursor, time, until, .. } = *decision;
        let careless = self.breaks(Mutation::FiresWithoutCursor);
        let is_as_read = |one: &ScheduleRecord| {
            one.generation == generation && (careless || (one.cursor == cursor && one.active && !one.paused))
        };
        let found = self.schedules.get(&id).filter(|one| is_as_read(one));
        let is_new = careless || !self.fire_keys.contains(&(id, generation, time));
        let (Some(_), true) = (found, is_new && time > cursor && until >= time) else { return FireOutcome::Stale };
        let (outcome, run, reason, count) = match &decision.verdict {
            FireVerdict::Nothing => (FireOutcome::Moved, None, None, 0),
            FireVerdict::Skip { reason, count } => {
                (FireOutcome::Skipped { reason: reason.clone() }, None, Some(reason.clone()), *count)
            }
            FireVerdict::Submit { submission, overlap } => {
                let live = submission.group.as_deref().map(|group| self.live_of_group(group)).unwrap_or_default();
                let numbers: Vec<i64> = live.iter().map(|(number, _)| *number).collect();
                let judgement = overlap::judge(*overlap, &numbers);
                if let Judgement::Skip(reason) = judgement {
                    (FireOutcome::Skipped { reason: reason.clone() }, None, Some(reason), 1)
                } else {
                    if judgement == Judgement::SubmitAndCancel {
                        for (_, run) in live {
                            self.request_cancel(run, false);
                        }
                    }
                    let run = self.put_in_queue(submission);
                    let number = self.submissions[&run].number;
                    (FireOutcome::Submitted { run, number }, Some((run, number)), None, 1)
                }
            }
        };
        let schedule = self.schedules.get_mut(&id).expect("found above");
        schedule.cursor = until;
        if let Some(seen) = &decision.seen {
            schedule.seen = seen.clone();
        }
        if run.is_some() || reason.is_some() {
            let (run, number) = run.unzip();
            let decided = self.now;
            self.fire_keys.insert((id, generation, time));
            self.fires.push(FireRecord { schedule: id, generation, time, until, count, decided, run, number, reason });
        }
        outcome
    }

    /// The live submissions of a group, in order.
    pub(super) fn live_of_group(&self, group: &str) -> Vec<(i64, RunId)> {
        let of_it = |run: &RunId| self.submissions[run].group.as_deref() == Some(group);
        self.live.iter().filter(|(_, run)| of_it(run)).map(|(number, run)| (*number, *run)).collect()
    }
}
