//! What people and programs see of a run while it happens: bars on a terminal, lines elsewhere, JSON for programs.

mod json;
mod plain;
mod progress;
mod wording;

use runstone_engine::report::Reporter;

use crate::terminal::Terminal;

/// The reporter that fits: JSON where it was asked for, bars where somebody watches, else lines.
pub(crate) fn reporter(terminal: &Terminal, json: bool) -> Box<dyn Reporter> {
    if json {
        return Box::new(json::Json::new(terminal.out_writer()));
    }
    if terminal.is_watched() && !terminal.is_quiet() {
        return Box::new(progress::Progress::on_terminal(terminal));
    }
    Box::new(plain::Plain::new(terminal.err_writer(), wording::Detail::of(terminal)))
}
