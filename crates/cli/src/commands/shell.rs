//! `runstone shell`: a shell, or one command, with exactly the environment and the inputs of an attempt.

use std::path::{Path, PathBuf};
use std::process::Command;

use runstone_engine::{CONTEXT, StepContext};
use uuid::Uuid;

use crate::context::Context;
use crate::error::{CommandError, CommandResult, ErrorKind};
use runstone_core::reference::{RunRef, RunTaskRef};
use runstone_lineage::find;

/// Open a shell with exactly the environment and the inputs of an attempt
///
/// Outputs, metrics and temporary files go to a scratch folder that is removed afterwards; nothing is recorded.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone shell model\n  \
    runstone shell 'model{lr=0.1}' --run 42\n  \
    runstone shell report -- sh -c env")]
pub(crate) struct Args {
    /// Which task
    task: RunTaskRef,
    /// Which run; the newest that has the task where none is given
    #[arg(long, value_name = "RUN")]
    run: Option<RunRef>,
    /// A command to run instead of an interactive shell
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let (project, mut store) = context.open()?;
    let (run, task) = find::task(store.as_mut(), &args.task, args.run.as_ref())?;
    let attempt = match task.attempt {
        Some(id) => store.attempts_by_id(&[id])?.pop(),
        None => None,
    };
    let attempt = attempt
        .ok_or_else(|| CommandError::not_found(format!("task {} of run #{} has no attempt", task.step, run.number)))?;
    let folder = project.attempt_dir(attempt.run.0, attempt.task, attempt.number);
    let step = read(&folder)?;
    let scratch = Scratch::new(&project.cache_dir())?;
    let mut env = step.env.clone();
    for (name, secret) in &step.secrets {
        let variable = |key: &str| context.variables.get(key).map(Into::into);
        let value = project
            .config()
            .secret(secret, project.root(), variable)
            .map_err(|error| CommandError::usage(format!("variable {name} needs a secret")).because(error))?;
        env.insert(name.clone(), value);
    }
    let old = folder.display().to_string();
    let new = scratch.0.display().to_string();
    for (name, value) in &mut env {
        // Inputs stay where they are; what the step writes goes to the scratch folder.
        if !name.starts_with("IN_") && name != "RUNSTONE_CONTEXT" && value.starts_with(&old) {
            *value = value.replacen(&old, &new, 1);
            let path = Path::new(value.as_str());
            let make = if name == "TMPDIR" { Some(path) } else { path.parent() };
            make.map_or(Ok(()), std::fs::create_dir_all)
                .map_err(|error| CommandError::io(format!("cannot create {}", path.display()), error))?;
        }
    }
    let argv = if args.command.is_empty() { interactive(context) } else { args.command.clone() };
    if args.command.is_empty() {
        context.terminal.note(format_args!(
            "attempt {} of {} in run #{}; it ran: {}\nleave the shell to remove {new}",
            attempt.number,
            step.task,
            attempt.run_number,
            step.argv.last().map_or("", String::as_str),
        ));
    }
    context.terminal.flush()?;
    let status = Command::new(&argv[0])
        .args(&argv[1..])
        .env_clear()
        .envs(&env)
        .current_dir(&step.cwd)
        .status()
        .map_err(|error| CommandError::io(format!("cannot start {}", argv[0]), error))?;
    if status.success() || args.command.is_empty() {
        return Ok(());
    }
    Err(CommandError::new(ErrorKind::Failed, format!("{}: {status}", argv[0])))
}

fn read(folder: &Path) -> CommandResult<StepContext> {
    let path = folder.join(CONTEXT);
    let text = std::fs::read_to_string(&path).map_err(|error| {
        CommandError::not_found(format!("the folder of the attempt is gone: {}", folder.display()))
            .because(error)
            .hint("run the step again with --force; folders of old runs are removed by `runstone gc`")
    })?;
    serde_json::from_str(&text).map_err(|error| {
        CommandError::new(ErrorKind::Store, format!("{} cannot be read", path.display())).because(error)
    })
}

fn interactive(context: &Context) -> Vec<String> {
    let shell = context.variables.get("SHELL").cloned().unwrap_or_else(|| "/bin/sh".to_owned());
    vec![shell]
}

/// A folder that is removed when it goes out of scope.
struct Scratch(PathBuf);

impl Scratch {
    fn new(cache: &Path) -> CommandResult<Self> {
        let path = cache.join(format!("shell-{}", Uuid::now_v7()));
        std::fs::create_dir_all(&path)
            .map_err(|error| CommandError::io(format!("cannot create {}", path.display()), error))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays behind lies in the cache, which may be deleted at any time.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
