//! What an attempt that ended states for the log: everything on record about it that never changes, as one value.
//!
//! A statement is made of rows and nothing else, so that whoever has the rows can make it again and compare. It names the
//! run it belongs to by a hash, of a [`RunStatement`] that is made once for all attempts of the run; what was asked
//! by its fingerprint; and bytes by their content hash. So a statement in the log vouches for all of these.
//!
//! Not part of it: what may still change (the state of the run, tasks, heads, tags), and what only decides how an
//! attempt was executed (pools, claims).

use uuid::Uuid;

use crate::canonical::{self, Value, View};
use crate::hash::{ContentHash, Fingerprint};
use crate::record::{
    AttemptEnd, AttemptRecord, ConsumedRecord, ContentKind, MaterializationRecord, Metric, NodeId, RunRecord,
};

/// Version of the recipe, part of every statement.
pub const RECIPE: i64 = 1;

/// BLAKE3 key-derivation context of the hash by which statements name their run.
const RUN_CONTEXT: &str = "runstone 2026-11 run statement v1";

/// What is stated of a run.
#[derive(Debug, Clone, Copy)]
pub struct RunStatement<'a> {
    /// Identity of the project.
    pub project: Uuid,
    /// The run.
    pub run: &'a RunRecord,
}

impl RunStatement<'_> {
    /// As one value.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let Self { project, run } = self;
        let environment = &run.environment;
        Value::map([
            ("type", Value::text("runstone run")),
            ("recipe", Value::Int(RECIPE)),
            ("project", Value::text(project.to_string())),
            ("id", Value::text(run.id.to_string())),
            ("number", Value::Int(run.number)),
            ("pipeline", Value::text(&run.pipeline)),
            ("definition", hash(&run.definition)),
            ("definition_path", Value::text(&run.definition_path)),
            ("params", Value::from_json(&run.params)),
            ("request", Value::from_json(&run.request)),
            ("trigger", Value::text(&run.trigger)),
            ("created", Value::Int(run.created.0)),
            ("partition", optional(run.partition.as_ref())),
            ("tool_version", Value::text(&environment.tool_version)),
            ("platform", Value::text(&environment.platform)),
            ("user", Value::text(&environment.user)),
            ("host", Value::text(&environment.host)),
            ("git_commit", optional(environment.git_commit.as_ref())),
            ("git_dirty", environment.git_dirty.map_or(Value::Null, Value::Bool)),
        ])
    }

    /// The canonical bytes, and the hash by which the statements of attempts name them.
    #[must_use]
    pub fn seal(&self) -> (ContentHash, Vec<u8>) {
        let bytes = canonical::encode(&self.to_value());
        (run_hash(&bytes), bytes)
    }
}

/// The hash of the canonical bytes of a [`RunStatement`].
#[must_use]
pub fn run_hash(canonical: &[u8]) -> ContentHash {
    ContentHash::from_bytes(canonical::hash_encoded(RUN_CONTEXT, canonical))
}

/// What is stated of an attempt that ended.
#[derive(Debug, Clone, Copy)]
pub struct Statement<'a> {
    /// Hash of what is stated of its run.
    pub run: ContentHash,
    /// The attempt.
    pub attempt: &'a AttemptRecord,
    /// For kind `reuse`: identity of the attempt that did the work.
    pub reused_from: Option<Uuid>,
    /// What it read, each with what that was, in the order (publication, input).
    pub inputs: &'a [(ConsumedRecord, MaterializationRecord)],
    /// What it published, in the order of ids.
    pub outputs: &'a [MaterializationRecord],
    /// What it reported itself, in the order (name, slice).
    pub metrics: &'a [Metric],
    /// What else it reported itself.
    pub metadata: Option<&'a serde_json::Value>,
}

impl Statement<'_> {
    /// As one value. Fields that say nothing are left out.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let attempt = self.attempt;
        let mut fields = vec![
            ("type", Value::text("runstone attempt")),
            ("recipe", Value::Int(RECIPE)),
            ("run", hash(&self.run)),
            ("run_number", Value::Int(attempt.run_number)),
            ("node", Value::Int(attempt.id.0)),
            ("id", Value::text(attempt.uuid.to_string())),
            ("pipeline", Value::text(&attempt.pipeline)),
            ("step", Value::text(&attempt.step)),
            ("cell", Value::text(&attempt.cell)),
            ("task", Value::Int(attempt.task.into())),
            ("number", Value::Int(attempt.number.into())),
            ("kind", Value::text(attempt.kind.as_str())),
            ("state", Value::text(attempt.state.as_str())),
            ("fingerprint", Value::bytes(*attempt.fingerprint.as_bytes())),
            ("created", Value::Int(attempt.created.0)),
            ("reusable", Value::Bool(attempt.reusable)),
        ];
        fields.extend(attempt.end.as_ref().map(|end| ("end", end_value(end))));
        fields.extend(self.reused_from.map(|uuid| ("reused_from", Value::text(uuid.to_string()))));
        fields.push(("inputs", Value::list(self.inputs.iter().map(|(edge, read)| input_value(edge, read)))));
        fields.push(("outputs", Value::list(self.outputs.iter().map(output_value))));
        if !self.metrics.is_empty() {
            fields.push(("metrics", Value::list(self.metrics.iter().map(metric_value))));
        }
        fields.extend(self.metadata.map(|metadata| ("metadata", Value::from_json(metadata))));
        Value::map(fields)
    }

    /// The canonical bytes: the leaf of the log.
    #[must_use]
    pub fn seal(&self) -> Vec<u8> {
        canonical::encode(&self.to_value())
    }
}

fn end_value(end: &AttemptEnd) -> Value {
    Value::map([
        ("started", Value::Int(end.started.0)),
        ("ended", Value::Int(end.ended.0)),
        ("cause", Value::text(end.cause.as_str())),
        ("exit_code", end.exit_code.map_or(Value::Null, |code| Value::Int(code.into()))),
        ("signal", end.signal.map_or(Value::Null, |signal| Value::Int(signal.into()))),
        ("message", optional(end.message.as_ref())),
        ("user_us", whole(end.user_us)),
        ("system_us", whole(end.system_us)),
        ("peak_rss", whole(end.peak_rss)),
        ("stdout_bytes", whole(end.stdout_bytes)),
        ("stderr_bytes", whole(end.stderr_bytes)),
        ("leftovers", Value::Int(end.leftovers.into())),
        ("tainted", optional(end.tainted.as_ref())),
    ])
}

fn input_value(edge: &ConsumedRecord, read: &MaterializationRecord) -> Value {
    Value::map([
        ("input", Value::text(&edge.slot)),
        ("trust", Value::text(edge.trust.as_str())),
        ("node", Value::Int(read.id.0)),
        ("dataset", Value::text(&read.dataset)),
        ("subset", Value::text(&read.subset)),
        ("version", Value::Int(read.version)),
        ("hash", hash(&read.hash)),
    ])
}

fn output_value(made: &MaterializationRecord) -> Value {
    Value::map([
        ("output", Value::text(&made.output)),
        ("node", Value::Int(made.id.0)),
        ("dataset", Value::text(&made.dataset)),
        ("subset", Value::text(&made.subset)),
        ("version", Value::Int(made.version)),
        ("hash", hash(&made.hash)),
        ("kind", Value::text(made.kind.as_str())),
        ("size", whole(made.size)),
        ("files", whole(made.files)),
        ("rows", made.rows.map_or(Value::Null, whole)),
        ("file_name", Value::text(&made.file_name)),
        ("created", Value::Int(made.created.0)),
    ])
}

fn metric_value(metric: &Metric) -> Value {
    Value::list([
        Value::text(&metric.name),
        Value::text(&metric.slice),
        Value::Float(metric.value),
        metric.n.map_or(Value::Null, whole),
    ])
}

fn hash(content: &ContentHash) -> Value {
    Value::bytes(*content.as_bytes())
}

fn optional(text: Option<&String>) -> Value {
    text.map_or(Value::Null, Value::text)
}

/// Databases hold 63 bits of it.
fn whole(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// What a statement says of other things, for whoever checks that these are as it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stated {
    /// The attempt's node.
    pub node: NodeId,
    /// The attempt's identity.
    pub id: String,
    /// For people: `#42 pipeline/step{cell}`.
    pub name: String,
    /// Hash of what is stated of its run.
    pub run: ContentHash,
    /// What was asked.
    pub fingerprint: Fingerprint,
    /// Whether it took an earlier result over.
    pub is_reuse: bool,
    /// What it read: node and content.
    pub inputs: Vec<(NodeId, ContentHash)>,
    /// What it published: node, content, its kind and its size.
    pub outputs: Vec<(NodeId, ContentHash, ContentKind, u64)>,
}

/// A value that is no statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a statement without a proper `{0}`")]
pub struct NotAStatement(&'static str);

impl Stated {
    /// Reads the value of a statement.
    ///
    /// # Errors
    /// [`NotAStatement`] names the first field that is missing or not what it should be.
    pub fn read(value: &View<'_>) -> Result<Self, NotAStatement> {
        let (step, cell) = (text(value, "step")?, text(value, "cell")?);
        let task = crate::cell::task_name(step, cell);
        let list = |field: &'static str| match value.get(field) {
            Some(View::List(entries)) => Ok(entries),
            _ => Err(NotAStatement(field)),
        };
        let input = |entry: &View<'_>| Ok((NodeId(int(entry, "node")?), content(entry, "hash")?));
        let output = |entry: &View<'_>| {
            let kind = ContentKind::parse(text(entry, "kind")?).ok_or(NotAStatement("kind"))?;
            let size = u64::try_from(int(entry, "size")?).map_err(|_| NotAStatement("size"))?;
            Ok((NodeId(int(entry, "node")?), content(entry, "hash")?, kind, size))
        };
        Ok(Self {
            node: NodeId(int(value, "node")?),
            id: text(value, "id")?.to_owned(),
            name: format!("#{} {}/{task}", int(value, "run_number")?, text(value, "pipeline")?),
            run: content(value, "run")?,
            fingerprint: Fingerprint::from_bytes(bytes(value, "fingerprint")?),
            is_reuse: value.get("reused_from").is_some(),
            inputs: list("inputs")?.iter().map(input).collect::<Result<_, _>>()?,
            outputs: list("outputs")?.iter().map(output).collect::<Result<_, _>>()?,
        })
    }
}

fn text<'v>(value: &'v View<'_>, field: &'static str) -> Result<&'v str, NotAStatement> {
    match value.get(field) {
        Some(View::Text(text)) => Ok(text),
        _ => Err(NotAStatement(field)),
    }
}

fn int(value: &View<'_>, field: &'static str) -> Result<i64, NotAStatement> {
    match value.get(field) {
        Some(View::Int(number)) => Ok(*number),
        _ => Err(NotAStatement(field)),
    }
}

fn bytes(value: &View<'_>, field: &'static str) -> Result<[u8; 32], NotAStatement> {
    match value.get(field) {
        Some(View::Bytes(bytes)) => (*bytes).try_into().map_err(|_| NotAStatement(field)),
        _ => Err(NotAStatement(field)),
    }
}

fn content(value: &View<'_>, field: &'static str) -> Result<ContentHash, NotAStatement> {
    bytes(value, field).map(ContentHash::from_bytes)
}
