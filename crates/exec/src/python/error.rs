//! Why there is no Python environment, with what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// A failure to lock or build an environment. No text shows credentials.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PythonError {
    /// Requirements that cannot be locked.
    #[error("{place}: {reason}")]
    Requirements {
        /// The file and line, or `python.requirements`.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// `version:` is none.
    #[error("python.version {0:?} is not a version: write 3, 3.11 or 3.11.2")]
    Version(String),
    /// No fitting interpreter is installed.
    #[error("no interpreter for python {wanted} is installed; {}", listed(found))]
    NoInterpreter {
        /// The version asked for.
        wanted: String,
        /// What was found instead, and where.
        found: Vec<String>,
    },
    /// `uv` was asked for and is not there.
    #[error("uv is not installed, or does not run: {0}")]
    NoUv(String),
    /// `uv` or `pip` failed.
    #[error("{action} failed: {command} {status}{}{}", advice.map(|advice| format!(": {advice}")).unwrap_or_default(), quoted(output))]
    Tool {
        /// What was being done.
        action: String,
        /// The program, such as `uv pip compile`.
        command: String,
        /// How it ended.
        status: String,
        /// What to do about it.
        advice: Option<&'static str>,
        /// The last lines it wrote.
        output: Vec<String>,
    },
    /// The answer of a tool was not understood.
    #[error("{command} gave an answer that is not understood: {reason}")]
    Answer {
        /// The program.
        command: String,
        /// Why.
        reason: String,
    },
    /// Somebody edited the requirements meanwhile.
    #[error("the requirements in {} changed while they were resolved: run it again", path.display())]
    Changed {
        /// The pipeline's folder.
        path: PathBuf,
    },
    /// The caller did not want to go on.
    #[error("preparing the python environment was stopped")]
    Stopped,
    /// A system call failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl PythonError {
    /// For `map_err`: the failure of `action` on `path`.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

fn listed(found: &[String]) -> String {
    let found = if found.is_empty() { "nothing".to_owned() } else { found.join(", ") };
    format!("found: {found} (install it, for example with 'uv python install', or ask for another version)")
}

fn quoted(output: &[String]) -> String {
    output.iter().map(|line| format!("\n  | {line}")).collect()
}

/// What to do about a failure, as far as the tool's words tell.
pub(super) fn advice(output: &[String]) -> Option<&'static str> {
    const KNOWN: [(&[&str], &str); 7] = [
        (
            &["ensurepip is not available", "No module named venv", "No module named ensurepip"],
            "python's venv is not complete here; on Debian and Ubuntu: apt-get install python3-venv, or install uv",
        ),
        (&["No space left on device", "Disk quota exceeded"], "the disk is full"),
        (
            &[
                "NewConnectionError",
                "ConnectTimeoutError",
                "Name or service not known",
                "name resolution",
                "dns error",
                "error sending request",
                "client error (Connect)",
                "Connection refused",
                "ProxyError",
                "Could not connect",
                "network is unreachable",
                "Network is unreachable",
            ],
            "the package index cannot be reached; see the network, HTTPS_PROXY, and PIP_INDEX_URL or UV_INDEX_URL",
        ),
        (
            &["CERTIFICATE_VERIFY_FAILED", "UnknownIssuer", "invalid peer certificate", "SSLError"],
            "the index's certificate is not trusted here; see SSL_CERT_FILE and PIP_CERT",
        ),
        (
            &["Python.h", "gcc' failed", "Unable to find a compiler", "command 'cc' failed", "error: command"],
            "a package is compiled here; on Debian and Ubuntu: apt-get install build-essential python3-dev",
        ),
        (&["(from versions: none)"], "the package index has no such package, or cannot be reached"),
        (
            &["No solution found", "No matching distribution", "ResolutionImpossible", "conflicting dependencies"],
            "the requirements cannot be met together by this interpreter",
        ),
    ];
    let says = |words: &[&str]| output.iter().any(|line| words.iter().any(|word| line.contains(word)));
    KNOWN.iter().find(|(words, _)| says(words)).map(|(_, advice)| *advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_named_before_its_consequence() {
        let output = [
            "WARNING: Retrying after connection broken by 'NewConnectionError(…)': /simple/six/",
            "ERROR: No matching distribution found for six",
        ];
        let advice = advice(&output.map(str::to_owned)).unwrap();
        assert!(advice.contains("cannot be reached"), "{advice}");
        assert_eq!(super::advice(&["something else".to_owned()]), None);
    }

    #[test]
    fn a_missing_interpreter_is_told_with_what_is_there() {
        let found = vec!["CPython 3.11.2 at /usr/bin/python3.11".to_owned()];
        let text = PythonError::NoInterpreter { wanted: "3.12".into(), found }.to_string();
        assert!(text.contains("python 3.12") && text.contains("found: CPython 3.11.2 at /usr/bin"), "{text}");
    }
}
