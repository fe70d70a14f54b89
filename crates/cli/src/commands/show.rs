//! `runstone show`: one run, its tasks, and why those that failed did.

use runstone_core::record::{AttemptState, TaskState};
use runstone_engine::project::Project;
use runstone_engine::report::Counts;
use serde::Serialize;
use uuid::Uuid;

use crate::args::FormatArgs;
use crate::context::Context;
use crate::error::CommandResult;
use crate::render::derivation::pairs;
use crate::render::outcome::{cause_text, counts_text};
use crate::render::quantity::{duration, size};
use crate::render::style::{self, BAD, BOLD, DIM, paint};
use crate::render::table::{Cell, Column, Table};
use crate::render::time::date_time;
use crate::render::{Layout, count, excerpt, harmless};
use crate::view::{RunView, TaskView, task};
use runstone_core::reference::RunRef;
use runstone_lineage::find;

/// How many tasks are listed unless more is asked for.
const LISTED: usize = 200;
/// How many failed tasks are shown with what they said.
const FAILURES: usize = 5;

/// Show a run: its state, its tasks, and what failed ones said
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone show\n  \
    runstone show 42 --lines 30\n  \
    runstone show '#42' --json")]
pub(crate) struct Args {
    /// Which run; the newest where none is given
    run: Option<RunRef>,
    /// How many lines of standard error are shown of a failed task
    #[arg(long, default_value_t = 10, value_name = "N")]
    lines: usize,
    #[command(flatten)]
    format: FormatArgs,
}

/// A run with its tasks.
#[derive(Debug, Serialize)]
struct ShowView {
    #[serde(flatten)]
    run: RunView,
    counts: Counts,
    tasks: Vec<TaskView>,
}

/// A failed task and the end of what it said.
struct Failure {
    task: String,
    cause: String,
    message: Option<String>,
    lines: Vec<String>,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let (project, mut store) = context.open()?;
    let record = find::run(&mut *store, args.run.as_ref())?;
    let tasks = task::of_run(&mut *store, &record)?;
    let mut counts = Counts::default();
    tasks.iter().for_each(|task| counts.add(task.state));
    let view = ShowView { run: RunView::from(&record), counts, tasks };
    if args.format.json {
        return context.terminal.print_json(&view);
    }
    let failures = failures(&view.tasks, &project, record.id.0, args.lines);
    let limit = if context.terminal.is_verbose() { usize::MAX } else { LISTED };
    let text = render(&view, &failures, limit, &context.layout());
    context.terminal.print(&text)
}

fn failures(tasks: &[TaskView], project: &Project, run: Uuid, lines: usize) -> Vec<Failure> {
    let failed = tasks.iter().filter(|task| task.state == TaskState::Failed);
    failed
        .take(FAILURES)
        .map(|task| {
            let number = task.attempt.as_ref().map_or(task.attempts, |attempt| attempt.number);
            let stderr = project.attempt_dir(run, task.index, number).join("stderr");
            Failure {
                task: task.name.clone(),
                cause: cause(task),
                message: task.attempt.as_ref().and_then(|it| it.end.as_ref()).and_then(|end| end.message.clone()),
                // A log that cannot be read is no reason to show nothing at all.
                lines: excerpt::tail(&stderr, lines).unwrap_or_default(),
            }
        })
        .collect()
}

/// Why a task is in its state, in a few words.
fn cause(task: &TaskView) -> String {
    let end = task.attempt.as_ref().filter(|it| it.state == AttemptState::Failed).and_then(|it| it.end.as_ref());
    match (task.state, end) {
        (TaskState::Reused, _) => {
            task.attempt.as_ref().map(|it| format!("from #{}", it.run_number)).unwrap_or_default()
        }
        (_, Some(end)) => cause_text(end.cause, end.exit_code, end.signal),
        (_, None) => task.reason.clone().unwrap_or_default(),
    }
}

fn render(view: &ShowView, failures: &[Failure], limit: usize, layout: &Layout) -> String {
    let mut out = header(view, layout);
    out.push('\n');
    out.push_str(&task_table(&view.tasks, limit).render(layout));
    if view.tasks.len() > limit {
        let text = format!("and {} (-v lists all)", count(view.tasks.len() - limit, "more task"));
        out.push_str(&format!("{}\n", paint(DIM, &text)));
    }
    for failure in failures {
        out.push_str(&format!("\n{}: {}\n", paint(BAD, &harmless(&failure.task)), harmless(&failure.cause)));
        if let Some(message) = &failure.message {
            out.push_str(&format!("  {}\n", harmless(message)));
        }
        for line in &failure.lines {
            out.push_str(&format!("  {} {line}\n", paint(DIM, "│")));
        }
        let command = format!("runstone logs '#{}/{}'", view.run.number, harmless(&failure.task));
        out.push_str(&format!("  {}\n", paint(DIM, &format!("all of it: {command}"))));
    }
    let failed = view.counts.failed as usize;
    if failed > failures.len() {
        out.push_str(&format!("\nand {}\n", count(failed - failures.len(), "more failed task")));
    }
    out
}

fn header(view: &ShowView, layout: &Layout) -> String {
    let run = &view.run;
    let state = paint(style::of_run(run.state), run.state.as_str());
    let title = paint(BOLD, &format!("run #{} of {}", run.number, harmless(&run.pipeline)));
    let verb = if run.ended_at.is_some() { "took" } else { "running for" };
    let mut out = format!("{title}: {state}, {verb} {}\n", duration(run.elapsed_us(layout.now)));
    if let Some(reason) = &run.reason {
        out.push_str(&format!("  {}\n", harmless(reason)));
    }
    let git = run.git_commit.as_ref().map(|commit| {
        let modified = if run.git_dirty == Some(true) { ", modified" } else { "" };
        format!("{}{modified}", harmless(commit.get(..12).unwrap_or(commit)))
    });
    let params = run.params.as_object().filter(|params| !params.is_empty()).map(pairs);
    let definition = run.definition_hash.get(..15).unwrap_or(&run.definition_hash);
    let facts = [
        ("id", Some(run.id.clone())),
        ("started", Some(date_time(run.created_at.0, layout.zone))),
        ("by", Some(harmless(&format!("{}@{} ({})", run.user, run.host, run.trigger)))),
        ("partition", run.partition.as_deref().map(harmless)),
        ("definition", Some(format!("{} {}", harmless(&run.definition_path), paint(DIM, definition)))),
        ("parameters", params),
        ("tool", Some(harmless(&format!("runstone {}, {}", run.tool_version, run.platform)))),
        ("git", git),
        ("asked to end", run.cancel_requested.clone()),
        ("tasks", Some(counts_text(&view.counts, view.tasks.len()))),
    ];
    for (name, value) in facts {
        if let Some(value) = value {
            out.push_str(&format!("  {}{value}\n", paint(DIM, &format!("{name:<13}"))));
        }
    }
    out
}

fn task_table(tasks: &[TaskView], limit: usize) -> Table {
    let mut table = Table::new([
        Column::left("TASK").elastic(),
        Column::left("STATE"),
        Column::left("WHY").prose(),
        Column::right("TIME"),
        Column::right("CPU"),
        Column::right("MEMORY"),
        Column::right("TRIES"),
    ]);
    // What failed comes first: in a long list it would not be seen.
    let mut order: Vec<&TaskView> = tasks.iter().collect();
    if tasks.len() > limit {
        order.sort_by_key(|task| (task.state != TaskState::Failed, task.index));
    }
    for task in order.into_iter().take(limit) {
        let own = task.state != TaskState::Reused;
        let end = task.attempt.as_ref().and_then(|attempt| attempt.end.as_ref()).filter(|_| own);
        table.row([
            Cell::styled(&task.name, BOLD),
            Cell::styled(task.state.as_str(), style::of_task(task.state)),
            cause(task).into(),
            end.map(|end| duration(end.wall_us)).unwrap_or_default().into(),
            end.map(|end| duration(end.user_us + end.system_us)).unwrap_or_default().into(),
            end.filter(|end| end.peak_memory_bytes > 0)
                .map(|end| size(end.peak_memory_bytes))
                .unwrap_or_default()
                .into(),
            if task.attempts > 1 { task.attempts.to_string() } else { String::new() }.into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use runstone_core::attempt::Cause;
    use runstone_core::record::{AttemptKind, RunState};
    use runstone_core::time::Timestamp;

    use super::*;
    use crate::commands::runs::tests::run_view;
    use runstone_lineage::view::Rfc3339;
    use runstone_lineage::view::{AttemptView, EndView};

    fn task_view(index: u32, name: &str, state: TaskState, cause: Cause) -> TaskView {
        let at = Rfc3339(Timestamp(1_700_000_000_000_000));
        let failed = state == TaskState::Failed;
        let end = EndView {
            started_at: at,
            ended_at: at,
            cause,
            exit_code: Some(i32::from(failed)),
            signal: None,
            message: failed.then(|| "the step ended with exit code 1".into()),
            wall_us: 1_234_567,
            user_us: 900_000,
            system_us: 100_000,
            peak_memory_bytes: 123 << 20,
            stdout_bytes: 0,
            stderr_bytes: 10,
            killed_leftovers: 0,
            tainted: None,
        };
        let attempt = AttemptView {
            node: i64::from(index),
            id: String::new(),
            run_number: if state == TaskState::Reused { 41 } else { 42 },
            number: 2,
            kind: AttemptKind::Run,
            state: if failed { AttemptState::Failed } else { AttemptState::Succeeded },
            fingerprint: String::new(),
            created_at: at,
            reused_from_node: None,
            end: Some(end),
        };
        TaskView {
            index,
            name: name.into(),
            step: name.into(),
            cell: String::new(),
            state,
            reason: (state == TaskState::Skipped).then(|| "needs model{lr=0.1}, which failed".into()),
            attempts: 1 + u32::from(failed),
            fingerprint: None,
            attempt: (state != TaskState::Skipped).then_some(attempt),
        }
    }

    fn view() -> ShowView {
        let tasks = vec![
            task_view(0, "raw", TaskState::Reused, Cause::Exit),
            task_view(1, "model{lr=0.1}", TaskState::Failed, Cause::Exit),
            task_view(2, "model{lr=0.01}", TaskState::Succeeded, Cause::Exit),
            task_view(3, "report", TaskState::Skipped, Cause::Exit),
        ];
        let mut counts = Counts::default();
        tasks.iter().for_each(|task| counts.add(task.state));
        ShowView { run: run_view(42, RunState::Failed), counts, tasks }
    }

    #[test]
    fn a_run_is_shown_with_what_failed() {
        let failures = [Failure {
            task: "model{lr=0.1}".into(),
            cause: "exit 1".into(),
            message: None,
            lines: vec!["Traceback:".into(), "  KeyError".into()],
        }];
        let text = render(&view(), &failures, LISTED, &Layout::fixed(80));
        let text = anstream::adapter::strip_str(&text).to_string();
        let expected = "\
run #42 of tickets: failed, took 12.3 s
  1 task failed: model{lr=0.1}
  id           0193abcd-0000-7000-8000-000000000042
  started      2023-11-14 22:13:20
  by           ada@lab (manual)
  definition   pipelines/tickets.yaml b3:0123456789ab
  parameters   min_f1=0.85 mode=full
  tool         runstone 0.1.0, linux-x86_64
  git          89abcdef0123, modified
  tasks        4: 1 succeeded, 1 reused, 1 failed, 1 skipped

TASK            STATE      WHY                      TIME     CPU   MEMORY  TRIES
raw             reused     from #41
model{lr=0.1}   failed     exit 1                 1.23 s  1.00 s  123 MiB      2
model{lr=0.01}  succeeded                         1.23 s  1.00 s  123 MiB
report          skipped    needs model{lr=0.1},…

model{lr=0.1}: exit 1
  │ Traceback:
  │   KeyError
  all of it: runstone logs '#42/model{lr=0.1}'
";
        assert_eq!(text, expected);
    }

    #[test]
    fn of_many_tasks_the_failed_ones_are_shown_first() {
        let text = anstream::adapter::strip_str(&render(&view(), &[], 1, &Layout::fixed(80))).to_string();
        assert!(text.contains("\nmodel{lr=0.1}  failed") && !text.contains("\nraw"), "{text}");
        assert!(text.contains("and 3 more tasks"), "{text}");
    }

    #[test]
    fn the_json_names_are_stable() {
        let json = serde_json::to_value(view()).unwrap();
        assert_eq!(json["number"], 42);
        assert_eq!(json["created_at"], "2023-11-14T22:13:20.000000Z");
        assert_eq!(json["counts"]["skipped"], 1);
        let attempt = &json["tasks"][1]["attempt"];
        assert_eq!(attempt["cause"], "exit");
        assert_eq!(attempt["exit_code"], 1);
        assert_eq!(attempt["wall_us"], 1_234_567);
        assert_eq!(attempt["peak_memory_bytes"], 123 << 20);
    }
}
