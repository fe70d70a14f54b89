//! What is asked for: reads requirements as far as needed to know them again and to keep secrets out of locks.
//!
//! What a requirement means is for `uv` and `pip` to say.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use runstone_core::spec::model::{Python, Requirements};

use super::PythonError;
use super::interpreter::Version;

/// Bytes of a requirements file and all that it includes.
pub const MAX_REQUIREMENTS: u64 = 1 << 20;
/// Files that include each other.
const MAX_DEPTH: usize = 10;
/// Key-derivation context (BLAKE3) of requests.
const CONTEXT: &str = "runstone 2026-11 python request v1";
/// Where inline requirements stand, for messages.
const INLINE: &str = "python.requirements";

/// Options that the installation needs as well as the resolution.
const KEPT_OPTIONS: [&str; 8] =
    ["-f", "-i", "--extra-index-url", "--find-links", "--index-url", "--no-binary", "--only-binary", "--trusted-host"];
/// Endings of packages that are single files.
const ARCHIVES: [&str; 6] = [".whl", ".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"];

/// A request, read at one moment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Its identity, 32 digits.
    pub(super) hash: String,
    pub(super) version: Option<Version>,
    pub(super) source: Source,
    /// Number of requirements, for people.
    pub(super) count: usize,
    /// The options that belong into the lock.
    pub(super) options: Vec<String>,
    /// The variables that the text refers to as `${NAME}`.
    pub(super) names: BTreeSet<String>,
}

/// Where the text of the requirements is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// In a file, relative to the pipeline's folder.
    File(PathBuf),
    /// In the pipeline.
    Inline(String),
}

impl Request {
    pub(super) fn read(folder: &Path, python: &Python) -> Result<Self, PythonError> {
        let mut reader = Reader { folder, total: 0, text: String::new(), count: 0, options: Vec::new() };
        let source = match &python.requirements {
            Requirements::File(file) => {
                reader.file(Path::new(file), 0)?;
                Source::File(PathBuf::from(file))
            }
            Requirements::Inline(lines) => {
                for line in lines.iter().map(|line| line.trim()) {
                    if line.starts_with('-') || line.contains('\n') {
                        let reason = format!("{line:?} is no requirement; options need a requirements file");
                        return Err(PythonError::Requirements { place: INLINE.to_owned(), reason });
                    }
                    reader.line(line, Path::new(""), INLINE)?;
                }
                Source::Inline(lines.iter().map(|line| format!("{}\n", line.trim())).collect())
            }
        };
        let version = python.version.as_deref().map(Version::parse).transpose()?;
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        let wanted = version.as_ref().map(Version::to_string).unwrap_or_default();
        for part in [std::env::consts::OS, std::env::consts::ARCH, &wanted, &reader.text] {
            hasher.update(part.as_bytes()).update(b"\0");
        }
        let hash = hasher.finalize().to_hex()[..32].to_owned();
        let names = variable_names(&reader.text);
        Ok(Self { hash, version, source, count: reader.count, options: reader.options, names })
    }
}

/// The values of the variables that a text refers to, as far as they are set.
pub(super) fn values(names: &BTreeSet<String>, variables: &[(OsString, OsString)]) -> Vec<(String, String)> {
    let text = |(name, value): &(OsString, OsString)| Some((name.to_str()?.to_owned(), value.to_str()?.to_owned()));
    variables.iter().filter_map(text).filter(|(name, _)| names.contains(name)).collect()
}

/// `${NAME}`, as pip and uv understand it: capital letters, digits and `_`.
pub(super) fn variable_names(text: &str) -> BTreeSet<String> {
    let is_name = |name: &&str| {
        !name.is_empty() && name.bytes().all(|b| b == b'_' || b.is_ascii_uppercase() || b.is_ascii_digit())
    };
    let after = text.split("${").skip(1);
    after.filter_map(|rest| rest.split_once('}').map(|(name, _)| name)).filter(is_name).map(str::to_owned).collect()
}

struct Reader<'a> {
    folder: &'a Path,
    total: u64,
    /// All lines that count, of all files, one a line.
    text: String,
    count: usize,
    options: Vec<String>,
}

impl Reader<'_> {
    fn file(&mut self, file: &Path, depth: usize) -> Result<(), PythonError> {
        let path = self.folder.join(file);
        let place = file.display().to_string();
        let stat = std::fs::metadata(&path).map_err(PythonError::io("read", &path))?;
        if !stat.is_file() {
            return Err(refused(&place, "it is not a file"));
        }
        self.total = self.total.saturating_add(stat.len());
        if depth > MAX_DEPTH || self.total > MAX_REQUIREMENTS {
            return Err(refused(&place, "it includes too much"));
        }
        let text = std::fs::read_to_string(&path).map_err(PythonError::io("read", &path))?;
        let folder = file.parent().unwrap_or(Path::new(""));
        let mut logical = String::new();
        for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            logical.push_str(line);
            if logical.ends_with('\\') {
                logical.pop();
                continue;
            }
            let line = std::mem::take(&mut logical);
            let (line, place) = (without_comment(&line), format!("{place}:{}", number + 1));
            if let Some((is_constraint, included)) = inclusion(line) {
                if included.contains("://") {
                    return Err(refused(&place, "an address cannot be included: copy the file"));
                }
                self.text.push_str(if is_constraint { "-c {\n" } else { "-r {\n" });
                let counted = self.count;
                self.file(&folder.join(included), depth + 1)?;
                if is_constraint {
                    self.count = counted;
                }
                self.text.push_str("}\n");
            } else {
                self.line(line, folder, &place)?;
            }
        }
        self.line(without_comment(&logical), folder, &place)
    }

    /// Takes a line without comments; `folder` is that of its file.
    fn line(&mut self, line: &str, folder: &Path, place: &str) -> Result<(), PythonError> {
        if line.is_empty() {
            return Ok(());
        }
        if has_credentials(line) {
            let advice = "credentials must not be written here: write ${NAME} and set the variable, or use netrc";
            return Err(refused(place, advice));
        }
        if let Some(option) = line.split([' ', '=']).next().filter(|option| option.starts_with('-')) {
            self.option(line, option, folder, place)?;
        } else {
            self.requirement(line, place)?;
        }
        self.text.push_str(line);
        self.text.push('\n');
        Ok(())
    }

    fn option(&mut self, line: &str, option: &str, folder: &Path, place: &str) -> Result<(), PythonError> {
        if matches!(option, "-e" | "--editable") {
            return Err(refused(
                place,
                "an editable package has no fixed content: build a wheel, or put it beside the step",
            ));
        }
        let value = line[option.len()..].trim_start_matches(['=', ' ']).trim();
        let is_place = matches!(option, "-f" | "--find-links") && !value.contains("://");
        let beside: PathBuf = folder.join(value).components().filter(|part| *part != Component::CurDir).collect();
        if is_place && self.folder.join(&beside).exists() {
            self.options.push(format!("--find-links {}", beside.display()));
        } else if KEPT_OPTIONS.contains(&option) || line == "--no-index" {
            self.options.push(line.to_owned());
        }
        Ok(())
    }

    fn requirement(&mut self, line: &str, place: &str) -> Result<(), PythonError> {
        self.count += 1;
        let target = line.split_once(" @ ").map_or(line, |(_, target)| target.trim());
        let target = target.split([' ', ';', '#']).next().unwrap_or_default();
        let local = target.strip_prefix("file:").map(|path| path.trim_start_matches("//"));
        let is_path = target.starts_with(['.', '/', '~']) || target.contains('/') && !target.contains("://");
        let Some(path) = local.or(is_path.then_some(target)) else { return Ok(()) };
        if !ARCHIVES.iter().any(|ending| path.ends_with(ending)) {
            return Err(refused(
                place,
                "a folder has no fixed content: build a wheel, or put its code beside the step",
            ));
        }
        // A rebuilt archive is another request.
        let path = self.folder.join(path);
        let stat = std::fs::metadata(&path).map_err(PythonError::io("read", &path))?;
        self.text.push_str(&format!("# {} {}.{}\n", stat.len(), stat.mtime(), stat.mtime_nsec()));
        Ok(())
    }
}

fn refused(place: &str, reason: &str) -> PythonError {
    PythonError::Requirements { place: place.to_owned(), reason: reason.to_owned() }
}

/// A comment begins with `#` at the start of a line or behind white space.
fn without_comment(line: &str) -> &str {
    let is_comment = |at: &usize| *at == 0 || line[..*at].ends_with(char::is_whitespace);
    let end = line.match_indices('#').map(|(at, _)| at).find(is_comment).unwrap_or(line.len());
    line[..end].trim()
}

/// `-r file` or `-c file`: whether it is a constraint, and the file.
fn inclusion(line: &str) -> Option<(bool, &str)> {
    let options = [("-r", false), ("--requirement", false), ("-c", true), ("--constraint", true)];
    options.into_iter().find_map(|(option, is_constraint)| {
        let rest = line.strip_prefix(option)?;
        let is_short = option.len() == 2;
        let separated = rest.starts_with([' ', '=', '\t']) || is_short && !rest.is_empty();
        separated.then(|| (is_constraint, rest.trim_start_matches(['=', ' ', '\t']).trim()))
    })
}

/// Whether an address in the line holds credentials other than `${NAME}`. A bare user of `ssh` is none.
fn has_credentials(line: &str) -> bool {
    line.match_indices("://").any(|(at, _)| {
        let authority = line[at + 3..].split(['/', '?', '#', ' ']).next().unwrap_or_default();
        let Some((user, _)) = authority.rsplit_once('@') else { return false };
        let is_ssh = line[..at].ends_with("ssh") && !user.contains(':');
        let written =
            variable_names(user).iter().fold(user.to_owned(), |text, name| text.replace(&format!("${{{name}}}"), ""));
        !is_ssh && !written.trim_matches(':').is_empty()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inline(lines: &[&str], version: Option<&str>) -> Result<Request, PythonError> {
        let requirements = Requirements::Inline(lines.iter().copied().map(str::to_owned).collect());
        Request::read(Path::new("/"), &Python { requirements, version: version.map(str::to_owned) })
    }

    fn file(files: &[(&str, &str)]) -> Result<Request, PythonError> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let requirements = Requirements::File(format!("./{}", files[0].0));
        Request::read(folder.path(), &Python { requirements, version: None })
    }

    fn hash(files: &[(&str, &str)]) -> String {
        file(files).unwrap().hash
    }

    #[test]
    fn a_request_is_what_its_lines_say() {
        let plain = hash(&[("r.txt", "six==1.17.0\nattrs\n")]);
        assert_eq!(plain, hash(&[("other.txt", "# why\n\nsix==1.17.0  # because\nattrs")]), "comments do not count");
        assert_eq!(plain, hash(&[("r.txt", "six==\\\n1.17.0\nattrs")]), "nor do line breaks");
        assert_ne!(plain, hash(&[("r.txt", "six==1.16.0\nattrs\n")]));
        assert_eq!(inline(&["six"], None).unwrap().hash, inline(&[" six "], None).unwrap().hash);
        assert_ne!(inline(&["six"], None).unwrap().hash, inline(&["six"], Some("3.11")).unwrap().hash);
    }

    #[test]
    fn included_files_count() {
        let with = |text: &str| {
            hash(&[("r.txt", "-r sub/more.txt\nsix\n"), ("sub/more.txt", "-c c.txt\n"), ("sub/c.txt", text)])
        };
        assert_ne!(with("attrs==1"), with("attrs==2"));
        let request =
            file(&[("r.txt", "-rmore.txt\nsix\n--constraint=c.txt"), ("more.txt", "attrs\n"), ("c.txt", "six<2")]);
        assert_eq!(request.unwrap().count, 2, "constraints ask for nothing");
        assert!(file(&[("r.txt", "-r r.txt")]).is_err(), "a circle");
    }

    #[test]
    fn options_that_the_installation_needs_are_kept() {
        let request = file(&[
            ("r.txt", "--index-url https://i/simple\n--pre\n-r sub/more.txt"),
            ("sub/more.txt", "-f wheels\n--no-index"),
            ("sub/wheels/x", ""),
        ]);
        let expected = ["--index-url https://i/simple", "--find-links sub/wheels", "--no-index"];
        assert_eq!(request.unwrap().options, expected);
    }

    #[test]
    fn credentials_are_refused_unless_they_are_variables() {
        for line in
            ["--index-url https://u:hunter2@h/simple", "x @ https://hunter2@h/x.whl", "x @ git+https://u:hunter2@h/x"]
        {
            let error = file(&[("r.txt", &format!("six\n{line}\n"))]).unwrap_err().to_string();
            assert!(error.starts_with("./r.txt:2: credentials") && !error.contains("hunter2"), "{error}");
        }
        let line = "--index-url https://${USER_NAME}:${TOKEN}@h/simple\nx @ git+ssh://git@h/x@main\n";
        let names: Vec<String> = file(&[("r.txt", line)]).unwrap().names.into_iter().collect();
        assert_eq!(names, ["TOKEN", "USER_NAME"]);
    }

    #[test]
    fn what_has_no_fixed_content_is_refused() {
        for line in ["-e .", "./lib", "lib/pkg", "x @ file:///srv/x", "-r https://h/r.txt"] {
            assert!(matches!(file(&[("r.txt", line)]), Err(PythonError::Requirements { .. })), "{line}");
        }
        assert!(inline(&["--pre"], None).is_err());
        assert!(matches!(inline(&["./x-1-py3-none-any.whl"], None), Err(PythonError::Io { .. })), "a wheel must exist");
        let with = |wheel: &str| hash(&[("r.txt", "x @ file:./x-1-py3-none-any.whl"), ("x-1-py3-none-any.whl", wheel)]);
        assert_ne!(with("a"), with("longer"), "a rebuilt wheel is another request");
    }
}
