//! Named moments at which a test may have this process killed: `RUNSTONE_FAILPOINT=name` at the first time the moment
//! comes, `name:3` at the third. Without the feature `failpoints` there is nothing of it in the program.

/// A moment that may be the last.
#[cfg(feature = "failpoints")]
pub(crate) fn hit(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    static ASKED: OnceLock<Option<(String, u32)>> = OnceLock::new();
    static TIMES: AtomicU32 = AtomicU32::new(0);
    let asked = ASKED.get_or_init(|| {
        let text = std::env::var("RUNSTONE_FAILPOINT").ok()?;
        let (name, count) = text.split_once(':').unwrap_or((&text, "1"));
        Some((name.to_owned(), count.parse().expect("RUNSTONE_FAILPOINT is name or name:count")))
    });
    let Some((wanted, count)) = asked else { return };
    if wanted == name && TIMES.fetch_add(1, Ordering::SeqCst) + 1 == *count {
        // Nothing of this process runs any more after this, no destructor and no other thread.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// A moment that may be the last.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub(crate) fn hit(_: &str) {}
