//! What a piece of work costs: processor time and wall time. Which work, says each benchmark.

use std::io::Write;
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};

/// Processor time of this process so far, in microseconds.
pub(crate) fn cpu_us() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

/// Tells what one of `count` costs.
pub(crate) fn measure<T>(name: &str, count: u32, body: impl FnOnce() -> T) -> T {
    let (cpu, wall) = (cpu_us(), Instant::now());
    let value = body();
    let (cpu, wall) = (cpu_us() - cpu, wall.elapsed().as_secs_f64() * 1e6);
    let each = f64::from(count);
    writeln!(
        std::io::stdout(),
        "{name:<44} {count:>6} ×  {:>9.1} µs cpu  {:>9.1} µs wall each  {:>9.2} ms wall",
        cpu / each,
        wall / each,
        wall / 1e3
    )
    .expect("standard output is open");
    value
}
