//! Finds a Python interpreter that is installed, and knows it again.

use std::collections::BTreeSet;
use std::fmt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::tool::{Tool, find_on_path};
use super::{Environments, PythonError};

/// How long an interpreter may take to say what it is.
const PROBE: Duration = Duration::from_secs(30);
/// Interpreters that are asked.
const MAX_PROBES: usize = 16;

/// An interpreter tells its real place (not that of a virtual environment or a wrapper), what it is, and where it runs.
const SCRIPT: &str = "import json, os, platform, sys, sysconfig
path = os.path.realpath(getattr(sys, '_base_executable', None) or sys.executable)
answer = [path, platform.python_implementation(), platform.python_version(), sysconfig.get_platform()]
print(json.dumps(answer))";

/// An installed interpreter. Displayed as `CPython 3.11.2`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interpreter {
    /// The program, behind all links.
    pub path: PathBuf,
    /// Such as `CPython`.
    pub implementation: String,
    /// Such as `3.11.2`.
    pub version: String,
    /// Such as `linux-x86_64`.
    pub platform: String,
    stat: Stat,
}

/// What shows that a program was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Stat {
    ino: u64,
    size: u64,
    mtime: i64,
    mtime_nsec: i64,
}

/// A wanted version: one to three numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version(Vec<u32>);

impl Version {
    pub(super) fn parse(text: &str) -> Result<Self, PythonError> {
        let bad = || PythonError::Version(text.to_owned());
        let number = |part: &str| {
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            if digits { part.parse::<u32>().map_err(|_| bad()) } else { Err(bad()) }
        };
        let parts = text.split('.').map(number).collect::<Result<Vec<_>, _>>()?;
        if parts.len() <= 3 { Ok(Self(parts)) } else { Err(bad()) }
    }

    /// Whether `version` begins with these numbers.
    fn admits(&self, version: &str) -> bool {
        let mut parts = version.split('.').map(leading_number);
        self.0.iter().all(|wanted| parts.next().flatten() == Some(*wanted))
    }

    /// The names under which such an interpreter is installed.
    fn program_names(&self) -> Vec<String> {
        let general = ["python3".to_owned(), "python".to_owned()];
        match self.0[..] {
            [major, minor, ..] => [format!("python{major}.{minor}")].into_iter().chain(general).collect(),
            _ => general.to_vec(),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&parts.join("."))
    }
}

/// The last part of a version may have letters behind its number (`3.14.0rc1`).
fn leading_number(part: &str) -> Option<u32> {
    part[..part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len())].parse().ok()
}

impl Interpreter {
    /// Whether the program is still the one that was asked.
    pub(super) fn is_unchanged(&self) -> bool {
        Stat::of(&self.path).is_some_and(|stat| stat == self.stat)
    }

    /// What locks are valid for: `cpython-3.11-linux-x86_64`. A new patch release changes none.
    pub(super) fn tag(&self) -> String {
        let minor: Vec<&str> = self.version.splitn(3, '.').take(2).collect();
        let tag = format!("{}-{}-{}", self.implementation, minor.join("."), self.platform).to_ascii_lowercase();
        tag.chars().map(|c| if c.is_ascii_alphanumeric() || "-._".contains(c) { c } else { '_' }).collect()
    }
}

impl fmt::Display for Interpreter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.implementation, self.version)
    }
}

impl Stat {
    fn of(path: &Path) -> Option<Self> {
        let stat =
            std::fs::metadata(path).ok().filter(|stat| stat.is_file() && stat.permissions().mode() & 0o111 != 0)?;
        Some(Self { ino: stat.ino(), size: stat.len(), mtime: stat.mtime(), mtime_nsec: stat.mtime_nsec() })
    }
}

impl Environments {
    /// The first interpreter on `PATH` that fits, or else one that `uv` knows. Without a wanted version any fits.
    pub(super) fn find_interpreter(&self, folder: &Path, wanted: Option<&Version>) -> Result<Interpreter, PythonError> {
        let any = Version(vec![3]);
        let version = wanted.unwrap_or(&any);
        let mut found = Vec::new();
        let (mut asked, mut others) = (BTreeSet::new(), BTreeSet::new());
        for name in version.program_names() {
            for program in find_on_path(&self.settings.variables, &name) {
                if asked.len() >= MAX_PROBES || !asked.insert(program.clone()) {
                    continue;
                }
                match self.probe(folder, &program)? {
                    Ok(interpreter) if version.admits(&interpreter.version) => return Ok(interpreter),
                    Ok(interpreter) if !others.insert(interpreter.path.clone()) => {}
                    Ok(interpreter) => found.push(format!("{interpreter} at {}", program.display())),
                    Err(reason) => found.push(format!("{} does not run ({reason})", program.display())),
                }
            }
        }
        if let Some(program) = self.uv_interpreter(folder, version)?
            && let Ok(interpreter) = self.probe(folder, &program)?
            && version.admits(&interpreter.version)
        {
            return Ok(interpreter);
        }
        Err(PythonError::NoInterpreter { wanted: version.to_string(), found })
    }

    /// Asks an interpreter what it is; the inner error is why it did not say.
    fn probe(&self, folder: &Path, program: &Path) -> Result<Result<Interpreter, String>, PythonError> {
        let finished =
            Tool::new(program, folder, &self.settings).args(["-I", "-c", SCRIPT]).limit(PROBE).run(&mut |_| {})?;
        let answer = finished.output.iter().rev().find_map(|line| serde_json::from_str::<[String; 4]>(line).ok());
        let Some([path, implementation, version, platform]) = answer.filter(|_| finished.success) else {
            return Ok(Err(finished.output.first().unwrap_or(&finished.status).clone()));
        };
        let path = PathBuf::from(path);
        let Some(stat) = Stat::of(&path) else {
            return Ok(Err(format!("it says that it is {}, which is no program", path.display())));
        };
        Ok(Ok(Interpreter { path, implementation, version, platform, stat }))
    }

    /// An interpreter that `uv` knows and that is not on `PATH`.
    fn uv_interpreter(&self, folder: &Path, version: &Version) -> Result<Option<PathBuf>, PythonError> {
        let Ok(uv) = self.find_uv(folder) else { return Ok(None) };
        let arguments = ["python", "find", "--no-project", &version.to_string()];
        let finished = Tool::new(&uv, folder, &self.settings).args(arguments).limit(PROBE).run(&mut |_| {})?;
        Ok(finished.output.last().filter(|_| finished.success).map(PathBuf::from).filter(|path| path.is_absolute()))
    }

    /// `uv`, where it is installed and runs.
    pub(super) fn find_uv(&self, folder: &Path) -> Result<PathBuf, PythonError> {
        let mut reason = "it is not on PATH".to_owned();
        for program in find_on_path(&self.settings.variables, "uv") {
            let finished =
                Tool::new(&program, folder, &self.settings).args(["--version"]).limit(PROBE).run(&mut |_| {})?;
            if finished.success {
                return Ok(program);
            }
            reason = finished.output.last().unwrap_or(&finished.status).clone();
        }
        Err(PythonError::NoUv(reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_admits_what_begins_with_it() {
        let admits = |wanted: &str, version: &str| Version::parse(wanted).unwrap().admits(version);
        assert!(admits("3", "3.11.2") && admits("3.11", "3.11.2") && admits("3.11.2", "3.11.2"));
        assert!(admits("3.14", "3.14.0rc1") && admits("3.14.0", "3.14.0rc1"));
        assert!(!admits("3.1", "3.11.2") && !admits("3.11.3", "3.11.2") && !admits("3.11", "3"));
        for bad in ["", "3.", ">=3.10", "3.x", "3.11.2.1", "+3", "99999999999"] {
            assert!(Version::parse(bad).is_err(), "{bad}");
        }
    }
}
