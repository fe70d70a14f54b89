//! What is refused, at which stage, and what the user reads.

use super::super::*;
use super::{env, parse, scope};

/// Text, where the error points, message and help.
const GRAMMAR: &[(&str, Range<usize>, &str, &str)] = &[
    ("", 0..0, "an expression is missing", ""),
    ("  ", 2..2, "an expression is missing", ""),
    ("1 +", 3..3, "expected a value, found the end", ""),
    ("(1", 2..2, "expected `)`, found the end", ""),
    ("1 2", 2..3, "expected an operator or the end, found a number", ""),
    ("a = 1", 2..3, "`=` is no operator", "a comparison is written `==`"),
    ("a === 1", 2..5, "`===` is no operator", "write `==`"),
    ("a & b", 2..3, "`&` is no operator", "write `and`"),
    ("a <> b", 2..4, "`<>` is no operator", "write `!=`"),
    ("2 ** 3", 2..4, "`**` is no operator", "there is no power operator"),
    ("a ? b", 2..3, "unexpected character '?'", ""),
    ("a ≥ b", 2..5, "unexpected character '≥'", ""),
    ("0 < a < 1", 6..7, "comparisons cannot be chained", "join two comparisons with `and`: `0 < a and a < 1`"),
    ("1 == not a", 5..8, "expected a value, found `not`", "put `not …` in parentheses"),
    (".5", 0..1, "expected a value, found `.`", "a number starts with a digit: `0.5`"),
    ("5.", 0..2, "cannot read the number `5.`", "numbers are written `12`, `0.5` or `1e-3`; text is written in quotes"),
    (
        "10k",
        0..3,
        "cannot read the number `10k`",
        "numbers are written `12`, `0.5` or `1e-3`; text is written in quotes",
    ),
    ("012", 0..3, "leading zero in `012`", "a number is decimal; text is written in quotes"),
    ("1e999", 0..5, "too large a number: `1e999`", "the largest is about 1.8e308"),
    ("'a", 0..2, "text without an end", "close it with '"),
    ("'a\nb'", 2..3, "control character '\\n' in text", r"write it as \n, \t, \r or \u{…}"),
    (
        r"'\q'",
        1..3,
        "unknown escape in text",
        r"known are \\, \', \n, \t, \r and \u{1f600}, and \ before a double quote",
    ),
    ("rond(1)", 0..4, "unknown function `rond`", "did you mean `round`?"),
    ("abs()", 0..5, "`abs` does not take 0 arguments", "it is written `abs(number)`"),
    ("defined('a')", 8..11, "the first argument of `defined` is a name", "it is written `defined(name)`"),
    (
        "params.",
        7..7,
        "expected a name after the dot, found the end",
        "a part that is no plain word is quoted: `params['…']`",
    ),
    (
        "tags[0]",
        5..6,
        "expected a name in quotes, found a number",
        "brackets quote a part of a name; elements of lists cannot be taken",
    ),
];

/// Text, what of it the error points at, message and help.
const TYPES: &[(&str, &str, &str, &str)] = &[
    ("params.mod == 'full'", "params.mod", "unknown name `params.mod`", "did you mean `params.mode`?"),
    ("params.max > 3", "params.max", "unknown name `params.max`", "did you mean `params['max-age']`?"),
    ("steps.spilt.metrics.rows > 1", "steps.spilt.metrics.rows", "unknown name `steps.spilt.metrics.rows`", ""),
    ("not params.nothing_like_it", "params.nothing_like_it", "unknown name `params.nothing_like_it`", ""),
    ("params.mode == 1", "params.mode == 1", "cannot compare text with a number", "numbers are written without quotes"),
    (
        "params.fast == 'true'",
        "params.fast == 'true'",
        "cannot compare true or false with text",
        "true and false are written without quotes",
    ),
    ("f1 < '0.8'", "f1 < '0.8'", "cannot compare a number with text", "numbers are written without quotes"),
    ("params.fast < true", "params.fast", "`<` compares numbers or text, this is true or false", ""),
    ("f1", "f1", "a condition needs true or false, this is a number", "compare it: `… > 0`"),
    (
        "params.fast and params.mode",
        "params.mode",
        "`and` needs true or false, this is text",
        "compare it: `… == 'text'`",
    ),
    ("'a' + f1 > 0", "'a'", "`+` needs a number, this is text", ""),
    ("1 * 2 % 'a' > 0", "'a'", "`%` needs a number, this is text", ""),
    ("'a' in 'abc'", "'abc'", "`in` looks into a list, this is text", "part of a text: `contains(text, part)`"),
    ("f1 in [1, 'a']", "'a'", "cannot compare a number with text", "numbers are written without quotes"),
    ("len(f1) > 1", "f1", "`len` needs text or a list, this is a number", ""),
    ("contains('a', 1)", "1", "`contains` needs text, this is a number", ""),
    ("slice_min(champion.f1) > 0", "champion.f1", "there are no slices of `champion.f1` here for `slice_min`", ""),
    ("slice_min(params.mode) > 0", "params.mode", "`slice_min` needs a number, this is text", ""),
    (
        "default(f1, 'a') == 1",
        "default(f1, 'a')",
        "cannot compare a number with text",
        "numbers are written without quotes",
    ),
    ("min('a', 1) > 0", "'a'", "`min` needs a number, this is text", ""),
    ("(min('a')) > 0", "'a'", "`min` needs a number, this is text", ""),
];

/// Text and message.
const VALUES: &[(&str, &str)] = &[
    ("9223372036854775807 + 1", "the result of + is out of range"),
    ("-9223372036854775808 - 1", "the result of - is out of range"),
    ("-(-9223372036854775808)", "the result of - is out of range"),
    ("9223372036854775807 * 2", "the result of * is out of range"),
    ("abs(-9223372036854775808)", "the result of abs is out of range"),
    ("1e308 * 10", "the result of * is out of range"),
    ("1e308 + 1e308", "the result of + is out of range"),
    ("1e308 / 1e-308", "the result of / is out of range"),
    ("round(1e300)", "the result of round is out of range"),
    ("round(1.7976931348623157e308, 2) + 1e308", "the result of + is out of range"),
    ("floor(9223372036854775808.0)", "the result of floor is out of range"),
    ("1 / 0", "division by zero"),
    ("0 / 0.0", "division by zero"),
    ("1 % 0", "division by zero"),
    ("1.5 % -0.0", "division by zero"),
    ("min([])", "min of an empty list"),
    ("item < 'a'", "cannot compare a number with text"),
    ("item and true", "and needs true or false, this is a number"),
    ("1 in item", "in needs a list, this is a number"),
    ("len(item)", "len needs text or a list, this is a number"),
    ("'a' + 'b'", "+ needs a number, this is text"),
    ("-'a'", "- needs a number, this is text"),
    ("max([1, 'a'])", "max needs a number, this is text"),
    ("lower(1)", "lower needs text, this is a number"),
    ("round(1.5, 16)", "round takes 0 to 15 digits, not 16"),
    ("round(1.5, 1.0)", "round takes 0 to 15 digits, not 1.0"),
    ("slice_max(f1, 'a')", "slice_max needs a number, this is text"),
    ("slice_min(f1, 0.5)", "slice_min takes a whole number of rows, not 0.5"),
    ("slice_min(f1, -1)", "slice_min takes a whole number of rows, not -1"),
    ("slice_min(f1, 1000)", "no slice of f1 with at least 1000 rows was reported, out of 3"),
    ("slice_min(recall)", "no slice of recall with at least 0 rows was reported, out of 0"),
];

#[test]
fn errors_of_the_grammar_say_where_and_what_instead() {
    for (text, at, message, help) in GRAMMAR {
        let error = Expr::parse(text).expect_err(text);
        let found_help = error.help.unwrap_or_default();
        assert_eq!((&error.at, error.message.as_str(), found_help.as_str()), (at, *message, *help), "{text}");
    }
    for text in [
        "9223372036854775808",
        "-9223372036854775809",
        "99999999999999999999",
        r"'\u{110000}'",
        r"'\u{1234567}'",
        "and",
        "f(",
        "[1 2]",
    ] {
        assert!(Expr::parse(text).is_err(), "{text}");
    }
}

#[test]
fn the_check_finds_wrong_types_and_unknown_names() {
    for (text, at, message, help) in TYPES {
        let error = parse(text).check_condition(&scope()).expect_err(text).remove(0);
        let found_help = error.help.unwrap_or_default();
        assert_eq!((&text[error.at], error.message.as_str(), found_help.as_str()), (*at, *message, *help), "{text}");
    }
}

#[test]
fn where_there_are_no_metrics_a_bare_word_is_unknown() {
    let mut scope = Declarations::new();
    scope.declare("params.mode", Type::Text);
    for (text, help) in [
        ("mode == 'full'", "did you mean `params.mode`?"),
        ("params.mode == full", "text is written in quotes"),
        ("True", "did you mean `true`?"),
    ] {
        let errors = parse(text).check(&scope).expect_err(text);
        assert_eq!(errors.len(), 1, "{text}");
        assert_eq!(errors[0].help.as_deref(), Some(help), "{text}");
    }
    let errors = parse("slice_min(f1) > params.x").check(&scope).unwrap_err();
    assert_eq!(errors.len(), 2, "all errors at once");
}

#[test]
fn what_has_no_value_is_a_typed_error() {
    for (text, message) in VALUES {
        assert_eq!(parse(text).eval(&env()).expect_err(text).to_string(), *message, "{text}");
    }
}

#[test]
fn a_missing_metric_is_named_with_those_that_exist() {
    for (text, message) in [
        ("accuracy >= 0.8", "accuracy has no value; there are f1, recall, metrics['top-5']"),
        ("recal >= 0.8", "recal has no value; did you mean recall?"),
        ("min_f1 >= 0.8", "min_f1 has no value; did you mean params.min_f1?"),
        ("champion.accuracy > 0", "champion.accuracy has no value; there are champion.f1"),
        ("steps.split.metrics.row > 0", "steps.split.metrics.row has no value; did you mean steps.split.metrics.rows?"),
        ("nope.x", "nope.x has no value; there is none of this kind"),
    ] {
        let error = parse(text).eval(&env()).expect_err(text);
        assert_eq!(error.to_string(), message, "{text}");
        let name = text.split(' ').next().unwrap();
        assert_eq!(&text[error.at], name);
    }
}

#[test]
fn what_is_handed_in_must_be_finite() {
    let mut env = Bindings::new();
    env.bind("metrics.loss", f64::NAN);
    env.bind_slices("metrics.loss", [Slice { label: "all".into(), value: f64::INFINITY, rows: 1 }]);
    for (text, what) in [("loss < 1", "loss"), ("slice_max(loss) < 1", "a slice of loss")] {
        assert_eq!(parse(text).eval(&env).unwrap_err().kind, EvalErrorKind::NotFinite(what.into()));
    }
}
