//! Which files a command may run: reads words and names paths, looks at no file.
//!
//! No shell: nothing is evaluated, and what only a shell could know (variables, wildcards, what a program does with its
//! arguments) is left out. Whether a path exists, and what lies beside it, is found out elsewhere; so a word too many
//! costs nothing, and whoever needs more names the files in `code:`.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::spec::model::Command;

/// Quoted text that is itself a command (`sh -c "…"`) is read this deep.
const MAX_QUOTING: usize = 4;

/// Endings of files that programs run, as opposed to files that programs read.
const SCRIPT_ENDINGS: [&str; 29] = [
    "R", "awk", "bash", "cjs", "clj", "dart", "ex", "exs", "fish", "go", "groovy", "hs", "jl", "js", "ksh", "lua",
    "mjs", "nu", "php", "pl", "ps1", "py", "r", "rb", "scala", "sh", "sql", "ts", "zsh",
];

/// By which rule the code of a task was found; kept on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodeRule {
    /// The globs of `code:`, and nothing else.
    Declared,
    /// The files that the command names, and those beside a named script with the same ending.
    Default,
}

impl CodeRule {
    /// The word on record.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::Default => "default",
        }
    }
}

/// The paths, relative to the working directory, that may be code files of a command, in the order in which it names
/// them. Normalised: without `.`, and with `..` only at the start. Never absolute.
#[must_use]
pub fn candidates(command: &Command) -> Vec<String> {
    let mut words = Vec::new();
    match command {
        Command::Shell(script) => split(script, 0, &mut words),
        Command::Argv(argv) => argv.iter().for_each(|word| take_word(word.clone(), 0, &mut words)),
    }
    let mut found = Vec::new();
    let mut after_module_flag = false;
    for word in &words {
        if after_module_flag && let Some(files) = module_files(word) {
            found.extend(files);
        } else {
            found.extend(path_in(word));
        }
        after_module_flag = is_module_flag(word);
    }
    let mut seen = BTreeSet::new();
    found.retain(|path| seen.insert(path.clone()));
    found
}

/// The ending that the files beside this one must share to count as code, where it is a script.
#[must_use]
pub fn script_ending(path: &str) -> Option<&str> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let (stem, ending) = name.rsplit_once('.')?;
    (!stem.is_empty() && SCRIPT_ENDINGS.contains(&ending)).then_some(ending)
}

/// A relative path without `.`, without empty parts, and with `..` only at the start; none for what is absolute, empty,
/// or names no file.
#[must_use]
pub fn normalise(path: &str) -> Option<String> {
    if path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => _ = parts.pop(),
            _ => parts.push(part),
        }
    }
    parts.last().filter(|last| **last != "..")?;
    Some(parts.join("/"))
}

/// `-m`, alone or behind other flags without a value (`-um`).
fn is_module_flag(word: &str) -> bool {
    word.strip_prefix('-')
        .and_then(|flags| flags.strip_suffix('m'))
        .is_some_and(|flags| flags.bytes().all(|byte| byte.is_ascii_alphabetic()))
}

/// The files that `python -m a.b.c` runs if they exist: the packages on the way, then the module or its package.
fn module_files(word: &str) -> Option<Vec<String>> {
    let is_identifier = |part: &str| {
        !part.is_empty()
            && !part.starts_with(|c: char| c.is_ascii_digit())
            && part.chars().all(|c| c == '_' || c.is_alphanumeric())
    };
    if !word.split('.').all(is_identifier) {
        return None;
    }
    let module = word.replace('.', "/");
    let packages = module.match_indices('/').map(|(at, _)| format!("{}/__init__.py", &module[..at]));
    let mut files: Vec<String> = packages.collect();
    files.extend([format!("{module}.py"), format!("{module}/__init__.py"), format!("{module}/__main__.py")]);
    Some(files)
}

/// The path in a word: what stands behind `=` (`--config=./a.json`, `MODE=./x`), behind a leading `@` (`@body.json`), or
/// the word itself.
fn path_in(word: &str) -> Option<String> {
    match word.split_once('=') {
        Some((name, value)) if !name.contains('/') => path_of(value),
        _ if word.starts_with('-') => None,
        _ => path_of(word.strip_prefix('@').unwrap_or(word)),
    }
}

fn path_of(word: &str) -> Option<String> {
    let needs_a_shell = word.contains(['$', '`', '*', '?', '[', ']', '{', '}']) || word.starts_with('~');
    if needs_a_shell || word.contains("://") || word.contains('\n') {
        return None;
    }
    let last = word.rsplit('/').next().unwrap_or(word);
    let looks_like_path = word.contains('/') || last.find('.').is_some_and(|at| at + 1 < last.len());
    if looks_like_path { normalise(word) } else { None }
}

/// Keeps a word, and reads it as a command as well where it may be one.
fn take_word(word: String, depth: usize, words: &mut Vec<String>) {
    if word.contains(|c: char| c.is_whitespace() || ";|&()<>".contains(c)) && depth < MAX_QUOTING {
        split(&word, depth + 1, words);
    }
    if !word.is_empty() {
        words.push(word);
    }
}

/// Splits a script into words, without the targets of `>`: those are written and not run.
fn split(script: &str, depth: usize, words: &mut Vec<String>) {
    let mut splitter = Splitter { depth, words, word: None, is_target: false };
    let mut rest = script.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\'' => {
                let text = splitter.word.get_or_insert_default();
                text.extend(rest.by_ref().take_while(|&c| c != '\''));
            }
            '"' => {
                let text = splitter.word.get_or_insert_default();
                while let Some(c) = rest.next().filter(|&c| c != '"') {
                    text.extend(if c == '\\' { rest.next() } else { Some(c) });
                }
            }
            '\\' => match rest.next() {
                Some('\n') | None => {}
                Some(c) => splitter.word.get_or_insert_default().push(c),
            },
            '#' if splitter.word.is_none() => while rest.next_if(|&c| c != '\n').is_some() {},
            '>' => {
                // What stands before is the number of a stream.
                splitter.word = splitter.word.take().filter(|word| !word.bytes().all(|byte| byte.is_ascii_digit()));
                splitter.end_word();
                while rest.next_if(|&c| matches!(c, '>' | '|' | '&')).is_some() {}
                splitter.is_target = true;
            }
            '\n' | ';' | '|' | '&' | '(' | ')' | '<' | '`' => {
                splitter.end_word();
                splitter.is_target = false;
            }
            c if c.is_whitespace() => splitter.end_word(),
            c => splitter.word.get_or_insert_default().push(c),
        }
    }
    splitter.end_word();
}

struct Splitter<'a> {
    depth: usize,
    words: &'a mut Vec<String>,
    /// The word being read; an empty one stands for `''`.
    word: Option<String>,
    /// The next word is what `>` writes.
    is_target: bool,
}

impl Splitter<'_> {
    fn end_word(&mut self) {
        let Some(word) = self.word.take() else { return };
        if !std::mem::take(&mut self.is_target) {
            take_word(word, self.depth, self.words);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shell(script: &str) -> Vec<String> {
        candidates(&Command::Shell(script.to_owned()))
    }

    #[test]
    fn files_that_a_command_names_are_candidates() {
        for (script, expected) in [
            ("python3 ./clean.py", vec!["clean.py"]),
            ("python3 clean.py --min-len 3", vec!["clean.py"]),
            ("scripts/x.sh < data/a.csv", vec!["scripts/x.sh", "data/a.csv"]),
            ("sh ../shared/./x.sh", vec!["../shared/x.sh"]),
            ("a/../b.py", vec!["b.py"]),
            ("train --config=conf/a.json @body.json", vec!["conf/a.json", "body.json"]),
            ("MODE=./m.py exec ./a.py;./b.py&&./c.py|./d.py", vec!["m.py", "a.py", "b.py", "c.py", "d.py"]),
            ("'./my script.py'", vec!["my", "script.py", "my script.py"]),
            ("./my\\\n.py", vec!["my.py"]),
            ("sh -c \"python3 './a.py' && ./b.py\"", vec!["a.py", "b.py", "python3 './a.py' && ./b.py"]),
            ("x=$(python3 ./a.py) y=\"$(./b.py 1)\"", vec!["a.py", "b.py"]),
            ("./a.py # as ./old.py did\n./b.py", vec!["a.py", "b.py"]),
            ("./a.py ./a.py a.py", vec!["a.py"]),
            ("cat parts/day=1/x.csv", vec!["parts/day=1/x.csv"]),
        ] {
            assert_eq!(shell(script), expected, "{script}");
        }
    }

    #[test]
    fn what_cannot_be_a_file_of_the_project_is_none() {
        for script in [
            "make test",
            "/usr/bin/env python3",
            "cat \"$IN_DATA\" ${X}/a.py ~/a.py ./*.py",
            "curl https://example.org/x.py",
            "ls . .. ./ ../.. dir/",
            "-f.x",
            "''",
        ] {
            assert_eq!(shell(script), Vec::<String>::new(), "{script}");
        }
    }

    #[test]
    fn what_a_command_writes_is_not_its_code() {
        assert_eq!(shell("./a.sh > out/x.csv 2>>log.txt 2>&1 | ./b.sh &> all.log ./c.sh"), ["a.sh", "b.sh", "c.sh"]);
        assert_eq!(shell("./a.sh >\"out file.csv\""), ["a.sh"]);
    }

    #[test]
    fn a_module_is_its_file_or_package_with_the_packages_around_it() {
        let files = ["src/__init__.py", "src/train.py", "src/train/__init__.py", "src/train/__main__.py"];
        assert_eq!(shell("python3 -m src.train --epochs 5"), files);
        let argv = ["python3", "-um", "src.train"].map(str::to_owned).to_vec();
        assert_eq!(candidates(&Command::Argv(argv)), files);
        assert_eq!(shell("git commit -m 'x-y'"), Vec::<String>::new());
    }

    #[test]
    fn the_words_of_a_list_are_not_split_unless_they_are_commands() {
        let argv = ["sh", "-c", "python3 ./a.py", "b.py"].map(str::to_owned).to_vec();
        assert_eq!(candidates(&Command::Argv(argv)), ["a.py", "python3 ./a.py", "b.py"]);
    }

    #[test]
    fn a_script_is_known_by_its_ending() {
        assert_eq!(script_ending("a/b.py"), Some("py"));
        for other in ["a/b.csv", "a/b", ".py", "a.py/b"] {
            assert_eq!(script_ending(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_text_gives_normal_relative_paths(script in "[ -~\n]{0,80}|\\PC{0,40}") {
            for path in shell(&script) {
                prop_assert_eq!(normalise(&path), Some(path));
            }
        }
    }
}
