//! The pipelines of a world: what their runs look like, and when they start by themselves.

use std::time::Duration;

use runstone_core::graph::NeedKind;
use runstone_core::machine::{Layout, NodeLayout, Prior, TaskLayout};
use runstone_core::service::launch::{ScheduleSpec, TriggerSpec, When};
use runstone_core::service::record::{DeclaredPipeline, DeclaredSchedule, Overlap};
use runstone_core::spec::model::Retry;
use serde_json::{Value, json};

use crate::dice::Dice;

/// One pipeline.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) steps: Vec<Step>,
    pub(crate) schedules: Vec<DeclaredSchedule>,
    /// Whether its file is there.
    pub(crate) present: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Step {
    needs: Vec<usize>,
    retries: u32,
    /// Slots of the pool that it takes.
    pub(crate) slots: u32,
    /// The longest it takes, microseconds.
    pub(crate) most_us: u64,
}

impl Plan {
    /// A chain of steps that take at most so long each.
    pub(crate) fn chain(name: &str, seconds: &[u64], schedules: Vec<DeclaredSchedule>) -> Self {
        let step = |(index, seconds): (usize, &u64)| Step {
            needs: index.checked_sub(1).into_iter().collect(),
            retries: 0,
            slots: 0,
            most_us: seconds * 1_000_000,
        };
        let steps = seconds.iter().enumerate().map(step).collect();
        Self { name: name.to_owned(), steps, schedules, present: true }
    }

    /// Whose steps are tried again so often.
    pub(crate) fn with_retries(mut self, retries: u32) -> Self {
        self.steps.iter_mut().for_each(|step| step.retries = retries);
        self
    }

    /// Whose steps take so many slots of the pool.
    pub(crate) fn with_slots(mut self, slots: u32) -> Self {
        self.steps.iter_mut().for_each(|step| step.slots = slots);
        self
    }

    pub(crate) fn random(dice: &mut Dice, name: &str) -> Self {
        let count = 1 + dice.below(4);
        let step = |index: usize, dice: &mut Dice| Step {
            needs: if index == 0 { Vec::new() } else { vec![dice.below(index)] },
            retries: u32::try_from(dice.below(3)).unwrap(),
            slots: if dice.permille(400) { 1 + u32::try_from(dice.below(2)).unwrap() } else { 0 },
            most_us: if dice.permille(100) { 40_000_000 } else { 3_000_000 },
        };
        let steps = (0..count).map(|index| step(index, dice)).collect();
        let mut plan = Self { name: name.to_owned(), steps, schedules: Vec::new(), present: true };
        for index in 0..dice.below(3) {
            plan.schedules.push(random_schedule(dice, name, index));
        }
        if dice.permille(250) {
            plan.schedules.push(trigger(name, "on-data", Overlap::Queue));
        }
        plan
    }

    pub(crate) fn declared(&self) -> DeclaredPipeline {
        DeclaredPipeline {
            pipeline: self.name.clone(),
            definition: format!("pipeline: {}", self.name),
            definition_path: format!("{}.yaml", self.name),
            schedules: self.schedules.clone(),
        }
    }

    pub(crate) fn layout(&self, priors: &[Prior]) -> Layout {
        let node = |index: usize| NodeLayout {
            label: format!("s{index}").into(),
            needs: self.steps[index].needs.iter().map(|need| (*need, NeedKind::Data { optional: false })).collect(),
            dependents: (0..self.steps.len()).filter(|other| self.steps[*other].needs.contains(&index)).collect(),
            expands: false,
            height: 1,
            native: false,
            continue_on_error: false,
            min_success: None,
            max_parallel: None,
            pool: None,
            slots: 1,
            shared: self.steps[index].slots > 0,
            cpu_milli: 100,
            mem: 0,
            retry: Retry { max: self.steps[index].retries, backoff: Duration::from_millis(700), ..Retry::none() },
        };
        Layout {
            nodes: (0..self.steps.len()).map(node).collect(),
            tasks: priors.iter().enumerate().map(|(node, prior)| TaskLayout { node, prior: *prior }).collect(),
            pools: Vec::new(),
        }
    }
}

/// A schedule at even distances.
pub(crate) fn every(pipeline: &str, name: &str, seconds: u64, more: &Value) -> DeclaredSchedule {
    let mut schedule = json!({
        "name": name, "timing": {"every": {"interval_ms": seconds * 1000}},
        "catchup": {"window_ms": 300_000, "keep": "latest"}, "overlap": "queue", "jitter_ms": 0,
        "start": null, "end": null, "enabled": true, "params": {}
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        schedule[key] = value.clone();
    }
    let spec = json!({"schedule": schedule});
    let spec: ScheduleSpec = serde_json::from_value(spec).expect("a schedule of this file is well-formed");
    declared(pipeline, name, &spec)
}

pub(crate) fn trigger(pipeline: &str, name: &str, overlap: Overlap) -> DeclaredSchedule {
    let watch = json!({"dataset": "any"});
    let when = When::Trigger(TriggerSpec { watch, overlap, params: indexmap::IndexMap::new() });
    declared(pipeline, name, &ScheduleSpec { when, priority: 0, partitioning: None, request: Value::Null })
}

fn declared(pipeline: &str, name: &str, spec: &ScheduleSpec) -> DeclaredSchedule {
    let timing = match &spec.when {
        When::Schedule(schedule) => serde_json::to_string(&schedule.timing).unwrap(),
        When::Trigger(trigger) => trigger.watch.to_string(),
    };
    let spec = serde_json::to_value(spec).unwrap();
    DeclaredSchedule { pipeline: pipeline.to_owned(), name: name.to_owned(), timing, spec, enabled: true }
}

pub(crate) fn random_schedule(dice: &mut Dice, pipeline: &str, index: usize) -> DeclaredSchedule {
    let name = format!("t{index}");
    let overlap = *dice.pick(&["queue", "skip", "skip", "replace", "allow"]).unwrap();
    let seconds = if overlap == "skip" { dice.between(1, 6) } else { dice.between(12, 60) };
    let keep = *dice.pick(&["latest", "all", "none"]).unwrap();
    let window_ms = dice.between(10, 300) * 1000;
    let jitter_ms = if dice.permille(300) { dice.between(1, 4000) } else { 0 };
    let mut more =
        json!({"overlap": overlap, "catchup": {"window_ms": window_ms, "keep": keep}, "jitter_ms": jitter_ms});
    if dice.permille(200) {
        let expression = if overlap == "skip" { "*/3 * * * * *" } else { "*/30 * * * * *" };
        more["timing"] =
            json!({"cron": {"expression": expression, "tz": "Europe/Berlin", "dst": {"gap": "skip", "fold": "once"}}});
    }
    let mut declared = every(pipeline, &name, seconds, &more);
    declared.spec["priority"] = json!(dice.below(3));
    declared
}
