//! What is known beyond the graph: metadata that attempts reported, profiles of tables, verdicts of reproductions.

use runstone_core::lineage::store::{NewReproduction, ReproductionRecord};
use runstone_core::record::NodeId;
use runstone_core::time::Timestamp;
use rusqlite::{OptionalExtension, Transaction, params};
use serde_json::Value;

use crate::rules::InvalidChange;
use crate::sqlite::{Outcome, attempts, decode};

pub(super) fn reported(tx: &Transaction<'_>, project: i64, ids: &[NodeId]) -> Outcome<Vec<(NodeId, Value)>> {
    let sql = "SELECT metadata FROM attempt WHERE id = ?1 AND project_id = ?2 AND metadata IS NOT NULL";
    each(tx, sql, project, ids)
}

pub(super) fn profiles(tx: &Transaction<'_>, project: i64, ids: &[NodeId]) -> Outcome<Vec<(NodeId, Value)>> {
    let sql = "SELECT p.body FROM materialization m CROSS JOIN attempt a ON a.id = m.attempt_id
               CROSS JOIN profile p ON p.version_id = m.version_id WHERE m.id = ?1 AND a.project_id = ?2";
    each(tx, sql, project, ids)
}

/// The one value that a statement finds for a node, for each that has one.
fn each(tx: &Transaction<'_>, sql: &str, project: i64, ids: &[NodeId]) -> Outcome<Vec<(NodeId, Value)>> {
    let mut statement = tx.prepare_cached(sql)?;
    let mut found = Vec::new();
    for id in attempts::sorted(ids) {
        let value = statement.query_row(params![id.0, project], |row| decode::json(row, 0)).optional()?;
        found.extend(value.map(|value| (id, value)));
    }
    Ok(found)
}

pub(super) fn profile_of(
    tx: &Transaction<'_>,
    project: i64,
    publication: NodeId,
    profile: &Value,
    now: Timestamp,
) -> Outcome<bool> {
    let version: Option<i64> = tx
        .prepare_cached(
            "SELECT m.version_id FROM materialization m JOIN attempt a ON a.id = m.attempt_id
             WHERE m.id = ?1 AND a.project_id = ?2",
        )?
        .query_row(params![publication.0, project], |row| row.get(0))
        .optional()?;
    let Some(version) = version else { return Ok(false) };
    set_profile(tx, version, profile, now)?;
    Ok(true)
}

/// In place of what was known before.
pub(in crate::sqlite) fn set_profile(
    tx: &Transaction<'_>,
    version: i64,
    profile: &Value,
    now: Timestamp,
) -> Outcome<()> {
    tx.prepare_cached(
        "INSERT INTO profile (version_id, body, created) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET body = excluded.body, created = excluded.created",
    )?
    .execute(params![version, profile.to_string(), now.0])?;
    Ok(())
}

pub(super) fn add_reproduction(tx: &Transaction<'_>, project: i64, new: &NewReproduction) -> Outcome<()> {
    let added = tx
        .prepare_cached(
            "INSERT INTO reproduction (attempt_id, verdict, body, created, user_name, host)
             SELECT id, ?3, ?4, ?5, ?6, ?7 FROM attempt WHERE id = ?2 AND project_id = ?1",
        )?
        .execute(params![project, new.attempt.0, new.verdict, new.body.to_string(), new.at.0, new.user, new.host])?;
    match added {
        0 => Err(InvalidChange::UnknownAttempt { attempt: new.attempt }.into()),
        _ => Ok(()),
    }
}

pub(super) fn reproductions(tx: &Transaction<'_>, project: i64, ids: &[NodeId]) -> Outcome<Vec<ReproductionRecord>> {
    let mut statement = tx.prepare_cached(
        "SELECT r.id, r.verdict, r.body, r.created, r.user_name, r.host
         FROM reproduction r JOIN attempt a ON a.id = r.attempt_id WHERE r.attempt_id = ?1 AND a.project_id = ?2",
    )?;
    let mut found = Vec::new();
    for attempt in attempts::sorted(ids) {
        let rows = statement.query_map(params![attempt.0, project], |row| {
            Ok(ReproductionRecord {
                id: row.get(0)?,
                of: NewReproduction {
                    attempt,
                    verdict: row.get(1)?,
                    body: decode::json(row, 2)?,
                    at: Timestamp(row.get(3)?),
                    user: row.get(4)?,
                    host: row.get(5)?,
                },
            })
        })?;
        for record in rows {
            found.push(record?);
        }
    }
    found.sort_unstable_by_key(|record| std::cmp::Reverse(record.id));
    Ok(found)
}
