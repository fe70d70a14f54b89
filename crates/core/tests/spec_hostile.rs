//! Files made to hurt: refused or read in bounded time, memory and stack, and never with a panic.

use std::fmt::Write as _;

use proptest::prelude::*;
use runstone_core::spec::{Code, Limits, Loaded, Look, Options, Sources, load};

fn load_bytes(bytes: &[u8]) -> Loaded {
    load(&Sources { name: "pipeline.yaml", main: bytes, overlays: &[] }, &Options::default())
}

/// Loads and renders, because a message about a hostile file must be harmless as well.
fn refused(text: &str) -> (Vec<Code>, String) {
    let loaded = load_bytes(text.as_bytes());
    assert!(loaded.pipeline.is_none());
    let shown = loaded.render(Look::default());
    assert!(shown.len() < 100_000, "{} bytes of message", shown.len());
    (loaded.diagnostics.iter().map(|it| it.code).collect(), shown)
}

#[test]
fn a_file_beyond_the_limit_is_refused_unread() {
    // Not YAML, not UTF-8: nobody may look.
    let bytes = vec![0xff; Limits::default().file_bytes + 1];
    let loaded = load_bytes(&bytes);
    assert_eq!(loaded.diagnostics[0].code, Code::TooLarge);
    assert_eq!(loaded.diagnostics.len(), 1);
}

#[test]
fn exponential_aliases_are_stopped() {
    let mut text = String::from("x-a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..40 {
        let below = level - 1;
        writeln!(
            text,
            "x-a{level}: &a{level} [*a{below}, *a{below}, *a{below}, *a{below}, *a{below}, *a{below}, *a{below}]"
        )
        .unwrap();
    }
    text.push_str("steps: {a: {run: 'true'}}\n");
    assert_eq!(refused(&text).0, [Code::TooMany]);
}

#[test]
fn quadratic_aliases_are_stopped() {
    let long_text = format!("x-a: &a {}\nx-b: [{}]\n", "x".repeat(20_000), "*a, ".repeat(20_000));
    assert_eq!(refused(&long_text).0, [Code::TooMany]);
    let long_list = format!("x-a: &a [{}]\nx-b: [{}]\n", "x, ".repeat(20_000), "*a, ".repeat(20_000));
    assert_eq!(refused(&long_list).0, [Code::TooMany]);
}

#[test]
fn merged_maps_are_counted_before_they_are_copied() {
    let mut text = String::from("x-a: &a {");
    (0..20_000).for_each(|key| write!(text, "k{key}: 1, ").unwrap());
    text.push_str("}\nx-b:\n");
    (0..20_000).for_each(|_| text.push_str("- {<<: *a}\n"));
    assert_eq!(refused(&text).0, [Code::TooMany]);
}

#[test]
fn aliases_do_not_hide_depth() {
    let mut text = String::from("x-a0: &a0 [x]\n");
    for level in 1..100 {
        writeln!(text, "x-a{level}: &a{level} [*a{}]", level - 1).unwrap();
    }
    assert_eq!(refused(&text).0, [Code::TooDeep]);
}

#[test]
fn deep_nesting_is_refused() {
    let deep = 100_000;
    let mut block = String::new();
    // Two thousand levels of block maps are two million spaces; more only takes longer to write.
    (0..2_000).for_each(|level| writeln!(block, "{}a:", " ".repeat(level)).unwrap());
    for text in ["[".repeat(deep), "{a: ".repeat(deep), "- ".repeat(deep), "? ".repeat(deep), "[{".repeat(deep), block]
    {
        assert_eq!(refused(&text).0, [Code::TooDeep]);
    }
}

#[test]
fn a_hundred_thousand_duplicate_keys_are_counted_not_listed() {
    let text = format!("steps:\n{}", "  a: {run: 'true'}\n".repeat(100_000));
    let loaded = load_bytes(text.as_bytes());
    assert!(loaded.diagnostics.iter().all(|it| it.code == Code::DuplicateKey));
    assert_eq!(loaded.diagnostics.len() + loaded.hidden, 99_999);
    assert!(loaded.render(Look::default()).ends_with(&format!("… and {} more\n", loaded.hidden)));
}

#[test]
fn a_hundred_thousand_wrong_references_are_counted_not_compared() {
    let mut text = String::from("steps:\n");
    (0..50_000).for_each(|step| writeln!(text, "  s{step}: {{run: 'true', in: {{a: t{step}, b: u{step}}}}}").unwrap());
    let loaded = load_bytes(text.as_bytes());
    assert!(loaded.diagnostics.iter().all(|it| it.code == Code::UnknownStep));
    assert_eq!(loaded.diagnostics.len() + loaded.hidden, 100_000);
}

#[test]
fn bad_utf_8_is_shown_where_it_is() {
    let loaded = load_bytes(b"steps:\n  a: {run: '\xc3\x28'}\n");
    let position = loaded.sources.position(loaded.diagnostics[0].primary.as_ref().unwrap().span);
    assert_eq!((loaded.diagnostics[0].code, position.line, position.column), (Code::NotUtf8, 2, 13));
}

#[test]
fn an_expansion_bomb_is_counted_not_expanded() {
    let values: Vec<String> = (0..1000).map(|value| value.to_string()).collect();
    let axes: Vec<String> = (0..30).map(|axis| format!("a{axis}: [{}]", values.join(","))).collect();
    let (codes, shown) = refused(&format!("steps: {{a: {{run: 'true', matrix: {{{}}}}}}}\n", axes.join(", ")));
    assert_eq!(codes, [Code::MatrixTooLarge]);
    assert!(shown.contains("2^64 cells"), "{shown}");
}

#[test]
fn the_matrices_of_a_pipeline_are_counted_together() {
    let values: Vec<String> = (0..400).map(|value| value.to_string()).collect();
    let values = values.join(",");
    let step = |name: &str| format!("  {name}: {{run: 'true', matrix: {{x: [{values}], y: [{values}]}}}}\n");
    assert!(load_bytes(format!("steps:\n{}", step("a")).as_bytes()).pipeline.is_some());
    assert_eq!(refused(&format!("steps:\n{}{}", step("a"), step("b"))).0, [Code::MatrixTooLarge]);
}

#[test]
fn defaults_are_not_multiplied_without_end() {
    let mut text = String::from("defaults:\n  env:\n");
    (0..10_000).for_each(|variable| writeln!(text, "    V{variable}: x").unwrap());
    text.push_str("steps:\n");
    (0..10_000).for_each(|step| writeln!(text, "  s{step}: {{run: 'true'}}").unwrap());
    assert_eq!(refused(&text).0, [Code::TooMany]);
}

#[test]
fn names_of_any_kind_of_malice_are_refused() {
    let long = "a".repeat(1_000_000);
    for name in ["..", "a/b", "a\\0b", "a\\nb", "\\u202Ea", "a b", "é", "😀", "", "-a", "a.b", "CON", &long[..900]] {
        let (codes, shown) = refused(&format!("steps:\n  \"{name}\": {{run: 'true'}}\n"));
        assert!(codes.contains(&Code::BadName), "{name}: {codes:?}");
        assert!(!shown.contains(['\0', '\u{202e}']));
    }
    // YAML itself has no simple key of that length.
    refused(&format!("steps:\n  {long}: {{run: 'true'}}\n"));
    assert_eq!(refused(&format!("steps:\n  ? {long}\n  : {{run: 'true'}}\n")).0, [Code::BadName]);
    assert_eq!(refused(&format!("pipeline: {long}\nsteps: {{a: {{run: 'true'}}}}\n")).0, [Code::BadName]);
}

#[test]
fn what_is_shown_cannot_act_on_the_terminal() {
    for hostile in ["\u{202e}", "\u{2066}", "\u{1b}[2J", "\u{7}", "\u{9b}2J"] {
        let (_, shown) = refused(&format!("steps:\n  a: {{run: x, 'b{hostile}c': 1, in: {{d: 'e{hostile}'}}}}\n"));
        assert!(!shown.contains(hostile), "{hostile:?}: {shown:?}");
    }
}

#[test]
fn more_steps_than_allowed_are_refused() {
    let mut text = String::from("steps:\n");
    (0..200_001).for_each(|step| writeln!(text, " s{step}: {{run: x}}").unwrap());
    assert_eq!(refused(&text).0, [Code::TooMany]);
}

/// A chain, in a definition with all that a step usually says.
fn chain(steps: usize) -> String {
    let mut text = String::from("steps:\n  s0: {run: 'true'}\n");
    for step in 1..steps {
        writeln!(text, "  s{step}:\n    in: {{data: s{}}}\n    run: python3 ./work.py\n    timeout: 1h", step - 1)
            .expect("text takes everything");
    }
    text
}

#[test]
fn a_chain_of_a_hundred_thousand_steps_needs_no_stack() {
    let loaded = std::thread::Builder::new()
        .stack_size(256 << 10)
        .spawn(|| load_bytes(chain(100_000).as_bytes()))
        .unwrap()
        .join()
        .unwrap();
    assert_eq!(loaded.pipeline.expect("the chain is valid").steps.len(), 100_000);
}

#[test]
fn a_cycle_of_a_hundred_thousand_steps_is_found_without_stack() {
    let text = chain(100_000).replacen("s0: {run: 'true'}", "s0: {run: 'true', after: s99999}", 1);
    let loaded = std::thread::Builder::new()
        .stack_size(256 << 10)
        .spawn(move || load_bytes(text.as_bytes()))
        .unwrap()
        .join()
        .unwrap();
    assert_eq!(loaded.diagnostics.iter().map(|it| it.code).collect::<Vec<_>>(), [Code::Cycle]);
    assert!(loaded.render(Look::default()).len() < 10_000);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let loaded = load_bytes(&bytes);
        let _ = loaded.render(Look::default());
    }

    /// Pieces of the language in any order reach deeper than random bytes.
    #[test]
    fn no_pieces_make_it_panic(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60)) {
        let loaded = load_bytes(pieces.concat().as_bytes());
        let shown = loaded.render(Look { colour: true, unicode: true, width: 40 });
        prop_assert_eq!(loaded.pipeline.is_none(), shown.contains("error"));
        for diagnostic in &loaded.diagnostics {
            let _ = diagnostic.to_json(&loaded.sources);
        }
    }

    /// A mutilated valid file: cut anywhere, with a character put in.
    #[test]
    fn no_damage_makes_it_panic(cut in 0..1000usize, put in any::<char>(), drop in 0..30usize) {
        let mut text: Vec<char> = VALID.chars().collect();
        let cut = cut.min(text.len());
        text.drain(cut..(cut + drop).min(text.len()));
        text.insert(cut.min(text.len()), put);
        let text: String = text.into_iter().collect();
        let _ = load_bytes(text.as_bytes()).render(Look::default());
    }
}

const PIECES: &[&str] = &[
    "\n",
    "\n  ",
    "\n    ",
    " ",
    "steps:",
    "a:",
    "b:",
    "in:",
    "out:",
    "run: x",
    "kind: ",
    "ingest",
    "from: ",
    "./x",
    "{",
    "}",
    "[",
    "]",
    ", ",
    "&a ",
    "*a",
    "<<: ",
    "- ",
    "? ",
    "|\n",
    ">-\n",
    "\"",
    "'",
    "#",
    "matrix:",
    "foreach:",
    "after:",
    "when: ",
    "params:",
    "params.x > ",
    "1",
    "retry: ",
    "30s",
    "16Gi",
    "a.b",
    "p/s@v1",
    "null",
    "~",
    "é",
    "\t",
    "%YAML 1.2\n",
    "---\n",
    "!!str ",
    "defaults:",
    "env:",
    "hooks:",
    "schedule:",
    "schedules:",
    "partition:",
    "trigger: ",
    "cron: ",
    "every: ",
    "* * * * *",
    "@daily",
    "Europe/Berlin",
    "by: day",
    "start: ",
    "2026-01-01",
    "dataset: a/b",
    "${{ partition }}",
    "include: ",
    "max: ",
    "type: int",
    "default: ",
    "x-y: ",
    "\u{feff}",
    "\r\n",
    "\\",
    "\u{202e}",
    ": ",
];

const VALID: &str = r#"
pipeline: demo
params: {min_f1: 0.85, epochs: {type: int, default: 5, min: 1, max: 100}}
pools: {gpu: 1}
schedule: {cron: "0 2 * * MON#1", tz: Europe/Berlin, start: 2026-01-01, params: {epochs: 3}, dst: {fold: twice}}
partition: {by: week, start: 2026-W01, tz: Asia/Tokyo}
trigger: [{dataset: [a/b, c/d.e], match: any}, {file: "./in/*", settle: 1m}]
defaults: {timeout: 1h, retry: {max: 3, on: [timeout, exit:75]}, env: {A: b}}
steps:
  raw: {kind: ingest, from: "./data/${{ partition }}/*.csv"}
  split: {in: {data: raw}, run: [python3, ./split.py], out: [train, test]}
  model:
    kind: train
    in: {data: split.train}
    matrix: {lr: [0.1, 0.01], seed: [1, 2], exclude: [{lr: 0.1, seed: 2}]}
    run: python3 ./train.py
    out: {model: {path: model.pkl}}
    resources: {cpu: 500m, mem: 4Gi}
    pool: gpu
  report: {kind: evaluate, in: {models: model, data: split.test}, run: ./r, require: ["f1 >= params.min_f1"]}
hooks: {failure: {run: ./notify.sh}}
"#;

#[test]
fn the_file_that_is_damaged_above_is_valid() {
    let loaded = load_bytes(VALID.as_bytes());
    assert!(loaded.pipeline.is_some(), "{}", loaded.render(Look::default()));
}
