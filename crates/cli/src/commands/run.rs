//! `runstone run`: plans a pipeline and executes what has to be executed.

use std::path::{Path, PathBuf};

use runstone_core::cell::TaskRef;
use runstone_core::executor::Stop;
use runstone_core::record::RunState;
use runstone_core::select::Request;
use runstone_engine::project::{Config, Project};
use runstone_engine::{
    Asked, Control, Home, Prepared, RunError, RunOptions, Site, Summary, environment, prepare, submission,
};

use super::trigger;
use crate::args::FormatArgs;
use crate::context::{Context, open_store};
use crate::definition::{self, DefinitionArgs};
use crate::error::{CommandError, CommandResult, ErrorKind};
use crate::render::closing::Closing;
use crate::report;

/// The file that is meant where none, or a folder, is named.
const DEFAULT_FILE: &str = "pipeline.yaml";

/// Run a pipeline, or the part of it that is named
///
/// Steps whose command, code, parameters, environment and input content are those of an earlier success are not
/// executed again: the earlier result stands for them. `runstone plan` shows what would be done, and why.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone run\n  \
    runstone run pipelines/quickstart\n  \
    runstone run pipeline.yaml report\n  \
    runstone run -p epochs=3 --params prod.yaml --overlay prod.yaml\n  \
    runstone run --only 'model{lr=0.1}' --force model\n  \
    runstone run --from clean --jobs 8 --fail-fast\n  \
    runstone run --partition 2026-01-05\n  \
    runstone run pipeline.yaml --detach")]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) what: WhatArgs,
    #[command(flatten)]
    pub(crate) how: HowArgs,
    /// Leave the run to a scheduler (`runstone serve`) and come back at once
    #[arg(long, conflicts_with_all = ["jobs", "relock"])]
    detach: bool,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// Which pipeline, with which values, and which part of it.
#[derive(Debug, clap::Args)]
pub(crate) struct WhatArgs {
    /// The pipeline file or its folder (default: ./pipeline.yaml), then steps to run with all they need
    #[arg(value_name = "FILE|STEP")]
    words: Vec<String>,
    #[command(flatten)]
    definition: DefinitionArgs,
    /// Set a parameter; may be given several times
    #[arg(short = 'p', long = "param", value_name = "NAME=VALUE")]
    param: Vec<String>,
    /// Read parameters from a YAML or JSON file; may be given several times
    #[arg(long, value_name = "FILE")]
    params: Vec<PathBuf>,
    /// Run this step alone, on what the others published last
    #[arg(long, value_name = "STEP")]
    only: Vec<TaskRef>,
    /// Run this step and those that depend on it, on what the others published last
    #[arg(long, value_name = "STEP")]
    from: Vec<TaskRef>,
    /// Run this step, those that depend on it, and all they need
    #[arg(long, value_name = "STEP")]
    downstream: Vec<TaskRef>,
    /// Execute this step even where an earlier result could be reused
    #[arg(long, value_name = "STEP")]
    force: Vec<TaskRef>,
    /// Execute everything
    #[arg(long)]
    no_reuse: bool,
    /// Which partition, where the pipeline has some
    #[arg(long, value_name = "KEY")]
    partition: Option<String>,
}

/// How to run.
#[derive(Debug, clap::Args)]
pub(crate) struct HowArgs {
    /// Processes at once (default: one for each core)
    #[arg(long, short, value_name = "N")]
    jobs: Option<std::num::NonZeroU32>,
    /// Start nothing more after the first failure
    #[arg(long)]
    fail_fast: bool,
    /// Resolve Python environments to their newest versions
    #[arg(long)]
    relock: bool,
}

impl HowArgs {
    pub(crate) fn options(&self) -> RunOptions {
        RunOptions { fail_fast: self.fail_fast, relock: self.relock }
    }

    /// How many steps run at once.
    pub(crate) fn jobs(&self, project: &Project) -> u32 {
        jobs(self.jobs, project)
    }
}

/// How many steps run at once, where nothing is asked for as the project says.
pub(crate) fn jobs(asked: Option<std::num::NonZeroU32>, project: &Project) -> u32 {
    let configured = u32::try_from(project.config().jobs.value.get()).unwrap_or(u32::MAX);
    asked.map_or(configured, std::num::NonZeroU32::get)
}

impl WhatArgs {
    /// The pipeline file and the steps among the words.
    fn split(&self, context: &Context) -> CommandResult<(PathBuf, Vec<TaskRef>)> {
        let named = self.words.first().filter(|word| {
            let path = Path::new(word.as_str());
            word.contains('/') || word.ends_with(".yaml") || word.ends_with(".yml") || context.cwd.join(path).exists()
        });
        let steps = &self.words[usize::from(named.is_some())..];
        let mut file = PathBuf::from(named.map_or(DEFAULT_FILE, String::as_str));
        if file.is_dir() {
            file.push(DEFAULT_FILE);
        }
        if !file.exists() {
            let error = CommandError::not_found(format!("there is no {}", file.display()));
            return Err(
                error.hint("name a pipeline file, or the folder of a pipeline.yaml; `runstone init` writes one")
            );
        }
        let steps = steps
            .iter()
            .map(|word| {
                word.parse().map_err(|error: runstone_core::cell::TaskRefError| CommandError::usage(error.to_string()))
            })
            .collect::<CommandResult<_>>()?;
        Ok((file, steps))
    }

    /// The project and the pipeline in it, checked and expanded.
    pub(crate) fn prepare(&self, context: &mut Context) -> CommandResult<(Project, Prepared)> {
        let (pipeline, targets) = self.split(context)?;
        let request = Request {
            targets,
            only: self.only.clone(),
            from: self.from.clone(),
            downstream: self.downstream.clone(),
            force: self.force.clone(),
            no_reuse: self.no_reuse,
        };
        let asked = Asked {
            pipeline: pipeline.clone(),
            overlays: self.definition.overlay.clone(),
            params_files: self.params.clone(),
            params: self.param.clone(),
            request,
            partition: self.partition.clone(),
            allow_unsupported: self.definition.allow_unsupported,
        };
        // What is wrong with the file is said before anything is made on disk.
        let root = Project::root_of(&context.cwd, &pipeline, context.explicit_project.as_deref())?;
        let home = Home::new(&root, &Config::load(&root, &context.overrides)?);
        let prepared =
            prepare(&asked, &home).map_err(|error| definition::refused(error, &pipeline, &mut context.terminal))?;
        if !prepared.warnings.is_empty() {
            context.terminal.complain(&prepared.warnings);
        }
        let explicit = context.explicit_project.as_deref();
        let project = Project::open_or_create(&context.cwd, &pipeline, explicit, &context.overrides)?;
        Ok((project, prepared))
    }
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let (project, prepared) = args.what.prepare(context)?;
    let asked = environment::ask(project.root(), &context.variables, env!("CARGO_PKG_VERSION"));
    let mut store = open_store(&project)?;
    let (options, jobs) = (args.how.options(), args.how.jobs(&project));
    let pools = project.config().pool_slots();
    if !pools.is_empty() {
        store.declare_pools(&pools)?;
    }
    let site = Site::open(project, &prepared.folder, context.variables.clone())?;
    if args.detach {
        let submission = submission(&site, &prepared, options.fail_fast, "manual", asked.wait());
        return trigger::submit(store.as_mut(), &submission, args.format.json, context);
    }
    let crew = context.crew(jobs)?;
    let folder = prepared.folder.strip_prefix(&context.cwd).unwrap_or(&prepared.folder).to_owned();
    let closing = Closing::new(&prepared.pipeline, &folder);
    let mut afterwards = store.reopen()?;
    let mut reporter = report::reporter(&context.terminal, args.format.json);
    let result = runstone_engine::run(&site, prepared, store, &crew, options, asked, reporter.as_mut(), on_signals);
    drop(reporter);
    let summary = conclude(result)?;
    if !args.format.json && !context.terminal.is_quiet() {
        let text = closing.render(afterwards.as_mut(), summary.run)?;
        context.terminal.print(&text)?;
    }
    Ok(())
}

/// Says how a run ended, with the exit code that goes with it.
pub(crate) fn conclude(result: Result<Summary, RunError>) -> CommandResult<Summary> {
    let summary = result?;
    let number = summary.number;
    match summary.state {
        RunState::Succeeded => Ok(summary),
        RunState::Cancelled => Err(CommandError::new(ErrorKind::Interrupted, format!("run #{number} was stopped"))
            .hint(format!("`runstone resume {number}` goes on with it"))),
        RunState::Failed | RunState::Running => {
            let why = summary.reason.map_or_else(String::new, |reason| format!(": {reason}"));
            Err(CommandError::new(ErrorKind::Failed, format!("run #{number} failed{why}")).hint(format!(
                "`runstone show {number}` tells more; `runstone resume {number}` tries again what failed"
            )))
        }
    }
}

/// The first signal ends the run gracefully, the next one at once.
pub(crate) fn on_signals(control: Control) {
    stop_on_signals(move |how| control.stop(how));
}

/// Has `stop` called for each signal that asks for the end, the first time gracefully.
pub(crate) fn stop_on_signals(stop: impl Fn(Stop) + Send + 'static) {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP]) else { return };
    // Without the thread a signal ends the process at once, after which `resume` goes on.
    let _ = std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for (count, _) in signals.forever().enumerate() {
            stop(if count == 0 { Stop::Gracefully } else { Stop::Now });
        }
    });
}
