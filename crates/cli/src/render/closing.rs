//! The last lines of a run that succeeded: what it measured, what it published, and how to ask where that came from.

use std::path::Path;

use runstone_core::cell::task_name;
use runstone_core::record::{NodeId, RunId};
use runstone_core::spec::model::{Kind, Pipeline};
use runstone_core::store::{Store, StoreError};

use super::quantity::number;
use super::style::{BOLD, DIM, paint};
use runstone_lineage::view::reference;

/// How many tasks' metrics are shown.
const LISTED: usize = 8;

/// What is worth saying about a pipeline when a run of it ends; taken before the run, which consumes the pipeline.
pub(crate) struct Closing {
    /// Steps that evaluate, and steps that nobody reads from.
    steps: Vec<String>,
    /// Step and output → where it is published for people.
    published: Vec<(String, String, String)>,
}

impl Closing {
    /// `folder` is that of the pipeline, as people would type it.
    pub(crate) fn new(pipeline: &Pipeline, folder: &Path) -> Self {
        let is_read = |index: usize| {
            pipeline.steps.values().any(|step| {
                let mut inputs = step.inputs.values();
                inputs.any(|input| matches!(&input.from, runstone_core::spec::model::InputRef::Step { step, .. } if *step == index))
            })
        };
        let worth = |(index, step): &(usize, &runstone_core::spec::model::Step)| {
            step.kind == Kind::Evaluate || !is_read(*index)
        };
        let steps = pipeline.steps.values().enumerate().filter(worth).map(|(_, step)| step.name.to_string()).collect();
        let mut published = Vec::new();
        for step in pipeline.steps.values() {
            for (name, output) in &step.outputs {
                if let Some(place) = &output.publish {
                    let place = folder.join(place.strip_prefix("./").unwrap_or(place));
                    published.push((step.name.to_string(), name.to_string(), place.display().to_string()));
                }
            }
        }
        Self { steps, published }
    }

    /// The lines about a run.
    pub(crate) fn render(&self, store: &mut dyn Store, run: RunId) -> Result<String, StoreError> {
        let tasks = store.tasks(run)?;
        let wanted: Vec<_> = tasks.iter().filter(|task| self.steps.contains(&task.step)).collect();
        let attempts: Vec<NodeId> = wanted.iter().filter_map(|task| task.attempt).collect();
        let metrics = store.metrics(&attempts)?;
        let publications = store.published(&attempts)?;
        let mut out = String::new();
        for task in wanted.iter().take(LISTED) {
            let values: Vec<String> = metrics
                .iter()
                .filter(|(attempt, metric)| Some(*attempt) == task.attempt && metric.slice.is_empty())
                .map(|(_, metric)| format!("{} {}", metric.name, number(metric.value)))
                .collect();
            if !values.is_empty() {
                let name = task_name(&task.step, &task.cell);
                out.push_str(&format!("  {}  {}\n", paint(BOLD, &name), values.join(", ")));
            }
        }
        for (step, output, place) in &self.published {
            let attempt = tasks.iter().find(|task| task.step == *step).and_then(|task| task.attempt);
            let found = publications.iter().find(|it| Some(it.attempt) == attempt && it.output == *output);
            if let Some(found) = found {
                let version = reference(&found.dataset, &found.subset, found.version);
                out.push_str(&format!("  {}  {place} {}\n", paint(BOLD, step), paint(DIM, &format!("({version})"))));
                out.push_str(&format!(
                    "  {}\n",
                    paint(DIM, &format!("runstone lineage {version}  tells where it came from"))
                ));
            }
        }
        Ok(out)
    }
}
