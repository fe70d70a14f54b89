//! How parameters get their values: defaults, files, the command line.

use indexmap::IndexMap;
use runstone_core::name::Name;
use runstone_core::scalar::Scalar;
use runstone_core::spec::params::{Resolved, resolve};
use runstone_core::spec::{Limits, Look, Options, Pipeline, Sources, load, render};

fn pipeline() -> Pipeline {
    let text = b"params:\n  epochs: {type: int, default: 5, min: 1, max: 100}\n  lr: 0.1\n  mode: {choices: [fast, full], default: full}\n  \
                 debug: false\n  zip: {type: text, default: x}\nsteps: {a: {run: x}}\n";
    load(&Sources { name: "p.yaml", main: text, overlays: &[] }, &Options::default())
        .pipeline
        .expect("the pipeline is valid")
}

fn resolved(files: &[(&str, &[u8])], assignments: &[&str]) -> Resolved {
    resolve(&pipeline(), files, assignments, &Limits::default())
}

fn values(files: &[(&str, &[u8])], assignments: &[&str]) -> IndexMap<Name, Scalar> {
    let resolved = resolved(files, assignments);
    let shown = render(&resolved.diagnostics, resolved.hidden, &resolved.sources, Look::default());
    resolved.values.unwrap_or_else(|| panic!("{shown}"))
}

/// The rendered problems.
fn problems(files: &[(&str, &[u8])], assignments: &[&str]) -> String {
    let resolved = resolved(files, assignments);
    assert!(resolved.values.is_none());
    render(&resolved.diagnostics, resolved.hidden, &resolved.sources, Look::default())
}

#[test]
fn the_last_word_counts() {
    let files: [(&str, &[u8]); 2] = [("a.yaml", b"epochs: 7\nlr: 1\n"), ("b.json", br#"{"epochs": 9, "debug": true}"#)];
    let values = values(&files, &["mode=fast", "epochs=8", "epochs=10"]);
    let found: Vec<_> = values.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    let expected = [
        ("epochs", Scalar::Int(10)),
        ("lr", Scalar::Float(1.0)),
        ("mode", Scalar::Text("fast".to_owned())),
        ("debug", Scalar::Bool(true)),
        ("zip", Scalar::Text("x".to_owned())),
    ];
    assert_eq!(found, expected);
}

#[test]
fn text_is_taken_as_it_is_written() {
    for text in ["01234", "1.10", "true", "", "a=b", " x ", "null"] {
        let values = values(&[], &[&format!("zip={text}")]);
        assert_eq!(values.get("zip"), Some(&Scalar::Text(text.to_owned())));
    }
}

#[test]
fn what_does_not_fit_is_refused_with_its_place() {
    for (assignment, expected) in [
        ("epochs=many", "expected a whole number, found `many`"),
        ("epochs=1.5", "expected a whole number"),
        ("epochs=500", "`500` is larger than 100"),
        ("lr=nan", "expected a number, found `nan`"),
        ("lr=.nan", "NaN"),
        ("mode=ful", "did you mean `full`?"),
        ("debug=yes", "expected `true` or `false`"),
        ("epoch=5", "did you mean `epochs`?"),
        ("epochs", "expected `name=value`"),
        ("zip=a\0b", "NUL"),
    ] {
        let shown = problems(&[], &[assignment]);
        assert!(shown.contains(expected), "{assignment}: {shown}");
    }
    let shown = problems(&[("prod.yaml", b"epochs: 7\nlr: [1]\nmod: full\n")], &["debug=1"]);
    for part in ["prod.yaml:2:5", "prod.yaml:3:1", "did you mean `mode`?", "-p:1:7"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn files_that_are_no_maps_are_refused() {
    for bytes in [&b""[..], b"- 1\n", b"epochs", b"\xff", b"epochs: 1\nepochs: 2\n", b"{"] {
        problems(&[("bad.yaml", bytes)], &[]);
    }
}

#[test]
fn a_required_parameter_must_be_given() {
    let text = b"params: {who: {type: text}}\nsteps: {a: {run: x}}\n";
    let pipeline = load(&Sources { name: "p.yaml", main: text, overlays: &[] }, &Options::default()).pipeline.unwrap();
    let missing = resolve(&pipeline, &[], &[], &Limits::default());
    let shown = render(&missing.diagnostics, 0, &missing.sources, Look::default());
    assert!(shown.contains("parameter `who` has no default") && shown.contains("-p who=VALUE"), "{shown}");
    assert!(resolve(&pipeline, &[], &["who=me"], &Limits::default()).values.is_some());
}
