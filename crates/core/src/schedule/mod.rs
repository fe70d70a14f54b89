//! When runs start by themselves: schedules, their fire times, and what becomes of fires that were missed.
//!
//! Everything here is a function of its arguments: a fire time depends on the schedule and the zone alone, never on
//! when somebody looked, so that any number of schedulers find the same ones.

mod catchup;
mod fires;
mod model;
pub(crate) mod moment;
mod pattern;
mod zone;

pub use catchup::{Decided, Decision, MOST_FIRES, Missed, decide};
pub use fires::{Compiled, Fires};
pub use model::{Catchup, Dst, Fold, Gap, Keep, Overlap, Schedule, ScheduleError, Timing};
pub use moment::span_of;
pub use pattern::PatternError;
pub use zone::{UnknownZone, Zone};
