//! `runstone why`: why a version was made, or why a task was executed, reused or left out, as far as the record goes.

use runstone_core::cell::task_name;
use runstone_core::record::{AttemptRecord, NodeId, RunRecord, TaskRecord, TaskState};
use runstone_core::reference::{DatasetRef, RunRef, RunTaskRef};
use runstone_core::store::Store;
use runstone_exec::objects::ObjectStore;
use runstone_lineage::difference::Difference;
use runstone_lineage::why::{self, Before, Explanation};
use runstone_lineage::{find, view};
use serde::Serialize;

use crate::args::FormatArgs;
use crate::context::{Context, open_objects};
use crate::error::{CommandError, CommandResult};
use crate::render::outcome::cause_text;
use crate::render::style::{self, BOLD, paint};
use crate::render::{harmless, why as render};

/// How many cells are explained unless more is asked for.
const LISTED: usize = 20;

/// Explain why a version was made, or why a task ran, was reused, or did not run
///
/// What was asked is compared, field by field, with what was asked the time before, and where an input differs, so is
/// what published it, up to the first causes: the file, parameter, package or source that changed. `runstone plan`
/// says the same before anything runs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone why model\n  \
    runstone why 'model{lr=0.1}' --run 42\n  \
    runstone why tickets/report@v2\n  \
    runstone why '#42/report' --json")]
pub(crate) struct Args {
    /// A task, several cells of one step, or a version of a dataset
    #[arg(value_name = "TASK|NAME[@VERSION]")]
    subject: Subject,
    /// Which run; the newest that has the task where none is given
    #[arg(long, value_name = "RUN")]
    run: Option<RunRef>,
    #[command(flatten)]
    format: FormatArgs,
}

/// What is asked about.
#[derive(Debug, Clone)]
enum Subject {
    Task(RunTaskRef),
    Version(DatasetRef),
}

impl std::str::FromStr for Subject {
    type Err = runstone_core::reference::ParseRefError;

    /// Datasets have a slash, a version or a hash; tasks begin with their run or have none of these outside their cell.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.split('{').next().unwrap_or_default();
        let is_version = !text.starts_with('#')
            && (name.contains(['/', '@'])
                || text.starts_with("b3:")
                || text.rsplit('}').next().unwrap_or_default().contains('@'));
        if is_version { text.parse().map(Self::Version) } else { text.parse().map(Self::Task) }
    }
}

/// Why a task is in its state, or a version there.
#[derive(Debug, Serialize)]
struct Answer {
    run_number: i64,
    task: String,
    /// For a version: as commands take it.
    version: Option<String>,
    state: TaskState,
    /// One sentence.
    summary: String,
    reason: Option<String>,
    fingerprint: Option<String>,
    /// What it is compared with; of a reused task, what stands for it.
    nearest: Option<Before>,
    /// In what it differs from what stood before; the first step of the explanation has more.
    differences: Vec<Difference>,
    /// Absent where nothing was asked yet.
    explanation: Option<Explanation>,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let (project, mut store) = context.open()?;
    let objects = open_objects(&project)?;
    let limit = if context.terminal.is_verbose() || args.format.json { usize::MAX } else { LISTED };
    let (answers, left_out) = match &args.subject {
        Subject::Task(task) => {
            let (run, tasks) = find::tasks(&mut *store, task, args.run.as_ref())?;
            let shown = tasks.iter().take(limit);
            let answers: Vec<Answer> =
                shown.map(|task| of_task(&mut *store, &objects, &run, task)).collect::<CommandResult<_>>()?;
            (answers, tasks.len().saturating_sub(limit))
        }
        Subject::Version(_) if args.run.is_some() => {
            return Err(CommandError::usage("--run says which run of a task is meant; of a dataset write NAME@run:42"));
        }
        Subject::Version(dataset) => {
            let found = find::versions(&mut *store, dataset)?;
            let shown = found.iter().take(limit);
            let answers: Vec<Answer> = shown
                .map(|version| {
                    let name = view::reference(&version.dataset, &version.subset, version.version);
                    of_attempt(&mut *store, &objects, version.attempt, name)
                })
                .collect::<CommandResult<_>>()?;
            (answers, found.len().saturating_sub(limit))
        }
    };
    if args.format.json {
        return context.terminal.print_json(&answers);
    }
    for answer in &answers {
        context.terminal.print(&text(answer))?;
    }
    if left_out > 0 {
        context.terminal.note(format_args!("and {left_out} more cells (-v explains all)"));
    }
    Ok(())
}

fn of_task(store: &mut dyn Store, objects: &ObjectStore, run: &RunRecord, task: &TaskRecord) -> CommandResult<Answer> {
    let attempt = match task.attempt {
        Some(id) => store.attempts_by_id(&[id])?.pop(),
        None => None,
    };
    let explanation = match &attempt {
        Some(attempt) if task.state != TaskState::Reused => Some(why::explain(store, Some(objects), attempt.id)?),
        _ => None,
    };
    Ok(Answer {
        run_number: run.number,
        task: task_name(&task.step, &task.cell),
        version: None,
        state: task.state,
        summary: summary(task.state, attempt.as_ref(), explanation.as_ref()),
        reason: task.reason.clone(),
        fingerprint: task.fingerprint.map(|fingerprint| fingerprint.to_string()),
        nearest: nearest(attempt.as_ref(), explanation.as_ref()),
        differences: first_differences(explanation.as_ref()),
        explanation,
    })
}

/// The attempt that published a version succeeded.
fn of_attempt(store: &mut dyn Store, objects: &ObjectStore, id: NodeId, version: String) -> CommandResult<Answer> {
    let attempt = store.attempts_by_id(&[id])?.pop();
    let explanation = why::explain(store, Some(objects), id)?;
    Ok(Answer {
        run_number: attempt.as_ref().map_or(0, |it| it.run_number),
        task: attempt.as_ref().map(|it| task_name(&it.step, &it.cell)).unwrap_or_default(),
        version: Some(version),
        state: TaskState::Succeeded,
        summary: summary(TaskState::Succeeded, attempt.as_ref(), Some(&explanation)),
        reason: None,
        fingerprint: attempt.map(|it| it.fingerprint.to_string()),
        nearest: nearest(None, Some(&explanation)),
        differences: first_differences(Some(&explanation)),
        explanation: Some(explanation),
    })
}

/// Without an explanation the attempt itself is what stands.
fn nearest(attempt: Option<&AttemptRecord>, explanation: Option<&Explanation>) -> Option<Before> {
    match explanation {
        Some(explanation) => explanation.steps.first()?.before.clone(),
        None => attempt.map(Before::from),
    }
}

fn first_differences(explanation: Option<&Explanation>) -> Vec<Difference> {
    let causes = explanation.and_then(|it| it.steps.first()).map(|step| &step.causes);
    causes.into_iter().flatten().map(|cause| cause.difference.clone()).collect()
}

fn summary(state: TaskState, attempt: Option<&AttemptRecord>, explanation: Option<&Explanation>) -> String {
    match state {
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
        Some(end) if state == TaskState::Failed => {
            format!("ran and failed ({})", cause_text(end.cause, end.exit_code, end.signal))
        }
        _ => "ran".to_owned(),
    };
    match explanation.and_then(|it| it.steps.first()) {
        Some(step) => format!("{ran}: {}", render::verdict(step)),
        None => ran,
    }
}

fn text(answer: &Answer) -> String {
    let task = paint(BOLD, &harmless(&answer.task));
    let mut out = match &answer.version {
        Some(version) => {
            format!("{}, made by {task} in run #{}\n", paint(BOLD, &harmless(version)), answer.run_number)
        }
        None => {
            let state = paint(style::of_task(answer.state), answer.state.as_str());
            format!("{task} in run #{}: {state}\n", answer.run_number)
        }
    };
    out.push_str(&format!("  it {}\n", answer.summary));
    if let Some(reason) = &answer.reason {
        out.push_str(&format!("  {}\n", harmless(reason)));
    }
    if let Some(explanation) = &answer.explanation {
        out.push_str(&render::text(explanation));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_told_from_versions() {
        let is_version = |text: &str| matches!(text.parse::<Subject>().unwrap(), Subject::Version(_));
        for text in ["p/model", "model@v3", "'p/m'", "p/m{lr=0.1}@v2", "m{lr=0.1}@v2", "b3:12ab", "./in/a.csv"] {
            assert!(is_version(text), "{text}");
        }
        for text in ["model", "model{lr=0.1}", "model{path=\"a/b@c\"}", "#42/model", "#42/model{x=\"a@b\"}"] {
            assert!(!is_version(text), "{text}");
        }
    }
}
