//! What differs between two fingerprints, line by line for people.

use runstone_lineage::difference::Difference;

use super::derivation::short_hash;
use super::harmless;
use super::style::{BAD, GOOD, paint};

/// The longest value shown beside its name, in characters.
const INLINE: usize = 48;
/// How many lines of a changed text are shown on either side.
const SHOWN_LINES: usize = 6;

/// One line, or several where a text of several lines changed.
pub(crate) fn lines(difference: &Difference) -> Vec<String> {
    let verb = match (&difference.old, &difference.new) {
        (None, _) => "added",
        (_, None) => "removed",
        _ => "changed",
    };
    let mut line = format!("{} {verb}", difference.what.words());
    if !difference.name.is_empty() {
        line.push_str(&format!(": {}", harmless(&difference.name)));
    }
    let (old, new) = (difference.old.as_deref().map(shown), difference.new.as_deref().map(shown));
    let fits = |text: &Option<String>| text.as_ref().is_none_or(|text| text.chars().count() <= INLINE);
    let is_one_line = [&difference.old, &difference.new].into_iter().flatten().all(|text| !text.contains('\n'));
    if is_one_line && fits(&old) && fits(&new) {
        let values: Vec<&str> = [old.as_deref(), new.as_deref()].into_iter().flatten().collect();
        let values = values.join(" → ");
        return vec![if values.is_empty() { line } else { format!("{line}  {values}") }];
    }
    let (old, new) = changed_lines(difference.old.as_deref().unwrap_or(""), difference.new.as_deref().unwrap_or(""));
    std::iter::once(line).chain(side("-", BAD, &old)).chain(side("+", GOOD, &new)).collect()
}

fn shown(text: &str) -> String {
    if text.starts_with("b3:") && text.len() == 67 { short_hash(text).to_owned() } else { harmless(text) }
}

/// The lines between what two texts have in common at their beginning and end.
fn changed_lines<'a>(old: &'a str, new: &'a str) -> (Vec<&'a str>, Vec<&'a str>) {
    let (mut old, mut new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    while let (Some(a), Some(b)) = (old.last(), new.last())
        && a == b
    {
        old.pop();
        new.pop();
    }
    let start = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    (old.split_off(start), new.split_off(start))
}

fn side(sign: &str, style: anstyle::Style, lines: &[&str]) -> Vec<String> {
    let mut out: Vec<String> = lines
        .iter()
        .take(SHOWN_LINES)
        .map(|line| paint(style, &format!("  {sign} {}", super::table::shorten(&harmless(line), 100))))
        .collect();
    if lines.len() > SHOWN_LINES {
        out.push(format!("  {sign} … {} more", super::count(lines.len() - SHOWN_LINES, "line")));
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use runstone_core::cell::Cell;
    use runstone_core::derivation::{CollectedContent, Derivation, InputContent, PythonLock, Work};
    use runstone_core::hash::ContentHash;
    use runstone_core::name::Name;
    use runstone_core::record::Metric;
    use runstone_core::scalar::Scalar;
    use runstone_core::spec::model::{Command, EnvValue, Output};

    use runstone_lineage::difference::differences;

    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn base() -> Derivation {
        let input = InputContent::One { hash: ContentHash::of(b"data"), name: "data.csv".into() };
        Derivation {
            work: Work::Command(Command::Shell("python3 ./train.py".into())),
            code: BTreeMap::from([("./train.py".to_owned(), ContentHash::of(b"code"))]),
            params: BTreeMap::new(),
            cell: Cell::default(),
            partition: None,
            env: BTreeMap::new(),
            python: None,
            platform: "linux-x86_64".into(),
            inputs: BTreeMap::from([(name("data"), input)]),
            outputs: BTreeMap::from([(name("model"), Output::default())]),
        }
    }

    fn told(old: &Derivation, new: &Derivation) -> String {
        let lines: Vec<String> = differences(&old.to_value(), &new.to_value()).iter().flat_map(lines).collect();
        anstream::adapter::strip_str(&lines.join("\n")).to_string()
    }

    #[test]
    fn every_ingredient_is_named_in_words() {
        let hash = |text: &[u8]| format!("b3:{}", ContentHash::of(text).short());
        let (code, other, data) = (hash(b"code"), hash(b"other"), hash(b"data"));
        type Edit = fn(&mut Derivation);
        let cases: Vec<(Edit, String)> = vec![
            (
                |d| _ = d.code.insert("./train.py".into(), ContentHash::of(b"other")),
                format!("code file changed: ./train.py  {code} → {other}"),
            ),
            (
                |d| _ = d.code.insert("./more.py".into(), ContentHash::of(b"other")),
                format!("code file added: ./more.py  {other}"),
            ),
            (|d| d.code.clear(), format!("code file removed: ./train.py  {code}")),
            (|d| _ = d.params.insert(name("lr"), Scalar::Float(0.1)), "parameter added: lr  0.1".into()),
            (|d| d.cell = Cell::new([(name("seed"), Scalar::Int(1))]), "matrix value added: seed  1".into()),
            (
                |d| _ = d.env.insert("T".into(), EnvValue::Secret("hub".into())),
                "environment variable added: T  secret hub".into(),
            ),
            (|d| d.platform = "linux-aarch64".into(), "platform changed  linux-x86_64 → linux-aarch64".into()),
            (
                |d| d.python = Some(PythonLock { interpreter: "CPython 3.11".into(), lock: ContentHash::of(b"other") }),
                format!("python environment added: interpreter  CPython 3.11\npython environment added: lock  {other}"),
            ),
            (
                |d| _ = d.inputs.insert(name("data"), InputContent::Absent),
                format!("input data changed: data  {data} → nothing"),
            ),
            (
                |d| {
                    let other = InputContent::One { hash: ContentHash::of(b"other"), name: "data.csv".into() };
                    d.inputs.insert(name("data"), other);
                },
                format!("input data changed: data  {data} → {other}"),
            ),
            (|d| _ = d.outputs.insert(name("log"), Output::default()), "declared output added: log".into()),
            (
                |d| d.work = Work::Command(Command::Shell("python3 ./train.py -v".into())),
                "command changed  python3 ./train.py → python3 ./train.py -v".into(),
            ),
            (
                |d| d.work = Work::Read { source: "./x".into(), content: ContentHash::of(b"other") },
                format!("source added: content  {other}\ncommand removed  python3 ./train.py\nsource added  ./x"),
            ),
        ];
        for (change, expected) in cases {
            let mut new = base();
            change(&mut new);
            assert_eq!(told(&base(), &new), expected);
        }
        let mut old = base();
        old.params.insert(name("lr"), Scalar::Float(0.1));
        let mut new = base();
        new.params.insert(name("lr"), Scalar::Float(0.01));
        assert_eq!(told(&old, &new), "parameter changed: lr  0.1 → 0.01");
    }

    #[test]
    fn of_a_long_command_only_the_lines_that_changed_are_shown() {
        let script = |middle: &str| Derivation {
            work: Work::Command(Command::Shell(format!("set -x\n{middle}\necho done\n"))),
            ..base()
        };
        let expected = "command changed\n  - ./a\n  + ./b\n  + ./c";
        assert_eq!(told(&script("./a"), &script("./b\n./c")), expected);
    }

    #[test]
    fn of_a_collected_input_the_entry_is_named() {
        let collected = |value: f64, content: &[u8]| Derivation {
            inputs: BTreeMap::from([(
                name("models"),
                InputContent::Many(vec![CollectedContent {
                    key: "model{lr=0.1}".into(),
                    hash: ContentHash::of(content),
                    name: "model.json".into(),
                    metrics: vec![Metric { name: "f1".into(), slice: String::new(), value, n: None }],
                }]),
            )]),
            ..base()
        };
        assert_eq!(
            told(&collected(0.5, b"a"), &collected(0.75, b"a")),
            "metric of input changed: models (model{lr=0.1}) f1  0.5 → 0.75"
        );
        assert!(
            told(&collected(0.5, b"a"), &collected(0.5, b"b"))
                .starts_with("input data changed: models (model{lr=0.1})  b3:")
        );
    }
}
