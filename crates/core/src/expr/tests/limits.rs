//! Hostile text: nothing panics, overflows the stack or takes long; and the normal spelling always reads back.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::*;
use super::{env, scope};

/// Half of what a thread has on the stingiest platform.
const SMALL_STACK: usize = 256 * 1024;

fn in_small_stack(test: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(SMALL_STACK).spawn(test).unwrap().join().unwrap();
}

/// All stages after parsing.
fn exercise(expr: &Expr) {
    let checked = expr.check(&scope());
    let value = expr.eval(&env());
    if let (Ok(found), Ok(value)) = (&checked, &value) {
        assert!(found.fits(value.type_of()), "{expr}: checked as {found}, evaluated as {value}");
    }
    for error in checked.err().iter().flatten() {
        assert!(!error.message.is_empty());
    }
    assert!(expr.explain(&env()).len() < 200 * MAX_LEN);
    assert_eq!(Expr::parse(&expr.to_string()).as_ref(), Ok(expr));
}

/// Texts that nest by one level for each repetition of `open`.
const NESTS: [(&str, &str, &str); 12] = [
    ("(", "1", ")"),
    ("[", "1", "]"),
    ("not ", "true", ""),
    ("!", "true", ""),
    ("- ", "f1", ""),
    ("abs(", "f1", ")"),
    ("min(1, ", "f1", ")"),
    ("min(", "f1", ")"),
    ("1 in [", "1", "]"),
    ("a or b and not c == 1 + 2 * (", "d", ")"),
    ("not (1 == 1 and 2 <= 1 + 2 * abs(", "f1", "))"),
    ("default(f1, ", "1", ")"),
];

#[test]
fn nesting_up_to_the_limit_works_in_a_small_stack() {
    in_small_stack(|| {
        for (open, core, close) in NESTS {
            let mut deepest = 0;
            for depth in 1..=MAX_DEPTH {
                let text = [open.repeat(depth), core.to_owned(), close.repeat(depth)].concat();
                if let Ok(expr) = Expr::parse(&text) {
                    exercise(&expr);
                    deepest = depth;
                }
            }
            assert!(deepest >= MAX_DEPTH / 3, "{open} stops at {deepest}");
        }
    });
}

#[test]
fn deeper_nesting_is_refused_and_says_so() {
    in_small_stack(|| {
        for (open, core, close) in NESTS {
            let depth = MAX_DEPTH + 1;
            let text = [open.repeat(depth), core.to_owned(), close.repeat(depth)].concat();
            let error = Expr::parse(&text).expect_err(open);
            assert_eq!(error.message, format!("nested deeper than {MAX_DEPTH} levels"), "{open}");
            assert!(text.get(error.at).is_some(), "{open}");
        }
        for bomb in ["(", "[", "!", "-", "abs("] {
            assert!(Expr::parse(&bomb.repeat(MAX_LEN / bomb.len())).is_err(), "{bomb}");
        }
    });
}

#[test]
fn length_is_refused_before_anything_is_read() {
    let error = Expr::parse(&"é".repeat(10_000_000)).unwrap_err();
    assert_eq!(error.message, format!("longer than {MAX_LEN} bytes"));
    let longest = format!("'{}'", "x".repeat(MAX_LEN - 2));
    assert_eq!(Expr::parse(&longest).unwrap().to_string(), longest);
    // As long as allowed, but not in the normal spelling, which is what is kept.
    let dense = vec!["a"; MAX_LEN / 2].join("+");
    assert!(Expr::parse(&dense).unwrap_err().help.unwrap().contains("normal spelling"));
}

#[test]
fn long_chains_do_not_nest() {
    in_small_stack(|| {
        for operator in ["+", "-", "*", "/", "%", "and", "or"] {
            let text = vec!["f1"; 500].join(&format!(" {operator} "));
            exercise(&Expr::parse(&text).unwrap());
        }
    });
}

#[test]
fn errors_of_one_expression_are_bounded() {
    let text = vec!["params.nope"; 200].join(" and ");
    let errors = Expr::parse(&text).unwrap().check(&scope()).unwrap_err();
    assert!((1..=10).contains(&errors.len()));
}

/// Tokens of the language and near misses, so that random sequences get far into the grammar.
fn fragment() -> impl Strategy<Value = String> {
    let tokens = [
        "and",
        "or",
        "not",
        "in",
        "not in",
        "&&",
        "||",
        "!",
        "==",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        "+",
        "-",
        "*",
        "/",
        "%",
        "(",
        ")",
        "[",
        "]",
        ",",
        ".",
        "true",
        "false",
        "f1",
        "recall",
        "item",
        "params.mode",
        "params.tags",
        "params['max-age']",
        "champion.f1",
        "nope",
        "1",
        "0",
        "2.5",
        "1e300",
        "9223372036854775807",
        "9223372036854775808",
        "'a'",
        "\"b\"",
        "'",
        "\\",
        "abs(",
        "min(",
        "max(",
        "round(",
        "len(",
        "lower(",
        "contains(",
        "defined(",
        "default(",
        "slice_min(f1",
        "=",
        "&",
        "\u{0}",
        "é",
        "\n",
    ];
    prop_oneof![20 => select(tokens.to_vec()).prop_map(str::to_owned), 1 => ".{0,3}"]
}

/// Well-formed text, of any types.
fn well_formed() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(|int| int.to_string()),
        any::<f64>().prop_filter("finite", |float| float.is_finite()).prop_map(|float| format!("{float:?}")),
        "[a-zé'\\\\\n\u{1}]{0,4}".prop_map(|text| lex::quote(&text)),
        select(vec!["true", "f1", "item", "params.mode", "params.tags", "params['max-age']", "nope.x"])
            .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(6, 40, 3, |inner| {
        let operators = vec!["and", "or", "==", "!=", "<", "<=", ">", ">=", "in", "not in", "+", "-", "*", "/", "%"];
        prop_oneof![
            (inner.clone(), select(operators), inner.clone())
                .prop_map(|(a, operator, b)| format!("({a}) {operator} ({b})")),
            (select(vec!["not ", "!", "-", "- "]), inner.clone()).prop_map(|(operator, a)| format!("{operator}({a})")),
            vec(inner.clone(), 0..3).prop_map(|elements| format!("[{}]", elements.join(", "))),
            (select(vec!["abs", "min", "len", "upper", "round"]), inner.clone()).prop_map(|(f, a)| format!("{f}({a})")),
            (select(vec!["contains", "min", "starts_with", "round"]), inner.clone(), inner)
                .prop_map(|(f, a, b)| format!("{f}({a}, {b})")),
        ]
    })
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,80}|(?s:.{0,80})") {
        match Expr::parse(&text) {
            Ok(expr) => exercise(&expr),
            Err(error) => prop_assert!(text.get(error.at).is_some(), "{}", error.message),
        }
    }

    #[test]
    fn arbitrary_tokens_never_panic(tokens in vec(fragment(), 0..30)) {
        let text = tokens.join(" ");
        match Expr::parse(&text) {
            Ok(expr) => exercise(&expr),
            Err(error) => prop_assert!(text.get(error.at).is_some(), "{}", error.message),
        }
    }

    #[test]
    fn the_normal_spelling_means_the_same(text in well_formed()) {
        let expr = Expr::parse(&text).map_err(|error| TestCaseError::fail(format!("{text}: {error:?}")));
        let expr = match expr {
            Err(_) if text.len() > MAX_LEN / 2 => return Ok(()),
            expr => expr?,
        };
        exercise(&expr);
        let again = Expr::parse(&expr.to_string()).unwrap();
        prop_assert_eq!(again.to_string(), expr.to_string());
        let outcome = |expr: &Expr| expr.eval(&env()).map_err(|error| error.kind);
        prop_assert_eq!(outcome(&again), outcome(&expr));
    }

    /// What the check accepts fails only for reasons that no check can know: ranges, zero, missing values.
    #[test]
    fn a_checked_expression_has_no_wrong_types(text in well_formed()) {
        let Ok(expr) = Expr::parse(&text) else { return Ok(()) };
        // Lists, and what is of any type, hold what they like.
        let dynamic = expr.names().any(|name| name == "item" || name == "params.tags") || text.contains('[');
        if expr.check(&scope()).is_ok() && !dynamic
            && let Err(error) = expr.eval(&env())
        {
            let wrong = matches!(error.kind, EvalErrorKind::Type { .. } | EvalErrorKind::Unordered { .. });
            prop_assert!(!wrong, "{}: {}", expr, error);
        }
    }
}
