//! Which migrations a database still needs. Pure: reading and applying them is each database's own business.
//!
//! A migration that was released is never edited: its checksum is on record wherever it was applied, and a difference
//! is refused.

use runstone_core::hash::ContentHash;
use runstone_core::store::{Result, StoreError};

/// One numbered step of a schema, embedded in the binary.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Migration {
    /// From 1, without gaps.
    pub(crate) version: i64,
    /// Such as `init`.
    pub(crate) name: &'static str,
    /// Statements.
    pub(crate) sql: &'static str,
}

impl Migration {
    /// What is on record beside the version once it was applied.
    pub(crate) fn checksum(&self) -> ContentHash {
        ContentHash::of(self.sql.as_bytes())
    }
}

/// The newest version of a list that ends with it.
pub(crate) fn newest(all: &[Migration]) -> i64 {
    all.last().map_or(0, |migration| migration.version)
}

/// Refuses a database that a newer Runstone wrote.
///
/// # Errors
/// [`StoreError::NewerSchema`].
pub(crate) fn check_version(all: &[Migration], found: i64) -> Result<()> {
    let known = newest(all);
    if found > known { Err(StoreError::NewerSchema { found, known }) } else { Ok(()) }
}

/// The migrations still to be applied, given version and checksum of those on record in the order of versions.
///
/// # Errors
/// [`StoreError::NewerSchema`], or [`StoreError::Damaged`] where the record is not a beginning of the list.
pub(crate) fn pending<'a>(all: &'a [Migration], applied: &[(i64, Vec<u8>)]) -> Result<&'a [Migration]> {
    check_version(all, applied.last().map_or(0, |(version, _)| *version))?;
    for (expected, (version, checksum)) in all.iter().zip(applied) {
        if expected.version != *version {
            return Err(StoreError::Damaged(format!("migration {} is missing from its record", expected.version)));
        }
        if expected.checksum().as_bytes()[..] != checksum[..] {
            let Migration { version, name, .. } = expected;
            return Err(StoreError::Damaged(format!("migration {version} ({name}) is not the one that was applied")));
        }
    }
    Ok(all.get(applied.len()..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[Migration] =
        &[Migration { version: 1, name: "init", sql: "create" }, Migration { version: 2, name: "more", sql: "alter" }];

    fn applied(migrations: &[Migration]) -> Vec<(i64, Vec<u8>)> {
        migrations.iter().map(|m| (m.version, m.checksum().as_bytes().to_vec())).collect()
    }

    #[test]
    fn only_what_is_missing_is_applied() {
        for done in 0..=2 {
            let left = pending(ALL, &applied(&ALL[..done])).unwrap();
            assert_eq!(left.iter().map(|m| m.version).collect::<Vec<_>>(), ((done as i64 + 1)..=2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn newer_edited_and_missing_ones_are_refused() {
        let newer = [applied(ALL), vec![(3, vec![0; 32])]].concat();
        assert!(matches!(pending(ALL, &newer), Err(StoreError::NewerSchema { found: 3, known: 2 })));
        assert!(matches!(pending(ALL, &[(1, vec![7; 32])]), Err(StoreError::Damaged(text)) if text.contains("init")));
        assert!(matches!(pending(ALL, &applied(&ALL[1..])), Err(StoreError::Damaged(_))));
    }
}
