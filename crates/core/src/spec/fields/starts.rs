//! Rows of what starts runs by itself, and of what slice of the data each run works on.

use super::Shape::{Block as B, Bool, Duration, Either, Int, List, Literal, Map, Path, Text, Word};
use super::{Block, Field};

pub(super) const SCHEDULE_FIELD: Field = Field::new(
    "schedule",
    B(Block::Schedule),
    "",
    "When runs start by themselves; short for `schedules` with one that is called `main`.",
);
pub(super) const SCHEDULES: Field =
    Field::new("schedules", Map(&B(Block::Schedule)), "", "When runs start by themselves, by name.");
pub(super) const PARTITION_FIELD: Field = Field::new(
    "partition",
    B(Block::Partition),
    "",
    "The slices of time, or the values, that runs work on one at a time.",
);
pub(super) const TRIGGER_FIELD: Field = Field::new(
    "trigger",
    Either(&[B(Block::Trigger), List(&B(Block::Trigger))]),
    "",
    "Events that start a run: each block alone is enough.",
);
pub(super) const PRIORITY: Field =
    Field::new("priority", Int(-100, 100), "0", "Which of the runs that wait goes first: the larger number.");

pub(super) const SCHEDULE: &[Field] = &[
    Field::new(
        "cron",
        Text,
        "",
        "Five fields (minute, hour, day of the month, month, day of the week), six with seconds first, or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.",
    ),
    Field::new(
        "every",
        Duration,
        "",
        "An interval instead of `cron`, counted from `start`, or from 1970 where there is none; at least `1s`.",
    ),
    Field::new("tz", Text, "UTC", "The time zone of `cron`, `start` and `end`, such as `Europe/Berlin`."),
    Field::new("dst", B(Block::Dst), "", "What happens when the clock is changed."),
    Field::new("catchup", B(Block::Catchup), "", "What happens to fires that were missed."),
    Field::new(
        "overlap",
        Word(&["queue", "skip", "replace", "allow"]),
        "queue",
        "What a fire does while an earlier run of the pipeline goes on: wait for it, start nothing, cancel it, or run beside it.",
    ),
    Field::new("jitter", Duration, "0s", "Every fire is delayed by up to this, always by the same amount."),
    Field::new(
        "start",
        Text,
        "",
        "The first moment at which it may fire: a date in `tz`, or a moment such as `2026-01-01T09:00:00Z`.",
    ),
    Field::new("end", Text, "", "The first moment at which it fires no more; a date is the last day of it."),
    Field::new("params", Map(&Literal), "", "Parameters of the runs it starts."),
    Field::new("enabled", Bool, "true", "Whether it fires."),
];

pub(super) const DST: &[Field] = &[
    Field::new(
        "gap",
        Word(&["run_after", "skip"]),
        "run_after",
        "For times that do not exist: once, at the first moment after the gap, or never.",
    ),
    Field::new("fold", Word(&["once", "twice"]), "once", "For times that exist twice: the first time, or both."),
];

pub(super) const CATCHUP: &[Field] = &[
    Field::new("window", Duration, "24h", "How far back to look."),
    Field::new("keep", Word(&["latest", "all", "none"]), "latest", "Which of the missed fires start a run."),
];

pub(super) const PARTITION: &[Field] = &[
    Field::new(
        "by",
        Word(&["hour", "day", "week", "month", "list"]),
        "",
        "The length of a slice, or `list` for listed values.",
    )
    .required(),
    Field::new("start", Text, "", "The first slice, by its key or by a date in it; needed unless `by` is `list`."),
    Field::new("end", Text, "no end", "The last slice."),
    Field::new("tz", Text, "UTC", "The time zone of the slices."),
    Field::new("values", List(&Text), "", "The keys of `by: list`."),
];

pub(super) const TRIGGER: &[Field] = &[
    Field::new(
        "dataset",
        Either(&[Text, List(&Text)]),
        "",
        "Datasets of other pipelines, as `pipeline/step.output`: a new version starts a run.",
    ),
    Field::new(
        "match",
        Word(&["all", "any"]),
        "all",
        "Whether all of several datasets must have a new version, or any.",
    ),
    Field::new("file", Path, "", "A path or glob: a file that is new or has changed starts a run."),
    Field::new("settle", Duration, "10s", "How long a file must have stayed the same."),
    Field::new("every", Duration, "5s", "How often to look for files."),
];
