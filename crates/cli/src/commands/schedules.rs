//! `runstone schedules`: when runs start by themselves, did so, or did not and why.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use clap::Subcommand;
use runstone_core::schedule::{Compiled, Timing};
use runstone_core::service::launch::{ScheduleSpec, When};
use runstone_core::service::record::{FireRecord, ScheduleId, ScheduleRecord};
use runstone_core::service::store::FireFilter;
use runstone_core::store::Store;
use runstone_core::time::{Timestamp, micros};
use serde::Serialize;

use crate::args::FormatArgs;
use crate::context::{Context, now};
use crate::definition::{self, DefinitionArgs};
use crate::error::{CommandError, CommandResult};
use crate::render::style::{BOLD, DIM};
use crate::render::table::{Cell, Column, Table};
use crate::render::time::date_time;
use crate::render::{Layout, harmless};
use runstone_lineage::view::Rfc3339;

/// Among so many fires of a schedule the last one with a run is looked for.
const RECENT: u32 = 50;
/// How many times to come are told in one go.
const MOST: usize = 100_000;

/// Show schedules and triggers: what fires next, what fired last, what was skipped and why
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  \
    runstone schedules\n  \
    runstone schedules tickets --fires\n  \
    runstone schedules --skipped --limit 50\n  \
    runstone schedules pause tickets/main\n  \
    runstone schedules unpause tickets\n  \
    runstone schedules simulate pipeline.yaml --until 2027-04-01"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Only of this pipeline, or this one: PIPELINE/SCHEDULE
    name: Option<String>,
    /// List what fired, newest first
    #[arg(long)]
    fires: bool,
    /// List what was skipped, and why
    #[arg(long)]
    skipped: bool,
    /// At most so many
    #[arg(long, short = 'n', default_value_t = 20, value_name = "N")]
    limit: u32,
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Let them fire no more until they are unpaused
    Pause(NamesArgs),
    /// Let them fire again; the times of the pause are skipped
    Unpause {
        #[command(flatten)]
        names: NamesArgs,
        /// Treat the times of the pause as missed, and catch up as the schedule says
        #[arg(long)]
        catch_up: bool,
    },
    /// Print the fires to come of the schedules in a pipeline file
    Simulate {
        /// The pipeline file
        file: PathBuf,
        #[command(flatten)]
        definition: DefinitionArgs,
        /// From when on (default: now)
        #[arg(long, value_name = "TIME", value_parser = point)]
        from: Option<Timestamp>,
        /// Until when
        #[arg(long, value_name = "TIME", value_parser = point)]
        until: Timestamp,
        #[command(flatten)]
        format: FormatArgs,
    },
}

#[derive(Debug, clap::Args)]
struct NamesArgs {
    /// A pipeline, or one of its schedules: PIPELINE/SCHEDULE
    #[arg(required = true)]
    names: Vec<String>,
}

/// A date, or a date and time with its offset.
fn point(text: &str) -> Result<Timestamp, String> {
    let midnight = |date: chrono::NaiveDate| date.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros();
    text.parse::<chrono::NaiveDate>()
        .map(midnight)
        .or_else(|_| chrono::DateTime::parse_from_rfc3339(text).map(|at| at.timestamp_micros()))
        .map(Timestamp)
        .map_err(|_| "expected a date (2027-04-01) or a time with its offset (2027-04-01T02:30:00+02:00)".to_owned())
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    match &args.action {
        None => list(&args.list, context),
        Some(Action::Pause(names)) => set_paused(&names.names, true, false, context),
        Some(Action::Unpause { names, catch_up }) => set_paused(&names.names, false, *catch_up, context),
        Some(Action::Simulate { file, definition, from, until, format }) => {
            let pipeline = definition::load_valid(file, definition, context)?;
            simulate(&pipeline, from.unwrap_or_else(now), *until, format.json, context)
        }
    }
}

/// The schedules that a name means.
fn chosen(store: &mut dyn Store, name: Option<&str>) -> CommandResult<Vec<ScheduleRecord>> {
    let mut found = store.schedules(0)?;
    found.sort_by(|a, b| (&a.pipeline, &a.name).cmp(&(&b.pipeline, &b.name)));
    let Some(wanted) = name else { return Ok(found) };
    let (pipeline, schedule) = wanted.split_once('/').map_or((wanted, None), |(first, rest)| (first, Some(rest)));
    found.retain(|one| one.pipeline == pipeline && schedule.is_none_or(|schedule| one.name == schedule));
    if found.is_empty() {
        let error = CommandError::not_found(format!("there is no schedule {wanted:?}"));
        return Err(error.hint("`runstone schedules` lists them; `runstone serve` reads them from the pipelines"));
    }
    Ok(found)
}

fn set_paused(names: &[String], paused: bool, catch_up: bool, context: &mut Context) -> CommandResult<()> {
    let (_, mut store) = context.open()?;
    let mut ids = Vec::new();
    for name in names {
        ids.extend(chosen(store.as_mut(), Some(name))?.iter().map(|one| one.id));
    }
    // Schedules go by the database's clock.
    let at = store.clock()?;
    let missed = |record: &ScheduleRecord| compiled(record).map_or(0, |one| one.count_between(record.cursor, at));
    let changed = store.set_paused(&ids, paused, catch_up, at, &missed)?;
    let word = if paused { "paused" } else { "fires again" };
    for one in &changed {
        context.terminal.print(&format!("{}/{} {word}\n", one.pipeline, one.name))?;
    }
    if changed.is_empty() {
        context.terminal.note("nothing changed");
    }
    Ok(())
}

fn compiled(record: &ScheduleRecord) -> Option<Compiled> {
    match ScheduleSpec::read(record).ok()?.when {
        When::Schedule(schedule) => schedule.compile().ok(),
        When::Trigger(_) => None,
    }
}

/// A schedule, as programs get it.
#[derive(Debug, Serialize)]
struct ScheduleView {
    pipeline: String,
    schedule: String,
    /// What makes it fire, for people.
    when: String,
    state: &'static str,
    generation: i64,
    next_at: Option<Rfc3339>,
    last: Option<FireView>,
    last_skipped: Option<FireView>,
    /// What is wrong with the pipeline's file as it is now; the last good version stays in force.
    problem: Option<String>,
}

/// A fire, as programs get it.
#[derive(Debug, Clone, Serialize)]
struct FireView {
    pipeline: String,
    schedule: String,
    at: Rfc3339,
    until: Option<Rfc3339>,
    count: u64,
    decided_at: Rfc3339,
    run: Option<i64>,
    reason: Option<String>,
}

fn list(args: &ListArgs, context: &mut Context) -> CommandResult<()> {
    let (_, mut store) = context.open()?;
    let records = chosen(store.as_mut(), args.name.as_deref())?;
    if args.fires || args.skipped {
        let views = fires(store.as_mut(), &records, args)?;
        if args.format.json {
            return context.terminal.print_json(&views);
        }
        if views.is_empty() {
            return Err(CommandError::not_found(if args.skipped {
                "nothing was skipped"
            } else {
                "nothing fired yet"
            }));
        }
        let layout = context.layout();
        return context.terminal.print(&fire_table(&views, &layout).render(&layout));
    }
    let problems = problems(store.as_mut())?;
    let views = records.iter().map(|one| view(store.as_mut(), one, &problems)).collect::<CommandResult<Vec<_>>>()?;
    if args.format.json {
        return context.terminal.print_json(&views);
    }
    if views.is_empty() {
        let error = CommandError::not_found("no schedule is on record");
        return Err(error.hint("`runstone serve --pipelines DIR` reads them from the pipelines"));
    }
    let layout = context.layout();
    context.terminal.print(&table(&views, &layout).render(&layout))?;
    for (pipeline, problem) in problems.iter().filter(|(name, _)| views.iter().any(|one| one.pipeline == **name)) {
        context.terminal.note(format_args!("the file of {pipeline} is broken; its last good version stays in force"));
        problem.lines().for_each(|line| context.terminal.complain(&format!("  {}\n", harmless(line))));
    }
    if !super::trigger::somebody_serves(store.as_mut())? {
        context.terminal.note("no scheduler is alive, so nothing fires; `runstone serve` starts one");
    }
    Ok(())
}

fn fires(store: &mut dyn Store, records: &[ScheduleRecord], args: &ListArgs) -> CommandResult<Vec<FireView>> {
    let names: HashMap<ScheduleId, &ScheduleRecord> = records.iter().map(|one| (one.id, one)).collect();
    let only = if args.name.is_some() && records.len() == 1 { Some(records[0].id) } else { None };
    let limit = if args.name.is_some() && only.is_none() { None } else { Some(args.limit) };
    let found = store.fires(&FireFilter { schedule: only, skipped_only: args.skipped, limit })?;
    let views = found.iter().filter_map(|fire| Some(fire_view(names.get(&fire.schedule)?, fire)));
    Ok(views.take(args.limit as usize).collect())
}

fn fire_view(record: &ScheduleRecord, fire: &FireRecord) -> FireView {
    FireView {
        pipeline: record.pipeline.clone(),
        schedule: record.name.clone(),
        at: Rfc3339(fire.time),
        until: (fire.until != fire.time).then_some(Rfc3339(fire.until)),
        count: fire.count,
        decided_at: Rfc3339(fire.decided),
        run: fire.number,
        reason: fire.reason.clone(),
    }
}

/// What is wrong with files as they are now, by the names of the pipelines they declared.
fn problems(store: &mut dyn Store) -> CommandResult<BTreeMap<String, String>> {
    let pipelines = store.pipelines()?;
    Ok(pipelines.into_iter().filter_map(|one| Some((one.pipeline, one.error?))).collect())
}

fn view(
    store: &mut dyn Store,
    record: &ScheduleRecord,
    problems: &BTreeMap<String, String>,
) -> CommandResult<ScheduleView> {
    let fires = |store: &mut dyn Store, skipped_only| {
        store.fires(&FireFilter { schedule: Some(record.id), skipped_only, limit: Some(RECENT) })
    };
    let last = fires(store, false)?.iter().find(|fire| fire.run.is_some()).map(|fire| fire_view(record, fire));
    let last_skipped = fires(store, true)?.first().map(|fire| fire_view(record, fire));
    let spec = ScheduleSpec::read(record).ok();
    let when = spec.as_ref().map_or_else(|| "written by a newer runstone".to_owned(), |spec| when(spec, record));
    let next = compiled(record).filter(|_| record.active && !record.paused).and_then(|one| {
        one.after(record.cursor).map(|fire| one.due(&format!("{}/{}", record.pipeline, record.name), fire))
    });
    let state = match (record.active, record.paused) {
        (false, _) => "inactive",
        (true, true) => "paused",
        (true, false) => "active",
    };
    Ok(ScheduleView {
        pipeline: record.pipeline.clone(),
        schedule: record.name.clone(),
        when,
        state,
        generation: record.generation,
        next_at: next.map(Rfc3339),
        last,
        last_skipped,
        problem: problems.get(&record.pipeline).cloned(),
    })
}

fn when(spec: &ScheduleSpec, record: &ScheduleRecord) -> String {
    match &spec.when {
        When::Trigger(_) => format!("on {}", record.name),
        When::Schedule(schedule) => match &schedule.timing {
            Timing::Cron { expression, tz, .. } => format!("{expression} ({})", tz.name()),
            Timing::Every { interval } => {
                format!("every {}", crate::render::quantity::coarse_duration(micros(*interval)))
            }
        },
    }
}

fn table(views: &[ScheduleView], layout: &Layout) -> Table {
    let mut table = Table::new([
        Column::left("SCHEDULE").elastic(),
        Column::left("WHEN").elastic(),
        Column::left("STATE"),
        Column::left("NEXT"),
        Column::left("LAST"),
        Column::right("RUN"),
        Column::left("LAST SKIPPED").prose(),
    ]);
    let time = |at: Option<Rfc3339>| at.map(|at| date_time(at.0, layout.zone)).unwrap_or_default();
    for one in views {
        let skipped = one.last_skipped.as_ref().map(|fire| {
            format!("{} {}", date_time(fire.at.0, layout.zone), fire.reason.as_deref().unwrap_or_default())
        });
        table.row([
            Cell::styled(format!("{}/{}", one.pipeline, one.schedule), BOLD),
            one.when.as_str().into(),
            one.state.into(),
            time(one.next_at).into(),
            Cell::styled(time(one.last.as_ref().map(|fire| fire.at)), DIM),
            one.last.as_ref().and_then(|fire| fire.run).map(|run| format!("#{run}")).unwrap_or_default().into(),
            skipped.unwrap_or_default().into(),
        ]);
    }
    table
}

fn fire_table(views: &[FireView], layout: &Layout) -> Table {
    let mut table = Table::new([
        Column::left("SCHEDULE").elastic(),
        Column::left("FIRE TIME"),
        Column::left("UNTIL"),
        Column::right("TIMES"),
        Column::right("RUN"),
        Column::left("SKIPPED BECAUSE").prose(),
    ]);
    for one in views {
        table.row([
            Cell::styled(format!("{}/{}", one.pipeline, one.schedule), BOLD),
            date_time(one.at.0, layout.zone).into(),
            one.until.map(|until| date_time(until.0, layout.zone)).unwrap_or_default().into(),
            (if one.count == 1 { String::new() } else { one.count.to_string() }).into(),
            one.run.map(|run| format!("#{run}")).unwrap_or_default().into(),
            one.reason.as_deref().unwrap_or_default().into(),
        ]);
    }
    table
}

/// A fire to come.
#[derive(Debug, Serialize)]
struct ComingView {
    schedule: String,
    /// On the clock of the schedule's zone, with its offset.
    local: String,
    at: Rfc3339,
    partition: Option<String>,
}

fn simulate(
    pipeline: &runstone_core::spec::Pipeline,
    from: Timestamp,
    until: Timestamp,
    json: bool,
    context: &mut Context,
) -> CommandResult<()> {
    if pipeline.schedules.is_empty() {
        let error = CommandError::not_found(format!("pipeline `{}` has no schedule", pipeline.name));
        return Err(error.hint("`schedule: {cron: \"0 2 * * *\"}` gives it one"));
    }
    let mut coming: Vec<(Timestamp, ComingView)> = Vec::new();
    for schedule in &pipeline.schedules {
        let compiled = schedule.compile().map_err(|error| CommandError::usage(error.to_string()))?;
        let fires = compiled.fires(from).take_while(|at| *at <= until).take(MOST);
        coming.extend(fires.map(|at| {
            let partition = pipeline.partition.as_ref().and_then(|parts| parts.previous_complete(at));
            let view = ComingView {
                schedule: schedule.name.to_string(),
                local: runstone_core::service::launch::local_time(at, schedule),
                at: Rfc3339(at),
                partition: partition.map(|key| key.to_string()),
            };
            (at, view)
        }));
    }
    coming.sort_by_key(|(at, _)| *at);
    let is_cut = coming.len() >= MOST;
    coming.truncate(MOST);
    let coming: Vec<ComingView> = coming.into_iter().map(|(_, view)| view).collect();
    if json {
        return context.terminal.print_json(&coming);
    }
    let mut table = Table::new([Column::left("SCHEDULE"), Column::left("FIRE TIME"), Column::left("PARTITION")]);
    for one in &coming {
        let partition = one.partition.as_deref().unwrap_or_default();
        table.row([Cell::styled(&one.schedule, BOLD), one.local.as_str().into(), partition.into()]);
    }
    let layout = context.layout();
    context.terminal.print(&table.render(&layout))?;
    if is_cut {
        context.terminal.note(format_args!("the first {MOST}; a nearer --until shows all"));
    }
    Ok(())
}
