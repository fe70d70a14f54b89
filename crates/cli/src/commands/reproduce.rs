//! `runstone reproduce`: makes a version again from what is on record, and compares.

use std::path::PathBuf;

use runstone_core::lineage::store::NewReproduction;
use runstone_core::record::{MaterializationRecord, NodeId};
use runstone_core::reference::DatasetRef;
use runstone_core::reproduction::{Reproduction, Verdict};
use runstone_core::store::Store;
use runstone_engine::reproduce::{self, Options, Progress};
use runstone_engine::{Site, environment};
use runstone_lineage::{find, view};

use super::run::{jobs, stop_on_signals};
use crate::args::FormatArgs;
use crate::context::Context;
use crate::error::{CommandError, CommandResult, ErrorKind};
use crate::render::reproduction as render;
use crate::terminal::Terminal;
use crate::view::reproduction::{ReproductionView, Reproductions};

/// Make a version again from what is on record, and compare
///
/// The command runs in a scratch folder with the recorded code, parameters, environment and inputs, none of them as they
/// are in the project today. Nothing on record changes but for the verdict, which is added. What does not count about an output (`normalize:` in the
/// pipeline) is left out where bytes differ. Ends with exit code 1 unless everything is identical.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone reproduce tickets/model@v3\n  \
    runstone reproduce 'tickets/model{lr=0.1}' --keep\n  \
    runstone reproduce tickets/report --deep\n  \
    runstone reproduce tickets/report --deep --json\n  \
    runstone reproduce tickets/model@v3 --past")]
pub(crate) struct Args {
    /// The dataset and version
    #[arg(value_name = "NAME[@VERSION]")]
    dataset: DatasetRef,
    /// Everything that it was made of as well, from the sources on
    #[arg(long)]
    deep: bool,
    /// Only show what came of earlier tries, newest first; nothing runs
    #[arg(long, conflicts_with_all = ["keep", "jobs"])]
    past: bool,
    /// Keep the scratch folder, to look at outputs and logs
    #[arg(long)]
    keep: bool,
    /// Processes at once (default: one for each core)
    #[arg(long, short, value_name = "N")]
    jobs: Option<std::num::NonZeroU32>,
    #[command(flatten)]
    format: FormatArgs,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let (project, mut store) = context.open()?;
    let version = find::version(store.as_mut(), &args.dataset)?;
    let name = view::reference(&version.dataset, &version.subset, version.version);
    if args.past {
        return past(args, context, store.as_mut(), &version, &name);
    }
    let jobs = jobs(args.jobs, &project);
    let root = project.root().to_owned();
    let site = Site::open(project, &root, context.variables.clone())?;
    let crew = context.crew(jobs)?;
    let options = Options { deep: args.deep, keep: args.keep, tool_version: env!("CARGO_PKG_VERSION").to_owned() };
    let control = |control: reproduce::Control| stop_on_signals(move |how| control.stop(how));
    let mut watch = Watch {
        args,
        by: (environment::user(&context.variables), environment::host()),
        verdicts: store.reopen()?,
        terminal: &mut context.terminal,
        views: Vec::new(),
        kept: Vec::new(),
        trouble: Ok(()),
    };
    let mut tell = |progress: &Progress<'_>| watch.hear(progress);
    reproduce::reproduce(&site, store.as_mut(), &crew, version.attempt, &options, &mut tell, control)?;
    let Watch { views, kept, trouble, .. } = watch;
    trouble?;
    let all = Reproductions::new(name, views);
    if args.format.json {
        context.terminal.print_json(&all)?;
    } else if args.deep {
        context.terminal.print(&render::closing(&all))?;
    }
    for folder in kept {
        context.terminal.note(format_args!("outputs and logs are in {}", folder.display()));
    }
    conclude(&all, args)
}

/// Shows what is on record of earlier tries.
fn past(
    args: &Args,
    context: &mut Context,
    store: &mut dyn Store,
    version: &MaterializationRecord,
    name: &str,
) -> CommandResult<()> {
    let past = reproduce::past(store, version.attempt, args.deep)?;
    let views: Vec<ReproductionView> =
        past.iter().map(|it| ReproductionView::new(&it.attempt, &it.reproduction, &it.user)).collect();
    if args.format.json {
        return context.terminal.print_json(&views);
    }
    if views.is_empty() {
        context.terminal.note(format_args!("nobody made {name} again so far"));
    }
    let layout = context.layout();
    for view in &views {
        context.terminal.print(&render::past(view, &layout))?;
    }
    Ok(())
}

/// Takes in what comes of it, and tells people as it comes.
struct Watch<'a> {
    args: &'a Args,
    /// User and machine.
    by: (String, String),
    /// A connection of its own, so that verdicts are on record even where the whole is stopped half-way.
    verdicts: Box<dyn Store>,
    terminal: &'a mut Terminal,
    views: Vec<ReproductionView>,
    kept: Vec<PathBuf>,
    trouble: CommandResult<()>,
}

impl Watch<'_> {
    fn hear(&mut self, progress: &Progress<'_>) {
        match progress {
            Progress::Planned(_) | Progress::Started(_) => {}
            Progress::Building(attempt, line) => self.terminal.note(format_args!("{}: {line}", attempt.step)),
            Progress::Ended(attempt, reproduction, kept) => {
                self.record(attempt.id, reproduction);
                let view = ReproductionView::new(attempt, reproduction, &self.by.0);
                if !self.args.format.json && self.trouble.is_ok() {
                    let all = !self.args.deep || self.terminal.is_verbose();
                    self.trouble = self.terminal.print(&render::attempt(&view, all));
                }
                self.views.push(view);
                self.kept.extend(kept.map(std::path::Path::to_owned));
            }
        }
    }
}

impl Watch<'_> {
    fn record(&mut self, attempt: NodeId, reproduction: &Reproduction) {
        let (user, host) = self.by.clone();
        let recorded = self.verdicts.add_reproduction(&NewReproduction {
            attempt,
            verdict: reproduction.verdict.as_str().to_owned(),
            body: serde_json::json!(reproduction),
            at: reproduction.ended,
            user,
            host,
        });
        if let Err(error) = recorded
            && self.trouble.is_ok()
        {
            self.trouble = Err(error.into());
        }
    }
}

fn conclude(all: &Reproductions, args: &Args) -> CommandResult<()> {
    if all.verdict.holds() {
        return Ok(());
    }
    let error =
        CommandError::new(ErrorKind::Failed, format!("{} was not reproduced: {}", all.version, render::tally(all)));
    Err(match all.verdict {
        Verdict::Impossible if !args.deep && all.lacks_inputs() => {
            error.hint("`--deep` makes inputs again whose bytes are gone")
        }
        Verdict::Differs if !args.keep => error.hint("`--keep` leaves what was made for you to look at"),
        Verdict::Failed if !args.keep => error.hint("`--keep` leaves its logs for you to look at"),
        _ => error,
    })
}
