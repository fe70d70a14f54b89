//! Packages of a Python environment, read from its lock, and what differs between two.

use std::collections::BTreeMap;

use serde::Serialize;

/// No lock is larger.
pub const MAX_LOCK_BYTES: u64 = 16 << 20;

/// A package that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its name.
    pub name: String,
    /// Version then; none where it was added.
    pub old: Option<String>,
    /// Version now; none where it was removed.
    pub new: Option<String>,
}

/// What differs between two locks, by name.
#[must_use]
pub fn changes(old: &str, new: &str) -> Vec<Change> {
    let (old, new) = (packages(old), packages(new));
    let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    names
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name))
        .map(|name| Change { name: name.clone(), old: old.get(name).cloned(), new: new.get(name).cloned() })
        .collect()
}

/// The lines `name==version` of a lock; hashes and comments between them are not looked at.
fn packages(lock: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let (name, rest) = line.trim().split_once("==")?;
        let version = rest.split([' ', ';', '\\', '#']).next()?;
        Some((name.trim().to_owned(), version.trim().to_owned()))
    };
    lock.lines().filter(|text| !text.trim_start().starts_with(['#', '-'])).filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_compared_by_name() {
        let old = "# made by pip\nnumpy==1.26.4 \\\n    --hash=sha256:ab\nsix==1.16.0\n";
        let new = "numpy==2.0.0 \\\n    --hash=sha256:cd\nscipy==1.13.0 ; python_version > '3'\n";
        let change = |name: &str, old: Option<&str>, new: Option<&str>| Change {
            name: name.to_owned(),
            old: old.map(str::to_owned),
            new: new.map(str::to_owned),
        };
        let expected = [
            change("numpy", Some("1.26.4"), Some("2.0.0")),
            change("scipy", None, Some("1.13.0")),
            change("six", Some("1.16.0"), None),
        ];
        assert_eq!(changes(old, new), expected);
        assert_eq!(changes(old, old), []);
    }
}
