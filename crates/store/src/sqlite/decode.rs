//! Values as the tables keep them, and back.

use runstone_core::hash::{ContentHash, Fingerprint};
use runstone_core::record::{RunEnvironment, RunId};
use rusqlite::Row;
use rusqlite::types::Type;
use uuid::Uuid;

/// A stored text that this code never writes.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is unknown here")]
struct Unknown(String);

/// A value with a stable spelling.
pub(super) fn spelled<T>(row: &Row<'_>, at: usize, parse: fn(&str) -> Option<T>) -> rusqlite::Result<T> {
    let text = row.get_ref(at)?.as_str()?;
    parse(text)
        .ok_or_else(|| rusqlite::Error::FromSqlConversionFailure(at, Type::Text, Box::new(Unknown(text.to_owned()))))
}

pub(super) fn content_hash(row: &Row<'_>, at: usize) -> rusqlite::Result<ContentHash> {
    row.get(at).map(ContentHash::from_bytes)
}

pub(super) fn fingerprint(row: &Row<'_>, at: usize) -> rusqlite::Result<Fingerprint> {
    row.get(at).map(Fingerprint::from_bytes)
}

pub(super) fn uuid(row: &Row<'_>, at: usize) -> rusqlite::Result<Uuid> {
    row.get(at).map(Uuid::from_bytes)
}

pub(super) fn run_id(row: &Row<'_>, at: usize) -> rusqlite::Result<RunId> {
    uuid(row, at).map(RunId)
}

/// A count or size, which is never negative.
pub(super) fn unsigned(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(at)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(at, value))
}

/// Where a run was asked for: six columns from `at` on, in the order of the struct.
pub(super) fn environment(row: &Row<'_>, at: usize) -> rusqlite::Result<RunEnvironment> {
    Ok(RunEnvironment {
        tool_version: row.get(at)?,
        platform: row.get(at + 1)?,
        user: row.get(at + 2)?,
        host: row.get(at + 3)?,
        git_commit: row.get(at + 4)?,
        git_dirty: row.get(at + 5)?,
    })
}

pub(super) fn json(row: &Row<'_>, at: usize) -> rusqlite::Result<serde_json::Value> {
    serde_json::from_str(row.get_ref(at)?.as_str()?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(at, Type::Text, Box::new(error)))
}
