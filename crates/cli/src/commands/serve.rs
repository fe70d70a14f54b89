//! `runstone serve`: the scheduler.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use runstone_engine::project::Project;
use runstone_engine::service::{self, Notices, Service, ServiceControl, ServiceOptions};
use runstone_store::{Location, Shared};

use crate::context::{Context, open_store, store_location};
use crate::error::{CommandError, CommandResult, ErrorKind};
use crate::logging::{self, LogFormat, LogLevel};

/// Connections that runs share: enough to keep a disk busy, few enough for a server with its defaults.
const CONNECTIONS: usize = 8;

/// Connections that claim runs.
const CLAIMERS: usize = 4;

/// Run schedules, triggers, backfills and submitted runs until told to stop
///
/// All pipelines under a folder are read, and read again when they change. With the embedded database there is one
/// scheduler; on Postgres any number of them share the work. TERM or INT makes it leave: steps that are running go on
/// under their supervisors, and the next scheduler goes on with their runs. HUP makes it look at the pipelines at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    runstone serve\n  \
    runstone serve --pipelines pipelines --max-runs 8 --jobs 4\n  \
    runstone serve --log json --finish")]
pub(crate) struct Args {
    /// The folder with the pipelines
    #[arg(long, value_name = "DIR", default_value = ".")]
    pipelines: PathBuf,
    /// Runs at once
    #[arg(long, value_name = "N", default_value = "16")]
    max_runs: NonZeroU32,
    /// Steps at once, over all runs (default: one for each core)
    #[arg(long, short, value_name = "N")]
    jobs: Option<NonZeroU32>,
    /// When asked to leave, wait for the runs to end; asked twice, leave at once
    #[arg(long)]
    finish: bool,
    /// How log lines are written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    log: LogFormat,
    /// How much is logged
    #[arg(long, value_enum, default_value_t, value_name = "LEVEL")]
    log_level: LogLevel,
    /// How long others wait for a scheduler that says nothing, before they take its runs over; seconds
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = clap::value_parser!(u16).range(2..=3600))]
    lease: u16,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> CommandResult<()> {
    let folder = context.cwd.join(&args.pipelines);
    let folder = folder
        .canonicalize()
        .map_err(|error| CommandError::io(format!("cannot open the folder {}", args.pipelines.display()), error))?;
    let explicit = context.explicit_project.as_deref();
    let project = Project::open_or_create(&context.cwd, &folder.join("pipeline.yaml"), explicit, &context.overrides)?;
    logging::start(args.log, args.log_level, &context.terminal);
    let is_embedded = matches!(store_location(&project)?, Location::Sqlite(_));
    // Held until the end.
    let _lock = is_embedded.then(|| service::lock_out_others(&project)).transpose()?;
    let mut store = open_store(&project)?;
    if is_embedded {
        // The lock is the proof that they are dead, whatever their leases say.
        for dead in store.schedulers(0)? {
            store.bury(dead.id, false)?;
        }
    }
    // One writer at a time is all that SQLite has; more connections would only wait for each other.
    let runs = Shared::new(store.reopen()?, if is_embedded { 2 } else { CONNECTIONS });
    let configured = u32::try_from(project.config().jobs.value.get()).unwrap_or(u32::MAX);
    let crew = context.crew(args.jobs.map_or(configured, NonZeroU32::get))?;
    let options = ServiceOptions {
        pipelines: folder,
        capacity: args.max_runs.get(),
        claimers: if is_embedded { 1 } else { CLAIMERS },
        ttl: Duration::from_secs(args.lease.into()),
        poll: Duration::from_millis(500),
        reload: Duration::from_secs(2),
        finish: args.finish,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let variables = context.variables.clone();
    let service = Service { project, variables, options, crew, store, runs: Box::new(runs) };
    service::serve(service, &mut Systemd, on_signals)?;
    Ok(())
}

fn on_signals(control: ServiceControl) {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP]) else { return };
    // Without the thread a signal ends the process at once, which loses nothing.
    let _ = std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            if signal == SIGHUP {
                control.reload();
            } else {
                control.stop();
            }
        }
    });
}

/// Tells systemd, where it started this process. Without it every call does nothing.
struct Systemd;

impl Notices for Systemd {
    fn ready(&mut self, status: &str) {
        // A manager that does not listen changes nothing.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready, sd_notify::NotifyState::Status(status)]);
    }

    fn alive(&mut self) {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
    }

    fn stopping(&mut self) {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    }
}

impl From<service::ServeError> for CommandError {
    fn from(error: service::ServeError) -> Self {
        match error {
            service::ServeError::Store(error) => error.into(),
            service::ServeError::Another { .. } => Self::new(ErrorKind::Refused, error.to_string())
                .hint("stop the other one, or move the records to Postgres; docs/serve.md says how"),
            service::ServeError::WentBack { .. } => Self::new(ErrorKind::Store, error.to_string()).hint(
                "after a restore, `runstone doctor --adopt-restore` accepts the record as it is and gives out no number twice",
            ),
            service::ServeError::Io { what, source } => Self::io(what, source),
        }
    }
}
