//! Python environments: locked once, built once, rebuilt when broken.
//!
//! Most tests use programs that only look like an interpreter and like `uv`, and write down what they were asked. The
//! last ones use the real ones and are skipped, with a note, where there is no tool or no network.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test ends where it fails")]

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

use runstone_core::spec::model::{Python, Requirements};
use runstone_exec::python::{Environments, Installer, Locked, PythonError, Settings, Venv};
use tempfile::TempDir;

/// An interpreter that can say what it is, make an environment, and be `pip`.
const PYTHON: &str = r#"#!/bin/sh
set -eu
self='@SELF@'
last() { for last; do :; done; printf '%s' "$last"; }
case "$*" in
*"import json"*) echo "[\"$self\", \"CPython\", \"@VERSION@\", \"linux-test\"]"; exit ;;
*"-m pip --version"*) echo "pip 23.2 from nowhere" ;;
*"-m venv"*)
    echo "venv $*" >> "$HOME/calls"
    mkdir -p "$(last "$@")/bin"
    ln -s "$self" "$(last "$@")/bin/python" ;;
*--dry-run*)
    echo "pip-resolve $*" >> "$HOME/calls"
    for word; do [ "${previous-}" != --report ] || report=$word; previous=$word; done
    printf '{"version": "1", "install": [{"metadata": {"name": "six", "version": "1.17.0"},
        "download_info": {"url": "u", "archive_info": {"hashes": {"sha256": "aa"}}}}]}' > "$report" ;;
*"-m pip --python"*) echo "pip-install $*" >> "$HOME/calls" ;;
*) echo "unexpected: $*" >&2; exit 2 ;;
esac
"#;

const UV: &str = r#"#!/bin/sh
set -eu
last() { for last; do :; done; printf '%s' "$last"; }
case "$*" in
--version) echo "uv 1.0"; exit ;;
"python find"*) exit 2 ;;
"pip compile"*)
    echo "resolve $*" >> "$HOME/calls"
    for word; do [ "${previous-}" != --output-file ] || lock=$word; previous=$word; done
    echo "Resolved 1 package" >&2
    cat "$HOME/lock" > "$lock" ;;
venv*)
    echo "venv" >> "$HOME/calls"
    mkdir -p "$(last "$@")/bin"
    for word; do [ "${previous-}" != --python ] || ln -s "$word" "$(last "$@")/bin/python"; previous=$word; done ;;
"pip install"*)
    echo "install" >> "$HOME/calls"
    [ ! -e "$HOME/install" ] || . "$HOME/install" ;;
*) echo "unexpected: $*" >&2; exit 2 ;;
esac
"#;

struct Machine {
    dir: TempDir,
    stop: Arc<AtomicBool>,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { dir: tempfile::tempdir().unwrap(), stop: Arc::new(AtomicBool::new(false)) };
        for folder in ["bin", "project"] {
            fs::create_dir(machine.path(folder)).unwrap();
        }
        machine.install_python("python3", "3.77.2");
        machine.program("uv", UV);
        fs::write(machine.path("lock"), "six==1.17.0 \\\n    --hash=sha256:aa\n").unwrap();
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.path("bin").join(name);
        // A new file, because the old one may be running.
        let new = path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, path).unwrap();
    }

    fn install_python(&self, name: &str, version: &str) {
        let place = self.path("bin").join(name);
        self.program(name, &PYTHON.replace("@SELF@", place.to_str().unwrap()).replace("@VERSION@", version));
    }

    fn environments(&self, installer: Installer, further: &[(&str, &str)]) -> Environments {
        self.environments_in("state", installer, further)
    }

    fn environments_in(&self, state: &str, installer: Installer, further: &[(&str, &str)]) -> Environments {
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        let home = self.path("").display().to_string();
        let variables = [("PATH", path.as_str()), ("HOME", home.as_str())];
        let variables = variables.iter().chain(further).map(|(name, value)| (name.into(), value.into())).collect();
        let (envs, locks) = (self.path(state).join("envs"), self.path(state).join("locks"));
        Environments::new(Settings { envs, locks, installer, variables, stop: Arc::clone(&self.stop) })
    }

    fn lock(&self, python: &Python, relock: bool) -> Result<Locked, PythonError> {
        self.environments(Installer::Auto, &[]).lock(&self.path("project"), python, relock, &mut |_| {})
    }

    fn ensure(&self, locked: &Locked) -> Result<Venv, PythonError> {
        self.environments(Installer::Auto, &[]).ensure(&self.path("project"), locked, &mut |_| {})
    }

    /// What the programs were asked since the last time: the first word of each call.
    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        _ = fs::remove_file(self.path("calls"));
        calls.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    }
}

fn inline(requirements: &[&str]) -> Python {
    let requirements = requirements.iter().copied().map(str::to_owned).collect();
    Python { requirements: Requirements::Inline(requirements), version: None }
}

fn nobody(_: &str) {}

#[test]
fn a_request_is_resolved_once_until_it_changes_or_is_renewed() {
    let machine = Machine::new();
    let python = Python { requirements: Requirements::File("./r.txt".into()), version: Some("3.77".into()) };
    fs::write(machine.path("project/r.txt"), "six\n").unwrap();
    let first = machine.lock(&python, false).unwrap();
    assert_eq!(first.interpreter.to_string(), "CPython 3.77.2");
    assert_eq!(first.lock_text, "six==1.17.0 \\\n    --hash=sha256:aa\n");
    assert_eq!(machine.calls(), ["resolve"]);

    fs::write(machine.path("lock"), "six==2.0\n").unwrap();
    fs::remove_file(machine.path("bin/uv")).unwrap();
    assert_eq!(machine.lock(&python, false).unwrap(), first, "nothing is started, so nothing is missed");
    machine.program("uv", UV);

    let renewed = machine.lock(&python, true).unwrap();
    assert_eq!((renewed.lock_text.as_str(), machine.calls().len()), ("six==2.0\n", 1));
    assert_ne!(renewed.python_lock(), first.python_lock());
    assert_eq!(machine.lock(&python, false).unwrap(), renewed);

    fs::write(machine.path("project/r.txt"), "six<2\n").unwrap();
    machine.lock(&python, false).unwrap();
    assert_eq!(machine.calls(), ["resolve"]);
}

#[test]
fn a_lock_survives_a_patch_of_the_interpreter_and_no_more() {
    let machine = Machine::new();
    let first = machine.lock(&inline(&["six"]), false).unwrap();
    machine.install_python("python3", "3.77.19");
    let patched = machine.lock(&inline(&["six"]), false).unwrap();
    assert_eq!((patched.interpreter.to_string().as_str(), patched.lock), ("CPython 3.77.19", first.lock));
    assert_eq!(machine.calls(), ["resolve"]);
    machine.install_python("python3", "3.78.0");
    assert_eq!(machine.lock(&inline(&["six"]), false).unwrap().interpreter.to_string(), "CPython 3.78.0");
    assert_eq!(machine.calls(), ["resolve"]);
}

#[test]
fn an_interpreter_that_is_not_there_is_named_with_those_that_are() {
    let machine = Machine::new();
    let python = Python { version: Some("3.99".into()), ..inline(&["six"]) };
    let error = machine.lock(&python, false).unwrap_err().to_string();
    assert!(error.contains("python 3.99") && error.contains("CPython 3.77.2 at"), "{error}");
    machine.install_python("python3.99", "3.99.1");
    assert_eq!(machine.lock(&python, false).unwrap().interpreter.to_string(), "CPython 3.99.1");
}

#[test]
fn an_environment_is_built_once_and_again_when_it_broke() {
    let machine = Machine::new();
    let locked = machine.lock(&inline(&["six"]), false).unwrap();
    machine.calls();
    let venv = machine.ensure(&locked).unwrap();
    assert_eq!(machine.calls(), ["venv", "install"]);
    assert!(venv.bin_dir().join("python").exists());
    let variables = venv.variables("/usr/bin");
    assert!(variables.contains(&("PATH", format!("{}:/usr/bin", venv.bin_dir().display()))), "{variables:?}");

    assert_eq!(machine.ensure(&locked).unwrap(), venv);
    assert!(machine.calls().is_empty());

    fs::remove_file(venv.bin_dir().join("python")).unwrap();
    std::os::unix::fs::symlink("/gone", venv.bin_dir().join("python")).unwrap();
    machine.ensure(&locked).unwrap();
    assert_eq!(machine.calls(), ["venv", "install"], "its interpreter was gone");

    let half = venv.path().join("left/over");
    fs::create_dir_all(half.parent().unwrap()).unwrap();
    fs::write(&half, "").unwrap();
    fs::remove_file(venv.path().join(".complete")).unwrap();
    machine.ensure(&locked).unwrap();
    assert_eq!(machine.calls(), ["venv", "install"], "it was never finished");
    assert!(!half.exists());
}

#[test]
fn an_environment_that_was_moved_is_built_anew() {
    let machine = Machine::new();
    let locked = machine.lock(&inline(&["six"]), false).unwrap();
    let venv = machine.ensure(&locked).unwrap();
    machine.calls();
    fs::rename(machine.path("state"), machine.path("moved")).unwrap();
    let environments = machine.environments_in("moved", Installer::Auto, &[]);
    let moved = environments.ensure(&machine.path("project"), &locked, &mut nobody).unwrap();
    assert_eq!(moved.path().file_name(), venv.path().file_name());
    assert_eq!(machine.calls(), ["venv", "install"], "programs in it name the place where they are");
}

#[test]
fn many_at_once_resolve_and_build_once() {
    let machine = Machine::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| machine.ensure(&machine.lock(&inline(&["six"]), false).unwrap()).unwrap());
        }
    });
    assert_eq!(machine.calls(), ["resolve", "venv", "install"]);
}

/// Builds while `release` has yet to end what holds the guard.
fn ensure_waits_for(machine: &Machine, locked: &Locked, release: impl FnOnce()) {
    let (waiting, is_waiting) = channel();
    std::thread::scope(|scope| {
        let environments = machine.environments(Installer::Auto, &[]);
        let folder = machine.path("project");
        let builder =
            scope.spawn(move || environments.ensure(&folder, locked, &mut |line| _ = waiting.send(line.to_owned())));
        assert!(is_waiting.recv().unwrap().starts_with("waiting for another process"));
        assert!(machine.calls().is_empty());
        release();
        builder.join().unwrap().unwrap();
    });
    assert_eq!(machine.calls(), ["venv", "install"]);
}

#[test]
fn another_process_is_waited_for() {
    let machine = Machine::new();
    let locked = machine.lock(&inline(&["six"]), false).unwrap();
    let venv = machine.ensure(&locked).unwrap();
    machine.calls();
    fs::remove_dir_all(venv.path()).unwrap();
    let guard = File::open(venv.path().with_extension("guard")).unwrap();
    guard.lock().unwrap();
    ensure_waits_for(&machine, &locked, || drop(guard));
}

/// A process that dies in the middle of a build leaves its tool behind, which goes on writing.
#[test]
fn a_tool_that_lost_its_starter_is_waited_for() {
    let machine = Machine::new();
    let locked = machine.lock(&inline(&["six"]), false).unwrap();
    let script = "mkfifo \"$HOME/fifo\"; exec 3<&0; sh -c 'read x < \"$HOME/fifo\"' <&3 & exit 1";
    fs::write(machine.path("install"), script).unwrap();
    machine.ensure(&locked).unwrap_err();
    machine.calls();
    fs::remove_file(machine.path("install")).unwrap();
    ensure_waits_for(&machine, &locked, || fs::write(machine.path("fifo"), "go on\n").unwrap());
}

#[test]
fn waiting_and_building_can_be_stopped() {
    let machine = Machine::new();
    let locked = machine.lock(&inline(&["six"]), false).unwrap();
    fs::write(machine.path("install"), "echo 'Building x'; sleep 1000").unwrap();
    let stop = Arc::clone(&machine.stop);
    let environments = machine.environments(Installer::Auto, &[]);
    let stopped = environments.ensure(&machine.path("project"), &locked, &mut |line| {
        stop.store(line == "building x", Ordering::Relaxed);
    });
    assert!(matches!(stopped, Err(PythonError::Stopped)), "{stopped:?}");
    machine.stop.store(false, Ordering::Relaxed);
    fs::remove_file(machine.path("install")).unwrap();
    machine.ensure(&locked).unwrap();
}

#[test]
fn a_failure_shows_the_tools_last_words_and_advice_but_no_secret() {
    let machine = Machine::new();
    let locked = machine.lock(&inline(&["six"]), false).unwrap();
    let script = "echo 'error sending request for url (https://user:hunter2@host/simple)' >&2; exit 1";
    fs::write(machine.path("install"), script).unwrap();
    let error = machine.ensure(&locked).unwrap_err();
    let text = error.to_string();
    for expected in
        ["uv pip install ended with code 1", "index cannot be reached", "  | error sending", "https://***@host"]
    {
        assert!(text.contains(expected), "{text}");
    }
    assert!(!format!("{error:?}").contains("hunter2"));
    let left = fs::read_dir(machine.path("state/envs")).unwrap().map(|entry| entry.unwrap().path());
    assert!(left.into_iter().all(|path| path.extension().is_some_and(|ending| ending == "guard")));
}

#[test]
fn the_value_of_a_variable_does_not_get_into_the_lock() {
    let machine = Machine::new();
    fs::write(machine.path("project/r.txt"), "x @ https://${TOKEN}@h/x.whl\n").unwrap();
    fs::write(machine.path("lock"), "x @ https://hunter2@h/x.whl \\\n    --hash=sha256:aa\n").unwrap();
    let python = Python { requirements: Requirements::File("r.txt".into()), version: None };
    let environments = machine.environments(Installer::Uv, &[("TOKEN", "hunter2")]);
    let locked = environments.lock(&machine.path("project"), &python, false, &mut nobody).unwrap();
    assert_eq!(locked.lock_text, "x @ https://${TOKEN}@h/x.whl \\\n    --hash=sha256:aa\n");
    fs::write(machine.path("install"), "echo \"Building with $TOKEN\" >&2").unwrap();
    let mut told = Vec::new();
    environments.ensure(&machine.path("project"), &locked, &mut |line| told.push(line.to_owned())).unwrap();
    assert_eq!(told.last().unwrap(), "building with ${TOKEN}", "the tool knows it, and nobody is told");
}

#[test]
fn pip_does_it_where_there_is_no_uv() {
    let machine = Machine::new();
    fs::remove_file(machine.path("bin/uv")).unwrap();
    let locked = machine.lock(&inline(&["six"]), false).unwrap();
    assert_eq!(locked.lock_text, "six==1.17.0 \\\n    --hash=sha256:aa\n");
    let venv = machine.ensure(&locked).unwrap();
    let calls = fs::read_to_string(machine.path("calls")).unwrap();
    let without_pip: Vec<&str> = calls.lines().filter(|line| line.contains("--without-pip")).collect();
    assert!(without_pip[0].ends_with(venv.path().to_str().unwrap()), "{calls}");
    assert_eq!(machine.calls(), ["venv", "pip-resolve", "venv", "pip-install"], "pip itself is installed once");
    let wanted = machine.environments(Installer::Uv, &[]);
    let error = wanted.lock(&machine.path("project"), &inline(&["attrs"]), false, &mut nobody).unwrap_err();
    assert!(matches!(error, PythonError::NoUv(_)), "{error}");
}

#[test]
fn nothing_required_is_an_empty_environment() {
    let machine = Machine::new();
    let locked = machine.lock(&inline(&[]), false).unwrap();
    machine.ensure(&locked).unwrap();
    assert_eq!((locked.lock_text.as_str(), machine.calls()), ("", vec!["venv".to_owned()]));
}

#[test]
fn a_recorded_lock_needs_exactly_its_interpreter() {
    let machine = Machine::new();
    let locked = machine.lock(&inline(&["six"]), false).unwrap();
    let environments = machine.environments(Installer::Auto, &[]);
    let (folder, recorded) = (machine.path("project"), locked.python_lock());
    let recalled = environments.recall(&folder, &recorded, locked.lock_text.clone()).unwrap();
    assert_eq!(recalled.python_lock(), recorded);
    machine.install_python("python3", "3.77.3");
    let error = environments.recall(&folder, &recorded, locked.lock_text).unwrap_err();
    assert!(matches!(error, PythonError::NoInterpreter { .. }), "{error}");
}

/// Locks and builds with real tools; none where a tool or the network is missing.
fn real(installer: Installer, project: &Path, python: &Python) -> Option<(Locked, Venv)> {
    let variables: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let (envs, locks) = (project.join("state/envs"), project.join("state/locks"));
    let environments =
        Environments::new(Settings { envs, locks, installer, variables, stop: Arc::new(AtomicBool::new(false)) });
    let lines = std::cell::RefCell::new(Vec::new());
    let mut progress = |line: &str| lines.borrow_mut().push(line.to_owned());
    let locked = environments.lock(project, python, false, &mut progress);
    let built = locked.and_then(|locked| Ok((environments.ensure(project, &locked, &mut progress)?, locked)));
    match built {
        Ok((venv, locked)) => {
            assert!(lines.borrow().iter().any(|line| line.starts_with("installing six 1.")), "{lines:?}");
            Some((locked, venv))
        }
        Err(error @ (PythonError::NoUv(_) | PythonError::NoInterpreter { .. })) => skip(&error),
        Err(error @ PythonError::Tool { advice: Some(advice), .. })
            if advice.contains("cannot be reached") || advice.contains("not complete here") =>
        {
            skip(&error)
        }
        Err(error) => panic!("{error}"),
    }
}

fn skip(error: &PythonError) -> Option<(Locked, Venv)> {
    println!("skipped: {error}");
    None
}

fn output(program: &Path, script: &str) -> String {
    let output = Command::new(program).args(["-c", script]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// What both tools must do alike.
fn real_environment_holds_what_the_lock_names(installer: Installer) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("r.txt"), "six==1.16.0  # an old one\n").unwrap();
    let python = Python { requirements: Requirements::File("./r.txt".into()), version: None };
    let Some((locked, venv)) = real(installer, folder.path(), &python) else { return };
    assert!(locked.lock_text.starts_with("six==1.16.0 \\\n    --hash=sha256:"), "{}", locked.lock_text);
    let interpreter = venv.bin_dir().join("python");
    assert_eq!(output(&interpreter, "import six; print(six.__version__)"), "1.16.0");
    let other = "from importlib.metadata import distributions as d; print(*(x.name for x in d()))";
    assert_eq!(output(&interpreter, other), "six", "and nothing else");
    let version = output(&interpreter, "import platform as p; print(p.python_implementation(), p.python_version())");
    assert_eq!(version, locked.interpreter.to_string());
}

#[test]
fn uv_makes_an_environment() {
    real_environment_holds_what_the_lock_names(Installer::Uv);
}

#[test]
fn pip_makes_an_environment() {
    real_environment_holds_what_the_lock_names(Installer::Pip);
}
