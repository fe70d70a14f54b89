//! The only place that prints. Results go to standard output; what is said about them goes to standard error.
//!
//! Text arrives with its styles written as escape sequences; they are taken out again where colours are not wanted.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::error::{CommandError, CommandResult, ErrorKind};

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The two outputs of the program.
pub(crate) struct Terminal {
    out: BufWriter<Stdout>,
    out_color: bool,
    err_color: bool,
    width: Option<usize>,
    quiet: bool,
    verbose: bool,
}

impl Terminal {
    pub(crate) fn new(color: Color, quiet: bool, verbose: bool) -> Self {
        Self {
            out_color: wants_color(color, &io::stdout()),
            err_color: wants_color(color, &io::stderr()),
            width: width(),
            out: BufWriter::new(io::stdout()),
            quiet,
            verbose,
        }
    }

    /// Columns of the terminal that results go to; none where they go elsewhere and nothing needs to fit.
    pub(crate) fn width(&self) -> Option<usize> {
        self.width
    }

    /// Whether somebody watches standard error on a terminal that can redraw.
    pub(crate) fn is_watched(&self) -> bool {
        io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
    }

    /// Whether only results and errors are wanted.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether more detail is wanted.
    pub(crate) fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// Whether standard error takes colours.
    pub(crate) fn err_color(&self) -> bool {
        self.err_color
    }

    /// Prints text of a result, as it is.
    pub(crate) fn print(&mut self, text: &str) -> CommandResult<()> {
        if self.out_color {
            self.out.write_all(text.as_bytes()).map_err(output_error)
        } else {
            write!(self.out, "{}", anstream::adapter::strip_str(text)).map_err(output_error)
        }
    }

    /// Prints bytes of somebody else's, untouched.
    pub(crate) fn print_bytes(&mut self, bytes: &[u8]) -> CommandResult<()> {
        self.out.write_all(bytes).map_err(output_error)
    }

    /// Prints one JSON document.
    pub(crate) fn print_json(&mut self, value: &impl Serialize) -> CommandResult<()> {
        serde_json::to_writer_pretty(&mut self.out, value).map_err(|error| output_error(error.into()))?;
        self.out.write_all(b"\n").map_err(output_error)
    }

    /// Makes sure that everything printed has left.
    pub(crate) fn flush(&mut self) -> CommandResult<()> {
        self.out.flush().map_err(output_error)
    }

    /// Says something about a result, unless only results are wanted.
    pub(crate) fn note(&mut self, text: impl Display) {
        if !self.quiet {
            self.say(&format!("{text}\n"));
        }
    }

    /// Shows what is wrong with something, already laid out.
    pub(crate) fn complain(&mut self, text: &str) {
        self.say(text);
    }

    /// Says why the command failed.
    pub(crate) fn error(&mut self, error: &CommandError) {
        let mut text = format!("{ERROR}error{ERROR:#}: {error}\n");
        for cause in error.causes() {
            text.push_str(&format!("  caused by: {cause}\n"));
        }
        for hint in error.hints() {
            text.push_str(&format!("  {HINT}hint{HINT:#}: {hint}\n"));
        }
        self.say(&text);
    }

    /// Where standard error goes, for those who report on a run.
    pub(crate) fn err_writer(&self) -> Box<dyn Write + Send> {
        if self.err_color { Box::new(io::stderr()) } else { Box::new(anstream::StripStream::new(io::stderr())) }
    }

    /// Where standard output goes, for programs that follow a run.
    pub(crate) fn out_writer(&self) -> Box<dyn Write + Send> {
        Box::new(io::stdout())
    }

    /// Columns of the terminal that standard error goes to.
    pub(crate) fn err_width(&self) -> Option<usize> {
        columns().or_else(|| window(io::stderr()))
    }

    /// Failing to complain is nothing to complain about.
    fn say(&mut self, text: &str) {
        // Keeps the order where both outputs are the same terminal.
        let _ = self.out.flush();
        let _ = if self.err_color {
            io::stderr().write_all(text.as_bytes())
        } else {
            write!(io::stderr(), "{}", anstream::adapter::strip_str(text))
        };
    }
}

const ERROR: Style = AnsiColor::Red.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default();

fn wants_color<S: anstream::stream::RawStream>(color: Color, stream: &S) -> bool {
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => anstream::AutoStream::choice(stream) != anstream::ColorChoice::Never,
    }
}

/// `COLUMNS` where it is set, for scripts and tests; else what the terminal says.
fn width() -> Option<usize> {
    columns().or_else(|| window(io::stdout()))
}

fn columns() -> Option<usize> {
    std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok()).filter(|&columns| columns > 0)
}

fn window(stream: impl std::os::fd::AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

fn output_error(error: io::Error) -> CommandError {
    if error.kind() == io::ErrorKind::BrokenPipe {
        CommandError::new(ErrorKind::BrokenPipe, "the reader of the output has gone")
    } else {
        CommandError::io("cannot write to standard output", error)
    }
}
