//! Commands that run when a run has ended. They see how it ended and change nothing about it.

use std::process::{Command as Process, Stdio};

use runstone_core::record::RunState;
use runstone_core::spec::model::Command;

use crate::driver::Summary;
use crate::prepare::Prepared;
use crate::report::{Reporter, RunEvent};
use crate::site::Site;

/// Runs the hooks that apply, one after the other, in the pipeline's folder. Their output goes to files in the run's
/// folder. A failing hook is warned of.
pub(crate) fn run(site: &Site, prepared: &Prepared, summary: &Summary, reporter: &mut dyn Reporter) {
    let hooks = &prepared.pipeline.hooks;
    let by_state = match summary.state {
        RunState::Succeeded => ("success", &hooks.success),
        _ => ("failure", &hooks.failure),
    };
    for (name, hook) in [by_state, ("exit", &hooks.exit)] {
        let Some(command) = hook else { continue };
        if let Err(message) = run_one(site, prepared, summary, name, command) {
            reporter.event(&RunEvent::Warning { message: format!("hook `{name}`: {message}") });
        }
    }
}

fn run_one(site: &Site, prepared: &Prepared, summary: &Summary, name: &str, command: &Command) -> Result<(), String> {
    let argv = match command {
        Command::Shell(script) => vec!["sh".to_owned(), "-eu".to_owned(), "-c".to_owned(), script.clone()],
        Command::Argv(argv) => argv.clone(),
    };
    let log = site.project.run_dir(summary.run.0).join(format!("hook-{name}.log"));
    let file = std::fs::File::create(&log).map_err(|error| format!("cannot create {}: {error}", log.display()))?;
    let errors = file.try_clone().map_err(|error| format!("cannot write {}: {error}", log.display()))?;
    let failed = summary.reason.clone().unwrap_or_default();
    let status = Process::new(&argv[0])
        .args(&argv[1..])
        .current_dir(&prepared.folder)
        .env_clear()
        .envs(crate::staging::base_env(site))
        .env("RUN_ID", summary.number.to_string())
        .env("RUN_STATE", summary.state.as_str())
        .env("RUN_REASON", failed)
        .env("PIPELINE", prepared.pipeline.name.as_str())
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors)
        .status()
        .map_err(|error| format!("cannot start {}: {error}", argv[0]))?;
    if status.success() { Ok(()) } else { Err(format!("{status}; see {}", log.display())) }
}
