//! What is on record of a schedule or trigger beside its timing, and the run that a fire of it asks for.
//!
//! Whoever declares a schedule writes [`ScheduleSpec`] into [`DeclaredSchedule::spec`](super::record::DeclaredSchedule);
//! every scheduler reads it back from [`ScheduleRecord::spec`].

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::record::{NewSubmission, Overlap, ScheduleId, ScheduleRecord};
use crate::name::Name;
use crate::partition::Partitioning;
use crate::record::{RunEnvironment, RunId};
use crate::scalar::Scalar;
use crate::schedule::{Schedule, Timing, Zone};
use crate::time::Timestamp;

/// A schedule or trigger as it is on record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScheduleSpec {
    /// When it fires: the key `schedule` or `trigger`.
    #[serde(flatten)]
    pub when: When,
    /// How the runs it asks for are put in the queue; larger ones go first.
    #[serde(default)]
    pub priority: i32,
    /// How the pipeline is partitioned: a fire works on the newest partition that is over at its time.
    #[serde(default)]
    pub partitioning: Option<Partitioning>,
    /// See [`NewSubmission::request`].
    #[serde(default)]
    pub request: Value,
}

/// What makes it fire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// The time.
    Schedule(Schedule),
    /// Something that is looked for again and again.
    Trigger(TriggerSpec),
}

/// A trigger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TriggerSpec {
    /// What it watches, in the notation of whoever looks.
    pub watch: Value,
    /// What a fire does while an earlier run of the pipeline goes on.
    pub overlap: Overlap,
    /// Parameters of the runs it asks for.
    #[serde(default)]
    pub params: IndexMap<Name, Scalar>,
}

impl ScheduleSpec {
    /// Reads what is on record.
    ///
    /// # Errors
    /// Where it was written by a program that knows more.
    pub fn read(record: &ScheduleRecord) -> Result<Self, serde_json::Error> {
        Self::deserialize(&record.spec)
    }

    /// What a fire does while an earlier run of the pipeline goes on.
    #[must_use]
    pub fn overlap(&self) -> Overlap {
        match &self.when {
            When::Schedule(schedule) => schedule.overlap,
            When::Trigger(trigger) => trigger.overlap,
        }
    }

    /// Whether a run could only fail, because the pipeline works on partitions and none is over yet, or nobody says which.
    #[must_use]
    pub fn lacks_partition(&self, submission: &NewSubmission) -> bool {
        self.partitioning.is_some() && submission.partition.is_none()
    }

    /// The run that a fire asks for. It depends on its arguments alone, so that schedulers that decide the same fire ask
    /// for the same run. Its environment is left for the caller to fill in.
    #[must_use]
    pub fn submission(
        &self,
        record: &ScheduleRecord,
        time: Timestamp,
        cause: Option<&str>,
        home: (Uuid, Uuid),
    ) -> NewSubmission {
        let (project, store_marker) = home;
        let (params, trigger) = match &self.when {
            When::Schedule(schedule) => {
                (&schedule.params, format!("schedule {} {}", record.name, local_time(time, schedule)))
            }
            When::Trigger(trigger) => {
                (&trigger.params, format!("trigger {}: {}", record.name, cause.unwrap_or("it was asked to")))
            }
        };
        let partition = self.partitioning.as_ref().and_then(|parts| parts.previous_complete(time));
        NewSubmission {
            run: run_of(project, record.id, record.generation, time),
            pipeline: record.pipeline.clone(),
            definition: None,
            definition_path: String::new(),
            params: serde_json::to_value(params).expect("names and scalars are JSON"),
            request: self.request.clone(),
            trigger,
            partition: partition.map(|key| key.as_str().to_owned()),
            priority: self.priority,
            // Those that run side by side have no turns to wait for.
            group: (self.overlap() != Overlap::Allow).then(|| record.pipeline.clone()),
            backfill: None,
            key: None,
            environment: RunEnvironment::default(),
            store_marker,
        }
    }
}

/// Why a fire of a partitioned pipeline starts no run.
pub const NO_PARTITION: &str = "no partition is over yet";

/// The identity of the run of a fire: the layout of a `UUIDv7` (RFC 9562, section 5.7) with the fire's time, and a hash
/// of what the fire is in the place of chance.
#[must_use]
pub fn run_of(project: Uuid, schedule: ScheduleId, generation: i64, time: Timestamp) -> RunId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"runstone fire").update(project.as_bytes()).update(&schedule.0.to_le_bytes());
    hasher.update(&generation.to_le_bytes()).update(&time.0.to_le_bytes());
    let hash = hasher.finalize();
    let (random, _) = hash.as_bytes().split_first_chunk::<10>().expect("a hash has 32 bytes");
    let millis = u64::try_from(time.0.div_euclid(1000)).unwrap_or(0);
    RunId(uuid::Builder::from_unix_timestamp_millis(millis, random).into_uuid())
}

/// A fire time on the clock of the schedule, with its offset from UTC.
#[must_use]
pub fn local_time(time: Timestamp, schedule: &Schedule) -> String {
    let second = time.0.div_euclid(1_000_000);
    let zone = match &schedule.timing {
        Timing::Cron { tz, .. } => *tz,
        Timing::Every { .. } => Zone::utc(),
    };
    let offset = zone.offset(second);
    let local = second.saturating_add(offset);
    let Ok(local) = jiff::Timestamp::from_second(local) else { return format!("{second} s after 1970") };
    let text = local.to_string();
    let sign = if offset < 0 { '-' } else { '+' };
    let (hours, minutes) = (offset.abs() / 3600, offset.abs() / 60 % 60);
    format!("{}{sign}{hours:02}:{minutes:02}", text.trim_end_matches('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn nightly() -> ScheduleSpec {
        let schedule = json!({
            "name": "nightly", "timing": {"cron": {"expression": "0 2 * * *", "tz": "Europe/Berlin", "dst": {"gap": "skip", "fold": "once"}}},
            "catchup": {"window_ms": 0, "keep": "none"}, "overlap": "skip", "jitter_ms": 0, "start": null, "end": null,
            "enabled": true, "params": {"n": 3}
        });
        serde_json::from_value(json!({"schedule": schedule, "priority": 4})).unwrap()
    }

    fn record(spec: &ScheduleSpec) -> ScheduleRecord {
        ScheduleRecord {
            id: ScheduleId(7),
            pipeline: "report".to_owned(),
            name: "nightly".to_owned(),
            timing: String::new(),
            spec: serde_json::to_value(spec).unwrap(),
            generation: 2,
            active: true,
            paused: false,
            activated: Timestamp(0),
            cursor: Timestamp(0),
            seen: Value::Null,
            rev: 1,
        }
    }

    #[test]
    fn what_is_put_on_record_is_read_back() {
        let spec = nightly();
        assert_eq!(ScheduleSpec::read(&record(&spec)).unwrap(), spec);
        assert!(record(&spec).spec["schedule"]["timing"]["cron"].is_object());
        let trigger = json!({"trigger": {"watch": {"dataset": "a/b"}, "overlap": "allow"}});
        let read: ScheduleSpec = serde_json::from_value(trigger).unwrap();
        assert!(matches!(read.when, When::Trigger(_)) && read.overlap() == Overlap::Allow);
    }

    #[test]
    fn whoever_decides_a_fire_asks_for_the_same_run_with_the_time_in_its_identity() {
        let (spec, time) = (nightly(), Timestamp(1_782_865_800_000_000));
        let one = spec.submission(&record(&spec), time, None, (Uuid::nil(), Uuid::nil()));
        assert_eq!(one.trigger, "schedule nightly 2026-07-01T02:30:00+02:00");
        assert_eq!((one.group.as_deref(), one.params), (Some("report"), json!({"n": 3})));
        assert_eq!(one.run, run_of(Uuid::nil(), ScheduleId(7), 2, time));
        assert_ne!(one.run, run_of(Uuid::nil(), ScheduleId(7), 3, time));
        assert_ne!(one.run, run_of(Uuid::max(), ScheduleId(7), 2, time));
        assert_eq!((one.run.0.get_version_num(), one.run.0.as_u128() >> 80), (7, 1_782_865_800_000));
    }
}
