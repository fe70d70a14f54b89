//! The checked form of a pipeline definition: defaults merged, names resolved, every value typed.
//!
//! Plain data. What could not be understood never gets here; see the decoder for places and messages.

use std::time::Duration;

use indexmap::IndexMap;

use crate::attempt::Cause;
use crate::expr::Expr;
use crate::name::Name;
use crate::partition::Partitioning;
use crate::scalar::Scalar;
use crate::schedule::Schedule;

pub use super::ingest::{NeedsPartition, Source};
pub use super::normalize::Normalizer;

/// A whole pipeline.
///
/// Invariants: every reference names something that exists; the graph of steps has no cycle; no two names that a
/// step sees share an environment spelling.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    /// Identity; the stem of the file where the file does not say.
    pub name: Name,
    /// Free text.
    pub description: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Declared parameters, with defaults or required, in the order written.
    pub params: IndexMap<Name, Param>,
    /// Slots of each pool that steps of this pipeline may name.
    pub pools: IndexMap<Name, u32>,
    /// The steps, in the order written.
    pub steps: IndexMap<Name, Step>,
    /// What to run when the run has ended.
    pub hooks: Hooks,
    /// When runs start by themselves; names differ.
    pub schedules: Vec<Schedule>,
    /// What runs work on one at a time.
    pub partition: Option<Partitioning>,
    /// Events that start a run, each by itself.
    pub triggers: Vec<Trigger>,
    /// Which of the runs that wait goes first: the larger number; from −100 to 100.
    pub priority: i32,
}

/// A declared parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// The type every value must have.
    pub kind: ParamKind,
    /// The value where none is given; none means that one must be given.
    pub default: Option<Scalar>,
    /// Smallest allowed number.
    pub min: Option<f64>,
    /// Largest allowed number.
    pub max: Option<f64>,
    /// The only allowed values, where listed.
    pub choices: Option<Vec<Scalar>>,
    /// One line for people.
    pub help: Option<String>,
}

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParamKind {
    /// `true` or `false`.
    Bool,
    /// A whole number of 64 bits.
    Int,
    /// A finite number.
    Float,
    /// Text.
    Text,
}

/// What a step is for; sets defaults and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are the words of the language")]
pub enum Kind {
    Ingest,
    Label,
    Transform,
    Train,
    Evaluate,
    Deploy,
    Monitor,
}

impl Kind {
    /// The word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Label => "label",
            Self::Transform => "transform",
            Self::Train => "train",
            Self::Evaluate => "evaluate",
            Self::Deploy => "deploy",
            Self::Monitor => "monitor",
        }
    }
}

/// One step, `defaults` already merged in.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Unique within the pipeline.
    pub name: Name,
    /// What it is for.
    pub kind: Kind,
    /// Free text.
    pub description: Option<String>,
    /// What it does.
    pub action: Action,
    /// Local name → what is read.
    pub inputs: IndexMap<Name, Input>,
    /// Steps that must have ended before, without data; indices into [`Pipeline::steps`].
    pub after: Vec<usize>,
    /// Output name → how it is published. Never empty.
    pub outputs: IndexMap<Name, Output>,
    /// Static expansion.
    pub matrix: Option<Matrix>,
    /// Expansion over an upstream output.
    pub foreach: Option<Foreach>,
    /// How many tasks of this step may run at once; none means no limit of its own.
    pub max_parallel: Option<u32>,
    /// Skips the step where it is false.
    pub when: Option<Expr>,
    /// The parameters it receives and hashes; none means all that are declared.
    pub params: Option<Vec<Name>>,
    /// Its environment beyond the allow-list, in the order written.
    pub env: IndexMap<String, EnvValue>,
    /// The Python environment made for it.
    pub python: Option<Python>,
    /// Globs of code files; none means the default rule.
    pub code: Option<Vec<String>>,
    /// Private copies of inputs instead of links.
    pub isolate: bool,
    /// Reuse of earlier results.
    pub cache: Cache,
    /// What to try again.
    pub retry: Retry,
    /// The longest an attempt may take.
    pub timeout: Option<Duration>,
    /// Between TERM and KILL.
    pub grace: Duration,
    /// The pool it takes slots of.
    pub pool: Option<Name>,
    /// How many; 1 where there is no pool.
    pub slots: u32,
    /// What to do where an earlier attempt cannot be proven dead.
    pub on_unknown: OnUnknown,
    /// What it takes of the machine.
    pub resources: Resources,
    /// A failure does not fail the run, and dependents see the output as absent.
    pub continue_on_error: bool,
    /// Conditions over the metrics it reports; a false one fails the task.
    pub require: Vec<Expr>,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Runs a command.
    Run(Command),
    /// Reads a source; done by Runstone itself.
    From(Source),
}

/// A command, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Goes to `sh -eu -c`.
    Shell(String),
    /// Executed directly; never empty.
    Argv(Vec<String>),
}

/// What becomes of a task whose earlier attempt cannot be proven dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnUnknown {
    /// It waits until somebody can.
    #[default]
    Wait,
    /// It is tried again, at the risk that both are alive.
    Retry,
}

/// An event that starts a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trigger {
    /// New versions of datasets of other pipelines.
    Dataset {
        /// `pipeline/step` or `pipeline/step.output`; never empty, none twice.
        datasets: Vec<String>,
        /// Whether every one of them must have a new version, or any.
        all: bool,
    },
    /// A file that is new or has changed.
    File {
        /// A path or glob, relative to the pipeline's folder.
        path: String,
        /// How long it must have stayed the same.
        settle: Duration,
        /// How often to look; never zero.
        every: Duration,
    },
}

/// What an input names.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// The thing read.
    pub from: InputRef,
    /// Absence (skipped, failed with `continue_on_error`, optional output not written) is not an obstacle.
    pub optional: bool,
}

/// The thing an input reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputRef {
    /// An output of a step of this pipeline; `step` is an index into [`Pipeline::steps`].
    Step {
        /// Index of the producing step.
        step: usize,
        /// Which of its outputs.
        output: Name,
    },
    /// `pipeline/step[.output]@version` of another pipeline, text after the `@` (`latest` where left out).
    Dataset {
        /// `pipeline/step` or `pipeline/step.output`.
        name: String,
        /// What stands after the `@`.
        version: String,
    },
    /// A file or folder, `./…` relative to the pipeline's folder, or absolute.
    Path(String),
    /// The item of this step's `foreach` that bears this name.
    Item,
}

/// How an output is published.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    /// A folder instead of a file.
    pub dir: bool,
    /// The file name a reader sees; the output's name where left out. A single path component.
    pub path: Option<String>,
    /// A place in the project, relative to the pipeline's folder, where people look.
    pub publish: Option<String>,
    /// May be absent after exit 0.
    pub optional: bool,
    /// What does not count when two versions of it are compared, from the outside in.
    pub normalize: Vec<Normalizer>,
}

/// Static expansion of a step into cells.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Matrix {
    /// Axis → values, in the order written; their product is the start.
    pub axes: IndexMap<Name, Vec<Scalar>>,
    /// Cells to add, or values to add to cells that match on every shared axis.
    pub include: Vec<IndexMap<Name, Scalar>>,
    /// Cells to leave out: those that match on every axis named.
    pub exclude: Vec<IndexMap<Name, Scalar>>,
    /// How many cells must succeed for the step to count as succeeded; none means all.
    pub min_success: Option<u32>,
}

/// Expansion over the entries of an upstream output.
#[derive(Debug, Clone, PartialEq)]
pub struct Foreach {
    /// What an entry is called in `in:` and in `ITEM_<NAME>`.
    pub item: Name,
    /// Index of the producing step.
    pub step: usize,
    /// Which of its outputs: a folder (entries), a JSON list, or a collected list.
    pub output: Name,
}

/// The value of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvValue {
    /// As written.
    Plain(String),
    /// Looked up under this name in the configuration when an attempt starts; never recorded.
    Secret(String),
}

/// A Python environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Python {
    /// A requirements file relative to the pipeline's folder, or the requirements themselves.
    pub requirements: Requirements,
    /// Wanted interpreter version, such as `3.11`.
    pub version: Option<String>,
}

/// What a Python environment must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requirements {
    /// `./requirements.txt`.
    File(String),
    /// Written in the pipeline.
    Inline(Vec<String>),
}

/// Reuse of earlier results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cache {
    /// Reuse where the fingerprint is the same.
    Auto,
    /// Always execute.
    Never,
    /// Reuse a result that is no older than this.
    Ttl(Duration),
}

/// What to try again, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// Further attempts after the first; 0 means none.
    pub max: u32,
    /// Before the second attempt.
    pub backoff: Duration,
    /// Each further wait is this much longer.
    pub factor: f64,
    /// No wait is longer.
    pub max_backoff: Duration,
    /// Waits are spread between half and whole.
    pub jitter: bool,
    /// The causes to try again; empty means every cause but cancellation, and failures of `require`.
    pub on: Vec<RetryOn>,
}

/// A cause of failure that is worth another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryOn {
    /// Any end with this cause.
    Cause(Cause),
    /// Exactly this exit code.
    ExitCode(i32),
}

/// What a task takes of the machine while it runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Resources {
    /// Thousandths of a core; 1000 where left out.
    pub cpu_milli: u64,
    /// Bytes; 0 where left out, which takes nothing of the budget.
    pub mem: u64,
}

/// What to run when the run has ended.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Hooks {
    /// After success.
    pub success: Option<Command>,
    /// After failure.
    pub failure: Option<Command>,
    /// After any end, cancellation included.
    pub exit: Option<Command>,
}

impl Pipeline {
    /// The full name of an output as a dataset: `pipeline/step`, or `pipeline/step.output` where the output is not
    /// called like its step.
    #[must_use]
    pub fn dataset(&self, step: &Step, output: &Name) -> String {
        if *output == step.name {
            format!("{}/{}", self.name, step.name)
        } else {
            format!("{}/{}.{}", self.name, step.name, output)
        }
    }
}
