//! Objects that the record names, by the content store they are in. Whether their bytes are there is not known here.

use runstone_core::hash::ContentHash;
use runstone_core::record::ContentKind;
use runstone_core::store::{KeptObject, NewMaterialization, StoredObject};
use runstone_core::time::Timestamp;
use rusqlite::{Transaction, params};
use uuid::Uuid;

use super::{Outcome, decode};
use crate::rules;

/// An object of a dataset. It was just published, so it is no longer evicted if it was.
pub(super) fn publish(tx: &Transaction<'_>, store: Uuid, object: &NewMaterialization, now: Timestamp) -> Outcome<()> {
    upsert(tx, store, &object.hash, object.kind, object.size, "content", now)
}

/// An object that is proof, whatever else it is.
pub(super) fn keep(tx: &Transaction<'_>, store: Uuid, object: &KeptObject, now: Timestamp) -> Outcome<()> {
    upsert(tx, store, &object.hash, object.kind, object.size, "kept", now)
}

/// The row is only touched where something is new: the common case is a look.
fn upsert(
    tx: &Transaction<'_>,
    store: Uuid,
    hash: &ContentHash,
    kind: ContentKind,
    size: u64,
    role: &str,
    now: Timestamp,
) -> Outcome<()> {
    tx.prepare_cached(
        "INSERT INTO blob (store_marker, hash, kind, size, role, state, created, changed)
         VALUES (?1, ?2, ?3, ?4, ?5, 'stored', ?6, ?6)
         ON CONFLICT DO UPDATE SET state = 'stored', changed = excluded.changed,
             role = CASE excluded.role WHEN 'kept' THEN 'kept' ELSE role END
         WHERE state <> 'stored' OR (role = 'content' AND excluded.role = 'kept')",
    )?
    .execute(params![
        store.as_bytes(),
        hash.as_bytes(),
        kind.as_str(),
        rules::stored("size", size)?,
        role,
        now.0,
    ])?;
    Ok(())
}

/// Each hash once; evicted where it is so in every content store of the project.
pub(super) fn list(tx: &Transaction<'_>, project: i64) -> Outcome<Vec<StoredObject>> {
    let mut statement = tx.prepare_cached(
        "SELECT b.hash, b.kind, b.size, min(b.state = 'evicted')
         FROM content_store c JOIN blob b ON b.store_marker = c.marker WHERE c.project_id = ?1
         GROUP BY b.hash ORDER BY b.hash",
    )?;
    let rows = statement.query_map([project], |row| {
        Ok(StoredObject {
            hash: decode::content_hash(row, 0)?,
            kind: decode::spelled(row, 1, ContentKind::parse)?,
            size: decode::unsigned(row, 2)?,
            evicted: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn set_evicted(
    tx: &Transaction<'_>,
    project: i64,
    hashes: &[ContentHash],
    evicted: bool,
    now: Timestamp,
) -> Outcome<()> {
    let mut statement = tx.prepare_cached(
        "UPDATE blob SET state = ?3, changed = ?4
         WHERE store_marker IN (SELECT marker FROM content_store WHERE project_id = ?1) AND hash = ?2 AND state <> ?3",
    )?;
    let state = if evicted { "evicted" } else { "stored" };
    for hash in hashes {
        statement.execute(params![project, hash.as_bytes(), state, now.0])?;
    }
    Ok(())
}
