//! Files that want to do harm, and files with mistakes, are refused at once, with the place and a way out.

use std::process::Command;

use crate::project::Project;
use crate::running::Ran;

/// Checks a file with little memory at hand.
fn validate(text: impl AsRef<[u8]>) -> Ran {
    let project = Project::new("");
    project.write("pipeline.yaml", text);
    check(&project, &["validate", "pipeline.yaml"])
}

fn check(project: &Project, args: &[&str]) -> Ran {
    let inner = project.command(args);
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -v 1048576; exec \"$@\"", "sh"]).arg(inner.get_program()).args(inner.get_args());
    command.current_dir(project.path(""));
    project.start_command(command).wait()
}

/// Refused with this code, at this place, with the line and a caret.
#[track_caller]
fn refused(text: &str, code: &str, place: &str) {
    let ran = validate(text).code(3);
    assert!(ran.err.contains(&format!("error[{code}]")), "{ran:?}");
    assert!(ran.err.contains(&format!("pipeline.yaml:{place}")), "{ran:?}");
    assert!(ran.err.contains('^'), "{ran:?}");
}

#[test]
fn alias_bombs() {
    let mut bomb = "x-a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n".to_owned();
    for (name, inner) in "bcdefghij".chars().zip("abcdefghi".chars()) {
        bomb += &format!("x-{name}: &{name} [{}]\n", vec![format!("*{inner}"); 10].join(", "));
    }
    let ran = validate(bomb + "pipeline: p\nsteps: {s: {run: x}}\n").code(3);
    assert!(ran.err.contains("error[too-many]"), "{ran:?}");
    let text = "y".repeat(1 << 20);
    let copies = vec!["*t"; 100_000].join(", ");
    let ran = validate(format!("x-t: &t {text}\nx-u: [{copies}]\npipeline: p\nsteps: {{s: {{run: x}}}}\n")).code(3);
    assert!(ran.err.contains("error[too-many]") || ran.err.contains("error[too-large]"), "{ran:?}");
}

#[test]
fn nesting_without_end() {
    const DEPTH: usize = 100_000;
    for text in ["[".repeat(DEPTH), "{a: ".repeat(DEPTH), (0..2_000).map(|depth| " ".repeat(depth) + "a:\n").collect()]
    {
        let ran = validate(format!("x-deep: {text}")).code(3);
        assert!(ran.err.contains("error[too-deep]") || ran.err.contains("error[syntax]"), "{ran:?}");
        assert!(ran.err.len() < 10_000, "{} bytes", ran.err.len());
    }
    let expression = format!("{}1{}", "(".repeat(5_000), ")".repeat(5_000));
    validate(format!("pipeline: p\nsteps:\n  s: {{run: x, when: \"{expression} == 1\"}}\n"))
        .code(3)
        .says(&["bad-expression"]);
}

#[test]
fn duplicate_keys() {
    refused("pipeline: p\nsteps:\n  s: {run: x}\n  s: {run: y}\n", "duplicate-key", "4:3");
    refused("pipeline: p\npipeline: q\nsteps:\n  s: {run: x}\n", "duplicate-key", "2:1");
}

#[test]
fn a_gigabyte() {
    let project = Project::new("");
    let file = std::fs::File::create(project.path("pipeline.yaml")).unwrap();
    file.set_len(4 << 30).unwrap();
    check(&project, &["validate", "pipeline.yaml"]).code(3).says(&["error[too-large]", "16"]);
    check(&project, &["run"]).code(3);
}

#[test]
fn what_is_no_file() {
    let project = Project::empty();
    check(&project, &["validate", "/dev/zero"]).code(3);
    let ran = check(&project, &["validate", "nowhere.yaml"]);
    assert!([4, 74].contains(&ran.code), "{ran:?}");
}

#[test]
fn bad_utf_8_and_other_bytes() {
    let ran = validate(b"pipeline: p\nsteps:\n  s: {run: \"caf\xe9\"}\n").code(3);
    assert!(
        ran.err.contains("error[not-utf8]") && ran.err.contains("pipeline.yaml:3") && ran.err.contains('^'),
        "{ran:?}"
    );
    validate(b"\xff\xfe\x00\x00").code(3);
    validate(b"\x00").code(3);
    validate(b"").code(3);
    let ran =
        validate("pipeline: p\nsteps:\n  s: {run: x, descriptoin: \"\u{1b}[31mred\u{202e}\"}\n".as_bytes()).code(3);
    assert!(!ran.err.contains("\u{1b}[31mred"), "what a file says never reaches the terminal as a command: {ran:?}");
}

#[test]
fn expansion_bombs() {
    let axis = (0..1_000).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let text = format!(
        "pipeline: p\nsteps:\n  s:\n    run: x\n    matrix: {{a: [{axis}], b: [{axis}], c: [{axis}], d: [{axis}], e: [{axis}], f: [{axis}], g: [{axis}]}}\n"
    );
    refused(&text, "matrix-too-large", "5");
}

#[test]
fn cycles() {
    let ran = validate(
        "pipeline: p\nsteps:\n  a: {in: {x: c}, run: x}\n  b: {in: {x: a}, run: x}\n  c: {in: {x: b}, run: x}\n",
    )
    .code(3);
    assert!(ran.err.contains("error[cycle]") && ran.err.contains('^'), "{ran:?}");
    for step in ["a", "b", "c"] {
        assert!(ran.err.contains(step), "{ran:?}");
    }
    refused("pipeline: p\nsteps:\n  a: {in: {x: a}, run: x}\n", "cycle", "3");
    refused("pipeline: p\nsteps:\n  a: {after: b, run: x}\n  b: {after: a, run: x}\n", "cycle", "3");
    let mut long = "pipeline: p\nsteps:\n".to_owned();
    for step in 0..20_000 {
        long += &format!("  s{step}: {{after: s{}, run: x}}\n", (step + 1) % 20_000);
    }
    let ran = validate(long).code(3);
    assert!(ran.err.contains("error[cycle]") && ran.err.len() < 20_000, "{} bytes", ran.err.len());
}

#[test]
fn names_that_are_paths_or_worse() {
    for name in ["..", "../x", "a/b", "/etc", "a\\0b", "a\\nb", "A", "-a", "a b", "", "a\\u202eb"] {
        refused(&format!("pipeline: p\nsteps:\n  \"{name}\": {{run: x}}\n"), "bad-name", "3:3");
    }
    refused(&format!("pipeline: p\nsteps:\n  {}: {{run: x}}\n", "a".repeat(65)), "bad-name", "3:3");
    refused("pipeline: ../p\nsteps:\n  s: {run: x}\n", "bad-name", "1:11");
    refused("pipeline: p\nsteps:\n  s: {run: x, out: [../o]}\n", "bad-name", "3");
    refused("pipeline: p\nsteps:\n  s: {run: x, out: {o: {path: ../../etc/passwd}}}\n", "bad-path", "3");
    refused("pipeline: p\nsteps:\n  s: {run: x, out: {o: {path: \"a\\0b\"}}}\n", "bad-path", "3");
    refused("pipeline: p\nsteps:\n  s: {run: x, out: {o: {publish: ../outside}}}\n", "bad-path", "3");
    refused("pipeline: p\nsteps:\n  s: {run: x, out: {o: {publish: ./.runstone/runstone.db}}}\n", "bad-path", "3");
    refused("pipeline: p\nsteps:\n  s: {run: x, env: {\"A=B\": c}}\n", "bad-env", "3");
    refused("pipeline: p\nsteps:\n  s: {run: x, env: {LD_PRELOAD: \"a\\0b\"}}\n", "bad-value", "3");
    refused("pipeline: p\nsteps:\n  s: {run: \"echo ${{ params.x }}\"}\n", "splice", "3");
    refused("pipeline: p\nsteps:\n  a-b: {run: x}\n  a_b: {in: {x: a-b}, run: x}\n", "name-collision", "4");
}

#[test]
fn all_mistakes_are_shown_at_once_with_suggestions() {
    let text = "\
pipeline: p
steps:
  clean: {in: {a: raww}, run: x}
  raw: {kind: ingets, from: ./x}
  model: {in: {a: clean}, runs: x, timeout: 5 minutes}
";
    let ran = validate(text).code(3);
    for part in ["3:19", "raww", "raw", "4:15", "ingest", "5:27", "runs", "run", "5:45", "bad-duration"] {
        assert!(ran.err.contains(part), "no {part} in {ran:?}");
    }
    assert!(ran.err.matches("error[").count() >= 4, "{ran:?}");
    let mut many = "pipeline: p\nsteps:\n".to_owned();
    (0..10_000).for_each(|step| many += &format!("  s{step}: {{rum: x}}\n"));
    let ran = validate(many).code(3);
    assert!(ran.err.matches("error[").count() <= 101, "messages are bounded: {}", ran.err.len());
}

#[test]
fn a_refused_file_leaves_nothing_behind() {
    let project = Project::new("pipeline: p\nsteps:\n  s: {rum: x}\n");
    project.runstone(&["run"]).code(3);
    project.runstone(&["plan"]).code(3);
    assert!(!project.exists(".runstone"));
    let told: serde_json::Value = project.runstone(&["validate", "pipeline.yaml", "--json"]).code(3).json();
    assert!(told.to_string().contains("unknown-key"), "{told:#}");
}
