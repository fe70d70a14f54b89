//! The few styles there are, so that the same thing always looks the same.

use anstyle::{AnsiColor, Style};
use runstone_core::record::{AttemptState, RunState, TaskState};

pub(crate) const PLAIN: Style = Style::new();
pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const DOUBT: Style = AnsiColor::Yellow.on_default();
pub(crate) const BUSY: Style = AnsiColor::Cyan.on_default();

pub(crate) fn of_task(state: TaskState) -> Style {
    match state {
        TaskState::Succeeded | TaskState::Reused => GOOD,
        TaskState::Failed => BAD,
        TaskState::Skipped | TaskState::Cancelled => DOUBT,
        TaskState::Assigned | TaskState::Retrying => BUSY,
        TaskState::Waiting => DIM,
    }
}

pub(crate) fn of_attempt(state: AttemptState) -> Style {
    match state {
        AttemptState::Assigned | AttemptState::Running => BUSY,
        AttemptState::Succeeded => GOOD,
        AttemptState::Failed => BAD,
    }
}

pub(crate) fn of_run(state: RunState) -> Style {
    match state {
        RunState::Running => BUSY,
        RunState::Succeeded => GOOD,
        RunState::Failed => BAD,
        RunState::Cancelled => DOUBT,
    }
}

/// The text in a style.
pub(crate) fn paint(style: Style, text: &str) -> String {
    if style == PLAIN || text.is_empty() { text.to_owned() } else { format!("{style}{text}{style:#}") }
}
