//! `runstone why`: why tasks of a run were executed, reused or left out, as far as the record goes.

use runstone_core::canonical::{self, Value};
use runstone_core::cell::task_name;
use runstone_core::record::{AttemptRecord, AttemptState, RunRecord, TaskRecord, TaskState};
use runstone_core::store::Store;
use serde::Serialize;

use crate::args::FormatArgs;
use crate::context::Context;
use crate::error::{CommandError, CommandResult, ErrorKind};
use crate::reference::{RunArg, TaskArg};
use crate::render::difference::{Difference, differences};
use crate::render::harmless;
use crate::render::outcome::cause_text;
use crate::render::style::{self, BOLD, DIM, paint};
use crate::view::task;

/// How many cells are explained unless more is asked for.
const LISTED: usize = 20;

/// Explain why a task ran, was reused, or did not run
///
/// What was asked of the task is compared, field by field, with what was asked of the nearest other execution of the
/// same step and cell. `runstone plan` does the same before anything runs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone why model\n  \
    runstone why 'model{lr=0.1}' --run 42\n  \
    runstone why '#42/report' --json")]
pub(crate) struct Args {
    /// Which task, or several cells of one step
    task: TaskArg,
    /// Which run; the newest that has the task where none is given
    #[arg(long, value_name = "RUN")]
    run: Option<RunArg>,
    #[command(flatten)]
    format: FormatArgs,
}

/// Why a task is in its state.
#[derive(Debug, Serialize)]
struct Explanation {
    run_number: i64,
    task: String,
    state: TaskState,
    /// One sentence.
    summary: String,
    reason: Option<String>,
    fingerprint: Option<String>,
    /// What it is compared with.
    nearest: Option<Nearest>,
    differences: Vec<Difference>,
}

/// The execution that a task is compared with.
#[derive(Debug, Serialize)]
struct Nearest {
    run_number: i64,
    fingerprint: String,
    state: AttemptState,
    same_fingerprint: bool,
    reusable: bool,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let (_, mut store) = context.open()?;
    let (run, tasks) = task::find(&mut *store, &args.task, args.run.as_ref())?;
    let limit = if context.terminal.is_verbose() || args.format.json { usize::MAX } else { LISTED };
    let shown = tasks.iter().take(limit);
    let explanations: Vec<Explanation> =
        shown.map(|task| explain(&mut *store, &run, task)).collect::<CommandResult<_>>()?;
    if args.format.json {
        return context.terminal.print_json(&explanations);
    }
    for explanation in &explanations {
        context.terminal.print(&render(explanation))?;
    }
    if tasks.len() > explanations.len() {
        context.terminal.note(format_args!("and {} more cells (-v explains all)", tasks.len() - explanations.len()));
    }
    Ok(())
}

fn explain(store: &mut dyn Store, run: &RunRecord, task: &TaskRecord) -> CommandResult<Explanation> {
    let nearest = store.nearest(&run.pipeline, &task.step, &task.cell, Some(run.id))?;
    let attempt = match task.attempt {
        Some(id) => store.attempts_by_id(&[id])?.pop(),
        None => None,
    };
    let differences = match (&task.fingerprint, &nearest) {
        (Some(now), Some(nearest)) if *now != nearest.fingerprint => {
            differences(&derivation(store, &nearest.fingerprint)?, &derivation(store, now)?)
        }
        _ => Vec::new(),
    };
    let nearest = nearest.map(|it| Nearest {
        run_number: it.run_number,
        fingerprint: it.fingerprint.to_string(),
        state: it.state,
        same_fingerprint: Some(it.fingerprint) == task.fingerprint,
        reusable: is_reusable(&it),
    });
    Ok(Explanation {
        run_number: run.number,
        task: task_name(&task.step, &task.cell),
        state: task.state,
        summary: summary(task, attempt.as_ref(), nearest.as_ref()),
        reason: task.reason.clone(),
        fingerprint: task.fingerprint.map(|fingerprint| fingerprint.to_string()),
        nearest,
        differences,
    })
}

fn is_reusable(attempt: &AttemptRecord) -> bool {
    attempt.state == AttemptState::Succeeded && attempt.end.as_ref().is_none_or(|end| end.tainted.is_none())
}

fn derivation(store: &mut dyn Store, fingerprint: &runstone_core::hash::Fingerprint) -> CommandResult<Value> {
    let missing = || CommandError::new(ErrorKind::Store, format!("what {fingerprint} asked for is not on record"));
    let bytes = store.derivation(fingerprint)?.ok_or_else(missing)?;
    canonical::decode(&bytes).map_err(|error| {
        CommandError::new(ErrorKind::Store, format!("what {fingerprint} asked for cannot be read")).because(error)
    })
}

fn summary(task: &TaskRecord, attempt: Option<&AttemptRecord>, nearest: Option<&Nearest>) -> String {
    match task.state {
        TaskState::Waiting => return "is not decided yet".to_owned(),
        TaskState::Reused => {
            let from = attempt.map(|it| format!(" of run #{}", it.run_number)).unwrap_or_default();
            return format!("asks for exactly what was done before: the result{from} stands for it");
        }
        TaskState::Skipped => return "did not run".to_owned(),
        TaskState::Cancelled if attempt.is_none() => return "was cancelled before it ran".to_owned(),
        _ => {}
    }
    let ran = match attempt.and_then(|it| it.end.as_ref()) {
        Some(end) if task.state == TaskState::Failed => {
            format!("ran and failed ({})", cause_text(end.cause, end.exit_code, end.signal))
        }
        _ => "ran".to_owned(),
    };
    match nearest {
        None => format!("{ran}: no other run of this step and cell is on record"),
        Some(nearest) if !nearest.same_fingerprint => format!("{ran}: it differs from run #{}", nearest.run_number),
        Some(nearest) if !nearest.reusable => {
            format!("{ran}: run #{} asked for the same, but left no result to reuse", nearest.run_number)
        }
        Some(nearest) => format!("{ran} although run #{} asked for the same", nearest.run_number),
    }
}

fn render(explanation: &Explanation) -> String {
    let state = paint(style::of_task(explanation.state), explanation.state.as_str());
    let task = paint(BOLD, &harmless(&explanation.task));
    let mut out = format!("{task} in run #{}: {state}\n  it {}\n", explanation.run_number, explanation.summary);
    if let Some(reason) = &explanation.reason {
        out.push_str(&format!("  {}\n", harmless(reason)));
    }
    for line in explanation.differences.iter().flat_map(Difference::lines) {
        out.push_str(&format!("  {} {line}\n", paint(DIM, "•")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::difference::What;

    #[test]
    fn the_differences_follow_the_sentence() {
        let explanation = Explanation {
            run_number: 42,
            task: "model{lr=0.1}".into(),
            state: TaskState::Succeeded,
            summary: "ran: it differs from run #41".into(),
            reason: None,
            fingerprint: None,
            nearest: None,
            differences: vec![Difference {
                what: What::Parameter,
                name: "lr".into(),
                old: Some("0.1".into()),
                new: Some("0.01".into()),
            }],
        };
        let expected = "\
model{lr=0.1} in run #42: succeeded
  it ran: it differs from run #41
  • parameter changed: lr  0.1 → 0.01
";
        assert_eq!(anstream::adapter::strip_str(&render(&explanation)).to_string(), expected);
    }
}
