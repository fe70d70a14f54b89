//! What came of doing attempts again, as programs get it.

use runstone_core::cell::task_name;
use runstone_core::record::AttemptRecord;
use runstone_core::reproduction::{DifferenceKind, FirstDifference, OutputComparison, Reproduction, Verdict};
use serde::Serialize;

use runstone_lineage::view::Rfc3339;

/// A version that was made again, with everything that was done for it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Reproductions {
    /// As commands take it: `pipeline/step{cell}@v3`.
    pub(crate) version: String,
    /// The worst of all.
    pub(crate) verdict: Verdict,
    /// In the order of attempts, the one that made the version last.
    pub(crate) attempts: Vec<ReproductionView>,
}

/// An attempt that was done again.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ReproductionView {
    pub(crate) node: i64,
    pub(crate) run_number: i64,
    pub(crate) pipeline: String,
    pub(crate) task: String,
    pub(crate) verdict: Verdict,
    pub(crate) message: Option<String>,
    pub(crate) outputs: Vec<OutputView>,
    /// Numbers that came out otherwise; they do not decide.
    pub(crate) metrics: Vec<MetricView>,
    pub(crate) missing: Vec<String>,
    pub(crate) started_at: Rfc3339,
    pub(crate) ended_at: Rfc3339,
    pub(crate) wall_us: u64,
    pub(crate) platform: String,
    pub(crate) user: String,
    pub(crate) host: String,
    pub(crate) tool_version: String,
}

/// An output, on record and now.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct OutputView {
    pub(crate) output: String,
    pub(crate) verdict: Verdict,
    pub(crate) expected_hash: Option<String>,
    pub(crate) found_hash: Option<String>,
    pub(crate) expected_bytes: Option<u64>,
    pub(crate) found_bytes: Option<u64>,
    pub(crate) difference: Option<DifferenceView>,
    pub(crate) message: Option<String>,
}

/// Where two versions begin to differ.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct DifferenceView {
    /// Within a folder; empty for a file.
    pub(crate) path: String,
    pub(crate) kind: DifferenceKind,
    pub(crate) offset_bytes: Option<u64>,
    pub(crate) expected_bytes: Option<u64>,
    pub(crate) found_bytes: Option<u64>,
}

/// A number that came out otherwise.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct MetricView {
    pub(crate) metric: String,
    pub(crate) slice: String,
    pub(crate) expected: Option<f64>,
    pub(crate) found: Option<f64>,
}

impl Reproductions {
    pub(crate) fn new(version: String, mut attempts: Vec<ReproductionView>) -> Self {
        attempts.sort_by_key(|attempt| attempt.node);
        let verdict = Verdict::worst(attempts.iter().map(|attempt| attempt.verdict));
        Self { version, verdict, attempts }
    }

    /// Whether something was not tried because an input is gone.
    pub(crate) fn lacks_inputs(&self) -> bool {
        self.attempts.iter().any(|attempt| attempt.missing.iter().any(|missing| missing.starts_with("input ")))
    }
}

impl ReproductionView {
    pub(crate) fn new(attempt: &AttemptRecord, it: &Reproduction, user: &str) -> Self {
        let metric = |metric: &runstone_core::reproduction::MetricDifference| MetricView {
            metric: metric.name.clone(),
            slice: metric.slice.clone(),
            expected: metric.expected,
            found: metric.found,
        };
        Self {
            node: attempt.id.0,
            run_number: attempt.run_number,
            pipeline: attempt.pipeline.clone(),
            task: task_name(&attempt.step, &attempt.cell),
            verdict: it.verdict,
            message: it.message.clone(),
            outputs: it.outputs.iter().map(OutputView::from).collect(),
            metrics: it.metrics.iter().map(metric).collect(),
            missing: it.missing.clone(),
            started_at: Rfc3339(it.started),
            ended_at: Rfc3339(it.ended),
            wall_us: it.ended.since(it.started),
            platform: it.platform.clone(),
            user: user.to_owned(),
            host: it.host.clone(),
            tool_version: it.tool_version.clone(),
        }
    }
}

impl From<&OutputComparison> for OutputView {
    fn from(it: &OutputComparison) -> Self {
        Self {
            output: it.output.clone(),
            verdict: it.verdict,
            expected_hash: it.expected.map(|hash| hash.to_string()),
            found_hash: it.found.map(|hash| hash.to_string()),
            expected_bytes: it.expected_size,
            found_bytes: it.found_size,
            difference: it.difference.as_ref().map(DifferenceView::from),
            message: it.message.clone(),
        }
    }
}

impl From<&FirstDifference> for DifferenceView {
    fn from(it: &FirstDifference) -> Self {
        Self {
            path: it.path.clone(),
            kind: it.kind,
            offset_bytes: it.offset,
            expected_bytes: it.expected_size,
            found_bytes: it.found_size,
        }
    }
}
