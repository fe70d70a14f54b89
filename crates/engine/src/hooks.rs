//! Commands that run when a run has ended. They see how it ended and change nothing about it.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command as Process, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use runstone_core::record::RunState;
use runstone_core::spec::model::Command;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::driver::Summary;
use crate::prepare::Prepared;
use crate::report::{Reporter, RunEvent};
use crate::site::Site;

/// The longest that a hook may take: its run is over, and whoever drove it has other things to do.
const LIMIT: Duration = Duration::from_secs(60);
/// How often it is looked at.
const PAUSE: Duration = Duration::from_millis(10);

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
    let mut child = Process::new(&argv[0])
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
        .process_group(0)
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}", argv[0]))?;
    let status = wait(&mut child).map_err(|error| format!("cannot wait for {}: {error}", argv[0]))?;
    let Some(status) = status else {
        return Err(format!("was ended because it ran longer than {} s; see {}", LIMIT.as_secs(), log.display()));
    };
    if status.success() { Ok(()) } else { Err(format!("{status}; see {}", log.display())) }
}

/// Waits for a hook, and kills it with all it started when it takes too long; then there is no status.
fn wait(child: &mut Child) -> std::io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(PAUSE);
    }
    if let Some(group) = Pid::from_raw(i32::try_from(child.id()).unwrap_or(0)) {
        // It may have ended this moment.
        let _ = kill_process_group(group, Signal::KILL);
    }
    child.wait().map(|_| None)
}

#[cfg(test)]
mod tests {
    use runstone_core::record::RunId;
    use uuid::Uuid;

    use super::*;
    use crate::fixture::Fixture;
    use crate::report::Counts;

    #[derive(Default)]
    struct Heard(Vec<String>);

    impl Reporter for Heard {
        fn event(&mut self, event: &RunEvent) {
            if let RunEvent::Warning { message } = event {
                self.0.push(message.clone());
            }
        }
    }

    const PIPELINE: &str = r#"
pipeline: hooked
steps: {one: {run: 'true'}}
hooks:
  success: {run: 'echo success $RUN_ID $RUN_STATE >> told; echo "${SECRET:-none}" >> told'}
  failure: {run: 'echo failure $RUN_STATE "$RUN_REASON" >> told; exit 3'}
  exit: {run: [sh, -c, 'echo exit $PIPELINE >> told']}
"#;

    /// What the hooks of a run that ended so wrote, and what was warned of.
    fn told(state: RunState) -> (String, Vec<String>) {
        let fixture = Fixture::new(PIPELINE);
        let run = RunId(Uuid::from_u128(7));
        std::fs::create_dir_all(fixture.site.project.run_dir(run.0)).unwrap();
        let reason = (state == RunState::Failed).then(|| "`one` failed; $(reboot)".to_owned());
        let summary = Summary { number: 42, run, state, reason, counts: Counts::default() };
        let mut heard = Heard::default();
        super::run(&fixture.site, &fixture.prepared, &summary, &mut heard);
        (std::fs::read_to_string(fixture.folder.path().join("told")).unwrap(), heard.0)
    }

    #[test]
    fn the_hooks_that_apply_run_and_see_how_it_ended_and_nothing_else() {
        let (told, warnings) = told(RunState::Succeeded);
        assert_eq!((told.as_str(), warnings.len()), ("success 42 succeeded\nnone\nexit hooked\n", 0));
    }

    #[test]
    fn a_failing_hook_is_warned_of_and_the_others_run() {
        for state in [RunState::Failed, RunState::Cancelled] {
            let (told, warnings) = told(state);
            assert!(
                told.starts_with(&format!("failure {}", state.as_str())) && told.ends_with("exit hooked\n"),
                "{told}"
            );
            assert!(state != RunState::Failed || told.contains("`one` failed; $(reboot)"), "{told}");
            assert!(warnings[0].contains("hook `failure`") && warnings[0].contains("hook-failure.log"), "{warnings:?}");
        }
    }
}
