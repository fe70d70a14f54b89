//! A JSON object a line, for programs. The events are those of [`RunEvent`], each with the time as `at`.

use std::io::Write;

use runstone_engine::report::{Reporter, RunEvent};
use serde::Serialize;

use crate::context::now;
use runstone_lineage::view::Rfc3339;

/// Writes JSON lines.
pub(crate) struct Json {
    out: Box<dyn Write + Send>,
}

#[derive(Serialize)]
struct Line<'a> {
    at: Rfc3339,
    #[serde(flatten)]
    event: &'a RunEvent,
}

impl Json {
    pub(crate) fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out }
    }
}

impl Reporter for Json {
    fn event(&mut self, event: &RunEvent) {
        let mut line = serde_json::to_vec(&Line { at: Rfc3339(now()), event }).expect("an event is plain data");
        line.push(b'\n');
        // A reader that has gone is no reason to stop a run.
        let _ = self.out.write_all(&line).and_then(|()| self.out.flush());
    }
}

#[cfg(test)]
mod tests {
    use runstone_engine::report::TaskLabel;

    use super::*;
    use crate::report::plain::tests::Shared;

    #[test]
    fn each_event_is_a_line_with_stable_names() {
        let shared = Shared::default();
        let mut json = Json::new(Box::new(shared.clone()));
        let task = TaskLabel { index: 3, name: "model{lr=0.1}".into() };
        json.event(&RunEvent::TaskReused { task: task.clone(), from_run: 41 });
        json.event(&RunEvent::TaskStarted { task, attempt: 1 });
        let lines: Vec<serde_json::Value> =
            shared.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["event"], "task_reused");
        assert_eq!(lines[0]["task"]["name"], "model{lr=0.1}");
        assert_eq!(lines[0]["from_run"], 41);
        assert_eq!(lines[1]["event"], "task_started");
        assert!(lines[1]["at"].as_str().unwrap().ends_with('Z'));
    }
}
