//! Locks: resolves requirements to exact versions, and keeps what was resolved.
//!
//! Kept are, under the identity of a request, the lock for each kind of interpreter (a requirements file) and the
//! interpreter that was used last (JSON). The latter is only a shortcut; without it the interpreter is looked for anew.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tempfile::NamedTempFile;

use super::request::{Request, Source, values};
use super::tool::{Tool, hide};
use super::{Environments, Installer, Interpreter, Locked, Progress, PythonError};

/// What is kept of one request.
pub(super) struct Stored<'a> {
    folder: &'a Path,
    request: &'a str,
}

impl<'a> Stored<'a> {
    pub(super) fn new(folder: &'a Path, request: &'a Request) -> Self {
        Self { folder, request: &request.hash }
    }

    /// The file whose lock says that somebody resolves this request.
    pub(super) fn guard_path(&self) -> PathBuf {
        self.folder.join(format!("{}.guard", self.request))
    }

    fn interpreter_path(&self) -> PathBuf {
        self.folder.join(format!("{}.json", self.request))
    }

    fn lock_path(&self, interpreter: &Interpreter) -> PathBuf {
        self.folder.join(format!("{}-{}.txt", self.request, interpreter.tag()))
    }

    /// The lock, if there is one and its interpreter is the one it was. Starts no process.
    pub(super) fn load(&self) -> Option<Locked> {
        let bytes = std::fs::read(self.interpreter_path()).ok()?;
        let interpreter: Interpreter = serde_json::from_slice(&bytes).ok()?;
        if !interpreter.is_unchanged() {
            return None;
        }
        let text = self.lock_text(&interpreter)?;
        Some(Locked::new(interpreter, text, Some(self.request.to_owned())))
    }

    /// The lock for an interpreter.
    pub(super) fn lock_text(&self, interpreter: &Interpreter) -> Option<String> {
        std::fs::read_to_string(self.lock_path(interpreter)).ok()
    }

    pub(super) fn save(&self, interpreter: &Interpreter, text: &str) -> Result<(), PythonError> {
        self.write(&self.lock_path(interpreter), text.as_bytes())?;
        self.save_interpreter(interpreter)
    }

    pub(super) fn save_interpreter(&self, interpreter: &Interpreter) -> Result<(), PythonError> {
        let bytes = serde_json::to_vec(interpreter).expect("plain data always serialises");
        self.write(&self.interpreter_path(), &bytes)
    }

    /// In one step, and durable: a lock that was told must not be another one after a crash.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), PythonError> {
        let io = |action| PythonError::io(action, path);
        let mut file = NamedTempFile::new_in(self.folder).map_err(io("write"))?;
        file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(io("write"))?;
        file.persist(path).map_err(|error| io("write")(error.error))?;
        let folder = File::open(self.folder).map_err(PythonError::io("open", self.folder))?;
        folder.sync_all().map_err(PythonError::io("sync", self.folder))
    }
}

impl Environments {
    /// Resolves a request to the text of a lock.
    pub(super) fn resolve(
        &self,
        folder: &Path,
        request: &Request,
        interpreter: &Interpreter,
        guard: &File,
        progress: Progress<'_>,
    ) -> Result<String, PythonError> {
        if request.count == 0 {
            return Ok(String::new());
        }
        let work =
            tempfile::tempdir_in(&self.settings.locks).map_err(PythonError::io("write", &self.settings.locks))?;
        let source = match &request.source {
            Source::File(path) => path.clone(),
            Source::Inline(text) => {
                let path = work.path().join("requirements.txt");
                std::fs::write(&path, text).map_err(PythonError::io("write", &path))?;
                path
            }
        };
        let plural = if request.count == 1 { "" } else { "s" };
        progress(&format!("resolving {} requirement{plural} for {interpreter}", request.count));
        let secrets = values(&request.names, &self.settings.variables);
        let resolution =
            Resolution { folder, work: work.path(), source: &source, interpreter, guard, secrets: &secrets };
        let packages = match self.uv(folder)? {
            Some(uv) => self.resolve_with_uv(&uv, &resolution, progress)?,
            None => self.resolve_with_pip(&resolution, progress)?,
        };
        let mut text: String = request.options.iter().map(|option| format!("{option}\n")).collect();
        text.push_str(packages.trim_end());
        text.push('\n');
        Ok(hide(&text, &secrets))
    }

    /// `uv`, unless `pip` is to be used.
    pub(super) fn uv(&self, folder: &Path) -> Result<Option<PathBuf>, PythonError> {
        match self.settings.installer {
            Installer::Pip => Ok(None),
            Installer::Uv => self.find_uv(folder).map(Some),
            Installer::Auto => match self.find_uv(folder) {
                Err(PythonError::NoUv(_)) => Ok(None),
                found => found.map(Some),
            },
        }
    }

    fn resolve_with_uv(&self, uv: &Path, what: &Resolution<'_>, progress: Progress<'_>) -> Result<String, PythonError> {
        let lock = what.work.join("lock.txt");
        Tool::new(uv, what.folder, &self.settings)
            .args(["pip", "compile", "--quiet", "--no-header", "--no-annotate", "--generate-hashes", "--python"])
            .args([&what.interpreter.path, Path::new("--output-file"), &lock, what.source])
            .holding(what.guard)?
            .revealing(what.secrets.to_vec())
            .expect("resolving the requirements", "uv pip compile", &mut |line| tell(line, progress))?;
        std::fs::read_to_string(&lock).map_err(PythonError::io("read", &lock))
    }

    fn resolve_with_pip(&self, what: &Resolution<'_>, progress: Progress<'_>) -> Result<String, PythonError> {
        let pip = self.pip(what.folder, what.interpreter, progress)?;
        let report = what.work.join("report.json");
        Tool::new(&pip, what.folder, &self.settings)
            .args(["-m", "pip", "install", "--dry-run", "--ignore-installed", "--progress-bar", "off", "--report"])
            .args([&*report, Path::new("--requirement"), what.source])
            .holding(what.guard)?
            .revealing(what.secrets.to_vec())
            .expect("resolving the requirements", "pip install --dry-run", &mut |line| tell(line, progress))?;
        let bytes = std::fs::read(&report).map_err(PythonError::io("read", &report))?;
        lock_of_report(&bytes)
            .map_err(|reason| PythonError::Answer { command: "pip install --report".to_owned(), reason })
    }
}

/// What a resolution needs.
struct Resolution<'a> {
    folder: &'a Path,
    /// A private folder.
    work: &'a Path,
    source: &'a Path,
    interpreter: &'a Interpreter,
    guard: &'a File,
    secrets: &'a [(String, String)],
}

/// Passes on the lines of `uv` and `pip` that say what is being done.
pub(super) fn tell(line: &str, progress: Progress<'_>) {
    const WORDS: [&str; 7] =
        ["Building ", "Collecting ", "Downloading ", "Installed ", "Installing ", "Prepared ", "Resolved "];
    let line = line.trim_start();
    if WORDS.iter().any(|word| line.starts_with(word)) {
        let (first, rest) = line.split_at(1);
        progress(&format!("{}{rest}", first.to_ascii_lowercase()));
    }
}

/// The names and versions in a lock, for people.
pub(super) fn packages(lock_text: &str) -> Vec<String> {
    let lines = lock_text.lines().filter(|line| !line.starts_with([' ', '\t', '-', '#']) && !line.is_empty());
    lines
        .map(|line| {
            let pinned = line.split([' ', ';', '\\']).next().unwrap_or(line);
            pinned.replacen("==", " ", 1)
        })
        .collect()
}

/// The same lock for `pip`, which takes hashes of all packages or of none.
pub(super) fn for_pip(lock_text: &str) -> String {
    let has_hash = |block: &String| block.contains("--hash=");
    let mut blocks: Vec<String> = Vec::new();
    for line in lock_text.lines() {
        match blocks.last_mut() {
            Some(block) if line.starts_with([' ', '\t']) => *block += &format!("\n{line}"),
            _ => blocks.push(line.to_owned()),
        }
    }
    let is_package = |block: &&String| !block.starts_with(['-', '#']) && !block.is_empty();
    if blocks.iter().filter(is_package).all(has_hash) {
        return lock_text.to_owned();
    }
    let bare =
        |block: &String| block.split(" --hash=").next().unwrap_or(block).trim_end_matches([' ', '\\', '\n']).to_owned();
    blocks.iter().map(|block| if block.starts_with('-') { block.clone() } else { bare(block) } + "\n").collect()
}

/// The parts of pip's installation report that are needed
/// (<https://pip.pypa.io/en/stable/reference/installation-report/>, version 1).
#[derive(Deserialize)]
struct Report {
    version: String,
    install: Vec<Install>,
}

#[derive(Deserialize)]
struct Install {
    metadata: Metadata,
    download_info: Download,
    #[serde(default)]
    is_direct: bool,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    version: String,
}

/// PEP 610.
#[derive(Deserialize)]
struct Download {
    url: String,
    archive_info: Option<Archive>,
    vcs_info: Option<Vcs>,
    subdirectory: Option<String>,
}

#[derive(Deserialize)]
struct Archive {
    #[serde(default)]
    hashes: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Vcs {
    vcs: String,
    commit_id: String,
}

/// A lock in the form that `uv` writes. With the hashes only if every package has one.
fn lock_of_report(bytes: &[u8]) -> Result<String, String> {
    let report: Report = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if report.version != "1" {
        return Err(format!("a report of version {}", report.version));
    }
    let mut blocks: Vec<String> = report.install.iter().map(Install::block).collect();
    blocks.sort_unstable();
    Ok(for_pip(&blocks.concat()))
}

impl Install {
    fn block(&self) -> String {
        let name = self.metadata.name.to_ascii_lowercase().replace(['_', '.'], "-");
        let Download { url, archive_info, vcs_info, subdirectory } = &self.download_info;
        let folder = subdirectory.as_ref().map(|folder| format!("#subdirectory={folder}")).unwrap_or_default();
        let pinned = match vcs_info {
            Some(Vcs { vcs, commit_id }) => format!("{name} @ {vcs}+{url}@{commit_id}{folder}"),
            None if self.is_direct => format!("{name} @ {url}{folder}"),
            None => format!("{name}=={}", self.metadata.version),
        };
        match archive_info.as_ref().and_then(|archive| archive.hashes.get("sha256")) {
            Some(hash) => format!("{pinned} \\\n    --hash=sha256:{hash}\n"),
            None => format!("{pinned}\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASHED: &str = "--index-url https://i\nattrs==1 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\nsix==1.17.0 \\\n    --hash=sha256:cc\n";

    #[test]
    fn a_report_becomes_a_lock() {
        let report = r#"{"version": "1", "pip_version": "23", "install": [
            {"metadata": {"name": "Six", "version": "1.17.0"}, "is_direct": false,
             "download_info": {"url": "https://h/six.whl", "archive_info": {"hashes": {"sha256": "cc"}}}},
            {"metadata": {"name": "a_b.c", "version": "2"}, "is_direct": true,
             "download_info": {"url": "file:///w/a.whl", "archive_info": {"hashes": {"sha256": "aa"}}}}]}"#;
        let lock = lock_of_report(report.as_bytes()).unwrap();
        let expected = "a-b-c @ file:///w/a.whl \\\n    --hash=sha256:aa\nsix==1.17.0 \\\n    --hash=sha256:cc\n";
        assert_eq!(lock, expected);
    }

    #[test]
    fn a_package_without_hash_takes_those_of_the_others_away() {
        let report = r#"{"version": "1", "install": [
            {"metadata": {"name": "six", "version": "1"}, "download_info": {"url": "u", "archive_info": {"hashes": {"sha256": "c"}}}},
            {"metadata": {"name": "x", "version": "2"}, "is_direct": true, "download_info": {"url": "https://h/x",
             "subdirectory": "p", "vcs_info": {"vcs": "git", "commit_id": "abc"}}}]}"#;
        let lock = lock_of_report(report.as_bytes()).unwrap();
        assert_eq!(lock, "six==1\nx @ git+https://h/x@abc#subdirectory=p\n");
        assert_eq!(for_pip(HASHED), HASHED);
        let mixed = HASHED.replace(" \\\n    --hash=sha256:cc", "");
        assert_eq!(for_pip(&mixed), "--index-url https://i\nattrs==1\nsix==1.17.0\n");
    }

    #[test]
    fn the_packages_of_a_lock_are_told() {
        assert_eq!(packages(HASHED), ["attrs 1", "six 1.17.0"]);
        assert_eq!(packages("x @ git+https://h/x@abc\ny==2 ; python_version < '3'\n"), ["x", "y 2"]);
    }
}
