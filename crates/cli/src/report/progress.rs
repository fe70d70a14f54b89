//! One bar for the run, and below it what is running at the moment; what has ended scrolls away above.

use runstone_core::time::micros;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use runstone_engine::report::{Reporter, RunEvent};

use super::wording::{Detail, Wording};
use crate::render::harmless;
use crate::render::quantity::coarse_duration;
use crate::render::style::{BUSY, DIM, paint};
use crate::render::table::shorten;
use crate::terminal::Terminal;

/// How many running tasks are named.
const NAMED: usize = 8;
/// How often the bar is drawn anew at most.
const REDRAW: Duration = Duration::from_millis(100);

/// Draws on a terminal.
pub(crate) struct Progress {
    bar: ProgressBar,
    wording: Wording,
    color: bool,
    width: usize,
    drawn: Instant,
    state: State,
}

/// What the bar shows, apart from its drawing.
#[derive(Debug, Default)]
struct State {
    total: u64,
    done: u64,
    reused: u64,
    failed: u64,
    /// Tasks that were executed to their end, and how long that took all together, microseconds.
    executed: u64,
    executed_us: u64,
    running: Vec<Running>,
    /// What an environment's builder says at the moment.
    building: Option<String>,
}

#[derive(Debug)]
struct Running {
    index: u32,
    name: String,
    since: Instant,
}

impl Progress {
    pub(crate) fn on_terminal(terminal: &Terminal) -> Self {
        let width = terminal.err_width().unwrap_or(80);
        Self::new(ProgressDrawTarget::stderr(), terminal.err_color(), width, Detail::of(terminal))
    }

    fn new(target: ProgressDrawTarget, color: bool, width: usize, detail: Detail) -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let style = ProgressStyle::with_template("{bar:24} {pos}/{len}{msg}")
            .expect("the template is a constant")
            .progress_chars("━╸─");
        bar.set_style(style);
        Self { bar, wording: Wording::new(detail), color, width, drawn: Instant::now(), state: State::default() }
    }

    fn draw(&mut self) {
        self.drawn = Instant::now();
        self.bar.set_length(self.state.total);
        self.bar.set_position(self.state.done);
        let text = self.state.text(self.drawn, self.width);
        self.bar.set_message(if self.color { text } else { anstream::adapter::strip_str(&text).to_string() });
    }

    fn tell(&self, text: &str) {
        let text = if self.color { text.to_owned() } else { anstream::adapter::strip_str(text).to_string() };
        self.bar.println(text);
    }
}

impl Reporter for Progress {
    fn event(&mut self, event: &RunEvent) {
        self.state.take(event, Instant::now());
        let text = self.wording.text(event);
        let is_over = matches!(event, RunEvent::RunEnded { .. });
        if is_over {
            self.bar.finish_and_clear();
        }
        if let Some(text) = text {
            self.tell(&text);
        }
        if !is_over && (self.drawn.elapsed() >= REDRAW || matches!(event, RunEvent::RunStarted { .. })) {
            self.draw();
        }
    }

    fn redraws(&self) -> bool {
        true
    }

    fn tick(&mut self) {
        if self.drawn.elapsed() >= REDRAW && !self.bar.is_finished() {
            self.draw();
        }
    }
}

impl State {
    fn take(&mut self, event: &RunEvent, now: Instant) {
        match event {
            RunEvent::RunStarted { tasks, .. } => self.total = u64::from(*tasks),
            RunEvent::TasksAdded { count } => self.total += u64::from(*count),
            RunEvent::TaskStarted { task, .. } => {
                self.building = None;
                self.running.push(Running { index: task.index, name: harmless(&task.name), since: now });
            }
            RunEvent::TaskEnded { task, state, wall_us, .. } => {
                self.ended(task.index);
                self.executed += 1;
                self.executed_us += wall_us;
                self.done += 1;
                self.failed += u64::from(*state == runstone_core::record::TaskState::Failed);
            }
            RunEvent::TaskReused { .. } => {
                self.done += 1;
                self.reused += 1;
            }
            RunEvent::TaskSkipped { .. } => self.done += 1,
            RunEvent::TaskRetrying { task, .. } => self.ended(task.index),
            RunEvent::EnvironmentBuilding { name, line } => {
                self.building = Some(format!("{}: {}", harmless(name), harmless(line)));
            }
            RunEvent::Warning { .. } | RunEvent::RunEnded { .. } => {}
        }
    }

    fn ended(&mut self, index: u32) {
        self.running.retain(|running| running.index != index);
    }

    /// Time until the end at the pace so far: the mean of executed tasks times those that are open, shared by as many
    /// as run at the moment. None before there is anything to go by.
    fn eta_us(&self) -> Option<u64> {
        let open = self.total.saturating_sub(self.done);
        if self.executed < 3 || open == 0 {
            return None;
        }
        let mean = self.executed_us / self.executed;
        Some(mean.saturating_mul(open) / self.running.len().max(1) as u64)
    }

    /// What stands behind the bar, and the lines below it.
    fn text(&self, now: Instant, width: usize) -> String {
        let mut text = String::new();
        if self.reused > 0 {
            text.push_str(&format!(" · {} reused", self.reused));
        }
        if self.failed > 0 {
            text.push_str(&format!(" · {} failed", self.failed));
        }
        if let Some(eta) = self.eta_us() {
            text.push_str(&format!(" · about {} left", coarse_duration(eta)));
        }
        if let Some(building) = &self.building {
            text.push_str(&format!("\n  {}", paint(DIM, &shorten(building, width.saturating_sub(3)))));
        }
        for running in self.running.iter().take(NAMED) {
            let elapsed = micros(now.saturating_duration_since(running.since));
            let elapsed = coarse_duration(elapsed);
            let name = shorten(&running.name, width.saturating_sub(elapsed.len() + 5));
            text.push_str(&format!("\n  {name} {}", paint(BUSY, &elapsed)));
        }
        if self.running.len() > NAMED {
            text.push_str(&format!("\n  and {} more", self.running.len() - NAMED));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use runstone_engine::report::TaskLabel;

    use super::*;
    use crate::report::plain::tests::story;

    fn started(index: u32) -> RunEvent {
        RunEvent::TaskStarted { task: TaskLabel { index, name: format!("model{{seed={index}}}") }, attempt: 1 }
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn running_tasks_are_named_with_their_time() {
        let begin = Instant::now();
        let mut state = State::default();
        for index in 0..10 {
            state.take(&started(index), begin);
        }
        let text = plain(&state.text(begin + Duration::from_secs(65), 80));
        assert!(text.starts_with("\n  model{seed=0} 1m 05s\n"), "{text}");
        assert!(text.ends_with("\n  and 2 more"), "{text}");
        assert_eq!(text.lines().count(), 1 + NAMED + 1);
    }

    #[test]
    fn what_is_counted_follows_the_story() {
        let now = Instant::now();
        let mut state = State::default();
        for event in story("/nonexistent".into()) {
            state.take(&event, now);
        }
        assert_eq!((state.total, state.done, state.reused, state.failed), (4, 4, 1, 1));
        assert!(state.running.is_empty());
        assert_eq!(plain(&state.text(now, 80)), " · 1 reused · 1 failed");
    }

    #[test]
    fn the_time_left_is_told_once_there_is_something_to_go_by() {
        let now = Instant::now();
        let mut state = State { total: 100, done: 10, executed: 2, executed_us: 2_000_000, ..State::default() };
        assert_eq!(state.eta_us(), None);
        state.executed = 4;
        state.take(&started(1), now);
        state.take(&started(2), now);
        assert_eq!(state.eta_us(), Some(500_000 * 90 / 2));
    }

    #[test]
    fn it_survives_a_whole_run_without_a_terminal() {
        let mut progress = Progress::new(ProgressDrawTarget::hidden(), false, 80, Detail::Normal);
        for event in story("/nonexistent".into()) {
            progress.event(&event);
            progress.tick();
        }
        assert!(progress.bar.is_finished());
    }
}
