//! The end of a log, made fit to be shown in the middle of something else.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use super::harmless;

/// How much of the end of a file is looked at.
const WINDOW: u64 = 16 << 10;
/// The longest line shown, in characters.
const LONGEST: usize = 200;

/// The last `lines` lines of a log, without colours and control characters. Of a line that was redrawn (`\r`), what
/// stood there last. Empty where there is no such file.
pub(crate) fn tail(path: &Path, lines: usize) -> io::Result<Vec<String>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    let start = length.saturating_sub(WINDOW);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(WINDOW).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    // The first line of a window is cut where the window does not start at the beginning.
    let text = if start > 0 { text.split_once('\n').map_or(&*text, |(_, rest)| rest) } else { &*text };
    Ok(last_lines(text, lines))
}

fn last_lines(text: &str, lines: usize) -> Vec<String> {
    let text = anstream::adapter::strip_str(text).to_string();
    let mut last: Vec<String> = text
        .trim_end()
        .lines()
        .rev()
        .map(|line| line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default().trim_end().to_owned())
        .filter(|line| !line.trim_matches('\0').is_empty())
        .take(lines)
        .map(|line| shown(&line))
        .collect();
    last.reverse();
    last
}

fn shown(line: &str) -> String {
    let line = line.replace('\t', "    ");
    let mut chars = line.chars();
    let mut start: String = chars.by_ref().take(LONGEST).collect();
    if chars.next().is_some() {
        start.push('…');
    }
    harmless(&start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_plain_and_bounded() {
        let text = "one\n\x1b[31mtwo\x1b[0m\n 10%\r 20%\rdone\n\n";
        assert_eq!(last_lines(text, 2), ["two", "done"]);
        assert_eq!(last_lines(text, 9), ["one", "two", "done"]);
        let long = last_lines(&"x".repeat(10_000), 1);
        assert_eq!(long[0].chars().count(), LONGEST + 1);
        assert!(last_lines("", 3).is_empty());
    }

    #[test]
    fn only_the_end_of_a_file_is_read_and_a_missing_one_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stderr");
        assert!(tail(&path, 3).unwrap().is_empty());
        let text: String = (0..10_000).map(|n| format!("line {n}\n")).collect();
        std::fs::write(&path, text).unwrap();
        assert_eq!(tail(&path, 2).unwrap(), ["line 9998", "line 9999"]);
    }
}
