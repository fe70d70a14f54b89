//! Objects that the record names, by the content store they are in. Whether their bytes are there is not known here.

use runstone_core::hash::ContentHash;
use runstone_core::record::ContentKind;
use runstone_core::store::StoredObject;
use runstone_core::time::Timestamp;
use sqlx::postgres::PgBindIterExt;

use super::session::{Tx, TxError};
use super::value::{Time, get, get_content_hash, get_state, get_unsigned};

/// Each hash once; evicted where it is so in every content store of the project.
pub(super) async fn list(tx: &mut Tx<'_>, project: i64) -> Result<Vec<StoredObject>, TxError> {
    const SELECT: &str = "SELECT b.hash, min(b.kind) AS kind, min(b.size) AS size, bool_and(b.state = 'evicted') AS evicted \
         FROM content_store c JOIN blob b ON b.store_marker = c.marker WHERE c.project_id = $1 \
         GROUP BY b.hash ORDER BY b.hash";
    let query = tx.query(SELECT).bind(project);
    tx.rows(query)
        .await?
        .iter()
        .map(|row| {
            Ok(StoredObject {
                hash: get_content_hash(row, "hash")?,
                kind: get_state(row, "kind", ContentKind::parse)?,
                size: get_unsigned(row, "size")?,
                evicted: get(row, "evicted")?,
            })
        })
        .collect()
}

/// Notes that bytes were given up or are there again.
pub(super) async fn set_evicted(
    tx: &mut Tx<'_>,
    project: i64,
    hashes: &[ContentHash],
    evicted: bool,
    now: Timestamp,
) -> Result<(), TxError> {
    // Locked in the order in which batches put objects on record.
    const UPDATE: &str = "WITH named AS ( \
             SELECT b.store_marker, b.hash FROM content_store c JOIN blob b ON b.store_marker = c.marker \
             WHERE c.project_id = $1 AND b.hash = ANY($2) AND b.state <> $3 ORDER BY b.hash FOR UPDATE OF b) \
         UPDATE blob b SET state = $3, changed = $4 FROM named n WHERE b.store_marker = n.store_marker AND b.hash = n.hash";
    let query = tx
        .query(UPDATE)
        .bind(project)
        .bind(hashes.iter().map(|hash| hash.as_bytes().as_slice()).bind_iter())
        .bind(if evicted { "evicted" } else { "stored" })
        .bind(Time(now));
    tx.execute(query).await?;
    Ok(())
}
