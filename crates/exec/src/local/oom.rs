//! Whether the kernel ended a process for lack of memory.
//!
//! The kernel counts such ends per control group and for the whole machine; a count that grew while an attempt was
//! running, together with a process that ended by KILL which nobody here sent, is what this crate calls "the kernel
//! said so". Nothing is guessed from sizes.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// One of the kernel's counters of processes ended for lack of memory.
pub(super) struct OomCounter {
    file: Option<File>,
}

impl OomCounter {
    /// The counter nearest to this process: of its control group (version 2, else 1), else of the machine.
    pub(super) fn open() -> Self {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let path = candidates(&groups).into_iter().find(|path| count(&fs::read(path).unwrap_or_default()).is_some());
        Self { file: path.and_then(|path| File::open(path).ok()) }
    }

    /// The count now; none where the kernel has no such counter.
    pub(super) fn read(&self) -> Option<u64> {
        // The machine-wide file has a few thousand bytes; the count is among the first in the others.
        let mut buffer = [0; 16 * 1024];
        let read = self.file.as_ref()?.read_at(&mut buffer, 0).ok()?;
        count(&buffer[..read])
    }
}

fn candidates(groups: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else { continue };
        let group = if group == "/" { "" } else { group };
        if controllers.is_empty() {
            paths.insert(0, format!("/sys/fs/cgroup{group}/memory.events"));
        } else if controllers.split(',').any(|name| name == "memory") {
            paths.push(format!("/sys/fs/cgroup/memory{group}/memory.oom_control"));
        }
    }
    paths.push("/proc/vmstat".to_owned());
    paths
}

/// The value of the line `oom_kill N`, which all three files have.
fn count(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_files_are_understood() {
        assert_eq!(count(b"low 0\nhigh 0\nmax 8\noom 2\noom_kill 3\noom_group_kill 0\n"), Some(3));
        assert_eq!(count(b"oom_kill_disable 0\nunder_oom 0\noom_kill 4\n"), Some(4));
        assert_eq!(count(b"nr_free_pages 12\noom_kill 5\n"), Some(5));
        assert_eq!(count(b"nr_free_pages 12\n"), None);
    }

    #[test]
    fn version_2_comes_before_version_1_before_the_machine() {
        let paths = candidates("4:memory:/a/b\n3:cpu:/\n0::/user.slice/x\n");
        let expected = [
            "/sys/fs/cgroup/user.slice/x/memory.events",
            "/sys/fs/cgroup/memory/a/b/memory.oom_control",
            "/proc/vmstat",
        ];
        assert_eq!(paths, expected);
    }
}
