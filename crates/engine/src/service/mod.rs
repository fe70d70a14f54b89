//! The long-running scheduler: a shell around [`runstone_core::service::machine`], which decides everything.
//!
//! ```text
//! answers, ends of runs, files, signals ──► inputs ──► machine ──► commands ──► threads that ask the record
//!                                                                      └──────► threads that drive runs
//! ```
//!
//! One thread runs the machine and waits; it never asks the record itself, so that a database that does not answer
//! delays nothing but what it is asked. Each start of a scheduler, and each time its lease was lost, is an incarnation
//! of its own with a new identity.

mod asks;
mod log;
mod pipelines;
mod runs;
mod shell;
mod sweep;
mod time;
mod watch;
mod water;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::time::Duration;

use runstone_core::service::store::HighWater;
use runstone_core::store::{Store, StoreError};

use crate::crew::Crew;
use crate::project::Project;

pub use shell::{lock_out_others, serve};
pub use sweep::{Extent, sweep};
pub use water::{adopt_restore, went_back};

/// How a scheduler is set up.
#[derive(Debug, Clone)]
pub struct ServiceOptions {
    /// The folder with the pipelines, absolute.
    pub pipelines: PathBuf,
    /// How many runs at once.
    pub capacity: u32,
    /// How many claims are made at once; at least one.
    pub claimers: usize,
    /// How long a lease lasts after its renewal.
    pub ttl: Duration,
    /// How often the record is looked at for what others asked for.
    pub poll: Duration,
    /// How often the folder is looked at for changes.
    pub reload: Duration,
    /// On a stop: wait for the runs to end, instead of leaving their steps to supervisors and the runs to whoever comes
    /// next.
    pub finish: bool,
    /// Version of the binary.
    pub version: String,
}

/// Everything a scheduler needs.
pub struct Service {
    /// The project.
    pub project: Project,
    /// The environment runstone was started with.
    pub variables: HashMap<String, String>,
    /// How it is set up.
    pub options: ServiceOptions,
    /// Threads and slots.
    pub crew: Crew,
    /// The record; each of the service's own threads opens another connection.
    pub store: Box<dyn Store>,
    /// The record as runs use it: its `reopen` shares a few connections among them.
    pub runs: Box<dyn Store>,
}

/// Tells the service manager how the scheduler is.
pub trait Notices {
    /// It is on record and at work; or something about that changed. One line for people.
    fn ready(&mut self, status: &str);
    /// Its loop turns.
    fn alive(&mut self);
    /// It is about to leave.
    fn stopping(&mut self);
}

/// A way to reach a scheduler from outside its loop.
#[derive(Debug, Clone)]
pub struct ServiceControl(Sender<shell::Event>);

impl ServiceControl {
    /// Asks it to leave: the first time as it was set up to, the second time at once.
    pub fn stop(&self) {
        // After the end of the loop there is nothing left to stop.
        let _ = self.0.send(shell::Event::Stop);
    }

    /// Asks it to look at the pipelines now.
    pub fn reload(&self) {
        let _ = self.0.send(shell::Event::Reload);
    }
}

/// A scheduler could not go to work.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The record cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A folder or thread could not be made.
    #[error("{what}")]
    Io {
        /// What was being done.
        what: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The database lost what it had committed.
    #[error(
        "the database went back: run #{} and node {} were on record, now it knows run #{} and node {} as the last",
        once.runs, once.nodes, now.runs, now.nodes
    )]
    WentBack {
        /// How far it was.
        once: HighWater,
        /// How far it is.
        now: HighWater,
    },
    /// The embedded database has one scheduler at a time.
    #[error("another scheduler serves this project (pid {pid}); several of them need Postgres")]
    Another {
        /// Its process.
        pid: String,
    },
}
