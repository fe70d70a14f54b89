//! The `runstone` command. Everything it does starts in [`app::run`].

mod age;
mod app;
mod args;
mod commands;
mod context;
mod definition;
mod disk;
mod error;
mod logging;
mod render;
mod report;
mod terminal;
mod view;

fn main() -> std::process::ExitCode {
    app::run()
}
