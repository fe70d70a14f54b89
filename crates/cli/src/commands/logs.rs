//! `runstone logs`: what a step wrote to its standard output and standard error, while it runs or later.

use std::path::{Path, PathBuf};
use std::time::Duration;

use runstone_core::attempt::LogLimit;
use runstone_core::record::{AttemptKind, AttemptRecord, AttemptState, RunRecord, TaskRecord};
use runstone_core::store::Store;
use runstone_engine::project::Project;
use runstone_exec::local::{LogPiece, read_log};

use crate::context::Context;
use crate::error::{CommandError, CommandResult};
use crate::render::quantity::size;
use crate::render::style::{DIM, paint};
use crate::terminal::Terminal;
use runstone_core::reference::{RunRef, RunTaskRef};
use runstone_lineage::find;

/// How often a log that is followed is looked at. A step writes to files, so nobody tells of new bytes.
const PAUSE: Duration = Duration::from_millis(200);

/// Print what a step wrote
///
/// Bytes are printed as the step wrote them, secrets masked. Standard output comes first, then standard error; while
/// following, both come as they are written.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone logs model\n  \
    runstone logs 'model{lr=0.1}' --run 42 --stderr\n  \
    runstone logs '#42/model' --attempt 1\n  \
    runstone logs train -f")]
pub(crate) struct Args {
    /// Which task
    task: RunTaskRef,
    /// Which run; the newest that has the task where none is given
    #[arg(long, value_name = "RUN")]
    run: Option<RunRef>,
    /// Which attempt; the last where none is given
    #[arg(long, value_name = "N")]
    attempt: Option<u32>,
    /// Go on until the task has ended
    #[arg(long, short)]
    follow: bool,
    /// Only standard output
    #[arg(long)]
    stdout: bool,
    /// Only standard error
    #[arg(long, conflicts_with = "stdout")]
    stderr: bool,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let (project, mut store) = context.open()?;
    let (run, task) = find::task(&mut *store, &args.task, args.run.as_ref())?;
    let limit = project.config().log_limit.value;
    if args.follow {
        return follow(args, &project, &mut *store, &run, task.index, &mut context.terminal);
    }
    let attempt = attempt(&mut *store, &run, &task, args.attempt)?;
    let mut readers = readers(args, &project, &attempt, limit);
    if !readers[0].path.parent().is_some_and(Path::is_dir) {
        return Err(absent(&attempt, &readers[0].path));
    }
    let with_titles = readers.iter().filter(|reader| reader.has_bytes()).count() > 1;
    for reader in &mut readers {
        if with_titles {
            context.terminal.note(paint(DIM, &format!("── {} ──", reader.name)));
        }
        reader.print(&mut context.terminal)?;
    }
    Ok(())
}

/// The attempt whose logs are meant. For a reused task that is the one which did the work.
fn attempt(
    store: &mut dyn Store,
    run: &RunRecord,
    task: &TaskRecord,
    number: Option<u32>,
) -> CommandResult<AttemptRecord> {
    let own = store.attempts(run.id, Some(task.index))?;
    let found = match number {
        Some(number) => own.iter().find(|attempt| attempt.number == number).cloned(),
        None => match own.last() {
            Some(last) => Some(last.clone()),
            None => by_id(store, task.attempt)?,
        },
    };
    let mut found = found.ok_or_else(|| match number {
        Some(number) => CommandError::not_found(format!("there is no attempt {number} of this task"))
            .hint(format!("it has {}", crate::render::count(own.len(), "attempt"))),
        None => CommandError::not_found(format!("the task has not run: it is {}", task.state.as_str())),
    })?;
    while found.kind == AttemptKind::Reuse
        && let Some(earlier) = by_id(store, found.reused_from)?
    {
        found = earlier;
    }
    Ok(found)
}

fn by_id(store: &mut dyn Store, id: Option<runstone_core::record::NodeId>) -> CommandResult<Option<AttemptRecord>> {
    Ok(match id {
        Some(id) => store.attempts_by_id(&[id])?.pop(),
        None => None,
    })
}

fn absent(attempt: &AttemptRecord, path: &Path) -> CommandError {
    let what = match attempt.kind {
        AttemptKind::Ingest | AttemptKind::Observe => "it is read by runstone itself, which writes no log".to_owned(),
        _ => format!("{} is gone", path.parent().unwrap_or(path).display()),
    };
    CommandError::not_found(format!("there is no log of attempt {}: {what}", attempt.number))
}

/// Prints both logs as they grow, of one attempt after the other, until the task has ended.
fn follow(
    args: &Args,
    project: &Project,
    store: &mut dyn Store,
    run: &RunRecord,
    index: u32,
    terminal: &mut Terminal,
) -> CommandResult<()> {
    let limit = project.config().log_limit.value;
    let mut current: Option<(AttemptRecord, Vec<Reader>)> = None;
    loop {
        // The record is read before the files: what it calls ended has written all it will.
        let Some(task) = store.tasks(run.id)?.into_iter().find(|task| task.index == index) else {
            return Err(CommandError::not_found("the task is gone"));
        };
        let attempts = store.attempts(run.id, Some(index))?;
        if attempts.is_empty() && task.state.is_terminal() {
            let attempt = attempt(store, run, &task, args.attempt)?;
            return readers(args, project, &attempt, limit).iter_mut().try_for_each(|reader| reader.print(terminal));
        }
        let after = current.as_ref().map_or(0, |(attempt, _)| attempt.number);
        let wanted =
            |attempt: &&AttemptRecord| args.attempt.map_or(attempt.number > after, |number| attempt.number == number);
        let has_ended = |attempt: &AttemptRecord| {
            let latest = attempts.iter().find(|it| it.id == attempt.id).unwrap_or(attempt);
            matches!(latest.state, AttemptState::Succeeded | AttemptState::Failed)
        };
        if let Some((attempt, readers)) = &mut current {
            for reader in readers {
                reader.print(terminal)?;
            }
            if has_ended(attempt) && (args.attempt.is_some() || task.state.is_terminal()) {
                return Ok(());
            }
        }
        let is_free = current.as_ref().is_none_or(|(attempt, _)| has_ended(attempt) && args.attempt.is_none());
        if is_free && let Some(next) = attempts.iter().find(wanted) {
            if next.number > 1 && args.attempt.is_none() {
                terminal.note(paint(DIM, &format!("── attempt {} ──", next.number)));
            }
            current = Some((next.clone(), readers(args, project, next, limit)));
            continue;
        }
        terminal.flush()?;
        std::thread::sleep(PAUSE);
    }
}

/// One log of an attempt, and how far it was printed.
struct Reader {
    name: &'static str,
    path: PathBuf,
    from: u64,
    limit: LogLimit,
}

fn readers(args: &Args, project: &Project, attempt: &AttemptRecord, limit: LogLimit) -> Vec<Reader> {
    let folder = project.attempt_dir(attempt.run.0, attempt.task, attempt.number);
    let wanted = [("stdout", !args.stderr), ("stderr", !args.stdout)];
    let wanted = wanted.into_iter().filter(|(_, wanted)| *wanted);
    wanted.map(|(name, _)| Reader { name, path: folder.join(name), from: 0, limit }).collect()
}

impl Reader {
    fn has_bytes(&self) -> bool {
        self.path.metadata().is_ok_and(|metadata| metadata.len() > 0)
    }

    /// Prints what is new. A log that does not exist yet has nothing new.
    fn print(&mut self, terminal: &mut Terminal) -> CommandResult<()> {
        let log = match read_log(&self.path, self.from, self.limit) {
            Ok(log) => log,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(CommandError::io(format!("cannot read {}", self.path.display()), error)),
        };
        for piece in &log.pieces {
            match piece {
                LogPiece::Bytes(bytes) => terminal.print_bytes(bytes)?,
                LogPiece::Cut(bytes) => {
                    let text = format!("── {} of {} are not kept ──", size(*bytes), self.name);
                    terminal.note(format_args!("\n{}", paint(DIM, &text)));
                }
            }
        }
        self.from = log.end;
        Ok(())
    }
}
