//! Folds the events of a run into the rows they tell of, to hold the one against the other. The same for every database.

use runstone_core::record::{EventRecord, NodeId, RunRecord, RunState, TaskRecord, TaskState};
use runstone_core::time::Timestamp;
use serde_json::Value;

/// A task as its events tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    state: String,
    attempts: u64,
    attempt: Option<NodeId>,
    reason: Option<String>,
}

/// A run as its events tell it.
#[derive(Debug, Default)]
struct Story {
    state: String,
    reason: Option<String>,
    ended: Option<Timestamp>,
    epoch: i64,
    cancel: Option<String>,
    tasks: Vec<Told>,
}

/// What the events of a run tell otherwise than its rows: one sentence for each difference. The events of a run that is over
/// may have expired, all of them at once; where it was taken up again since, the story goes on from there.
pub(crate) fn differences(run: &RunRecord, tasks: &[TaskRecord], events: &[EventRecord]) -> Vec<String> {
    let name = format!("run #{}", run.number);
    match events.first() {
        None if run.state != RunState::Running => return Vec::new(),
        None => return vec![format!("{name} is going on and has no events")],
        Some(event) if event.kind == "run_taken_over" && event.body["reopened"] == true => return Vec::new(),
        Some(event) if event.kind == "run_created" => {}
        Some(event) => return vec![format!("{name}: events are gone that were before event {}", event.id)],
    }
    let mut story = Story::default();
    for event in events {
        if story.hear(event).is_none() {
            return vec![format!("{name}: event {} ({}) cannot be understood", event.id, event.kind)];
        }
    }
    let mut found = Vec::new();
    let mut differ = |what: String, told: &dyn std::fmt::Debug, row: &dyn std::fmt::Debug| {
        let (told, row) = (format!("{told:?}"), format!("{row:?}"));
        if told != row {
            found.push(format!("{what} is {row} where its events tell {told}"));
        }
    };
    differ(format!("{name}: its state"), &story.state.as_str(), &run.state.as_str());
    differ(format!("{name}: its reason"), &story.reason, &run.reason);
    differ(format!("{name}: its end"), &story.ended, &run.ended);
    differ(format!("{name}: its epoch"), &story.epoch, &run.epoch);
    differ(format!("{name}: its request to cancel"), &story.cancel, &run.cancel);
    differ(format!("{name}: the number of tasks"), &story.tasks.len(), &tasks.len());
    for (told, task) in story.tasks.iter().zip(tasks) {
        let name = format!("{name}: task {}:", task.index);
        differ(format!("{name} its state"), &told.state.as_str(), &task.state.as_str());
        differ(format!("{name} the number of attempts"), &told.attempts, &u64::from(task.attempts));
        differ(format!("{name} its attempt"), &told.attempt, &task.attempt);
        differ(format!("{name} its reason"), &told.reason, &task.reason);
    }
    found
}

fn text(body: &Value, field: &str) -> Option<String> {
    body[field].as_str().map(str::to_owned)
}

impl Story {
    /// None where the event does not fit what was told before.
    fn hear(&mut self, event: &EventRecord) -> Option<()> {
        let body = &event.body;
        match event.kind.as_str() {
            "run_created" => {
                (self.state, self.epoch) = ("running".to_owned(), 1);
                self.add(body["tasks"].as_u64()?)?;
            }
            "tasks_added" => {
                (body["first"].as_u64()? == self.tasks.len() as u64).then_some(())?;
                self.add(body["count"].as_u64()?)?;
            }
            "run_ended" => {
                (self.state, self.reason) = (text(body, "state")?, text(body, "reason"));
                self.ended = Some(event.at);
            }
            "cancel_requested" => self.cancel = Some(text(body, "mode")?),
            "run_taken_over" => {
                self.epoch = body["epoch"].as_i64()?;
                if body["reopened"].as_bool()? {
                    self.reopen();
                }
            }
            _ => self.tasks.get_mut(usize::try_from(event.task?).ok()?)?.hear(event)?,
        }
        Some(())
    }

    fn add(&mut self, count: u64) -> Option<()> {
        let new = Told { state: TaskState::Waiting.as_str().to_owned(), attempts: 0, attempt: None, reason: None };
        let count = usize::try_from(count).ok()?;
        self.tasks.resize(self.tasks.len().checked_add(count)?, new);
        Some(())
    }

    fn reopen(&mut self) {
        (self.state, self.reason, self.ended, self.cancel) = ("running".to_owned(), None, None, None);
        let undone = [TaskState::Failed, TaskState::Skipped, TaskState::Cancelled].map(TaskState::as_str);
        for task in &mut self.tasks {
            if undone.contains(&task.state.as_str()) {
                (task.state, task.reason) = (TaskState::Waiting.as_str().to_owned(), None);
            }
        }
    }
}

impl Told {
    fn hear(&mut self, event: &EventRecord) -> Option<()> {
        let body = &event.body;
        match event.kind.as_str() {
            "attempt_assigned" => {
                *self = Self {
                    state: TaskState::Assigned.as_str().to_owned(),
                    attempts: body["number"].as_u64()?,
                    attempt: event.attempt,
                    reason: None,
                };
            }
            "attempt_running" => self.is_about(event)?,
            "attempt_finished" => {
                self.is_about(event)?;
                (self.state, self.reason) = (text(body, "next")?, text(body, "reason"));
            }
            "task_settled" => {
                (self.state, self.reason) = (text(body, "state")?, text(body, "reason"));
                self.attempts += u64::from(body["node"].as_bool()?);
                self.attempt = event.attempt.or(self.attempt);
            }
            _ => return None,
        }
        Some(())
    }

    fn is_about(&self, event: &EventRecord) -> Option<()> {
        (event.attempt == self.attempt && event.body["number"].as_u64() == Some(self.attempts)).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runstone_core::hash::ContentHash;
    use runstone_core::record::{RunEnvironment, RunId, RunState};
    use serde_json::json;
    use uuid::Uuid;

    fn run() -> RunRecord {
        RunRecord {
            id: RunId(Uuid::nil()),
            number: 7,
            pipeline: "p".to_owned(),
            definition: ContentHash::of(b""),
            definition_path: "p.yaml".to_owned(),
            params: json!({}),
            request: json!({}),
            trigger: "manual".to_owned(),
            state: RunState::Running,
            reason: None,
            created: Timestamp(0),
            ended: None,
            epoch: 1,
            store_marker: Uuid::nil(),
            partition: None,
            environment: RunEnvironment::default(),
            cancel: None,
        }
    }

    fn event(id: i64, kind: &str, task: Option<u32>, body: Value) -> EventRecord {
        let attempt = task.map(|_| NodeId(5));
        EventRecord { id, run: RunId(Uuid::nil()), at: Timestamp(0), kind: kind.to_owned(), task, attempt, body }
    }

    fn assigned() -> TaskRecord {
        TaskRecord {
            run: RunId(Uuid::nil()),
            index: 0,
            step: "a".to_owned(),
            cell: String::new(),
            state: TaskState::Assigned,
            attempts: 1,
            attempt: Some(NodeId(5)),
            fingerprint: None,
            reason: None,
        }
    }

    #[test]
    fn each_difference_is_told_once() {
        let events = [
            event(1, "run_created", None, json!({"number": 7, "tasks": 1})),
            event(2, "attempt_assigned", Some(0), json!({"number": 1, "kind": "run"})),
        ];
        assert_eq!(differences(&run(), &[assigned()], &events), Vec::<String>::new());
        let found = differences(&run(), &[TaskRecord { state: TaskState::Failed, ..assigned() }], &events);
        assert_eq!(found, ["run #7: task 0: its state is \"failed\" where its events tell \"assigned\""]);
        let found = differences(&RunRecord { epoch: 2, ..run() }, &[], &events);
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn events_that_make_no_sense_are_told() {
        let created = event(1, "run_created", None, json!({"number": 7, "tasks": 1}));
        for bad in [
            event(2, "attempt_finished", Some(0), json!({"number": 1, "next": "failed"})),
            event(2, "attempt_assigned", Some(3), json!({"number": 1})),
            event(2, "tasks_added", None, json!({"first": 2, "count": 1})),
            event(2, "whatever", Some(0), json!({})),
            event(2, "run_ended", None, json!({})),
        ] {
            let found = differences(&run(), &[assigned()], &[created.clone(), bad.clone()]);
            assert!(found.len() == 1 && found[0].contains("cannot be understood"), "{bad:?}: {found:?}");
        }
    }

    #[test]
    fn events_expire_as_a_whole_or_not_at_all() {
        let over = RunRecord { state: RunState::Failed, ..run() };
        assert_eq!(differences(&over, &[assigned()], &[]), Vec::<String>::new());
        assert_eq!(differences(&run(), &[assigned()], &[]).len(), 1);
        let reopened = [event(9, "run_taken_over", None, json!({"epoch": 2, "reopened": true}))];
        assert_eq!(differences(&run(), &[assigned()], &reopened), Vec::<String>::new());
        for first in [
            event(9, "attempt_finished", Some(0), json!({})),
            event(9, "run_taken_over", None, json!({"epoch": 2, "reopened": false})),
        ] {
            let found = differences(&over, &[assigned()], &[first]);
            assert!(found.len() == 1 && found[0].contains("are gone"), "{found:?}");
        }
    }
}
