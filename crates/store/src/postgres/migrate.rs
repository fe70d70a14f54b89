//! Brings the schema `runstone` of a database up to date.
//!
//! Everything happens in one transaction under a lock of the table that says what was applied. No advisory lock, no lease:
//! the lock goes with its transaction, whatever becomes of the process, and works through any pooler. A second process
//! waits for it and then finds nothing left to do.

use runstone_core::hash::ContentHash;
use runstone_core::store::Result;
use sqlx::postgres::PgRow;

use super::session::{Purpose, Session, Tx, TxResult};
use super::value::get;
use crate::migrate::{self, Migration};

/// Every migration, oldest first.
pub(super) const ALL: &[Migration] = &[
    Migration { version: 1, name: "record", sql: include_str!("../../../../migrations/postgres/0001_record.sql") },
    Migration { version: 2, name: "service", sql: include_str!("../../../../migrations/postgres/0002_service.sql") },
    Migration { version: 3, name: "lineage", sql: include_str!("../../../../migrations/postgres/0003_lineage.sql") },
    Migration { version: 4, name: "asserted", sql: include_str!("../../../../migrations/postgres/0004_asserted.sql") },
];

/// Applies what is missing. Where nothing is, nothing is locked and no right to create anything is needed.
pub(super) fn up(session: &mut Session) -> Result<()> {
    let missing = session.run(Purpose::Read, "read the version of the schema", async |tx| {
        let applied = if exists(tx).await? { applied(tx).await? } else { Vec::new() };
        Ok(migrate::pending(ALL, &applied)?.len())
    })?;
    if missing == 0 {
        return Ok(());
    }
    session.run(Purpose::Migrate, "bring the schema up to date", async |tx| {
        if !exists(tx).await? {
            tx.script(BOOKKEEPING).await?;
        }
        tx.script("LOCK TABLE migration IN ACCESS EXCLUSIVE MODE").await?;
        for migration in migrate::pending(ALL, &applied(tx).await?)? {
            tx.script(migration.sql).await?;
            note(tx, migration.version, migration.name, &migration.checksum()).await?;
        }
        Ok(())
    })
}

const BOOKKEEPING: &str = "CREATE SCHEMA IF NOT EXISTS runstone; \
     CREATE TABLE migration ( \
         version  bigint      PRIMARY KEY, \
         name     text        NOT NULL, \
         checksum bytea       NOT NULL, \
         applied  timestamptz NOT NULL DEFAULT now())";

async fn exists(tx: &mut Tx<'_>) -> TxResult<bool> {
    let query = tx.query("SELECT to_regclass('runstone.migration') IS NOT NULL AS found");
    tx.row(query).await?.map_or(Ok(false), |row| get(&row, "found"))
}

async fn applied(tx: &mut Tx<'_>) -> TxResult<Vec<(i64, Vec<u8>)>> {
    let query = tx.query("SELECT version, checksum FROM migration ORDER BY version");
    tx.rows(query).await?.iter().map(|row: &PgRow| Ok((get(row, "version")?, get(row, "checksum")?))).collect()
}

async fn note(tx: &mut Tx<'_>, version: i64, name: &'static str, checksum: &ContentHash) -> TxResult<()> {
    let query = tx
        .query("INSERT INTO migration (version, name, checksum) VALUES ($1, $2, $3)")
        .bind(version)
        .bind(name)
        .bind(checksum.as_bytes().as_slice());
    tx.execute(query).await?;
    Ok(())
}
