//! What retention rests on, and what it leaves on record. The decision itself is made elsewhere.

use std::collections::{HashMap, HashSet};

use runstone_core::hash::ContentHash;
use runstone_core::record::{AttemptKind, ContentKind, NodeId};
use runstone_core::retention::Facts;
use runstone_core::retention::facts::{Attempt, Content, Publication};
use runstone_core::retention::store::{Candidate, Expired, RetentionStore};
use runstone_core::store::Result;
use runstone_core::time::Timestamp;
use rusqlite::{OptionalExtension, Params, Row, Transaction, params};
use uuid::Uuid;

use super::{Outcome, SqliteStore, decode};
use crate::rules;

impl RetentionStore for SqliteStore {
    fn retention_facts(&mut self, marker: Uuid) -> Result<Facts> {
        self.read("read what is kept", |tx, project| facts(tx, project, marker))
    }

    fn evict(&mut self, marker: Uuid, candidates: &[Candidate], now: Timestamp) -> Result<Vec<ContentHash>> {
        self.write("note what is given up", |tx, project| evict(tx, project, marker, candidates, now))
    }

    fn revive(&mut self, marker: Uuid, hashes: &[ContentHash], now: Timestamp) -> Result<()> {
        self.write("note what is there", |tx, _| {
            hashes.iter().try_for_each(|hash| set_state(tx, marker, hash, "stored", now))
        })
    }

    fn evicted(&mut self, hashes: &[ContentHash]) -> Result<HashSet<ContentHash>> {
        self.read("look up what was given up", |tx, project| evicted(tx, project, hashes))
    }

    fn other_users(&mut self, marker: Uuid) -> Result<u64> {
        self.read("look for other users of the objects", |tx, project| {
            Ok(tx
                .prepare_cached("SELECT count(*) FROM content_store WHERE marker = ?1 AND project_id <> ?2")?
                .query_row(params![marker.as_bytes(), project], |row| decode::unsigned(row, 0))?)
        })
    }

    fn expirable_events(&mut self, before: Timestamp) -> Result<Expired> {
        self.read("count events", |tx, project| {
            Ok(tx
                .prepare_cached(
                    "SELECT count(DISTINCT e.run_id), count(*) FROM run r JOIN event e ON e.run_id = r.id
                     WHERE r.project_id = ?1 AND r.ended < ?2",
                )?
                .query_row(params![project, before.0], |row| {
                    Ok(Expired { runs: decode::unsigned(row, 0)?, events: decode::unsigned(row, 1)? })
                })?)
        })
    }

    fn expire_events(&mut self, before: Timestamp, most_runs: u32) -> Result<Expired> {
        self.write("remove events", |tx, project| expire_events(tx, project, before, most_runs))
    }
}

fn all<T>(
    tx: &Transaction<'_>,
    sql: &str,
    params: impl Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Outcome<Vec<T>> {
    let mut statement = tx.prepare_cached(sql)?;
    let rows = statement.query_map(params, read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn node(row: &Row<'_>) -> rusqlite::Result<NodeId> {
    row.get(0).map(NodeId)
}

fn facts(tx: &Transaction<'_>, project: i64, marker: Uuid) -> Outcome<Facts> {
    let contents = all(
        tx,
        "SELECT hash, kind, size, role = 'kept', state = 'stored' FROM blob WHERE store_marker = ?1",
        [marker.as_bytes()],
        |row| {
            let (kind, size) = (decode::spelled(row, 1, ContentKind::parse)?, decode::unsigned(row, 2)?);
            Ok((decode::content_hash(row, 0)?, Content { kind, size, proof: row.get(3)?, stored: row.get(4)? }))
        },
    )?;
    let named: Vec<(i64, String)> =
        all(tx, "SELECT id, name FROM dataset WHERE project_id = ?1 ORDER BY name", [project], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let places: HashMap<i64, usize> = named.iter().enumerate().map(|(place, (id, _))| (*id, place)).collect();
    let publications = all(
        tx,
        "SELECT m.id, v.dataset_id, v.number, m.subset, v.hash, m.attempt_id, m.created
         FROM materialization m JOIN version v ON v.id = m.version_id JOIN dataset d ON d.id = v.dataset_id
         WHERE d.project_id = ?1 ORDER BY m.id",
        [project],
        |row| {
            Ok(Publication {
                id: node(row)?,
                dataset: places.get(&row.get(1)?).copied().unwrap_or_default(),
                version: row.get(2)?,
                subset: row.get(3)?,
                hash: decode::content_hash(row, 4)?,
                attempt: NodeId(row.get(5)?),
                created: Timestamp(row.get(6)?),
            })
        },
    )?;
    Ok(Facts {
        contents: contents.into_iter().collect(),
        datasets: named.into_iter().map(|(_, name)| name).collect(),
        publications,
        attempts: attempts(tx, project)?,
        readings: all(
            tx,
            "SELECT c.attempt_id, c.mat_id FROM attempt a JOIN consumed c ON c.attempt_id = a.id
             WHERE a.project_id = ?1 GROUP BY c.attempt_id, c.mat_id ORDER BY c.attempt_id, c.mat_id",
            [project],
            |row| Ok((node(row)?, NodeId(row.get(1)?))),
        )?,
        latest: all(
            tx,
            "SELECT h.mat_id FROM dataset d JOIN head h ON h.dataset_id = d.id WHERE d.project_id = ?1",
            [project],
            node,
        )?
        .into_iter()
        .collect(),
        tagged: all(
            tx,
            "SELECT g.mat_id, t.name FROM dataset d JOIN tag t ON t.dataset_id = d.id JOIN tag_target g ON g.tag_id = t.id
             WHERE d.project_id = ?1 AND g.rev = (SELECT max(rev) FROM tag_move WHERE tag_id = t.id) ORDER BY t.name DESC",
            [project],
            |row| Ok((node(row)?, row.get(1)?)),
        )?
        .into_iter()
        .collect(),
        stood: all(
            tx,
            "SELECT t.attempt_id, max(r.created) FROM run r JOIN task t ON t.run_id = r.id
             WHERE r.project_id = ?1 AND t.state IN ('succeeded', 'reused') GROUP BY t.attempt_id",
            [project],
            |row| Ok((node(row)?, Timestamp(row.get(1)?))),
        )?
        .into_iter()
        .collect(),
        held: all(tx, HELD, [project], |row| decode::content_hash(row, 0))?.into_iter().collect(),
    })
}

fn attempts(tx: &Transaction<'_>, project: i64) -> Outcome<Vec<Attempt>> {
    all(
        tx,
        "SELECT id, kind, reusable, tainted IS NOT NULL, reused_from, created, coalesce(started, 0), coalesce(ended, 0)
         FROM attempt WHERE project_id = ?1 ORDER BY id",
        [project],
        |row| {
            Ok(Attempt {
                id: node(row)?,
                kind: decode::spelled(row, 1, AttemptKind::parse)?,
                reusable: row.get(2)?,
                tainted: row.get(3)?,
                reused_from: row.get::<_, Option<i64>>(4)?.map(NodeId),
                created: Timestamp(row.get(5)?),
                wall_us: Timestamp(row.get(7)?).since(Timestamp(row.get(6)?)),
            })
        },
    )
}

/// Contents that runs which are going on rest on: results that stand for their tasks, and what live attempts read.
const HELD: &str =
    "SELECT v.hash FROM run r JOIN task t ON t.run_id = r.id JOIN materialization m ON m.attempt_id = t.attempt_id
     JOIN version v ON v.id = m.version_id
     WHERE r.project_id = ?1 AND r.state = 'running' AND t.state IN ('succeeded', 'reused')
     UNION SELECT v.hash FROM run r JOIN attempt a ON a.run_id = r.id JOIN consumed c ON c.attempt_id = a.id
     JOIN materialization m ON m.id = c.mat_id JOIN version v ON v.id = m.version_id
     WHERE r.project_id = ?1 AND r.state = 'running' AND a.state IN ('assigned', 'running')";

fn evict(
    tx: &Transaction<'_>,
    project: i64,
    marker: Uuid,
    candidates: &[Candidate],
    now: Timestamp,
) -> Outcome<Vec<ContentHash>> {
    let held: HashSet<ContentHash> =
        all(tx, HELD, [project], |row| decode::content_hash(row, 0))?.into_iter().collect();
    let mut as_decided = tx.prepare_cached(
        "SELECT (SELECT count(*) FROM version v JOIN dataset d ON d.id = v.dataset_id AND d.project_id = ?2
                 JOIN materialization m ON m.version_id = v.id WHERE v.hash = b.hash) = ?4
            AND (SELECT count(*) FROM (SELECT DISTINCT c.attempt_id, c.mat_id FROM version v
                     JOIN dataset d ON d.id = v.dataset_id AND d.project_id = ?2
                     JOIN materialization m ON m.version_id = v.id JOIN consumed c ON c.mat_id = m.id
                     WHERE v.hash = b.hash)) = ?5
            AND NOT EXISTS (SELECT 1 FROM version v JOIN materialization m ON m.version_id = v.id
                     JOIN head h ON h.dataset_id = v.dataset_id AND h.mat_id = m.id WHERE v.hash = b.hash)
            AND NOT EXISTS (SELECT 1 FROM version v JOIN tag t ON t.dataset_id = v.dataset_id
                     JOIN tag_target g ON g.tag_id = t.id JOIN materialization m ON m.id = g.mat_id AND m.version_id = v.id
                     WHERE v.hash = b.hash AND g.rev = (SELECT max(rev) FROM tag_move WHERE tag_id = t.id))
         FROM blob b WHERE b.store_marker = ?1 AND b.hash = ?3 AND b.role <> 'kept'",
    )?;
    let mut given_up = Vec::new();
    for Candidate { hash, publications, readings } in candidates {
        let counts = (rules::stored("count", *publications)?, rules::stored("count", *readings)?);
        let asked = params![marker.as_bytes(), project, hash.as_bytes(), counts.0, counts.1];
        let as_decided: Option<bool> = as_decided.query_row(asked, |row| row.get(0)).optional()?;
        if as_decided == Some(true) && !held.contains(hash) {
            set_state(tx, marker, hash, "evicted", now)?;
            given_up.push(*hash);
        } else {
            set_state(tx, marker, hash, "stored", now)?;
        }
    }
    Ok(given_up)
}

fn set_state(tx: &Transaction<'_>, marker: Uuid, hash: &ContentHash, state: &str, now: Timestamp) -> Outcome<()> {
    tx.prepare_cached(
        "UPDATE blob SET state = ?3, changed = ?4 WHERE store_marker = ?1 AND hash = ?2 AND state <> ?3",
    )?
    .execute(params![marker.as_bytes(), hash.as_bytes(), state, now.0])?;
    Ok(())
}

fn evicted(tx: &Transaction<'_>, project: i64, hashes: &[ContentHash]) -> Outcome<HashSet<ContentHash>> {
    let mut statement = tx.prepare_cached(
        "SELECT min(b.state = 'evicted') FROM content_store c JOIN blob b ON b.store_marker = c.marker AND b.hash = ?2
         WHERE c.project_id = ?1",
    )?;
    let mut found = HashSet::new();
    for hash in hashes {
        let gone: Option<bool> = statement.query_row(params![project, hash.as_bytes()], |row| row.get(0))?;
        if gone == Some(true) {
            found.insert(*hash);
        }
    }
    Ok(found)
}

fn expire_events(tx: &Transaction<'_>, project: i64, before: Timestamp, most_runs: u32) -> Outcome<Expired> {
    let runs: Vec<[u8; 16]> = all(
        tx,
        "SELECT r.id FROM run r WHERE r.project_id = ?1 AND r.ended < ?2
         AND EXISTS (SELECT 1 FROM event e WHERE e.run_id = r.id) ORDER BY r.number LIMIT ?3",
        params![project, before.0, most_runs],
        |row| row.get(0),
    )?;
    let mut expired = Expired { runs: runs.len() as u64, events: 0 };
    let mut remove = tx.prepare_cached("DELETE FROM event WHERE run_id = ?1")?;
    for run in &runs {
        expired.events += remove.execute([run])? as u64;
    }
    Ok(expired)
}
