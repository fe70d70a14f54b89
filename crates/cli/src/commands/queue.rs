//! `runstone queue`: what is not running, and exactly why.

use std::collections::HashMap;

use runstone_core::graph::Graph;
use runstone_core::record::{RunId, RunRecord, RunState, TaskRecord, TaskState};
use runstone_core::service::queue::{Blocker, blocker};
use runstone_core::service::record::{PoolRecord, SchedulerRecord, SchedulerState, SubmissionRecord, SubmissionState};
use runstone_core::store::{RunFilter, Store};
use runstone_core::time::Timestamp;
use runstone_engine::Home;
use serde::Serialize;

use crate::args::FormatArgs;
use crate::context::Context;
use crate::definition;
use crate::error::CommandResult;
use crate::render::quantity::duration;
use crate::render::style::{BOLD, DIM};
use crate::render::table::{Cell, Column, Table};
use crate::render::{Layout, count};
use crate::terminal::Terminal;
use runstone_lineage::view::Rfc3339;

/// How many queued runs of each pipeline are looked at.
const PER_PIPELINE: u32 = 1000;
/// How many finished runs an estimate is drawn from.
const SAMPLE: u32 = 5;

/// Show what waits, and why: runs in the queue, and tasks of runs under way
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone queue\n  \
    runstone queue --json")]
pub(crate) struct Args {
    #[command(flatten)]
    format: FormatArgs,
}

/// Everything that waits.
#[derive(Debug, Serialize)]
struct QueueView {
    schedulers: Vec<SchedulerView>,
    runs: Vec<WaitingRun>,
    tasks: Vec<WaitingTask>,
}

/// A scheduler.
#[derive(Debug, Serialize)]
struct SchedulerView {
    id: String,
    host: String,
    pid: u32,
    state: &'static str,
    runs: usize,
    capacity: u32,
    seen_at: Rfc3339,
}

/// A run in the queue, or one that nobody drives.
#[derive(Debug, Serialize)]
struct WaitingRun {
    number: i64,
    pipeline: String,
    partition: Option<String>,
    priority: i32,
    /// Microseconds since it was submitted.
    waited_us: u64,
    blocker: &'static str,
    reason: String,
    /// Microseconds, from how long such runs took; none where that is not known.
    expected_us: Option<u64>,
}

/// A task of a run under way that is not running.
#[derive(Debug, Serialize)]
struct WaitingTask {
    run: i64,
    task: String,
    blocker: &'static str,
    reason: String,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let (project, mut store) = context.open()?;
    let (layout, home) = (context.layout(), Home::of(&project));
    let schedulers = store.schedulers(0)?;
    let live = store.live_submissions(PER_PIPELINE)?;
    let view = QueueView {
        schedulers: schedulers.iter().map(|one| scheduler(one, &live)).collect(),
        runs: waiting_runs(store.as_mut(), &live, &schedulers, layout.now)?,
        tasks: waiting_tasks(store.as_mut(), &live, &home, &mut context.terminal)?,
    };
    if args.format.json {
        return context.terminal.print_json(&view);
    }
    let hidden = store.queued_count()?.saturating_sub(view.runs.len() as u64);
    context.terminal.print(&render(&view, hidden, &layout))
}

fn scheduler(one: &SchedulerRecord, live: &[SubmissionRecord]) -> SchedulerView {
    let state = match one.state {
        _ if one.expired => "silent",
        SchedulerState::Active => "active",
        SchedulerState::Draining => "draining",
        SchedulerState::Gone => "gone",
    };
    let is_driven = |it: &&SubmissionRecord| it.scheduler == Some(one.id) && it.state != SubmissionState::Queued;
    SchedulerView {
        id: one.id.0.to_string(),
        host: one.host.clone(),
        pid: one.pid,
        state,
        runs: live.iter().filter(is_driven).count(),
        capacity: one.capacity,
        seen_at: Rfc3339(one.seen),
    }
}

fn waiting_runs(
    store: &mut dyn Store,
    live: &[SubmissionRecord],
    schedulers: &[SchedulerRecord],
    now: Timestamp,
) -> CommandResult<Vec<WaitingRun>> {
    let mut times: HashMap<String, Option<u64>> = HashMap::new();
    let mut waiting = Vec::new();
    for one in live {
        let (blocker, reason) = match one.state {
            SubmissionState::Queued => why_queued(one, live, schedulers),
            SubmissionState::Running | SubmissionState::Claimed => match why_not_driven(one, schedulers) {
                Some(found) => found,
                None => continue,
            },
            _ => continue,
        };
        let took = match times.get(&one.pipeline) {
            Some(known) => *known,
            None => *times.entry(one.pipeline.clone()).or_insert(usual_time(store, &one.pipeline)?),
        };
        // What goes before it takes as long as such runs usually do.
        let expected_us = took.filter(|_| blocker == "overlap" || blocker == "capacity");
        waiting.push(WaitingRun {
            number: one.number,
            pipeline: one.pipeline.clone(),
            partition: one.partition.clone(),
            priority: one.priority,
            waited_us: now.since(one.created),
            blocker,
            reason,
            expected_us,
        });
    }
    waiting.sort_by_key(|one| one.number);
    Ok(waiting)
}

fn why_queued(
    one: &SubmissionRecord,
    live: &[SubmissionRecord],
    schedulers: &[SchedulerRecord],
) -> (&'static str, String) {
    match blocker(one, live, schedulers) {
        Blocker::Ready => ("ready", "nothing; a scheduler takes it next".to_owned()),
        Blocker::NoScheduler => ("no_scheduler", "no scheduler is alive; `runstone serve` starts one".to_owned()),
        Blocker::Group(number) => ("overlap", format!("run #{number} of the same pipeline is not over")),
        Blocker::Capacity { ahead: 0 } => {
            ("capacity", "schedulers drive as many runs as they may; it is the next".to_owned())
        }
        Blocker::Capacity { ahead } => {
            ("capacity", format!("schedulers drive as many runs as they may; {} before it", count(ahead, "run")))
        }
        Blocker::Elsewhere => {
            ("elsewhere", "its objects are in a content store that no live scheduler can open".to_owned())
        }
    }
}

/// Why a run that has begun is driven by nobody.
fn why_not_driven(one: &SubmissionRecord, schedulers: &[SchedulerRecord]) -> Option<(&'static str, String)> {
    let owner = one.scheduler.and_then(|id| schedulers.iter().find(|it| it.id == id));
    match owner {
        Some(owner) if !owner.expired => None,
        Some(owner) => Some((
            "owner_silent",
            format!(
                "its scheduler (pid {} on {}) says nothing; another takes it over when the lease ends",
                owner.pid, owner.host
            ),
        )),
        None if schedulers.iter().any(|it| it.state == SchedulerState::Active && !it.expired) => {
            Some(("unowned", "its scheduler is gone; another takes it over next".to_owned()))
        }
        None => Some(("no_scheduler", "its scheduler is gone and no other is alive".to_owned())),
    }
}

/// How long the last runs of a pipeline took, in the middle.
fn usual_time(store: &mut dyn Store, pipeline: &str) -> CommandResult<Option<u64>> {
    let filter = RunFilter { pipeline: Some(pipeline.to_owned()), state: None, limit: Some(SAMPLE * 4) };
    let runs = store.runs(&filter)?;
    let mut times: Vec<u64> =
        runs.iter().filter_map(|run| Some(run.ended?.since(run.created))).take(SAMPLE as usize).collect();
    times.sort_unstable();
    Ok(times.get(times.len() / 2).copied())
}

/// What must be over before the tasks of a step begin: names of steps and files, by the name of the step. None where the
/// definition cannot be read any more.
type Needs = HashMap<String, Vec<String>>;

fn needs(store: &mut dyn Store, run: &RunRecord, home: &Home, terminal: &mut Terminal) -> Option<Needs> {
    let text = store.definition(&run.definition).ok()??;
    let pipeline = definition::load_text(&run.definition_path, &text, home, terminal).ok()?;
    let graph = Graph::new(&pipeline);
    let label = |node: usize| graph.label(&pipeline, node).to_owned();
    let of_node = |node: usize| graph.nodes[node].needs.iter().map(|need| label(need.node)).collect();
    Some((0..graph.nodes.len()).map(|node| (label(node), of_node(node))).collect())
}

/// Why a task that may not even stand in a line has not begun.
fn why_waiting(task: &TaskRecord, tasks: &[TaskRecord], needs: Option<&Needs>) -> (&'static str, String) {
    let Some(needs) = needs.and_then(|needs| needs.get(&task.step)) else {
        return ("dependency", "steps that it needs, or a free place among the steps at once".to_owned());
    };
    let is_open = |need: &&String| tasks.iter().any(|one| one.step == **need && !one.state.is_terminal());
    let open: Vec<&str> = needs.iter().filter(is_open).map(String::as_str).collect();
    match open.as_slice() {
        [] => ("slot", "a free place among the steps that run at once (`jobs`, `max_parallel`)".to_owned()),
        open => ("dependency", open.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
    }
}

fn waiting_tasks(
    store: &mut dyn Store,
    live: &[SubmissionRecord],
    home: &Home,
    terminal: &mut Terminal,
) -> CommandResult<Vec<WaitingTask>> {
    let pools = store.pools()?;
    let mut in_line: HashMap<(RunId, u32), String> = HashMap::new();
    for pool in &pools {
        for (place, one) in pool.waiting.iter().enumerate() {
            in_line.insert((one.run, one.task), pool_reason(pool, place, one.slots));
        }
    }
    let filter = RunFilter { state: Some(RunState::Running), ..RunFilter::default() };
    let submitted: HashMap<RunId, &SubmissionRecord> = live.iter().map(|one| (one.run, one)).collect();
    let mut waiting = Vec::new();
    for run in store.runs(&filter)? {
        if submitted.get(&run.id).is_some_and(|one| one.state != SubmissionState::Running) {
            continue;
        }
        let tasks = store.tasks(run.id)?;
        let needs = needs(store, &run, home, terminal);
        for task in tasks.iter().filter(|task| !task.state.is_terminal()) {
            let name = runstone_core::cell::task_name(&task.step, &task.cell);
            let (blocker, reason) = match (in_line.get(&(run.id, task.index)), task.state) {
                (Some(reason), _) => ("pool", reason.clone()),
                (None, TaskState::Retrying) => (
                    "retry",
                    task.reason.clone().map_or_else(
                        || "its next attempt is due later".to_owned(),
                        |why| format!("its last attempt failed ({why}); the next one is due later"),
                    ),
                ),
                (None, TaskState::Waiting) => why_waiting(task, &tasks, needs.as_ref()),
                (None, _) => continue,
            };
            waiting.push(WaitingTask { run: run.number, task: name, blocker, reason });
        }
    }
    waiting.sort_by_key(|one| one.run);
    Ok(waiting)
}

fn pool_reason(pool: &PoolRecord, place: usize, slots: u32) -> String {
    let holders: Vec<String> =
        pool.holders.iter().take(5).map(|one| format!("#{}/{} ({})", one.number, one.name, one.slots)).collect();
    let taken: u32 = pool.holders.iter().map(|one| one.slots).sum();
    let more = if pool.holders.len() > 5 { format!(" and {} more", pool.holders.len() - 5) } else { String::new() };
    format!(
        "{slots} of pool {} ({taken} of {} taken by {}{more}); {} in its line",
        pool.name,
        pool.slots,
        if holders.is_empty() { "nobody".to_owned() } else { holders.join(", ") },
        if place == 0 { "first".to_owned() } else { format!("number {}", place + 1) },
    )
}

fn render(view: &QueueView, hidden: u64, layout: &Layout) -> String {
    let mut out = String::new();
    let mut table = Table::new([
        Column::left("SCHEDULER"),
        Column::left("HOST").elastic(),
        Column::right("PID"),
        Column::left("STATE"),
        Column::right("RUNS"),
    ]);
    for one in &view.schedulers {
        table.row([
            Cell::styled(one.id.get(24..).unwrap_or(&one.id), BOLD),
            one.host.as_str().into(),
            one.pid.to_string().into(),
            one.state.into(),
            format!("{} of {}", one.runs, one.capacity).into(),
        ]);
    }
    if view.schedulers.is_empty() {
        out.push_str("no scheduler is alive\n");
    } else {
        out.push_str(&table.render(layout));
    }
    if !view.runs.is_empty() {
        let mut table = Table::new([
            Column::right("RUN"),
            Column::left("PIPELINE").elastic(),
            Column::left("PARTITION"),
            Column::right("PRIORITY"),
            Column::right("WAITED"),
            Column::left("FOR").prose(),
            Column::right("ABOUT"),
        ]);
        for one in &view.runs {
            let priority = if one.priority == 0 { String::new() } else { one.priority.to_string() };
            table.row([
                Cell::styled(format!("#{}", one.number), BOLD),
                one.pipeline.as_str().into(),
                one.partition.as_deref().unwrap_or_default().into(),
                priority.into(),
                Cell::styled(duration(one.waited_us), DIM),
                one.reason.as_str().into(),
                one.expected_us.map(duration).unwrap_or_default().into(),
            ]);
        }
        out.push_str(&format!("\n{}", table.render(layout)));
    }
    if hidden > 0 {
        out.push_str(&format!("… and {hidden} more\n"));
    }
    if !view.tasks.is_empty() {
        let mut table =
            Table::new([Column::right("RUN"), Column::left("TASK").elastic(), Column::left("WAITS FOR").prose()]);
        for one in &view.tasks {
            table.row([
                Cell::styled(format!("#{}", one.run), BOLD),
                one.task.as_str().into(),
                one.reason.as_str().into(),
            ]);
        }
        out.push_str(&format!("\n{}", table.render(layout)));
    }
    if view.runs.is_empty() && view.tasks.is_empty() {
        out.push_str("nothing waits\n");
    }
    out
}
