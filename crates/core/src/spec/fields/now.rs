//! Rows of what this version does. Docs are one or two sentences of Markdown.

use super::Shape::{
    Block as B, Bool, Cause, Cpu, Duration, DurationOrNone, Either, Expr, Int, List, Literal, Map, Name, Number, Path,
    Reference, Size, Source, Step, Text, Word,
};
use super::{Block, Field, Shape, later, starts};

const NAMES: Shape = List(&Name);
const TEXTS: Shape = List(&Text);
const TEXT_OR_TEXTS: Shape = Either(&[Text, TEXTS]);
const EXPR_OR_EXPRS: Shape = Either(&[Expr, List(&Expr)]);
const CELLS: Shape = List(&Map(&Literal));
const ENV: Shape = Map(&Either(&[Text, B(Block::Secret)]));
const COMMAND: Shape = TEXT_OR_TEXTS;
const CACHE: Shape = Either(&[Word(&["auto", "never"]), B(Block::Ttl)]);
const RETRY_SHAPE: Shape = Either(&[Int(0, 100), B(Block::Retry)]);

/// The words of `kind`.
pub(crate) const KINDS: &[&str] = &["ingest", "label", "transform", "train", "evaluate", "deploy", "monitor"];
/// The words of `normalize`.
pub(crate) const NORMALIZERS: &[&str] = &["zip", "gzip", "json", "jsonl", "csv", "notebook", "text", "unordered_lines"];
/// The words of a parameter's `type`.
pub(crate) const TYPES: &[&str] = &["bool", "int", "float", "text"];
const MANY: i64 = 1_000_000;

const PARAMS_LIST: Field = Field::new(
    "params",
    NAMES,
    "all that are declared",
    "The parameters the step receives as `PARAM_<NAME>` and is re-run for.",
);
const ENV_FIELD: Field = Field::new("env", ENV, "", "Environment variables of the step, beside the few it always has.");
const PYTHON_FIELD: Field = Field::new("python", B(Block::Python), "", "The Python environment made for the step.");
const CODE: Field = Field::new(
    "code",
    TEXT_OR_TEXTS,
    "files named in `run`, and those beside them with the same ending",
    "Globs of files whose content the step depends on.",
);
const ISOLATE: Field = Field::new(
    "isolate",
    Word(&["link", "copy"]),
    "link",
    "Whether inputs are links to stored objects or private copies.",
);
const CACHE_FIELD: Field = Field::new(
    "cache",
    CACHE,
    "auto; never for deploy, monitor and an ingest with `run`",
    "Whether an earlier result of the same fingerprint is reused.",
);
const RETRY_FIELD: Field = Field::new("retry", RETRY_SHAPE, "0", "What to try again after a failure.");
const TIMEOUT: Field = Field::new("timeout", DurationOrNone, "none", "The longest that an attempt may take.");
const GRACE: Field = Field::new("grace", Duration, "10s", "The time between TERM and KILL when an attempt is ended.");
const POOL: Field = Field::new("pool", Name, "", "The pool of which a task takes slots.");
const ON_UNKNOWN: Field = Field::new(
    "on_unknown",
    Word(&["wait", "retry"]),
    "wait",
    "What to do where an earlier attempt cannot be proven dead: wait until it can, or try again at the risk of two at once.",
);
const RESOURCES_FIELD: Field = Field::new("resources", B(Block::Resources), "", "What a task takes of the machine.");

pub(super) const PIPELINE: &[Field] = &[
    Field::new(
        "pipeline",
        Name,
        "the file's name without its ending",
        "The identity of the pipeline: `[a-z][a-z0-9_-]{0,63}`.",
    ),
    Field::new("description", Text, "", "Free text."),
    Field::new("owner", Text, "", "Who answers for the pipeline."),
    Field::new(
        "params",
        Map(&Either(&[Literal, B(Block::Param)])),
        "",
        "Typed parameters, set by `-p name=value` or `--params FILE`.",
    ),
    Field::new(
        "pools",
        Map(&Int(1, MANY)),
        "",
        "Pools and their slots: at most so many tasks that name a pool run at once.",
    ),
    Field::new("defaults", B(Block::Defaults), "", "Defaults of all steps."),
    Field::new("steps", Map(&B(Block::Step)), "", "The steps, by name.").required(),
    Field::new("hooks", B(Block::Hooks), "", "Commands that run when the run has ended, each within a minute."),
    starts::SCHEDULE_FIELD,
    starts::SCHEDULES,
    starts::PARTITION_FIELD,
    starts::TRIGGER_FIELD,
    starts::PRIORITY,
    later::PROBLEM,
    later::DOCUMENTS,
    later::BASELINE,
];

pub(super) const PARAM: &[Field] = &[
    Field::new("type", Word(TYPES), "the type of `default`", "The type that every value must have."),
    Field::new("default", Literal, "", "The value where none is given. Without it, one must be given."),
    Field::new("min", Number, "", "The smallest allowed number."),
    Field::new("max", Number, "", "The largest allowed number."),
    Field::new("choices", List(&Literal), "", "The only allowed values."),
    Field::new("help", Text, "", "One line for people."),
];

pub(super) const DEFAULTS: &[Field] = &[
    PARAMS_LIST,
    ENV_FIELD,
    PYTHON_FIELD,
    CODE,
    ISOLATE,
    CACHE_FIELD,
    RETRY_FIELD,
    TIMEOUT,
    GRACE,
    POOL,
    RESOURCES_FIELD,
    ON_UNKNOWN,
    later::IMAGE,
];

pub(super) const STEP: &[Field] = &[
    Field::new("kind", Word(KINDS), "transform", "What the step is for; sets defaults and what must be present."),
    Field::new("description", Text, "", "Free text."),
    Field::new(
        "from",
        Source,
        "",
        "What an ingest reads: a file, a folder, a glob, or an `http(s)://` address. Paths start with `./`, `../` or `/`. `${{ partition }}` stands for the key of the run's partition.",
    ),
    Field::new(
        "run",
        COMMAND,
        "",
        "The command. Text goes to `sh -eu`; a list is executed directly. Values arrive in the environment, never in the text.",
    ),
    Field::new(
        "in",
        Map(&Either(&[Reference, B(Block::Input)])),
        "",
        "What the step reads, by local name: `step`, `step.output`, `pipeline/step@version`, a path, or the item of `foreach`. Arrives as `IN_<NAME>`.",
    ),
    Field::new(
        "out",
        Either(&[NAMES, Map(&B(Block::Output))]),
        "one output called like the step",
        "What the step writes, to `OUT_<NAME>`.",
    ),
    Field::new("after", Either(&[Step, List(&Step)]), "", "Steps that must have ended before, without data."),
    Field::new("matrix", B(Block::Matrix), "", "Runs the step once for every combination of values."),
    Field::new("foreach", B(Block::Foreach), "", "Runs the step once for every entry of an upstream output."),
    Field::new("max_parallel", Int(1, MANY), "no limit", "How many tasks of the step may run at once."),
    Field::new("when", Expr, "", "Skips the step where the expression is false."),
    Field::new(
        "require",
        EXPR_OR_EXPRS,
        "",
        "Conditions over the metrics the step reports; a false one fails the task.",
    ),
    Field::new(
        "continue_on_error",
        Bool,
        "false",
        "A failure does not fail the run; dependents see the outputs as absent.",
    ),
    PARAMS_LIST,
    ENV_FIELD,
    PYTHON_FIELD,
    CODE,
    ISOLATE,
    CACHE_FIELD,
    RETRY_FIELD,
    TIMEOUT,
    GRACE,
    POOL,
    Field::new("slots", Int(1, MANY), "1", "How many slots of its pool a task takes."),
    RESOURCES_FIELD,
    ON_UNKNOWN,
    later::IMAGE,
    later::STORE,
    later::EXPECT,
    later::MAX_GROWTH,
    later::BY,
    later::VOTES,
    later::AGREEMENT_FIELD,
    later::METRICS,
    later::SLICES,
    later::PICK,
    later::BASELINE,
    later::MODEL,
    later::TO,
    later::APPROVE_FIELD,
    later::STRATEGY_FIELD,
    later::TARGET,
    later::WATCH,
    later::DRIFT_FIELD,
    later::THEN,
    later::TRIGGER,
];

pub(super) const INPUT: &[Field] = &[
    Field::new("from", Reference, "", "What is read.").required(),
    Field::new("optional", Bool, "false", "Its absence is not an obstacle."),
];

pub(super) const OUTPUT: &[Field] = &[
    Field::new("path", Path, "the output's name", "The file name that readers see."),
    Field::new("dir", Bool, "false", "A folder instead of a file."),
    Field::new("publish", Path, "", "A place in the project where people look."),
    Field::new("optional", Bool, "false", "May be absent after success."),
    Field::new(
        "normalize",
        Either(&[Word(NORMALIZERS), List(&Word(NORMALIZERS))]),
        "every byte counts",
        "What does not count when `reproduce` compares two versions: one word, or several from the outside in (`[gzip, csv]`). In a folder it holds for each file, in a `zip` for each entry. It changes no bytes and re-runs nothing.",
    ),
];

pub(super) const MATRIX: &[Field] = &[
    Field::new("include", CELLS, "", "Cells to add, or values to add to cells that match on every shared axis."),
    Field::new("exclude", CELLS, "", "Cells to leave out: those that match on every axis named."),
    Field::new("max_parallel", Int(1, MANY), "no limit", "How many cells may run at once."),
    Field::new("min_success", Int(1, MANY), "all", "How many cells must succeed for the step to have succeeded."),
];

pub(super) const FOREACH: &[Field] =
    &[Field::new("max_parallel", Int(1, MANY), "no limit", "How many entries may be worked on at once.")];

pub(super) const SECRET: &[Field] =
    &[Field::new("secret", Text, "", "The name under which the configuration knows the value.").required()];

pub(super) const PYTHON: &[Field] = &[
    Field::new("requirements", TEXT_OR_TEXTS, "", "A requirements file, or the requirements themselves.").required(),
    Field::new("version", Text, "the first that is found", "The interpreter's version, such as `3.11`."),
];

pub(super) const TTL: &[Field] = &[Field::new("ttl", Duration, "", "The oldest result that is reused.").required()];

pub(super) const RETRY: &[Field] = &[
    Field::new("max", Int(0, 100), "", "Further attempts after the first.").required(),
    Field::new("backoff", Duration, "1s", "The wait before the second attempt."),
    Field::new("factor", Number, "2", "Each further wait is so many times longer, from 1 to 100."),
    Field::new("max_backoff", Duration, "10m", "No wait is longer."),
    Field::new("jitter", Bool, "true", "Spreads waits between half and whole."),
    Field::new(
        "on",
        Either(&[Cause, List(&Cause)]),
        "every cause but cancellation, and a false `require`",
        "The causes to try again: `exit`, `exit:CODE`, `signal`, `timeout`, `out_of_memory`, `spawn`, `missing_output`, `require`, `no_space`, `lost` or `internal`.",
    ),
];

pub(super) const RESOURCES: &[Field] = &[
    Field::new("cpu", Cpu, "1", "Cores: `2`, `0.5` or `500m`."),
    Field::new("mem", Size, "none", "Memory: `4Gi`, `512Mi`, `2G`."),
    later::GPU,
];

pub(super) const HOOKS: &[Field] = &[
    Field::new("success", B(Block::Hook), "", "After success."),
    Field::new("failure", B(Block::Hook), "", "After failure."),
    Field::new("exit", B(Block::Hook), "", "After any end, cancellation included."),
];

pub(super) const HOOK: &[Field] = &[Field::new("run", COMMAND, "", "The command, as in a step.").required()];
