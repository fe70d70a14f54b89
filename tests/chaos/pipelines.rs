//! What the schedulers are given to do: a little of everything that a pipeline can ask of them.
//!
//! Each execution writes lines into one file, the ledger: `./mark begin` first, `./mark end` last, and `./mark goes_on`
//! in between where it takes long.

/// `./mark WHAT`: one line, written at once. `LEDGER` is replaced by the path of the file.
pub(crate) const MARK: &str = "#!/bin/sh\n\
    echo \"$1 $RUNSTONE_ATTEMPT_ID $RUN_ID $(date +%s%6N)\" >> 'LEDGER'\n";

/// The project's pools: fewer slots than are asked for now and then.
pub(crate) const CONFIG: &str = "pools: {gpu: 2}\n";

/// File name and text. Every run of the same pipeline asks for the same, so reuse is off where executions are counted.
pub(crate) const PIPELINES: &[(&str, &str)] = &[
    (
        "second.yaml",
        r#"
pipeline: second
schedule: {cron: "* * * * * *", overlap: allow}
defaults: {cache: never}
steps:
  tick: {run: './mark begin; ./mark end; echo 1 > $OUT_TICK'}
"#,
    ),
    (
        "skip.yaml",
        r#"
pipeline: skip
schedule: {every: 2s, overlap: skip}
defaults: {cache: never}
steps:
  slow: {run: './mark begin; sleep 3; ./mark end; echo 1 > $OUT_SLOW'}
"#,
    ),
    (
        "replace.yaml",
        r#"
pipeline: replace
schedule: {every: 9s, overlap: replace}
defaults: {cache: never, grace: 1s}
steps:
  first: {run: './mark begin; ./mark end; echo 1 > $OUT_FIRST'}
  slower:
    in: {first: first}
    run: './mark begin; for i in 1 2 3 4 5 6 7; do sleep 2; ./mark goes_on; done; ./mark end; echo 1 > $OUT_SLOWER'
"#,
    ),
    (
        "long.yaml",
        r#"
pipeline: long
schedule: {every: 15s, overlap: queue, catchup: {keep: all}}
defaults: {cache: never}
steps:
  patient:
    run: './mark begin; for i in 1 2 3 4 5 6 7 8 9; do sleep 1; ./mark goes_on; done; ./mark end; echo 1 > $OUT_PATIENT'
  after: {in: {p: patient}, run: './mark begin; ./mark end; cat $IN_P > $OUT_AFTER'}
"#,
    ),
    (
        "fan.yaml",
        r#"
pipeline: fan
schedule: {every: 6s, overlap: allow}
defaults: {cache: never}
steps:
  list: {out: {list: {path: list.json}}, run: './mark begin; echo "[1, 2, 3]" > $OUT_LIST; ./mark end'}
  each: {foreach: {item: list}, run: './mark begin; sleep 0.2; ./mark end; echo $ITEM_ITEM > $OUT_EACH'}
  cell: {matrix: {n: [1, 2, 3]}, run: './mark begin; ./mark end; echo $MATRIX_N > $OUT_CELL'}
  sum: {in: {e: each, c: cell}, run: './mark begin; ./mark end; echo $RUN_ID > $OUT_SUM'}
"#,
    ),
    (
        "retry.yaml",
        r#"
pipeline: retry
schedule: {every: 4s, overlap: queue}
defaults: {cache: never}
steps:
  moody:
    retry: {max: 2, backoff: 500ms, on: exit}
    run: './mark begin; [ "$ATTEMPT" -gt 1 ] || exit 3; ./mark end; echo 1 > $OUT_MOODY'
"#,
    ),
    (
        "pool.yaml",
        r#"
pipeline: pool
schedule: {every: 5s, overlap: allow}
defaults: {cache: never, pool: gpu}
steps:
  one: {run: './mark begin; sleep 1; ./mark end; echo 1 > $OUT_ONE'}
  other: {run: './mark begin; sleep 1; ./mark end; echo 1 > $OUT_OTHER'}
  both: {slots: 2, run: './mark begin; sleep 0.5; ./mark end; echo 1 > $OUT_BOTH'}
"#,
    ),
    (
        "minute.yaml",
        r#"
pipeline: minute
schedules:
  even: {cron: "*/2 * * * *", tz: Europe/Berlin}
  odd: {cron: "1-59/2 * * * *", catchup: {keep: all}}
defaults: {cache: never}
steps:
  tick: {run: './mark begin; ./mark end; echo 1 > $OUT_TICK'}
"#,
    ),
    (
        "listener.yaml",
        r#"
pipeline: listener
trigger: {dataset: fan/sum}
defaults: {cache: never}
steps:
  hear: {in: {sum: fan/sum@latest}, run: './mark begin; ./mark end; cat $IN_SUM > $OUT_HEAR'}
"#,
    ),
    (
        "day.yaml",
        r#"
pipeline: day
partition: {by: day, start: 2026-01-01, end: 2026-02-28}
steps:
  load: {run: './mark begin; sleep 0.5; ./mark end; echo $PARTITION > $OUT_LOAD'}
  table: {in: {load: load}, run: './mark begin; ./mark end; cat $IN_LOAD > $OUT_TABLE'}
"#,
    ),
    (
        "manual.yaml",
        r#"
pipeline: manual
params: {n: 0}
defaults: {cache: never, grace: 1s}
steps:
  one: {run: './mark begin; sleep 1; ./mark end; echo $PARAM_N > $OUT_ONE'}
  two: {in: {one: one}, run: './mark begin; sleep 1; ./mark goes_on; sleep 1; ./mark end; cat $IN_ONE > $OUT_TWO'}
"#,
    ),
];
