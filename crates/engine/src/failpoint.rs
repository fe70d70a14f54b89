//! Named moments at which a test may have this process killed: `RUNSTONE_FAILPOINT=name` at the first time the moment
//! comes, `name:3` at the third; or held up, `name:3=PATH`: the file is made, and the process waits until it is gone. Without
//! the feature `failpoints` there is nothing of it in the program.

#[cfg(feature = "failpoints")]
struct Asked {
    moment: String,
    count: u32,
    /// None: to be killed.
    held_by: Option<std::path::PathBuf>,
}

#[cfg(feature = "failpoints")]
impl Asked {
    fn read() -> Option<Self> {
        let text = std::env::var("RUNSTONE_FAILPOINT").ok()?;
        let (at, held_by) = match text.split_once('=') {
            Some((at, path)) => (at, Some(path.into())),
            None => (text.as_str(), None),
        };
        let (moment, count) = at.split_once(':').unwrap_or((at, "1"));
        let count = count.parse().expect("RUNSTONE_FAILPOINT is name, name:count or name:count=path");
        Some(Self { moment: moment.to_owned(), count, held_by })
    }
}

/// A moment that may be the last.
#[cfg(feature = "failpoints")]
pub(crate) fn hit(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    static ASKED: OnceLock<Option<Asked>> = OnceLock::new();
    static TIMES: AtomicU32 = AtomicU32::new(0);
    let Some(asked) = ASKED.get_or_init(Asked::read) else { return };
    if asked.moment != name || TIMES.fetch_add(1, Ordering::SeqCst) + 1 != asked.count {
        return;
    }
    let Some(path) = &asked.held_by else {
        // Nothing of this process runs any more after this, no destructor and no other thread.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        return;
    };
    std::fs::write(path, name).expect("the test made the folder");
    while path.exists() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// A moment that may be the last.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub(crate) fn hit(_: &str) {}
