//! The language as a user meets it. `errors` has what goes wrong, `limits` the properties over
//! arbitrary input.

mod errors;
mod limits;

use super::*;

fn scope() -> Declarations {
    let mut scope = Declarations::new();
    for (name, found) in [
        ("params.mode", Type::Text),
        ("params.min_f1", Type::Number),
        ("params.max-age", Type::Number),
        ("params.fast", Type::Bool),
        ("matrix.lr", Type::Number),
        ("item", Type::Any),
        ("params.tags", Type::List),
    ] {
        scope.declare(name, found);
    }
    scope.declare_group("steps.split.metrics", Type::Number);
    scope.declare_group("champion", Type::Number);
    scope.declare_metrics();
    scope
}

fn env() -> Bindings {
    let mut env = Bindings::new();
    env.bind("params.mode", "full");
    env.bind("params.min_f1", 0.85);
    env.bind("params.max-age", 30);
    env.bind("params.fast", true);
    env.bind("params.tags", ["a", "b"].into_iter().map(Value::from).collect::<Value>());
    env.bind("matrix.lr", 0.1);
    env.bind("item", 7);
    env.bind("steps.split.metrics.rows", 1200);
    env.bind("metrics.f1", 0.81);
    env.bind("metrics.recall", 0.5);
    env.bind("metrics.top-5", 0.97);
    env.bind("champion.f1", 0.82);
    let slice = |label: &str, value, rows| Slice { label: label.to_owned(), value, rows };
    env.bind_slices(
        "metrics.f1",
        [slice("language=en", 0.9, 800), slice("language=de", 0.7, 300), slice("language=fr", 0.2, 10)],
    );
    env
}

fn parse(text: &str) -> Expr {
    Expr::parse(text).unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

/// The value as text; checked first, so that the two never disagree about what is allowed.
fn value(text: &str) -> String {
    let expr = parse(text);
    let found = expr.check(&scope()).unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
    let value = expr.eval(&env()).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert!(found.fits(value.type_of()), "{text}: checked as {found}, evaluated as {value}");
    value.to_string()
}
#[test]
fn literals_and_arithmetic() {
    for (text, expected) in [
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("10 - 2 - 3", "5"),
        ("100 / 10 / 2", "5.0"),
        ("7 / 2", "3.5"),
        ("6 / 2", "3.0"),
        ("1 + 0.5", "1.5"),
        ("2 * 1.0", "2.0"),
        ("-2 * -3", "6"),
        ("- -2", "2"),
        ("-(1 + 2)", "-3"),
        ("7 % 3", "1"),
        ("-1 % 7", "6"),
        ("1 % -7", "-6"),
        ("-7 % 7", "0"),
        ("5.5 % 2", "1.5"),
        ("-0.5 % 2", "1.5"),
        ("-9223372036854775808 % -1", "0"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("1e3", "1000.0"),
        ("1.5E-2", "0.015"),
        ("'it\\'s'", "'it\\'s'"),
        ("\"say 'x'\"", "'say \\'x\\''"),
        (r"'\n\t\r\\\u{1f600}'", "'\\n\\t\\r\\\\😀'"),
        ("[1, 'a', true, [2.0,],]", "[1, 'a', true, [2.0]]"),
        ("[]", "[]"),
    ] {
        assert_eq!(value(text), expected, "{text}");
    }
}

#[test]
fn comparison_and_logic() {
    for (text, expected) in [
        ("1 == 1.0", true),
        ("9007199254740993 == 9007199254740992.0", false),
        ("9223372036854775807 < 9223372036854775808.0", true),
        ("1 < 1.5 and 1.5 <= 1.5 and 2 > 1.5 and 2 >= 2 and 1 != 2", true),
        ("'a' < 'b' and 'B' < 'a' and 'ab' > 'a'", true),
        ("'é' == 'e\\u{301}'", false),
        ("true == (not false)", true),
        ("true == !false", true),
        ("not 1 == 2", true),
        ("!(1 == 2) && !false || false", true),
        ("true or false and false", true),
        ("(true or false) and false", false),
        ("not false and false", false),
        ("2 in [1, 2.0]", true),
        ("3 not in [1, 2]", true),
        ("not 3 in [1, 2]", true),
        ("'a' in params.tags", true),
        ("1 in params.tags", false),
        ("[1, 2] == [1.0, 2]", true),
        ("[1] == ['1']", false),
        ("params.mode == 'full' and params.fast", true),
        ("params['max-age'] > 20", true),
        ("item == 7", true),
        ("item == 'seven'", false),
        ("item != 'seven'", true),
        ("item in [1, 'seven']", false),
        ("f1 >= 0.8 and metrics.f1 == f1 and metrics['top-5'] > f1", true),
        ("f1 >= champion.f1 - 0.005", false),
        ("steps.split.metrics.rows > 1000", true),
        ("false and champion.nope > 1", false),
        ("true or champion.nope > 1", true),
    ] {
        assert_eq!(value(text), expected.to_string(), "{text}");
        assert_eq!(parse(text).eval_condition(&env()), Ok(expected), "{text}");
    }
}

#[test]
fn functions() {
    for (text, expected) in [
        ("abs(-3)", "3"),
        ("abs(-0.5)", "0.5"),
        ("min(3, 1.5, 2)", "1.5"),
        ("max(1, 1.0)", "1"),
        ("max([1, 5, 2])", "5"),
        ("min(4)", "4"),
        ("round(2.5)", "2"),
        ("round(3.5)", "4"),
        ("round(-1.2)", "-1"),
        ("round(2.675, 2)", "2.67"),
        ("round(0.125, 2)", "0.12"),
        ("round(1234.5678, 0)", "1235.0"),
        ("round(7, 2)", "7"),
        ("floor(-1.5)", "-2"),
        ("ceil(1.2)", "2"),
        ("ceil(3)", "3"),
        ("len('héé')", "3"),
        ("len([1, [2, 3]])", "2"),
        ("lower('ÄbC')", "'äbc'"),
        ("upper('straße')", "'STRASSE'"),
        ("contains('pipeline', 'line')", "true"),
        ("contains([1, 2], 2.0)", "true"),
        ("contains(params.tags, 'c')", "false"),
        ("starts_with(params.mode, 'fu')", "true"),
        ("ends_with('a.csv', '.csv')", "true"),
        ("defined(f1)", "true"),
        ("defined(champion.recall)", "false"),
        ("default(champion.recall, 0)", "0"),
        ("default(f1, 0)", "0.81"),
        ("slice_min(f1)", "0.2"),
        ("slice_min(f1, 200)", "0.7"),
        ("slice_max(metrics.f1, 200)", "0.9"),
        ("slice_mean(f1, 300)", "0.8"),
    ] {
        assert_eq!(value(text), expected, "{text}");
    }
}

#[test]
fn the_normal_spelling() {
    for (text, normal) in [
        ("a&&b||!c", "a and b or not c"),
        ("((a))", "a"),
        ("(a or b) and c", "(a or b) and c"),
        ("(a and b) or c", "a and b or c"),
        ("a-(b-c)", "a - (b - c)"),
        ("(a*b)+c", "a * b + c"),
        ("a*(b+c)", "a * (b + c)"),
        ("-(a+b)", "-(a + b)"),
        ("not(a==b)", "not a == b"),
        ("(not a)==b", "!a == b"),
        ("a not  in[1,2,]", "a not in [1, 2]"),
        ("\"x\"", "'x'"),
        ("min( a,-5 )", "min(a, -5)"),
        ("params[\"max-age\"]", "params['max-age']"),
        ("params['mode']", "params.mode"),
        ("1e2 + 1E-9", "100.0 + 1e-9"),
    ] {
        assert_eq!(parse(text).to_string(), normal, "{text}");
        assert_eq!(parse(normal), parse(text), "{text}");
    }
    assert_ne!(parse("a + b"), parse("b + a"));
}

/// The reference shows what is true: each row of its table of examples is evaluated, and every function is in it.
#[test]
fn the_reference_is_right_and_complete() {
    let reference = include_str!("../../../../../docs/expressions.md");
    let examples = reference.split("## Examples").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: Vec<_> = examples.lines().filter_map(|line| line.strip_prefix("| `")).collect();
    assert!(rows.len() > 20, "{}", rows.len());
    for row in rows {
        let cells: Vec<_> = row.split("` | ").collect();
        let (text, expected) = (cells[0].replace("\\|", "|"), cells[1]);
        match expected.strip_prefix("error: ") {
            None => assert_eq!(format!("`{}` |", value(&text)), expected, "{text}"),
            Some(message) => {
                let expr = parse(&text);
                let found = match expr.check(&scope()) {
                    Err(errors) => errors[0].message.clone(),
                    Ok(_) => expr.eval(&env()).expect_err(&text).to_string(),
                };
                assert_eq!(format!("{found} |"), message, "{text}");
            }
        }
    }
    for entry in function::FUNCTIONS {
        assert!(reference.contains(&format!("| `{}` |", entry.usage)), "{}", entry.usage);
    }
    assert!(reference.contains(&format!("{MAX_LEN} bytes")) && reference.contains(&format!("{MAX_DEPTH} levels")));
}

#[test]
fn names_are_what_the_fingerprint_needs() {
    let expr = parse("params.b > 1 and default(params['a-1'], f1) in [f1, slice_min(recall, params.n)]");
    assert_eq!(expr.names().collect::<Vec<_>>(), ["f1", "params.a-1", "params.b", "params.n", "recall"]);
}

#[test]
fn an_expression_is_text_wherever_it_is_stored() {
    let expr = parse("a&&b");
    let json = serde_json::to_string(&expr).unwrap();
    assert_eq!(json, "\"a and b\"");
    assert_eq!(serde_json::from_str::<Expr>(&json).unwrap(), expr);
    assert!(serde_json::from_str::<Expr>("\"a +\"").is_err());
}

#[test]
fn a_failed_requirement_is_explained() {
    for (text, expected) in [
        ("f1 >= params.min_f1", "f1 >= params.min_f1: 0.81 >= 0.85 is false"),
        ("f1>=champion.f1-0.005", "f1 >= champion.f1 - 0.005: 0.81 >= 0.815 is false (champion.f1 = 0.82)"),
        (
            "slice_min(f1, 200) >= 0.75",
            "slice_min(f1, 200) >= 0.75: 0.7 >= 0.75 is false (slice_min(f1, 200) = 0.7 at language=de, 300 rows, f1 = 0.81)",
        ),
        (
            "f1 > 0.5 and recall > 0.6 and f1 >= 0.9",
            "recall > 0.6: 0.5 > 0.6 is false; f1 >= 0.9: 0.81 >= 0.9 is false",
        ),
        ("f1 > 0.9 or recall > 0.9", "f1 > 0.9: 0.81 > 0.9 is false; recall > 0.9: 0.5 > 0.9 is false"),
        ("not params.fast", "not params.fast is false (params.fast = true)"),
        ("params.mode in ['a', 'b']", "params.mode in ['a', 'b']: 'full' in ['a', 'b'] is false"),
        ("recal > 0.5", "recal > 0.5: recal has no value; did you mean recall?"),
        (
            "f1 > 0.9 and recal > 0.5",
            "f1 > 0.9: 0.81 > 0.9 is false; recal > 0.5: recal has no value; did you mean recall?",
        ),
        ("f1 > 0.5", "f1 > 0.5: 0.81 > 0.5 is true"),
    ] {
        assert_eq!(parse(text).explain(&env()), expected, "{text}");
    }
    let many = parse(&vec!["f1 > 1"; 100].join(" and ")).explain(&env());
    assert_eq!(many.matches(" is false").count(), 8);
    assert!(many.ends_with("; …"));
    let mut env = Bindings::new();
    env.bind("params.text", "x".repeat(10_000).as_str());
    assert!(parse("params.text == 'y'").explain(&env).len() < 200);
}
