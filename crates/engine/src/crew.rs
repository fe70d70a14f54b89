//! What the runs of one process share: the fork server, threads for slow work, and what may run at once.

use std::sync::Arc;

use runstone_core::machine::Limits;
use runstone_exec::local::ForkServer;

use crate::pool::Pool;
use crate::slots::Slots;

/// See the module. Made once a process; cheap to clone.
#[derive(Debug, Clone)]
pub struct Crew {
    pub(crate) server: ForkServer,
    pub(crate) judges: Arc<Pool>,
    pub(crate) helpers: Arc<Pool>,
    pub(crate) slots: Slots,
    pub(crate) limits: Limits,
}

impl Crew {
    /// A crew that runs so many steps at once.
    ///
    /// # Errors
    /// When the system has no threads left.
    pub fn new(server: ForkServer, jobs: u32) -> std::io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let limits = limits(jobs);
        Ok(Self {
            server,
            judges: Arc::new(Pool::new("judge", cores)?),
            // They mostly wait: for disks, for servers, for installers.
            helpers: Arc::new(Pool::new("helper", cores + 4)?),
            slots: Slots::new(limits),
            limits,
        })
    }
}

/// So many jobs, and nine tenths of the machine's memory for steps that say what they need.
fn limits(jobs: u32) -> Limits {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    Limits::for_jobs(jobs, total.map_or(u64::MAX / 2, |kib| kib * 1024 / 10 * 9))
}
