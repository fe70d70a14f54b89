//! What retention rests on, and what it leaves on record. The decision itself is made elsewhere.

use std::collections::{BTreeMap, HashMap, HashSet};

use runstone_core::hash::ContentHash;
use runstone_core::record::{AttemptKind, ContentKind, NodeId};
use runstone_core::retention::Facts;
use runstone_core::retention::facts::{Attempt, Content, Publication};
use runstone_core::retention::store::{Candidate, Expired, RetentionStore};
use runstone_core::store::Result;
use runstone_core::time::Timestamp;
use sqlx::postgres::{PgBindIterExt, PgRow};
use uuid::Uuid;

use super::PostgresStore;
use super::session::{Tx, TxResult};
use super::value::{Time, get, get_content_hash, get_state, get_time, get_unsigned, stored};

impl RetentionStore for PostgresStore {
    fn retention_facts(&mut self, marker: Uuid) -> Result<Facts> {
        self.scan("read what is kept", async |tx, project| facts(tx, project, marker).await)
    }

    fn evict(&mut self, marker: Uuid, candidates: &[Candidate], now: Timestamp) -> Result<Vec<ContentHash>> {
        self.write("note what is given up", async |tx, project| evict(tx, project, marker, candidates, now).await)
    }

    fn revive(&mut self, marker: Uuid, hashes: &[ContentHash], now: Timestamp) -> Result<()> {
        self.write("note what is there", async |tx, _| set_state(tx, marker, hashes, "stored", now).await)
    }

    fn evicted(&mut self, hashes: &[ContentHash]) -> Result<HashSet<ContentHash>> {
        self.read("look up what was given up", async |tx, project| evicted(tx, project, hashes).await)
    }

    fn other_users(&mut self, marker: Uuid) -> Result<u64> {
        const COUNT: &str = "SELECT count(*) FROM content_store WHERE marker = $1 AND project_id <> $2";
        self.read("look for other users of the objects", async |tx, project| {
            let query = tx.query(COUNT).bind(marker).bind(project);
            tx.row(query).await?.map_or(Ok(0), |row| get_unsigned(&row, "count"))
        })
    }

    fn expirable_events(&mut self, before: Timestamp) -> Result<Expired> {
        const COUNT: &str = "SELECT count(DISTINCT e.run_id) AS runs, count(*) AS events \
             FROM run r JOIN event e ON e.run_id = r.id WHERE r.project_id = $1 AND r.ended < $2";
        self.scan("count events", async |tx, project| {
            let query = tx.query(COUNT).bind(project).bind(Time(before));
            tx.row(query).await?.map_or(Ok(Expired::default()), |row| expired(&row))
        })
    }

    fn expire_events(&mut self, before: Timestamp, most_runs: u32) -> Result<Expired> {
        // Whoever takes a run up again holds its row, and tells its event after these are gone.
        const REMOVE: &str = "WITH over AS ( \
                 SELECT r.id FROM run r WHERE r.project_id = $1 AND r.ended < $2 \
                 AND EXISTS (SELECT FROM event e WHERE e.run_id = r.id) ORDER BY r.id LIMIT $3 FOR UPDATE OF r), \
             gone AS (DELETE FROM event e USING over o WHERE e.run_id = o.id RETURNING e.run_id) \
             SELECT count(DISTINCT run_id) AS runs, count(*) AS events FROM gone";
        self.once("remove events", async |tx, project| {
            let query = tx.query(REMOVE).bind(project).bind(Time(before)).bind(i64::from(most_runs));
            tx.row(query).await?.map_or(Ok(Expired::default()), |row| expired(&row))
        })
    }
}

fn expired(row: &PgRow) -> TxResult<Expired> {
    Ok(Expired { runs: get_unsigned(row, "runs")?, events: get_unsigned(row, "events")? })
}

fn node(row: &PgRow, column: &str) -> TxResult<NodeId> {
    get(row, column).map(NodeId)
}

/// Rows of a project.
async fn all<T>(
    tx: &mut Tx<'_>,
    project: i64,
    sql: &'static str,
    read: impl FnMut(&PgRow) -> TxResult<T>,
) -> TxResult<Vec<T>> {
    let query = tx.query(sql).bind(project);
    tx.rows(query).await?.iter().map(read).collect()
}

async fn facts(tx: &mut Tx<'_>, project: i64, marker: Uuid) -> TxResult<Facts> {
    const DATASETS: &str = "SELECT id, name FROM dataset WHERE project_id = $1 ORDER BY name";
    const PUBLICATIONS: &str = "SELECT m.id, v.dataset_id, v.number, m.subset, v.hash, m.attempt_id, m.created \
         FROM materialization m JOIN version v ON v.id = m.version_id JOIN dataset d ON d.id = v.dataset_id \
         WHERE d.project_id = $1 ORDER BY m.id";
    const READINGS: &str = "SELECT DISTINCT c.attempt_id, c.mat_id FROM attempt a JOIN consumed c ON c.attempt_id = a.id \
         WHERE a.project_id = $1 ORDER BY c.attempt_id, c.mat_id";
    const LATEST: &str =
        "SELECT h.mat_id AS id FROM dataset d JOIN head h ON h.dataset_id = d.id WHERE d.project_id = $1";
    const TAGGED: &str = "SELECT g.mat_id AS id, t.name FROM dataset d JOIN tag t ON t.dataset_id = d.id \
         JOIN tag_target g ON g.tag_id = t.id \
         WHERE d.project_id = $1 AND g.rev = (SELECT max(rev) FROM tag_move WHERE tag_id = t.id) ORDER BY t.name DESC";
    const STOOD: &str = "SELECT t.attempt_id AS id, max(r.created) AS at FROM run r JOIN task t ON t.run_id = r.id \
         WHERE r.project_id = $1 AND t.state IN ('succeeded', 'reused') GROUP BY t.attempt_id";
    let named: Vec<(i64, String)> = all(tx, project, DATASETS, |row| Ok((get(row, "id")?, get(row, "name")?))).await?;
    let places: HashMap<i64, usize> = named.iter().enumerate().map(|(place, (id, _))| (*id, place)).collect();
    let publication = |row: &PgRow| {
        Ok(Publication {
            id: node(row, "id")?,
            dataset: places.get(&get(row, "dataset_id")?).copied().unwrap_or_default(),
            version: get(row, "number")?,
            subset: get(row, "subset")?,
            hash: get_content_hash(row, "hash")?,
            attempt: node(row, "attempt_id")?,
            created: get_time(row, "created")?,
        })
    };
    Ok(Facts {
        contents: contents(tx, marker).await?,
        publications: all(tx, project, PUBLICATIONS, publication).await?,
        datasets: named.into_iter().map(|(_, name)| name).collect(),
        attempts: attempts(tx, project).await?,
        readings: all(tx, project, READINGS, |row| Ok((node(row, "attempt_id")?, node(row, "mat_id")?))).await?,
        latest: all(tx, project, LATEST, |row| node(row, "id")).await?.into_iter().collect(),
        tagged: all(tx, project, TAGGED, |row| Ok((node(row, "id")?, get(row, "name")?))).await?.into_iter().collect(),
        stood: all(tx, project, STOOD, |row| Ok((node(row, "id")?, get_time(row, "at")?))).await?.into_iter().collect(),
        held: all(tx, project, HELD, |row| get_content_hash(row, "hash")).await?.into_iter().collect(),
    })
}

async fn contents(tx: &mut Tx<'_>, marker: Uuid) -> TxResult<HashMap<ContentHash, Content>> {
    const CONTENTS: &str = "SELECT hash, kind, size, role = 'kept' AS proof, state = 'stored' AS stored \
         FROM blob WHERE store_marker = $1";
    let query = tx.query(CONTENTS).bind(marker);
    let content = |row: &PgRow| {
        let (kind, size) = (get_state(row, "kind", ContentKind::parse)?, get_unsigned(row, "size")?);
        let content = Content { kind, size, proof: get(row, "proof")?, stored: get(row, "stored")? };
        Ok((get_content_hash(row, "hash")?, content))
    };
    tx.rows(query).await?.iter().map(content).collect()
}

async fn attempts(tx: &mut Tx<'_>, project: i64) -> TxResult<Vec<Attempt>> {
    const ATTEMPTS: &str = "SELECT id, kind, reusable, tainted IS NOT NULL AS tainted, reused_from, created, \
             coalesce(started, created) AS started, coalesce(ended, started, created) AS ended \
         FROM attempt WHERE project_id = $1 ORDER BY id";
    all(tx, project, ATTEMPTS, |row| {
        Ok(Attempt {
            id: node(row, "id")?,
            kind: get_state(row, "kind", AttemptKind::parse)?,
            reusable: get(row, "reusable")?,
            tainted: get(row, "tainted")?,
            reused_from: get::<Option<i64>>(row, "reused_from")?.map(NodeId),
            created: get_time(row, "created")?,
            wall_us: get_time(row, "ended")?.since(get_time(row, "started")?),
        })
    })
    .await
}

/// Contents that runs which are going on rest on: results that stand for their tasks, and what live attempts read.
const HELD: &str = "SELECT v.hash FROM run r JOIN task t ON t.run_id = r.id \
         JOIN materialization m ON m.attempt_id = t.attempt_id JOIN version v ON v.id = m.version_id \
         WHERE r.project_id = $1 AND r.state = 'running' AND t.state IN ('succeeded', 'reused') \
     UNION SELECT v.hash FROM run r JOIN attempt a ON a.run_id = r.id JOIN consumed c ON c.attempt_id = a.id \
         JOIN materialization m ON m.id = c.mat_id JOIN version v ON v.id = m.version_id \
         WHERE r.project_id = $1 AND r.state = 'running' AND a.state IN ('assigned', 'running')";

/// The rows of the objects are locked first, in the order in which batches put objects on record: what is published
/// afterwards waits, what was published before is seen.
async fn evict(
    tx: &mut Tx<'_>,
    project: i64,
    marker: Uuid,
    candidates: &[Candidate],
    now: Timestamp,
) -> TxResult<Vec<ContentHash>> {
    const LOCK: &str = "SELECT 1 FROM blob b WHERE b.store_marker = $1 AND b.hash = ANY($2) ORDER BY b.hash FOR UPDATE";
    const AS_DECIDED: &str = "SELECT w.hash FROM unnest($3::bytea[], $4::bigint[], $5::bigint[]) \
             AS w(hash, publications, readings) \
         JOIN blob b ON b.store_marker = $2 AND b.hash = w.hash \
         WHERE b.role <> 'kept' \
           AND (SELECT count(*) FROM version v JOIN dataset d ON d.id = v.dataset_id AND d.project_id = $1 \
                JOIN materialization m ON m.version_id = v.id WHERE v.hash = w.hash) = w.publications \
           AND (SELECT count(*) FROM (SELECT DISTINCT c.attempt_id, c.mat_id FROM version v \
                    JOIN dataset d ON d.id = v.dataset_id AND d.project_id = $1 \
                    JOIN materialization m ON m.version_id = v.id JOIN consumed c ON c.mat_id = m.id \
                    WHERE v.hash = w.hash) x) = w.readings \
           AND NOT EXISTS (SELECT FROM version v JOIN materialization m ON m.version_id = v.id \
                JOIN head h ON h.dataset_id = v.dataset_id AND h.mat_id = m.id WHERE v.hash = w.hash) \
           AND NOT EXISTS (SELECT FROM version v JOIN tag t ON t.dataset_id = v.dataset_id \
                JOIN tag_target g ON g.tag_id = t.id JOIN materialization m ON m.id = g.mat_id AND m.version_id = v.id \
                WHERE v.hash = w.hash AND g.rev = (SELECT max(rev) FROM tag_move WHERE tag_id = t.id))";
    // Each once, and in order.
    let asked: BTreeMap<ContentHash, &Candidate> = candidates.iter().map(|one| (one.hash, one)).collect();
    let counts = |count: fn(&Candidate) -> u64| {
        asked.values().map(|one| stored("count", count(one))).collect::<TxResult<Vec<i64>>>()
    };
    let query = tx.query(LOCK).bind(marker).bind(asked.keys().map(|hash| hash.as_bytes().as_slice()).bind_iter());
    tx.execute(query).await?;
    let held: HashSet<ContentHash> =
        all(tx, project, HELD, |row| get_content_hash(row, "hash")).await?.into_iter().collect();
    let query = tx
        .query(AS_DECIDED)
        .bind(project)
        .bind(marker)
        .bind(asked.keys().map(|hash| hash.as_bytes().as_slice()).bind_iter())
        .bind(counts(|one| one.publications)?)
        .bind(counts(|one| one.readings)?);
    let as_decided: TxResult<HashSet<ContentHash>> =
        tx.rows(query).await?.iter().map(|row| get_content_hash(row, "hash")).collect();
    let as_decided = as_decided?;
    let (given_up, kept): (Vec<ContentHash>, Vec<ContentHash>) =
        asked.into_keys().partition(|hash| as_decided.contains(hash) && !held.contains(hash));
    set_state(tx, marker, &given_up, "evicted", now).await?;
    set_state(tx, marker, &kept, "stored", now).await?;
    Ok(given_up)
}

async fn set_state(
    tx: &mut Tx<'_>,
    marker: Uuid,
    hashes: &[ContentHash],
    state: &'static str,
    now: Timestamp,
) -> TxResult<()> {
    const UPDATE: &str = "WITH named AS ( \
             SELECT b.hash FROM blob b WHERE b.store_marker = $1 AND b.hash = ANY($2) AND b.state <> $3 \
             ORDER BY b.hash FOR UPDATE) \
         UPDATE blob b SET state = $3, changed = $4 FROM named n WHERE b.store_marker = $1 AND b.hash = n.hash";
    let query = tx
        .query(UPDATE)
        .bind(marker)
        .bind(hashes.iter().map(|hash| hash.as_bytes().as_slice()).bind_iter())
        .bind(state)
        .bind(Time(now));
    tx.execute(query).await?;
    Ok(())
}

async fn evicted(tx: &mut Tx<'_>, project: i64, hashes: &[ContentHash]) -> TxResult<HashSet<ContentHash>> {
    const SELECT: &str = "SELECT b.hash FROM content_store c JOIN blob b ON b.store_marker = c.marker \
         WHERE c.project_id = $1 AND b.hash = ANY($2) GROUP BY b.hash HAVING bool_and(b.state = 'evicted')";
    let query = tx.query(SELECT).bind(project).bind(hashes.iter().map(|hash| hash.as_bytes().as_slice()).bind_iter());
    tx.rows(query).await?.iter().map(|row| get_content_hash(row, "hash")).collect()
}
