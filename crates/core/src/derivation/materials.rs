//! What of a recorded derivation must be at hand to do it again, beside its inputs: code and the lock of its environment.

use std::collections::BTreeMap;

use super::PythonLock;
use crate::canonical::Value;
use crate::hash::ContentHash;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Materials {
    /// Code files by path relative to the pipeline's folder.
    pub code: BTreeMap<String, ContentHash>,
    /// Python environment.
    pub python: Option<PythonLock>,
}

impl Materials {
    /// Those of a derivation, as [`to_value`](super::Derivation::to_value) made it. None where a field is spelled otherwise
    /// than this recipe spells it.
    #[must_use]
    pub fn of(derivation: &Value) -> Option<Self> {
        let code = match derivation.get("code") {
            None => BTreeMap::new(),
            Some(Value::Map(files)) => {
                files.iter().map(|(path, content)| Some((path.clone(), hash(content)?))).collect::<Option<_>>()?
            }
            Some(_) => return None,
        };
        let python = match derivation.get("python") {
            None => None,
            Some(python) => {
                let (Some(Value::Text(interpreter)), Some(lock)) = (python.get("interpreter"), python.get("lock"))
                else {
                    return None;
                };
                Some(PythonLock { interpreter: interpreter.clone(), lock: hash(lock)? })
            }
        };
        Some(Self { code, python })
    }
}

fn hash(value: &Value) -> Option<ContentHash> {
    let Value::Bytes(bytes) = value else { return None };
    bytes.as_slice().try_into().ok().map(ContentHash::from_bytes)
}

#[cfg(test)]
mod tests {
    use super::super::tests::derivation;
    use super::*;

    #[test]
    fn what_was_asked_says_what_it_needs() {
        let mut asked = derivation();
        assert_eq!(Materials::of(&asked.to_value()).unwrap(), Materials { code: asked.code.clone(), python: None });
        let lock = PythonLock { interpreter: "CPython 3.11.2".into(), lock: ContentHash::of(b"lock") };
        asked.python = Some(lock.clone());
        assert_eq!(Materials::of(&asked.to_value()).unwrap().python, Some(lock));
        asked.code.clear();
        assert_eq!(Materials::of(&asked.to_value()).unwrap().code, BTreeMap::new());
    }

    #[test]
    fn another_spelling_is_not_guessed_at() {
        for value in [
            Value::map([("code", Value::list([]))]),
            Value::map([("code", Value::map([("a", Value::text("b3:00"))]))]),
            Value::map([("python", Value::map([("interpreter", Value::text("CPython 3"))]))]),
            Value::map([("python", Value::map([("interpreter", Value::text("x")), ("lock", Value::bytes([1]))]))]),
        ] {
            assert_eq!(Materials::of(&value), None, "{value}");
        }
    }
}
