//! What differs between two values, field by field: the explanation of why two hashes are not the same.
//!
//! Made for people, not for patching: lists are compared by position once their common ends are cut off, which names
//! an insertion or a removal as such and is linear, but is not the shortest edit script.

use std::collections::BTreeSet;
use std::fmt;

use super::Value;

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which field.
    pub path: Path,
    /// Its former value; `None` where it was added.
    pub old: Option<Value>,
    /// Its new value; `None` where it was removed.
    pub new: Option<Value>,
}

/// The way from the root of a value to a field of it. Empty for the root itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Path(pub Vec<PathSegment>);

/// One step of a [`Path`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathSegment {
    /// The entry of a map.
    Key(String),
    /// The element of a list, from 0: of the old list where something was removed, of the new one where
    /// something was added, of both otherwise.
    Index(usize),
}

impl Path {
    fn join(&self, segment: PathSegment) -> Self {
        Self(self.0.iter().cloned().chain([segment]).collect())
    }
}

/// `params.lr`, `inputs[3].hash`; a key that holds more than letters, digits, `_` and `-` is quoted:
/// `code["src/train.py"]`.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                PathSegment::Index(index) => write!(f, "[{index}]")?,
                PathSegment::Key(key) if !is_plain(key) => write!(f, "[{key:?}]")?,
                PathSegment::Key(key) if position == 0 => f.write_str(key)?,
                PathSegment::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// Every field in which `new` differs from `old`; empty exactly when they are equal.
///
/// Maps are compared by key, in the order of the keys. Of lists the common beginning and end are cut off; what is
/// left is compared position by position, and the rest of the longer one was added or removed. Anything else that
/// differs, also in type, is one change.
#[must_use]
pub fn diff(old: &Value, new: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    if old != new {
        compare(&Path::default(), Some(old), Some(new), &mut changes);
    }
    changes
}

/// Recursion is bounded by the depth of values, [`MAX_DEPTH`](super::MAX_DEPTH). Called for what differs only, so that
/// the many equal fields of two large records cost a comparison and no path.
fn compare(path: &Path, old: Option<&Value>, new: Option<&Value>, changes: &mut Vec<Change>) {
    let mut descend = |segment, old: Option<&Value>, new: Option<&Value>| {
        if old != new {
            compare(&path.join(segment), old, new, changes);
        }
    };
    match (old, new) {
        (Some(Value::Map(old)), Some(Value::Map(new))) => {
            for key in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
                descend(PathSegment::Key(key.clone()), old.get(key), new.get(key));
            }
        }
        (Some(Value::List(old)), Some(Value::List(new))) => {
            let start = common(old.iter().zip(new));
            let (old, new) = (&old[start..], &new[start..]);
            let end = common(old.iter().rev().zip(new.iter().rev()));
            let (old, new) = (&old[..old.len() - end], &new[..new.len() - end]);
            for index in 0..old.len().max(new.len()) {
                descend(PathSegment::Index(start + index), old.get(index), new.get(index));
            }
        }
        _ => changes.push(Change { path: path.clone(), old: old.cloned(), new: new.cloned() }),
    }
}

/// How many pairs are equal before the first that is not.
fn common<'a>(pairs: impl Iterator<Item = (&'a Value, &'a Value)>) -> usize {
    pairs.take_while(|(old, new)| old == new).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::cbor::tests::any_value;
    use super::*;

    /// The old value with the changes carried out. Removals and additions of one list never occur together and come
    /// with growing indices, so additions go in from the front and removals go out from the back.
    fn apply(old: &Value, changes: &[Change]) -> Value {
        let mut root = old.clone();
        let (removals, others): (Vec<_>, Vec<_>) = changes.iter().partition(|change| change.new.is_none());
        for change in others.into_iter().chain(removals.into_iter().rev()) {
            let Some((last, parents)) = change.path.0.split_last() else {
                root = change.new.clone().unwrap();
                continue;
            };
            let parent = parents.iter().fold(&mut root, |value, segment| match (value, segment) {
                (Value::Map(entries), PathSegment::Key(key)) => entries.get_mut(key).unwrap(),
                (Value::List(values), PathSegment::Index(index)) => &mut values[*index],
                (value, _) => panic!("{segment:?} in {value}"),
            });
            match (parent, last, &change.new) {
                (Value::Map(entries), PathSegment::Key(key), Some(new)) => {
                    assert_eq!(entries.insert(key.clone(), new.clone()), change.old);
                }
                (Value::Map(entries), PathSegment::Key(key), None) => {
                    assert_eq!(entries.remove(key), change.old);
                }
                (Value::List(values), PathSegment::Index(index), Some(new)) if change.old.is_none() => {
                    values.insert(*index, new.clone());
                }
                (Value::List(values), PathSegment::Index(index), Some(new)) => {
                    values[*index] = new.clone();
                }
                (Value::List(values), PathSegment::Index(index), None) => {
                    assert_eq!(Some(values.remove(*index)), change.old);
                }
                (parent, ..) => panic!("{} in {parent}", change.path),
            }
        }
        root
    }

    fn lines(old: &Value, new: &Value) -> Vec<String> {
        let side = |value: &Option<Value>| value.as_ref().map_or("-".to_owned(), ToString::to_string);
        diff(old, new).iter().map(|c| format!("{}: {} → {}", c.path, side(&c.old), side(&c.new))).collect()
    }

    fn texts<const N: usize>(texts: [&str; N]) -> Value {
        Value::list(texts.map(Value::text))
    }

    #[test]
    fn every_kind_of_change_is_named_by_its_field() {
        let old = Value::map([
            ("run", Value::text("make")),
            ("params", Value::map([("lr", Value::Float(0.1)), ("gone", Value::Int(1))])),
            ("code", Value::map([("src/a.py", Value::Int(1))])),
            ("type", Value::Int(1)),
        ]);
        let new = Value::map([
            ("run", Value::text("make")),
            ("params", Value::map([("lr", Value::Float(0.01)), ("seed", Value::Int(1))])),
            ("code", Value::map([("src/a.py", Value::Int(2))])),
            ("type", Value::Float(1.0)),
        ]);
        let expected = [
            "code[\"src/a.py\"]: 1 → 2",
            "params.gone: 1 → -",
            "params.lr: 0.1 → 0.01",
            "params.seed: - → 1",
            "type: 1 → 1.0",
        ];
        assert_eq!(lines(&old, &new), expected);
        assert_eq!(lines(&Value::Null, &Value::Int(1)), [": null → 1"]);
    }

    #[test]
    fn an_insertion_or_a_removal_in_a_list_is_one_change() {
        let two = texts(["a", "c"]);
        let three = texts(["a", "b", "c"]);
        assert_eq!(lines(&two, &three), ["[1]: - → \"b\""]);
        assert_eq!(lines(&three, &two), ["[1]: \"b\" → -"]);
        assert_eq!(lines(&three, &texts(["a", "x", "c"])), ["[1]: \"b\" → \"x\""]);
        let inner = |n| Value::map([("in", Value::list([Value::Int(0), Value::map([("hash", Value::Int(n))])]))]);
        assert_eq!(lines(&inner(1), &inner(2)), ["in[1].hash: 1 → 2"]);
    }

    proptest! {
        #[test]
        fn equal_values_have_no_changes(value in any_value()) {
            prop_assert_eq!(diff(&value, &value.clone()), []);
        }

        #[test]
        fn the_changes_are_all_there_is(old in any_value(), new in any_value()) {
            prop_assert_eq!(apply(&old, &diff(&old, &new)), new);
        }

        /// Unrelated values mostly differ at the root; lists of few letters meet in the middle.
        #[test]
        fn the_changes_of_lists_are_all_there_is(old in "[ab]{0,8}", new in "[ab]{0,8}") {
            let letters = |text: &str| Value::list(text.chars().map(|c| Value::list([Value::text(c), Value::Null])));
            let (old, new) = (letters(&old), letters(&new));
            prop_assert_eq!(apply(&old, &diff(&old, &new)), new);
        }
    }
}
