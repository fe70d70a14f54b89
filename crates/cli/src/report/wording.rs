//! The lines that tell people of a run, the same with and without bars.

use runstone_core::record::TaskState;
use runstone_engine::report::{RunEvent, TaskLabel};

use crate::render::outcome::{cause_text, counts_text};
use crate::render::quantity::duration;
use crate::render::style::{self, BAD, BOLD, DIM, DOUBT, paint};
use crate::render::{count, excerpt, harmless};
use crate::terminal::Terminal;

/// How many lines of standard error are shown of a failed task.
const EXCERPT: usize = 10;
/// How many skipped tasks are told of one by one.
const SKIPPED: u32 = 10;
/// Columns of the state before the name of a task.
const INDENT: usize = 9;

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// What failed, and how the run ended.
    Quiet,
    /// What was executed as well.
    Normal,
    /// What was reused or skipped as well, one by one.
    Verbose,
}

impl Detail {
    pub(crate) fn of(terminal: &Terminal) -> Self {
        match (terminal.is_quiet(), terminal.is_verbose()) {
            (true, _) => Self::Quiet,
            (false, true) => Self::Verbose,
            (false, false) => Self::Normal,
        }
    }
}

/// Makes lines of events.
#[derive(Debug)]
pub(crate) struct Wording {
    detail: Detail,
    run: i64,
    skipped: u32,
}

impl Wording {
    pub(crate) fn new(detail: Detail) -> Self {
        Self { detail, run: 0, skipped: 0 }
    }

    /// What is to be told of an event; nothing of most. May be several lines; has no line break at its end.
    pub(crate) fn text(&mut self, event: &RunEvent) -> Option<String> {
        match event {
            RunEvent::RunStarted { number, pipeline, tasks, resumed, .. } => {
                self.run = *number;
                let title = paint(BOLD, &format!("run #{number}"));
                let verb = if *resumed { "goes on with" } else { "has" };
                let tasks = count(*tasks as usize, "task");
                self.normal(|| format!("{title} of {} {verb} {tasks}", harmless(pipeline)))
            }
            RunEvent::EnvironmentBuilding { name, line } => {
                self.normal(|| line_of("building", DIM, &format!("{}: {}", harmless(name), harmless(line))))
            }
            RunEvent::TaskEnded { .. } => self.task_ended(event),
            RunEvent::TaskReused { task, from_run } => {
                let text = || line_of("reused", style::GOOD, &format!("{} from #{from_run}", name(task)));
                if self.detail == Detail::Verbose { Some(text()) } else { None }
            }
            RunEvent::TaskSkipped { task, reason } => {
                self.skipped += 1;
                let is_told = self.detail == Detail::Verbose || self.skipped <= SKIPPED;
                let text = || line_of("skipped", DOUBT, &format!("{}: {}", name(task), harmless(reason)));
                if is_told { self.normal(text) } else { None }
            }
            RunEvent::TaskRetrying { task, attempt, cause, exit_code, signal, wait_ms } => {
                let cause = cause_text(*cause, *exit_code, *signal);
                let wait = duration(wait_ms.saturating_mul(1000));
                let text = format!("{} after attempt {attempt}: {cause}; again in {wait}", name(task));
                self.normal(|| line_of("retrying", DOUBT, &text))
            }
            RunEvent::Warning { message } => Some(line_of("warning", DOUBT, &harmless(message))),
            RunEvent::RunEnded { number, state, reason, counts, wall_us } => {
                let state = paint(style::of_run(*state), state.as_str());
                let mut text = format!(
                    "{} {state} in {}, tasks {}",
                    paint(BOLD, &format!("run #{number}")),
                    duration(*wall_us),
                    counts_text(counts, counts.total() as usize),
                );
                if let Some(reason) = reason {
                    text.push_str(&format!("\n{:INDENT$} {}", "", harmless(reason)));
                }
                Some(text)
            }
            RunEvent::TaskStarted { .. } | RunEvent::TasksAdded { .. } => None,
        }
    }

    fn normal(&self, text: impl FnOnce() -> String) -> Option<String> {
        (self.detail != Detail::Quiet).then(text)
    }

    fn task_ended(&self, event: &RunEvent) -> Option<String> {
        let RunEvent::TaskEnded { task, state, cause, exit_code, signal, message, wall_us, stderr, .. } = event else {
            return None;
        };
        let took = duration(*wall_us);
        if *state != TaskState::Failed {
            let text = || line_of(state.as_str(), style::of_task(*state), &format!("{}  {took}", name(task)));
            return self.normal(text);
        }
        let cause = cause_text(*cause, *exit_code, *signal);
        let mut text = line_of("failed", BAD, &format!("{}  {cause}, {took}", name(task)));
        let indent = format!("\n{:INDENT$} ", "");
        if let Some(message) = message {
            text.push_str(&format!("{indent}{}", harmless(message)));
        }
        // A log that cannot be read is no reason to say nothing at all.
        let lines = stderr.as_ref().and_then(|path| excerpt::tail(path, EXCERPT).ok()).unwrap_or_default();
        for line in &lines {
            text.push_str(&format!("{indent}{} {line}", paint(DIM, "│")));
        }
        let command = format!("all of it: runstone logs '#{}/{}'", self.run, harmless(&task.name));
        text.push_str(&format!("{indent}{}", paint(DIM, &command)));
        Some(text)
    }
}

fn name(task: &TaskLabel) -> String {
    paint(BOLD, &harmless(&task.name))
}

fn line_of(word: &str, style: anstyle::Style, text: &str) -> String {
    let padding = " ".repeat(INDENT.saturating_sub(word.len()));
    format!("{padding}{} {text}", paint(style, word))
}
