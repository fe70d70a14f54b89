//! From an [`AttemptSpec`] to a program that can be started, and from a failed start to a sentence that helps.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use runstone_core::attempt::{AttemptSpec, Cause};

use super::process::ATTEMPT_VARIABLE;
use super::sys::{CStrings, LaunchError, LaunchStep};

/// Where programs are looked for when the environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Longest single argument or variable, in bytes with its end (`MAX_ARG_STRLEN`, execve(2)).
const LONGEST_STRING: usize = 128 * 1024;

/// A program with all it is started with. No `Debug`: the environment holds secrets.
pub(super) struct Program {
    pub(super) path: CString,
    pub(super) argv: CStrings,
    pub(super) env: CStrings,
    pub(super) cwd: CString,
}

impl Program {
    /// Resolves the program and assembles the environment: that of the spec, the secrets, and the attempt's identity.
    ///
    /// # Errors
    /// A sentence that says why there is no such program.
    pub(super) fn new(spec: &AttemptSpec, secrets: &[(String, String)]) -> Result<Self, String> {
        let name = spec.argv.first().ok_or("there is no program to run")?;
        let attempt = spec.attempt.to_string();
        let mut env: BTreeMap<&str, &str> = spec.env.iter().map(|(name, value)| (&**name, &**value)).collect();
        env.extend(secrets.iter().map(|(name, value)| (&**name, &**value)));
        env.insert(ATTEMPT_VARIABLE, &attempt);
        let path = find(name, env.get("PATH").copied(), &spec.cwd)?;
        let arguments = spec.argv.iter().enumerate().map(|(at, text)| c_string(text, || format!("argument {at}")));
        let variables = env.iter().map(|(name, value)| {
            if name.is_empty() || name.contains('=') {
                return Err(format!("'{name}' cannot be the name of an environment variable"));
            }
            c_string(&format!("{name}={value}"), || format!("environment variable {name}"))
        });
        Ok(Self {
            path: c_string(&path, || "the program's path".to_owned())?,
            argv: CStrings::new(arguments.collect::<Result<_, _>>()?),
            env: CStrings::new(variables.collect::<Result<_, _>>()?),
            cwd: c_string(&spec.cwd, || "the working directory".to_owned())?,
        })
    }

    fn size(&self) -> usize {
        self.argv.iter().chain(self.env.iter()).map(|text| text.count_bytes() + 1 + size_of::<usize>()).sum()
    }

    /// The name of an argument or variable that alone is too long.
    fn too_long(&self) -> Option<String> {
        let long = |text: &std::ffi::CStr| text.count_bytes() + 1 > LONGEST_STRING;
        if let Some(at) = self.argv.iter().position(long) {
            return Some(format!("argument {at}"));
        }
        let variable = self.env.iter().find(|text| long(text))?.to_string_lossy();
        Some(format!("environment variable {}", variable.split('=').next().unwrap_or_default()))
    }

    /// Why it did not start, for the record.
    pub(super) fn explain(&self, spec: &AttemptSpec, failed: &LaunchError) -> (Cause, String) {
        let (name, error) = (spec.argv.first().map_or("", String::as_str), &failed.error);
        let no_space = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        match failed.step {
            LaunchStep::Fork => (Cause::Spawn, format!("no process for the step: {error}")),
            LaunchStep::Setup => (Cause::Internal, format!("set up the step's process: {error}")),
            LaunchStep::Chdir => (Cause::Spawn, format!("enter the working directory {}: {error}", spec.cwd)),
            LaunchStep::Journal if no_space => (Cause::NoSpace, format!("write the outcome journal: {error}")),
            LaunchStep::Journal => (Cause::Internal, format!("write the outcome journal: {error}")),
            LaunchStep::Exec => (Cause::Spawn, self.explain_exec(name, error)),
        }
    }

    fn explain_exec(&self, name: &str, error: &io::Error) -> String {
        let path = self.path.to_string_lossy();
        match error.raw_os_error() {
            Some(libc::E2BIG) => match self.too_long() {
                Some(which) => {
                    format!("{which} is too long: the system allows {} bytes; use a file", LONGEST_STRING - 1)
                }
                None => format!(
                    "arguments and environment of '{name}' are too large together ({} bytes); use a file",
                    self.size()
                ),
            },
            Some(libc::ENOENT) => {
                format!("run '{name}': the interpreter that the first line of {path} names does not exist")
            }
            Some(libc::ENOEXEC) => {
                format!("run '{name}': {path} is not a program; a script needs a first line such as #!/bin/sh")
            }
            Some(libc::EACCES) => format!("run '{name}': {path} may not be executed: {error}"),
            _ => format!("run '{name}': {error}"),
        }
    }
}

fn c_string(text: &str, what: impl Fn() -> String) -> Result<CString, String> {
    CString::new(text).map_err(|_| format!("{} contains a NUL byte, which no program can receive", what()))
}

/// The path under which `name` is to be executed. A name with a slash is taken as it is, seen from `cwd`.
fn find(name: &str, path: Option<&str>, cwd: &str) -> Result<String, String> {
    if name.is_empty() {
        return Err("the name of the program is empty".to_owned());
    }
    if name.contains('/') {
        return match judge(&Path::new(cwd).join(name)) {
            Found::Program => Ok(name.to_owned()),
            Found::Nothing if !Path::new(cwd).is_dir() => Err(format!("the working directory {cwd} does not exist")),
            Found::Nothing => Err(format!("program '{name}' does not exist (seen from {cwd})")),
            Found::Folder => Err(format!("program '{name}' is a folder")),
            Found::NotExecutable => Err(format!("program '{name}' is not executable; try: chmod +x {name}")),
        };
    }
    let (mut unusable, path) = (None, path.unwrap_or(DEFAULT_PATH));
    for folder in path.split(':') {
        // An empty entry is the working directory (POSIX), and so is what a relative one starts from.
        let candidate: PathBuf = Path::new(cwd).join(folder).join(name);
        match judge(&candidate) {
            Found::Program => return Ok(candidate.to_string_lossy().into_owned()),
            Found::NotExecutable => unusable = unusable.or(Some(candidate)),
            Found::Folder | Found::Nothing => {}
        }
    }
    Err(match unusable {
        Some(candidate) => format!("program '{name}' was found in PATH, but {} is not executable", candidate.display()),
        None => format!("program '{name}' not found in PATH ({path})"),
    })
}

enum Found {
    Program,
    NotExecutable,
    Folder,
    Nothing,
}

fn judge(path: &Path) -> Found {
    match std::fs::metadata(path) {
        Err(_) => Found::Nothing,
        Ok(found) if found.is_dir() => Found::Folder,
        Ok(found) if found.permissions().mode() & 0o111 == 0 => Found::NotExecutable,
        Ok(_) => Found::Program,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_as_a_shell_would() {
        assert!(find("sh", Some("/nonexistent:/bin"), "/").is_ok_and(|path| path == "/bin/sh"));
        assert!(find("sh", Some("bin"), "/").is_ok_and(|path| path == "/bin/sh"));
        assert!(find("./sh", None, "/bin").is_ok_and(|path| path == "./sh"));
        let missing = find("pyton3", Some("/bin"), "/").unwrap_err();
        assert_eq!(missing, "program 'pyton3' not found in PATH (/bin)");
        assert!(find("./passwd", None, "/etc").unwrap_err().contains("chmod +x"));
        assert!(find("passwd", Some("/etc"), "/").unwrap_err().contains("not executable"));
    }
}
