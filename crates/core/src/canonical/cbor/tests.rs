//! Vectors of RFC 8949 appendix A, and properties over arbitrary values and bytes.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    assert_eq!(hex.len() % 2, 0, "{hex}");
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn ints(values: impl IntoIterator<Item = i64>) -> Value {
    Value::list(values.into_iter().map(Value::Int))
}

/// Rows of RFC 8949 appendix A, table 6, for the types a value can have. Floats are those that the table itself
/// writes with 64 bits.
fn appendix_a() -> Vec<(Value, &'static str)> {
    vec![
        (Value::Int(0), "00"),
        (Value::Int(1), "01"),
        (Value::Int(10), "0a"),
        (Value::Int(23), "17"),
        (Value::Int(24), "1818"),
        (Value::Int(25), "1819"),
        (Value::Int(100), "1864"),
        (Value::Int(1000), "1903e8"),
        (Value::Int(1_000_000), "1a000f4240"),
        (Value::Int(1_000_000_000_000), "1b000000e8d4a51000"),
        (Value::Int(-1), "20"),
        (Value::Int(-10), "29"),
        (Value::Int(-100), "3863"),
        (Value::Int(-1000), "3903e7"),
        (Value::Float(1.1), "fb3ff199999999999a"),
        (Value::Float(1.0e300), "fb7e37e43c8800759c"),
        (Value::Float(-4.1), "fbc010666666666666"),
        (Value::Bool(false), "f4"),
        (Value::Bool(true), "f5"),
        (Value::Null, "f6"),
        (Value::bytes([]), "40"),
        (Value::bytes([1, 2, 3, 4]), "4401020304"),
        (Value::text(""), "60"),
        (Value::text("a"), "6161"),
        (Value::text("IETF"), "6449455446"),
        (Value::text("\"\\"), "62225c"),
        (Value::text("\u{fc}"), "62c3bc"),
        (Value::text("\u{6c34}"), "63e6b0b4"),
        (Value::text("\u{10151}"), "64f0908591"),
        (ints([]), "80"),
        (ints(1..=3), "83010203"),
        (Value::list([Value::Int(1), ints(2..=3), ints(4..=5)]), "8301820203820405"),
        (ints(1..=25), "98190102030405060708090a0b0c0d0e0f101112131415161718181819"),
        (Value::map::<&str>([]), "a0"),
        (Value::map([("a", Value::Int(1)), ("b", ints(2..=3))]), "a26161016162820203"),
        (Value::list([Value::text("a"), Value::map([("b", Value::text("c"))])]), "826161a161626163"),
        (
            Value::map(["a", "b", "c", "d", "e"].map(|key| (key, Value::text(key.to_uppercase())))),
            "a56161614161626142616361436164614461656145",
        ),
    ]
}

#[test]
fn the_vectors_of_the_rfc() {
    for (value, hex) in appendix_a() {
        assert_eq!(encode(&value), bytes(hex), "{value}");
        assert_eq!(decode(&bytes(hex)), Ok(value), "{hex}");
    }
}

#[test]
fn the_limits_of_integers_and_every_change_of_width() {
    for (value, hex) in [
        (255, "18ff"),
        (256, "190100"),
        (65_535, "19ffff"),
        (65_536, "1a00010000"),
        (4_294_967_295, "1affffffff"),
        (4_294_967_296, "1b0000000100000000"),
        (i64::MAX, "1b7fffffffffffffff"),
        (-24, "37"),
        (-25, "3818"),
        (-256, "38ff"),
        (-257, "390100"),
        (i64::MIN, "3b7fffffffffffffff"),
    ] {
        assert_eq!(encode(&Value::Int(value)), bytes(hex), "{value}");
        assert_eq!(decode(&bytes(hex)), Ok(Value::Int(value)), "{hex}");
    }
}

#[test]
fn floats_keep_their_width_and_keys_sort_by_length_first() {
    assert_eq!(encode(&Value::Float(1.0)), bytes("fb3ff0000000000000"));
    assert_eq!(encode(&Value::Float(-0.0)), bytes("fb8000000000000000"));
    let value = Value::map([("aa", Value::Int(1)), ("b", Value::Int(2)), ("", Value::Int(3))]);
    assert_eq!(encode(&value), bytes("a3600361620262616101"));
}

#[test]
fn every_other_spelling_is_refused() {
    use DecodeErrorKind as Kind;
    for (hex, offset, kind) in [
        ("", 0, Kind::Truncated),
        ("18", 1, Kind::Truncated),
        ("1817", 0, Kind::NotShortest),
        ("190018", 0, Kind::NotShortest),
        ("1a0000ffff", 0, Kind::NotShortest),
        ("1b00000000ffffffff", 0, Kind::NotShortest),
        ("5801aa", 0, Kind::NotShortest),
        ("1b8000000000000000", 0, Kind::IntRange),
        ("3bffffffffffffffff", 0, Kind::IntRange),
        ("0000", 1, Kind::Trailing),
        ("f93c00", 0, Kind::Unsupported(0xf9)),
        ("fa47c35000", 0, Kind::Unsupported(0xfa)),
        ("fb7ff8000000000000", 0, Kind::NotFinite),
        ("fbfff0000000000000", 0, Kind::NotFinite),
        ("f7", 0, Kind::Unsupported(0xf7)),
        ("f818", 0, Kind::Unsupported(0xf8)),
        ("c000", 0, Kind::Unsupported(0xc0)),
        ("1c", 0, Kind::Unsupported(0x1c)),
        ("9fff", 0, Kind::Unsupported(0x9f)),
        ("7fff", 0, Kind::Unsupported(0x7f)),
        ("ff", 0, Kind::Unsupported(0xff)),
        ("62c328", 0, Kind::Utf8),
        ("8102ff", 2, Kind::Trailing),
        ("820100ff", 3, Kind::Trailing),
        ("8201", 0, Kind::Truncated),
        ("a10000", 1, Kind::KeyType),
        ("a2616200616100", 4, Kind::KeyOrder),
        ("a2616100616100", 4, Kind::KeyOrder),
        ("a262616100616200", 5, Kind::KeyOrder),
    ] {
        assert_eq!(decode(&bytes(hex)), Err(DecodeError { offset, kind }), "{hex}");
    }
}

#[test]
fn lengths_beyond_the_input_allocate_nothing() {
    for major in [BYTES, TEXT, LIST, MAP] {
        for claim in [2_u64, 1 << 20, 1 << 40, u64::MAX] {
            let mut input = Vec::new();
            put_head(&mut input, major, claim);
            input.push(0);
            assert_eq!(decode(&input).map_err(|error| error.kind), Err(DecodeErrorKind::Truncated), "{claim}");
        }
    }
}

#[test]
fn nesting_ends_at_the_limit_in_a_small_stack() {
    let nested = |depth: usize| [vec![LIST | 1; depth], vec![NULL]].concat();
    let small = std::thread::Builder::new().stack_size(256 * 1024);
    let check = move || {
        let deepest = decode(&nested(MAX_DEPTH)).unwrap();
        assert_eq!(encode(&deepest), nested(MAX_DEPTH));
        for depth in [MAX_DEPTH + 1, 1_000_000] {
            let error = DecodeError { offset: MAX_DEPTH, kind: DecodeErrorKind::TooDeep };
            assert_eq!(decode(&nested(depth)), Err(error), "{depth}");
        }
    };
    small.spawn(check).unwrap().join().unwrap();
}

/// Any value that may exist: finite floats, bounded depth.
pub(in crate::canonical) fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (-300_i64..300).prop_map(Value::Int),
        any::<f64>().prop_filter("finite", |value| value.is_finite()).prop_map(Value::Float),
        ".{0,30}".prop_map(Value::Text),
        vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::List),
            btree_map("[a-c]{0,3}", inner, 0..6).prop_map(Value::Map),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same_value(value in any_value()) {
        prop_assert_eq!(decode(&encode(&value)), Ok(value));
    }

    #[test]
    fn equal_bytes_and_equal_values_are_one_thing(a in any_value(), b in any_value()) {
        prop_assert_eq!(encode(&a) == encode(&b), a == b);
    }

    #[test]
    fn whatever_decodes_has_exactly_the_bytes_it_came_from(input in vec(any::<u8>(), 0..64)) {
        if let Ok(value) = decode(&input) {
            prop_assert_eq!(encode(&value), input);
        }
    }

    /// Damage close to valid input reaches further than random bytes do.
    #[test]
    fn a_changed_byte_is_refused_or_another_value(value in any_value(), at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let mut input = encode(&value);
        let at = at.index(input.len());
        input[at] ^= flip;
        match decode(&input) {
            Ok(other) => {
                prop_assert_ne!(&other, &value);
                prop_assert_eq!(encode(&other), input);
            }
            Err(error) => prop_assert!(error.offset <= input.len()),
        }
    }

    #[test]
    fn a_cut_input_is_refused(value in any_value(), at in any::<prop::sample::Index>()) {
        let input = encode(&value);
        prop_assert!(decode(&input[..at.index(input.len())]).is_err());
    }
}
