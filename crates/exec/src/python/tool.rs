//! Runs a tool (`uv`, `pip`, an interpreter) and listens to what it says.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, PipeReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};

use super::{PythonError, Settings};
use crate::fetch::redact;

/// How often is looked whether to stop, in nanoseconds.
const LOOK_EVERY: i64 = 100_000_000;
/// Between TERM and KILL.
const GRACE: Duration = Duration::from_secs(5);
/// Lines that are kept for an error.
const KEPT_LINES: usize = 20;
/// Bytes of a line that are kept.
const KEPT_BYTES: usize = 2000;

/// The variables a tool may see, apart from those with the prefixes below.
const VARIABLES: [&str; 30] = [
    "ALL_PROXY",
    "CC",
    "CFLAGS",
    "CPPFLAGS",
    "CURL_CA_BUNDLE",
    "CXX",
    "CXXFLAGS",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LANG",
    "LANGUAGE",
    "LDFLAGS",
    "LD_LIBRARY_PATH",
    "LOGNAME",
    "NETRC",
    "NO_PROXY",
    "PATH",
    "PKG_CONFIG_PATH",
    "PYENV_ROOT",
    "PYENV_VERSION",
    "REQUESTS_CA_BUNDLE",
    "SSH_AUTH_SOCK",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TEMP",
    "TMP",
    "TMPDIR",
    "TZ",
    "USER",
];
const PREFIXES: [&str; 4] = ["LC_", "PIP_", "UV_", "XDG_"];
/// Settings that would make a tool do something else, or elsewhere, than it is told to.
const REFUSED: [&str; 24] = [
    "PIP_DRY_RUN",
    "PIP_EDITABLE",
    "PIP_LOG",
    "PIP_NO_DEPS",
    "PIP_PREFIX",
    "PIP_PYTHON",
    "PIP_QUIET",
    "PIP_REPORT",
    "PIP_REQUIREMENT",
    "PIP_REQUIRE_VIRTUALENV",
    "PIP_ROOT",
    "PIP_TARGET",
    "PIP_USER",
    "PIP_VERBOSE",
    "UV_BREAK_SYSTEM_PACKAGES",
    "UV_OVERRIDE",
    "UV_PREFIX",
    "UV_PROJECT",
    "UV_PROJECT_ENVIRONMENT",
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
    "UV_TARGET",
    "UV_VENV_SEED",
    "UV_WORKING_DIRECTORY",
];

/// A tool about to run. It leads a process group of its own and sees only variables that concern it.
pub(super) struct Tool<'a> {
    command: Command,
    settings: &'a Settings,
    limit: Option<Duration>,
    /// Values that must not be told, with the names they have.
    secrets: Vec<(String, String)>,
}

/// How a tool ended.
pub(super) struct Finished {
    pub(super) success: bool,
    pub(super) status: String,
    /// The last lines of both streams, without secrets.
    pub(super) output: Vec<String>,
}

impl<'a> Tool<'a> {
    pub(super) fn new(program: &Path, folder: &Path, settings: &'a Settings) -> Self {
        let mut command = Command::new(program);
        let variables = settings.variables.iter().filter(|(name, _)| is_allowed(name));
        command.env_clear().envs(variables.map(|(name, value)| (name, value))).current_dir(folder).stdin(Stdio::null());
        command
            .env("NO_COLOR", "1")
            .env("TERM", "dumb")
            .env("PYTHONUNBUFFERED", "1")
            .env("UV_PYTHON_DOWNLOADS", "never");
        command.env("PIP_NO_INPUT", "1").env("PIP_DISABLE_PIP_VERSION_CHECK", "1").env("PIP_NO_COLOR", "1");
        command.process_group(0);
        Self { command, settings, limit: None, secrets: Vec::new() }
    }

    pub(super) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    pub(super) fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Lets the tool hold a lock for as long as it lives, even where this process dies before.
    pub(super) fn holding(mut self, guard: &File) -> Result<Self, PythonError> {
        let guard = guard.try_clone().map_err(PythonError::io("duplicate", Path::new("the lock file")))?;
        self.command.stdin(guard);
        Ok(self)
    }

    /// Lets the tool see the variables that requirements refer to as `${NAME}`.
    pub(super) fn revealing(mut self, secrets: Vec<(String, String)>) -> Self {
        self.command.envs(secrets.iter().map(|(name, value)| (name, value)));
        self.secrets = secrets;
        self
    }

    /// Runs it to its end. Each line it writes is told, without secrets.
    ///
    /// # Errors
    /// When it cannot be started, and [`PythonError::Stopped`].
    pub(super) fn run(mut self, tell: &mut dyn FnMut(&str)) -> Result<Finished, PythonError> {
        let program = PathBuf::from(self.command.get_program());
        let io = |action| PythonError::io(action, &program);
        let (reader, writer) = io::pipe().map_err(io("make a pipe for"))?;
        self.command.stdout(writer.try_clone().map_err(io("make a pipe for"))?).stderr(writer);
        let mut child = self.command.spawn().map_err(io("start"))?;
        // The command holds the writing end, which must close for the reading to end.
        drop(std::mem::replace(&mut self.command, Command::new("")));
        let mut lines = Lines { rest: Vec::new(), kept: VecDeque::new(), secrets: &self.secrets, tell };
        let ended = self.listen(&mut child, reader, &mut lines);
        if ended.is_err() {
            signal(&child, Signal::KILL);
        }
        let status = child.wait().map_err(io("wait for"))?;
        let cut = ended.map_err(io("listen to"))?;
        lines.flush();
        match cut {
            Cut::Stopped => Err(PythonError::Stopped),
            Cut::No | Cut::TimedOut => Ok(Finished {
                success: status.success(),
                status: described(status, matches!(cut, Cut::TimedOut)),
                output: lines.kept.into(),
            }),
        }
    }

    /// Runs it and expects success. `action` says what for, `name` which tool.
    pub(super) fn expect(self, action: &str, name: &str, tell: &mut dyn FnMut(&str)) -> Result<(), PythonError> {
        let Finished { success, status, output } = self.run(tell)?;
        if success {
            return Ok(());
        }
        let advice = super::error::advice(&output);
        Err(PythonError::Tool { action: action.to_owned(), command: name.to_owned(), status, advice, output })
    }

    fn listen(&self, child: &mut Child, mut reader: PipeReader, lines: &mut Lines<'_>) -> io::Result<Cut> {
        let started = Instant::now();
        let (mut cut, mut cut_at) = (Cut::No, None);
        let mut buffer = vec![0; 16 << 10];
        loop {
            if matches!(cut, Cut::No) {
                if self.settings.stop.load(Ordering::Relaxed) {
                    cut = Cut::Stopped;
                } else if self.limit.is_some_and(|limit| started.elapsed() > limit) {
                    cut = Cut::TimedOut;
                }
                if !matches!(cut, Cut::No) {
                    signal(child, Signal::TERM);
                    cut_at = Some(Instant::now());
                }
            } else if cut_at.is_some_and(|at| at.elapsed() > GRACE) {
                signal(child, Signal::KILL);
            }
            let timeout = Timespec { tv_sec: 0, tv_nsec: LOOK_EVERY };
            match poll(&mut [PollFd::new(&reader, PollFlags::IN)], Some(&timeout)) {
                // Somebody the tool left behind may keep the pipe open for ever.
                Ok(0) if child.try_wait()?.is_some() => return Ok(cut),
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => match reader.read(&mut buffer)? {
                    0 => return Ok(cut),
                    length => lines.take(&buffer[..length]),
                },
            }
        }
    }
}

/// Whether a tool was ended from here.
#[derive(Clone, Copy)]
enum Cut {
    No,
    TimedOut,
    Stopped,
}

fn signal(child: &Child, signal: Signal) {
    // It may be over already.
    _ = kill_process_group(Pid::from_child(child), signal);
}

fn described(status: ExitStatus, timed_out: bool) -> String {
    match (status.code(), status.signal()) {
        _ if timed_out => "took too long".to_owned(),
        (Some(code), _) => format!("ended with code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended strangely".to_owned(),
    }
}

/// Cuts what is read into lines.
struct Lines<'a> {
    rest: Vec<u8>,
    kept: VecDeque<String>,
    secrets: &'a [(String, String)],
    tell: &'a mut dyn FnMut(&str),
}

impl Lines<'_> {
    fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            self.rest.extend_from_slice(piece);
            if matches!(piece.last(), Some(b'\n' | b'\r')) {
                self.flush();
            }
        }
        // A line without end must not fill the memory; what is dropped cannot be told, so no half secret is.
        self.rest.truncate(64 << 10);
    }

    fn flush(&mut self) {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.rest)).trim_end().to_owned();
        if line.is_empty() {
            return;
        }
        let mut line = hide(&redact(&line), self.secrets);
        line.truncate(line.floor_char_boundary(KEPT_BYTES));
        (self.tell)(&line);
        if self.kept.len() == KEPT_LINES {
            self.kept.pop_front();
        }
        self.kept.push_back(line);
    }
}

/// Puts names in the place of values.
pub(super) fn hide(text: &str, secrets: &[(String, String)]) -> String {
    let real = secrets.iter().filter(|(_, value)| !value.is_empty());
    real.fold(text.to_owned(), |text, (name, value)| text.replace(value, &format!("${{{name}}}")))
}

fn is_allowed(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let upper = name.to_ascii_uppercase();
    let is_proxy = upper.ends_with("_PROXY") && VARIABLES.contains(&upper.as_str());
    let is_known = VARIABLES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    (is_known || is_proxy) && !REFUSED.contains(&name)
}

/// Every program of this name on `PATH`, in its order.
pub(super) fn find_on_path(variables: &[(OsString, OsString)], name: &str) -> Vec<PathBuf> {
    let path = variables.iter().find(|(variable, _)| variable == "PATH").map(|(_, path)| path);
    let is_program =
        |path: &PathBuf| path.metadata().is_ok_and(|stat| stat.is_file() && stat.permissions().mode() & 0o111 != 0);
    let folders = path.into_iter().flat_map(std::env::split_paths).filter(|folder| folder.is_absolute());
    folders.map(|folder| folder.join(name)).filter(is_program).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::super::Installer;
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Settings {
        Settings {
            envs: PathBuf::new(),
            locks: PathBuf::new(),
            installer: Installer::Auto,
            variables: variables.iter().map(|(name, value)| (name.into(), value.into())).collect(),
            stop: Arc::new(AtomicBool::new(false)),
        }
    }

    fn shell<'a>(script: &str, settings: &'a Settings) -> Tool<'a> {
        Tool::new(Path::new("/bin/sh"), Path::new("/"), settings).args(["-c", script])
    }

    #[test]
    fn a_tool_sees_what_concerns_it_and_nothing_else() {
        let variables = [
            ("PATH", "/usr/bin:/bin"),
            ("PIP_INDEX_URL", "x"),
            ("https_proxy", "p"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("PIP_TARGET", "t"),
            ("VIRTUAL_ENV", "v"),
        ];
        let settings = settings(&variables);
        let mut told = Vec::new();
        let finished = shell("env", &settings).run(&mut |line| told.push(line.to_owned())).unwrap();
        assert!(finished.success);
        assert!(told.contains(&"PIP_INDEX_URL=x".to_owned()) && told.contains(&"https_proxy=p".to_owned()), "{told:?}");
        for hidden in ["AWS_", "PIP_TARGET", "VIRTUAL_ENV"] {
            assert!(!told.iter().any(|line| line.starts_with(hidden)), "{told:?}");
        }
    }

    #[test]
    fn what_a_tool_says_is_told_without_secrets() {
        let settings = settings(&[]);
        let secrets = vec![("TOKEN".to_owned(), "hunter2".to_owned())];
        let script = "echo at https://u:p@h/x; printf 'a\\rwith %s' $TOKEN >&2; exit 3";
        let finished = shell(script, &settings).revealing(secrets).run(&mut |_| {}).unwrap();
        assert_eq!(finished.output, ["at https://***@h/x", "a", "with ${TOKEN}"]);
        assert_eq!(finished.status, "ended with code 3");
    }

    #[test]
    fn a_tool_that_is_to_stop_is_ended_with_its_children() {
        let settings = settings(&[("PATH", "/usr/bin:/bin")]);
        let stop = Arc::clone(&settings.stop);
        let started = shell("echo started; sleep 1000 & wait", &settings);
        let result = started.run(&mut |_| stop.store(true, Ordering::Relaxed));
        assert!(matches!(result, Err(PythonError::Stopped)));
    }

    #[test]
    fn a_tool_that_takes_too_long_is_ended() {
        let settings = settings(&[("PATH", "/usr/bin:/bin")]);
        let finished = shell("sleep 1000", &settings).limit(Duration::from_millis(1)).run(&mut |_| {}).unwrap();
        assert_eq!((finished.success, finished.status.as_str()), (false, "took too long"));
    }

    #[test]
    fn what_a_tool_leaves_behind_does_not_hold_it() {
        let settings = settings(&[("PATH", "/usr/bin:/bin")]);
        let finished = shell("sleep 1000 & echo $!", &settings).run(&mut |_| {}).unwrap();
        assert!(finished.success);
        let pid = finished.output[0].parse().ok().and_then(Pid::from_raw).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
    }
}
