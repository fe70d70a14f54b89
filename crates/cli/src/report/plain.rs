//! A line for each thing worth telling, for logs and pipes.

use std::io::Write;

use runstone_engine::report::{Reporter, RunEvent};

use super::wording::{Detail, Wording};

/// Writes lines.
pub(crate) struct Plain {
    out: Box<dyn Write + Send>,
    wording: Wording,
}

impl Plain {
    pub(crate) fn new(out: Box<dyn Write + Send>, detail: Detail) -> Self {
        Self { out, wording: Wording::new(detail) }
    }
}

impl Reporter for Plain {
    fn event(&mut self, event: &RunEvent) {
        if let Some(mut text) = self.wording.text(event) {
            text.push('\n');
            // A reader that has gone is no reason to stop a run. One write, so that lines of others do not come between.
            let _ = self.out.write_all(text.as_bytes());
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::{Arc, Mutex};

    use runstone_core::attempt::Cause;
    use runstone_core::record::{RunId, RunState, TaskState};
    use runstone_engine::report::{Counts, TaskLabel};
    use uuid::Uuid;

    use super::*;

    /// A writer whose text can be looked at.
    #[derive(Clone, Default)]
    pub(crate) struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Shared {
        pub(crate) fn text(&self) -> String {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            anstream::adapter::strip_str(&text).to_string()
        }
    }

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn task(index: u32, name: &str) -> TaskLabel {
        TaskLabel { index, name: name.into() }
    }

    fn ended(name: &str, state: TaskState, stderr: Option<std::path::PathBuf>) -> RunEvent {
        let failed = state == TaskState::Failed;
        RunEvent::TaskEnded {
            task: task(1, name),
            attempt: 1,
            state,
            cause: Cause::Exit,
            exit_code: Some(i32::from(failed)),
            signal: None,
            message: None,
            wall_us: 1_234_567,
            stderr,
        }
    }

    pub(crate) fn story(stderr: std::path::PathBuf) -> Vec<RunEvent> {
        let counts = Counts { succeeded: 1, reused: 1, failed: 1, skipped: 1, cancelled: 0 };
        vec![
            RunEvent::RunStarted {
                number: 42,
                run: RunId(Uuid::nil()),
                pipeline: "tickets".into(),
                tasks: 4,
                resumed: false,
            },
            RunEvent::TaskReused { task: task(0, "raw"), from_run: 41 },
            RunEvent::TaskStarted { task: task(1, "clean"), attempt: 1 },
            ended("clean", TaskState::Succeeded, None),
            RunEvent::TaskRetrying {
                task: task(2, "model{lr=0.1}"),
                attempt: 1,
                cause: Cause::Timeout,
                exit_code: None,
                signal: Some(15),
                wait_ms: 30_000,
            },
            ended("model{lr=0.1}", TaskState::Failed, Some(stderr)),
            RunEvent::TaskSkipped { task: task(3, "report"), reason: "needs model{lr=0.1}, which failed".into() },
            RunEvent::RunEnded {
                number: 42,
                state: RunState::Failed,
                reason: Some("1 task failed".into()),
                counts,
                wall_us: 12_300_000,
            },
        ]
    }

    fn told(detail: Detail) -> String {
        let folder = tempfile::tempdir().unwrap();
        let stderr = folder.path().join("stderr");
        std::fs::write(&stderr, "Traceback:\n  KeyError: 'x'\n").unwrap();
        let shared = Shared::default();
        let mut plain = Plain::new(Box::new(shared.clone()), detail);
        story(stderr).iter().for_each(|event| plain.event(event));
        shared.text()
    }

    #[test]
    fn a_run_is_told_line_by_line() {
        let expected = "\
run #42 of tickets has 4 tasks
succeeded clean  1.23 s
 retrying model{lr=0.1} after attempt 1: timeout; again in 30.0 s
   failed model{lr=0.1}  exit 1, 1.23 s
          │ Traceback:
          │   KeyError: 'x'
          all of it: runstone logs '#42/model{lr=0.1}'
  skipped report: needs model{lr=0.1}, which failed
run #42 failed in 12.3 s, tasks 4: 1 succeeded, 1 reused, 1 failed, 1 skipped
          1 task failed
";
        assert_eq!(told(Detail::Normal), expected);
    }

    #[test]
    fn quiet_tells_of_failures_and_the_end_and_verbose_of_everything() {
        let quiet = told(Detail::Quiet);
        assert!(quiet.starts_with("   failed model{lr=0.1}"), "{quiet}");
        assert!(!quiet.contains("skipped report") && quiet.contains("run #42 failed"), "{quiet}");
        assert!(told(Detail::Verbose).contains("   reused raw from #41\n"));
    }
}
