//! `runstone metrics`: the numbers that steps reported, side by side.

use std::collections::HashMap;

use runstone_core::cell::task_name;
use runstone_core::record::{RunRecord, TaskRecord};
use runstone_core::store::{RunFilter, Store};
use serde::Serialize;

use crate::args::FormatArgs;
use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::render::metrics::{comparison, pivot};
use runstone_core::reference::{RunRef, cell_agrees};
use runstone_lineage::find;

/// Compare the metrics that steps reported, across runs and cells
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone metrics\n  \
    runstone metrics --step model --sort f1\n  \
    runstone metrics --run 42 --slices --metric f1\n  \
    runstone metrics --diff 41 42")]
pub(crate) struct Args {
    /// Only of this step (or cells of it: 'model{lr=0.1}')
    #[arg(long, value_name = "STEP")]
    step: Option<runstone_core::cell::TaskRef>,
    /// Only these metrics
    #[arg(long, value_name = "NAME")]
    metric: Vec<String>,
    /// Only of these runs; the newest ten of the newest run's pipeline where none is given
    #[arg(long, value_name = "RUN", conflicts_with = "diff")]
    run: Vec<RunRef>,
    /// How many runs back
    #[arg(long, default_value_t = 10, value_name = "N")]
    last: u32,
    /// Sort by this metric, the largest first
    #[arg(long, value_name = "METRIC")]
    sort: Option<String>,
    /// Sort the smallest first
    #[arg(long, requires = "sort")]
    ascending: bool,
    /// Show slices as well as the whole
    #[arg(long)]
    slices: bool,
    /// Compare two runs, metric by metric
    #[arg(long, num_args = 2, value_names = ["RUN", "RUN"], conflicts_with = "sort")]
    diff: Vec<RunRef>,
    #[command(flatten)]
    format: FormatArgs,
}

/// A number that a task of a run stands for, reported by it or by the attempt it reused.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measurement {
    pub(crate) run_number: i64,
    pub(crate) task: String,
    pub(crate) step: String,
    pub(crate) cell: String,
    pub(crate) metric: String,
    /// Empty for the whole.
    pub(crate) slice: String,
    pub(crate) value: f64,
    pub(crate) n: Option<u64>,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let (_, mut store) = context.open()?;
    let runs = chosen_runs(&mut *store, args)?;
    let mut measurements = Vec::new();
    for run in &runs {
        measurements.extend(of_run(&mut *store, run, args)?);
    }
    if args.format.json {
        if let Some(metric) = &args.sort {
            sort(&mut measurements, metric, args.ascending);
        }
        return context.terminal.print_json(&measurements);
    }
    if measurements.is_empty() {
        return Err(CommandError::not_found("no metric fits").hint("steps report them by writing JSON to $METRICS"));
    }
    let layout = context.layout();
    let (text, note) = if let [before, after] = &runs[..]
        && !args.diff.is_empty()
    {
        (comparison(&measurements, before.number, after.number, &layout), None)
    } else {
        pivot(&measurements, args.sort.as_deref(), args.ascending, &layout)?
    };
    context.terminal.print(&text)?;
    if let Some(note) = note {
        context.terminal.note(note);
    }
    Ok(())
}

/// Puts all that a task (and slice) reported where its value of this metric belongs; what has no such metric last.
fn sort(measurements: &mut [Measurement], metric: &str, ascending: bool) {
    let row = |it: &Measurement| (it.run_number, it.task.clone(), it.slice.clone());
    let values: HashMap<_, f64> =
        measurements.iter().filter(|it| it.metric == metric).map(|it| (row(it), it.value)).collect();
    measurements.sort_by(|a, b| match (values.get(&row(a)), values.get(&row(b))) {
        (Some(a), Some(b)) if ascending => a.total_cmp(b),
        (Some(a), Some(b)) => b.total_cmp(a),
        (a, b) => b.is_some().cmp(&a.is_some()),
    });
}

fn chosen_runs(store: &mut dyn Store, args: &Args) -> CommandResult<Vec<RunRecord>> {
    let named = if args.diff.is_empty() { &args.run } else { &args.diff };
    if !named.is_empty() {
        return named.iter().map(|run| Ok(find::run(store, Some(run))?)).collect();
    }
    let Some(newest) = store.run(&RunRef::Latest)? else {
        return Err(CommandError::not_found("there is no run yet"));
    };
    let filter = RunFilter { pipeline: Some(newest.pipeline), state: None, limit: Some(args.last) };
    Ok(store.runs(&filter)?)
}

fn of_run(store: &mut dyn Store, run: &RunRecord, args: &Args) -> CommandResult<Vec<Measurement>> {
    let wanted = |task: &TaskRecord| {
        args.step.as_ref().is_none_or(|step| step.step == task.step && cell_agrees(&task.cell, &step.cell))
    };
    let tasks: Vec<TaskRecord> = store.tasks(run.id)?.into_iter().filter(wanted).collect();
    let mut ids: Vec<_> = tasks.iter().filter_map(|task| task.attempt).collect();
    ids.sort_unstable();
    ids.dedup();
    let reported = store.metrics(&ids)?;
    let mut measurements = Vec::new();
    for task in &tasks {
        let start = reported.partition_point(|(id, _)| Some(*id) < task.attempt);
        for (_, metric) in reported[start..].iter().take_while(|(id, _)| Some(*id) == task.attempt) {
            let is_wanted = (args.slices || metric.slice.is_empty())
                && (args.metric.is_empty() || args.metric.contains(&metric.name));
            if is_wanted {
                measurements.push(Measurement {
                    run_number: run.number,
                    task: task_name(&task.step, &task.cell),
                    step: task.step.clone(),
                    cell: task.cell.clone(),
                    metric: metric.name.clone(),
                    slice: metric.slice.clone(),
                    value: metric.value,
                    n: metric.n,
                });
            }
        }
    }
    Ok(measurements)
}
