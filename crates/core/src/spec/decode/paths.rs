//! Paths of the project, sources and globs: checked as text, never looked up.

use super::{Code, Decoder, Diagnostic, FAILS, Node, Problem, shown};
use crate::spec::model::Source;

/// The longest path, in bytes. Source: `PATH_MAX` of Linux.
const LONGEST: usize = 4096;
/// The longest component, in bytes. Source: `NAME_MAX` of Linux.
const LONGEST_COMPONENT: usize = 255;

fn bad(text: &str, why: &str) -> Problem {
    Problem::new(Code::BadPath, format!("{} {why}", shown(text)))
}

/// What holds of every path.
fn plain(text: &str) -> Result<(), Problem> {
    if text.is_empty() {
        return Err(bad(text, "is an empty path"));
    }
    if text.chars().any(char::is_control) {
        return Err(bad(text, "has a control character in a path"));
    }
    if text.len() > LONGEST || text.split('/').any(|component| component.len() > LONGEST_COMPONENT) {
        return Err(bad(text, "is too long for a path"));
    }
    Ok(())
}

/// Whether a reference is a path and not a name.
pub(super) fn is_path(text: &str) -> bool {
    text.starts_with('/') || text.starts_with("./") || text.starts_with("../") || matches!(text, "." | "..")
}

/// A path that says that it is one: `./…`, `../…` or `/…`.
pub(super) fn project(text: &str) -> Result<(), Problem> {
    plain(text)?;
    if text.starts_with('~') {
        return Err(
            bad(text, "starts with `~`, which only a shell understands").help("write the path from `/` or from `./`")
        );
    }
    if !is_path(text) {
        let problem = bad(text, "does not say where it starts").help("paths start with `./`, `../` or `/`");
        return Err(problem.fix(Some(format!("./{text}"))));
    }
    Ok(())
}

/// A glob of code, relative to the pipeline's folder.
pub(super) fn glob(text: &str) -> Result<(), Problem> {
    plain(text)?;
    if text.starts_with(['/', '~']) {
        return Err(bad(text, "is not relative").help("code belongs to the project, so that others have it as well"));
    }
    Ok(())
}

/// The name of a file inside an attempt's output folder.
pub(super) fn file_name(text: &str) -> Result<(), Problem> {
    plain(text)?;
    if text.contains('/') || matches!(text, "." | "..") {
        return Err(bad(text, "is not a file name")
            .help("`path` is what readers see, one name without folders; `publish` is the place in the project"));
    }
    Ok(())
}

/// A place in the project where an output is laid; `Ok` holds its components.
pub(super) fn publish(text: &str) -> Result<Vec<&str>, Problem> {
    plain(text)?;
    let components: Vec<_> = text.split('/').filter(|component| !matches!(*component, "" | ".")).collect();
    if text.starts_with(['/', '~']) || components.contains(&"..") {
        return Err(
            bad(text, "leaves the project").help("`publish` is relative to the pipeline's folder and stays inside it")
        );
    }
    match components.first() {
        None => Err(bad(text, "is the project's folder itself")),
        Some(&(".runstone" | ".git")) => Err(bad(text, "is a folder that a tool keeps for itself")),
        Some(_) => Ok(components),
    }
}

impl<'t> Decoder<'t, '_> {
    /// Whether a path has a `${{ … }}`, which is reported.
    pub(super) fn looks_up(&mut self, node: Node<'t>) -> bool {
        let found = node.text().and_then(|text| text.find("${{"));
        if let Some(start) = found {
            let span = self.within(node, start, start + 3);
            self.unsupported("`${{ … }}`", "it is taken as it is written", span);
        }
        found.is_some()
    }

    /// What an ingest reads.
    pub(super) fn source(&mut self, node: Node<'t>) -> Source {
        let written = node.text().unwrap_or_default();
        let span = node.span();
        let text = self.partition_put_in(node);
        // Checked with a key in its place.
        let sample = text.replace(Source::PARTITION, "2026-01-05T13");
        if sample.contains("${{") {
            self.looks_up(node);
        } else if text.starts_with("http://") || text.starts_with("https://") {
            self.report(url(&sample), span);
            return Source::Url(text);
        } else if let Some((scheme, rest)) = text.split_once("://") {
            if scheme == "file" {
                let problem = bad(written, "is a URL for a path").help("write the path alone");
                self.report::<()>(Err(problem.fix(is_path(rest).then(|| rest.to_owned()))), span);
            } else {
                self.unsupported(&format!("a source of the kind {}", shown(&format!("{scheme}://"))), FAILS, span);
            }
            return Source::Url(text);
        } else if let Err(problem) = project(&sample) {
            // In the words of the file.
            self.report::<()>(Err(project(written).err().unwrap_or(problem)), span);
        }
        Source::Path(text)
    }

    /// The text with every spelling of `${{ partition }}` as [`Source::PARTITION`].
    fn partition_put_in(&mut self, node: Node<'t>) -> String {
        let (mut rest, mut text) = (node.text().unwrap_or_default(), String::new());
        let mut first = None;
        while let Some((before, after)) = rest.split_once("${{") {
            let Some((name, tail)) = after.split_once("}}").filter(|(name, _)| name.trim() == "partition") else {
                break;
            };
            text.push_str(before);
            first.get_or_insert(text.len());
            text.push_str(Source::PARTITION);
            (rest, _) = (tail, name);
        }
        text.push_str(rest);
        if let Some(start) = first.filter(|_| !self.partitioned) {
            let span = self.within(node, start, start + 3);
            let error = Diagnostic::error(Code::Missing, span, "the pipeline has no partitions");
            self.push(
                error.help("declare them at the top of the file, such as `partition: {by: day, start: 2026-01-01}`"),
            );
        }
        text
    }
}

fn url(text: &str) -> Result<(), Problem> {
    let rest = text.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() || text.chars().any(|c| c.is_control() || c.is_whitespace()) || text.len() > LONGEST {
        return Err(bad(text, "is not a URL"));
    }
    if authority.contains('@') {
        // Not shown: it may hold a password.
        let message = "a user name or password in a URL would be kept in every record";
        return Err(Problem::new(Code::BadValue, message)
            .help("fetch it in a step with `run` and `env: {TOKEN: {secret: NAME}}`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishing_stays_inside_the_project() {
        assert_eq!(publish("./out/table.csv"), Ok(vec!["out", "table.csv"]));
        for text in [
            "",
            ".",
            "./",
            "/etc/passwd",
            "~/x",
            "..",
            "../x",
            "a/../../x",
            "a/..",
            ".git/hooks/x",
            "a\nb",
            ".runstone/x",
        ] {
            assert!(publish(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_output_is_one_file_name() {
        assert_eq!(file_name("model.pkl"), Ok(()));
        for text in ["", ".", "..", "a/b", "/a", "a\0", "a\n", &"x".repeat(256)] {
            assert!(file_name(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn urls_carry_no_secrets() {
        assert_eq!(url("https://example.org/a.csv?x=@"), Ok(()));
        for text in ["https://", "https://user:pw@example.org/", "http://exa mple.org"] {
            assert!(url(text).is_err(), "{text:?}");
        }
    }
}
