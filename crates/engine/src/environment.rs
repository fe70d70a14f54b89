//! Where and by whom a run is started: found out once, while other things are prepared.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use runstone_core::record::RunEnvironment;

use crate::facts::platform;

/// A question to git that is being answered by a thread.
#[derive(Debug)]
pub struct Asked {
    git: Option<JoinHandle<Option<(String, bool)>>>,
    environment: RunEnvironment,
}

/// Begins to find out. `tool_version` is that of the binary.
#[must_use]
pub fn ask(root: &Path, variables: &HashMap<String, String>, tool_version: &str) -> Asked {
    let in_git = root.ancestors().any(|folder| folder.join(".git").exists());
    let folder: PathBuf = root.to_owned();
    let git =
        in_git.then(|| std::thread::Builder::new().name("git".to_owned()).spawn(move || git(&folder)).ok()).flatten();
    let environment = RunEnvironment {
        tool_version: tool_version.to_owned(),
        platform: platform(),
        user: user(variables),
        host: host(),
        git_commit: None,
        git_dirty: None,
    };
    Asked { git, environment }
}

/// The name of the user, as the environment says it.
#[must_use]
pub fn user(variables: &HashMap<String, String>) -> String {
    let user = variables.get("USER").or_else(|| variables.get("LOGNAME")).cloned();
    user.unwrap_or_else(|| format!("uid {}", owner_of_process()))
}

/// The name of this machine.
#[must_use]
pub fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

impl Asked {
    /// The answer.
    #[must_use]
    pub fn wait(self) -> RunEnvironment {
        let git = self.git.and_then(|git| git.join().ok()).flatten();
        let (git_commit, git_dirty) = git.unzip();
        RunEnvironment { git_commit, git_dirty, ..self.environment }
    }
}

fn owner_of_process() -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").map_or(0, |metadata| metadata.uid())
}

/// The commit, and whether tracked files differ from it; none where git cannot say.
fn git(folder: &Path) -> Option<(String, bool)> {
    let output = Command::new("git")
        .args(["--no-optional-locks", "status", "--porcelain=v2", "--branch", "--untracked-files=no"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    if !output.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let commit = text.lines().find_map(|line| line.strip_prefix("# branch.oid "))?.trim();
    let dirty = text.lines().any(|line| !line.starts_with('#'));
    (commit != "(initial)").then(|| (commit.to_owned(), dirty))
}
