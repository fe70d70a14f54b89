//! The local executor: attempts as processes of this machine.
//!
//! ```text
//! engine ── fork server          forked first, small; forks reapers
//!    │          └── reaper       one attempt at a time; outlives both; writes the journal
//!    └──────────────┘ └── step   its own session; files for logs
//! ```
//!
//! A step's parent is a *reaper*, not the engine: the engine can be killed and replaced while steps run on, and each
//! outcome is in the journal ([`journal`]) before anyone is told. A new owner reads the journal and
//! [adopts](LocalExecutor::adopt) what is alive.
//!
//! To a reaper, TERM means to end its attempt gracefully and QUIT to end it at once; it ignores what a terminal sends.
//! Under a service manager that signals all processes of a service (systemd's default `KillMode`), stopping the
//! service therefore cancels what runs; with `KillMode=process` it survives.
//!
//! Linux only: the guarantees rest on subreapers, parent-death signals and descriptors for processes.

mod channel;
mod executor;
pub mod journal;
mod launch;
mod log_reader;
mod logs;
mod mask;
mod oom;
mod process;
mod reaper;
mod server;
mod stage;
mod supervise;
mod sys;

pub use executor::LocalExecutor;
pub use log_reader::{Log, LogPiece, read_log};
pub use mask::{MASK, MIN_LENGTH, MaskStream, Masker};
pub use process::{ATTEMPT_VARIABLE, Place, ProcessId, Reach};
pub use server::{ForkServer, ForkServerError};
pub use stage::{StageError, stage};
