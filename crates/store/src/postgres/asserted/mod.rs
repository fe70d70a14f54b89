//! Lineage that others assert, as Postgres keeps it: what events say is put on record here, read back in `read`.
//!
//! Whoever writes holds a lock of the table of events, so that where names lead is worked out from all that was said.
//! Readers do not wait for it.

mod read;

use std::collections::{BTreeMap, BTreeSet};

use runstone_core::hash::ContentHash;
use runstone_core::lineage::asserted::{
    AssertedDataset, AssertedDatasetId, AssertedEdge, AssertedEvent, AssertedRun, AssertedRunId, AssertedStore, Body,
    Claim, EdgesOf, EventType, NewAssertedEvent, NewAssertedRun, Qualified, Side, canonical,
};
use runstone_core::store::{KeptObject, Result};
use runstone_core::time::Timestamp;
use serde_json::Value;
use sqlx::postgres::PgBindIterExt;
use uuid::Uuid;

use super::PostgresStore;
use super::session::{Tx, TxResult};
use super::value::{Time, damaged, get, get_time, json, opt_text, stored, text};

impl AssertedStore for PostgresStore {
    fn assert_events(&mut self, store_marker: Uuid, events: &[NewAssertedEvent], now: Timestamp) -> Result<Vec<bool>> {
        self.once("put asserted events on record", async |tx, project| {
            tx.script("LOCK TABLE asserted_event IN SHARE ROW EXCLUSIVE MODE").await?;
            let (is_new, fresh) = unknown(tx, project, events).await?;
            if !fresh.is_empty() {
                keep(tx, project, store_marker, &fresh, now).await?;
                record(tx, project, &fresh, now).await?;
            }
            Ok(is_new)
        })
    }

    fn asserted_edges(&mut self, of: EdgesOf<'_>, side: Side, most: u32) -> Result<Vec<AssertedEdge>> {
        self.read("read asserted edges", async |tx, project| read::edges(tx, project, of, side, most).await)
    }

    fn asserted_runs(&mut self, ids: &[AssertedRunId]) -> Result<Vec<AssertedRun>> {
        self.read("read asserted runs", async |tx, project| read::runs(tx, project, ids).await)
    }

    fn asserted_datasets(&mut self, ids: &[AssertedDatasetId]) -> Result<Vec<AssertedDataset>> {
        self.read("read asserted datasets", async |tx, project| read::datasets(tx, project, ids).await)
    }

    fn asserted_dataset(&mut self, name: &Qualified) -> Result<Option<AssertedDatasetId>> {
        self.read("look an asserted dataset up", async |tx, project| read::dataset(tx, project, name).await)
    }

    fn asserted_columns(&mut self, runs: &[AssertedRunId]) -> Result<Vec<(AssertedRunId, AssertedDatasetId, Value)>> {
        self.read("read asserted columns", async |tx, project| read::columns(tx, project, runs).await)
    }

    fn asserted_events(&mut self, after: i64, limit: u32) -> Result<Vec<AssertedEvent>> {
        self.read("read asserted events", async |tx, project| read::events(tx, project, after, limit).await)
    }
}

/// Of each event whether it is new, and those that are, each once.
async fn unknown<'e>(
    tx: &mut Tx<'_>,
    project: i64,
    events: &'e [NewAssertedEvent],
) -> TxResult<(Vec<bool>, Vec<&'e NewAssertedEvent>)> {
    const KNOWN: &str = "SELECT e.dedup FROM unnest($2::bytea[]) AS w(dedup) \
         JOIN asserted_event e ON e.project_id = $1 AND e.dedup = w.dedup";
    let query = tx.query(KNOWN).bind(project).bind(events.iter().map(|event| event.dedup.as_slice()).bind_iter());
    let mut seen: BTreeSet<Vec<u8>> =
        tx.rows(query).await?.iter().map(|row| get(row, "dedup")).collect::<TxResult<_>>()?;
    let is_new: Vec<bool> = events.iter().map(|event| seen.insert(event.dedup.to_vec())).collect();
    let fresh = events.iter().zip(&is_new).filter(|(_, new)| **new).map(|(event, _)| event).collect();
    Ok((is_new, fresh))
}

/// The objects in which bodies are kept.
async fn keep(
    tx: &mut Tx<'_>,
    project: i64,
    marker: Uuid,
    events: &[&NewAssertedEvent],
    now: Timestamp,
) -> TxResult<()> {
    const STORE: &str = "INSERT INTO content_store (project_id, marker) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    const KEEP: &str = "INSERT INTO blob (store_marker, hash, kind, size, role, state, created, changed) \
         SELECT $1, w.hash, w.kind, w.size, 'kept', 'stored', $2, $2 \
         FROM unnest($3::bytea[], $4::text[], $5::bigint[]) AS w(hash, kind, size) ORDER BY w.hash \
         ON CONFLICT (store_marker, hash) DO UPDATE SET state = 'stored', changed = excluded.changed \
         WHERE blob.state <> 'stored'";
    let objects: BTreeMap<ContentHash, &KeptObject> = events
        .iter()
        .filter_map(|event| match &event.body {
            Body::Object(object) => Some((object.hash, object)),
            Body::Text(_) => None,
        })
        .collect();
    if objects.is_empty() {
        return Ok(());
    }
    let query = tx.query(STORE).bind(project).bind(marker);
    tx.execute(query).await?;
    let sizes: Vec<i64> = objects.values().map(|object| stored("size", object.size)).collect::<TxResult<_>>()?;
    let query = tx
        .query(KEEP)
        .bind(marker)
        .bind(Time(now))
        .bind(objects.keys().map(|hash| hash.as_bytes().as_slice()).bind_iter())
        .bind(objects.values().map(|object| object.kind.as_str()).bind_iter())
        .bind(sizes);
    tx.execute(query).await?;
    Ok(())
}

/// What new events say.
async fn record(tx: &mut Tx<'_>, project: i64, events: &[&NewAssertedEvent], now: Timestamp) -> TxResult<()> {
    let runs = runs(tx, project, events).await?;
    put_events(tx, project, events, &runs, now).await?;
    let datasets = datasets(tx, project, events).await?;
    put_edges(tx, events, &runs, &datasets).await?;
    let renamed = put_symlinks(tx, events, &datasets).await?;
    settle_names(tx, renamed).await
}

/// Rows of runs, which are made where there are none.
async fn runs(tx: &mut Tx<'_>, project: i64, events: &[&NewAssertedEvent]) -> TxResult<BTreeMap<Uuid, i64>> {
    const MAKE: &str = "INSERT INTO asserted_run (project_id, uuid, given, kind) \
         SELECT $1, w.uuid, w.given, w.kind FROM unnest($2::uuid[], $3::text[], $4::text[]) AS w(uuid, given, kind) \
         ORDER BY w.uuid ON CONFLICT DO NOTHING";
    const FIND: &str = "SELECT r.uuid, r.id FROM unnest($2::uuid[]) AS w(uuid) \
         JOIN asserted_run r ON r.project_id = $1 AND r.uuid = w.uuid";
    let mut named: BTreeMap<Uuid, (&NewAssertedRun, &str)> = BTreeMap::new();
    for event in events {
        if let Some(run) = &event.run {
            named.entry(run.uuid).or_insert((run, event.kind.as_str()));
        }
    }
    let query = tx
        .query(MAKE)
        .bind(project)
        .bind(named.keys().copied().bind_iter())
        .bind(named.values().map(|(run, _)| opt_text(run.given.as_deref())).bind_iter())
        .bind(named.values().map(|(_, kind)| *kind).bind_iter());
    tx.execute(query).await?;
    let query = tx.query(FIND).bind(project).bind(named.keys().copied().bind_iter());
    tx.rows(query).await?.iter().map(|row| Ok((get(row, "uuid")?, get(row, "id")?))).collect()
}

async fn put_events(
    tx: &mut Tx<'_>,
    project: i64,
    events: &[&NewAssertedEvent],
    runs: &BTreeMap<Uuid, i64>,
    now: Timestamp,
) -> TxResult<()> {
    const PUT: &str = "INSERT INTO asserted_event (project_id, dedup, received, kind, type, time, run_id, job_namespace, \
             job_name, size, body, object) \
         SELECT $1, w.dedup, $2, w.kind, w.type, w.time, w.run, w.namespace, w.name, w.size, w.body, w.object \
         FROM unnest($3::bytea[], $4::text[], $5::text[], $6::timestamptz[], $7::bigint[], $8::text[], $9::text[], \
             $10::bigint[], $11::text[], $12::bytea[]) WITH ORDINALITY \
             AS w(dedup, kind, type, time, run, namespace, name, size, body, object, position) ORDER BY w.position";
    let mut sizes = Vec::with_capacity(events.len());
    for event in events {
        let size = match &event.body {
            Body::Text(text) => text.len() as u64,
            Body::Object(object) => object.size,
        };
        sizes.push(stored("size", size)?);
    }
    let body = |event: &NewAssertedEvent| match &event.body {
        Body::Text(body) => Some(text(body).into_owned()),
        Body::Object(_) => None,
    };
    let object = |event: &NewAssertedEvent| match &event.body {
        Body::Object(object) => Some(object.hash.as_bytes().to_vec()),
        Body::Text(_) => None,
    };
    let query = tx
        .query(PUT)
        .bind(project)
        .bind(Time(now))
        .bind(events.iter().map(|event| event.dedup.as_slice()).bind_iter())
        .bind(events.iter().map(|event| event.kind.as_str()).bind_iter())
        .bind(events.iter().map(|event| event.event_type.map(EventType::as_str)).bind_iter())
        .bind(events.iter().map(|event| Time(event.time)).bind_iter())
        .bind(events.iter().map(|event| event.run.as_ref().and_then(|run| runs.get(&run.uuid).copied())).bind_iter())
        .bind(events.iter().map(|event| event.job.as_ref().map(|job| text(&job.namespace))).bind_iter())
        .bind(events.iter().map(|event| event.job.as_ref().map(|job| text(&job.name))).bind_iter())
        .bind(sizes)
        .bind(events.iter().map(|event| body(event)).bind_iter())
        .bind(events.iter().map(|event| object(event)).bind_iter());
    tx.execute(query).await?;
    Ok(())
}

type Names<'e> = BTreeMap<&'e Qualified, i64>;

/// Rows of all names that events mention, which are made where there are none. A new one leads to itself.
async fn datasets<'e>(tx: &mut Tx<'_>, project: i64, events: &[&'e NewAssertedEvent]) -> TxResult<Names<'e>> {
    const MAKE: &str = "INSERT INTO asserted_dataset (id, project_id, namespace, name, canonical_id) \
         SELECT n.id, $1, n.namespace, n.name, n.id FROM ( \
             SELECT nextval('asserted_dataset_id') AS id, w.namespace, w.name \
             FROM unnest($2::text[], $3::text[]) AS w(namespace, name) WHERE NOT EXISTS ( \
                 SELECT FROM asserted_dataset d \
                 WHERE d.project_id = $1 AND d.namespace = w.namespace AND d.name = w.name) OFFSET 0) n";
    const FIND: &str = "SELECT w.position, d.id FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS w(namespace, name, position) \
         JOIN asserted_dataset d ON d.project_id = $1 AND d.namespace = w.namespace AND d.name = w.name";
    let mut named: BTreeSet<&'e Qualified> = BTreeSet::new();
    for event in events {
        named.extend(event.edges.iter().map(|edge| &edge.dataset).chain(&event.datasets));
        named.extend(event.symlinks.iter().flat_map(|it| it.names.iter().chain([&it.dataset])));
    }
    let named: Vec<&Qualified> = named.into_iter().collect();
    let query = |tx: &Tx<'_>, sql| {
        tx.query(sql)
            .bind(project)
            .bind(named.iter().map(|it| text(&it.namespace)).bind_iter())
            .bind(named.iter().map(|it| text(&it.name)).bind_iter())
    };
    let make = query(tx, MAKE);
    tx.execute(make).await?;
    let find = query(tx, FIND);
    let mut found = Names::new();
    for row in tx.rows(find).await? {
        let position: i64 = get(&row, "position")?;
        let at = usize::try_from(position - 1).ok().and_then(|at| named.get(at));
        found.insert(at.ok_or_else(|| damaged("a name that nobody asked for".to_owned()))?, get(&row, "id")?);
    }
    Ok(found)
}

async fn put_edges(
    tx: &mut Tx<'_>,
    events: &[&NewAssertedEvent],
    runs: &BTreeMap<Uuid, i64>,
    datasets: &Names<'_>,
) -> TxResult<()> {
    const EDGES: &str = "INSERT INTO asserted_edge (run_id, side, dataset_id, version, hash) \
         SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::bytea[]) ON CONFLICT DO NOTHING";
    const COLUMNS: &str = "INSERT INTO asserted_columns (run_id, dataset_id, time, dedup, body) \
         SELECT w.run, w.dataset, w.time, w.dedup, w.body::jsonb \
         FROM unnest($1::bigint[], $2::bigint[], $3::timestamptz[], $4::bytea[], $5::text[]) \
             AS w(run, dataset, time, dedup, body) ON CONFLICT DO NOTHING";
    let mut rows = Vec::new();
    for event in events {
        let Some(run) = event.run.as_ref().and_then(|run| runs.get(&run.uuid).copied()) else { continue };
        for edge in &event.edges {
            let dataset = row_of(datasets, &edge.dataset)?;
            rows.push((run, dataset, edge, *event));
        }
    }
    let query = tx
        .query(EDGES)
        .bind(rows.iter().map(|(run, ..)| *run).bind_iter())
        .bind(rows.iter().map(|(_, _, edge, _)| edge.side.as_str()).bind_iter())
        .bind(rows.iter().map(|(_, dataset, ..)| *dataset).bind_iter())
        .bind(rows.iter().map(|(_, _, edge, _)| opt_text(edge.version.as_deref())).bind_iter())
        .bind(rows.iter().map(|(_, _, edge, _)| edge.content().map(|hash| hash.as_bytes().to_vec())).bind_iter());
    tx.execute(query).await?;
    rows.retain(|(_, _, edge, _)| edge.columns.is_some());
    if rows.is_empty() {
        return Ok(());
    }
    let query = tx
        .query(COLUMNS)
        .bind(rows.iter().map(|(run, ..)| *run).bind_iter())
        .bind(rows.iter().map(|(_, dataset, ..)| *dataset).bind_iter())
        .bind(rows.iter().map(|(.., event)| Time(event.time)).bind_iter())
        .bind(rows.iter().map(|(.., event)| event.dedup.as_slice()).bind_iter())
        .bind(rows.iter().map(|(_, _, edge, _)| edge.columns.as_ref().map(json)).bind_iter());
    tx.execute(query).await?;
    Ok(())
}

fn row_of(datasets: &Names<'_>, name: &Qualified) -> TxResult<i64> {
    datasets.get(name).copied().ok_or_else(|| damaged(format!("dataset {:?} cannot be made", name.name)))
}

/// Further names of datasets; gives all that they are about.
async fn put_symlinks(tx: &mut Tx<'_>, events: &[&NewAssertedEvent], datasets: &Names<'_>) -> TxResult<BTreeSet<i64>> {
    const PUT: &str = "INSERT INTO asserted_symlink (dataset_id, time, dedup, alias_id) \
         SELECT * FROM unnest($1::bigint[], $2::timestamptz[], $3::bytea[], $4::bigint[]) ON CONFLICT DO NOTHING";
    let mut rows = Vec::new();
    for event in events {
        for symlinks in &event.symlinks {
            let dataset = row_of(datasets, &symlinks.dataset)?;
            rows.push((dataset, *event, dataset));
            for name in &symlinks.names {
                rows.push((dataset, *event, row_of(datasets, name)?));
            }
        }
    }
    if !rows.is_empty() {
        let query = tx
            .query(PUT)
            .bind(rows.iter().map(|(dataset, ..)| *dataset).bind_iter())
            .bind(rows.iter().map(|(_, event, _)| Time(event.time)).bind_iter())
            .bind(rows.iter().map(|(_, event, _)| event.dedup.as_slice()).bind_iter())
            .bind(rows.iter().map(|(.., name)| *name).bind_iter());
        tx.execute(query).await?;
    }
    Ok(rows.into_iter().flat_map(|(dataset, _, name)| [dataset, name]).collect())
}

/// Works out anew where names lead: these, and all that claims connect with them.
async fn settle_names(tx: &mut Tx<'_>, renamed: BTreeSet<i64>) -> TxResult<()> {
    const CALLED: &str = "SELECT id, namespace, name FROM asserted_dataset WHERE id = ANY($1)";
    const CLAIMS: &str = "SELECT w.id, s.time, s.dedup, s.alias_id FROM unnest($1::bigint[]) AS w(id) \
         CROSS JOIN LATERAL ( \
             SELECT x.time, x.dedup FROM asserted_symlink x WHERE x.dataset_id = w.id \
             ORDER BY x.time DESC, x.dedup DESC LIMIT 1) newest \
         JOIN asserted_symlink s ON s.dataset_id = w.id AND s.time = newest.time AND s.dedup = newest.dedup";
    // Whatever was claimed at any time: what is not any more has to lead elsewhere.
    const CONNECTED: &str = "SELECT dataset_id AS id FROM asserted_symlink WHERE alias_id = ANY($1) \
         UNION SELECT alias_id FROM asserted_symlink WHERE dataset_id = ANY($1)";
    const LEAD: &str = "UPDATE asserted_dataset d SET canonical_id = w.leads FROM unnest($1::bigint[], $2::bigint[]) AS w(id, leads) \
         WHERE d.id = w.id AND d.canonical_id <> w.leads";
    let mut claims: BTreeMap<i64, Claim> = BTreeMap::new();
    let mut called = BTreeMap::new();
    let mut frontier = renamed;
    while !frontier.is_empty() {
        let ids: Vec<i64> = frontier.iter().copied().collect();
        let mut beyond = BTreeSet::new();
        let query = tx.query(CALLED).bind(ids.clone());
        for row in tx.rows(query).await? {
            called.insert(get(&row, "id")?, Qualified { namespace: get(&row, "namespace")?, name: get(&row, "name")? });
        }
        let query = tx.query(CLAIMS).bind(ids.clone());
        for row in tx.rows(query).await? {
            let (dataset, time, name): (i64, _, i64) =
                (get(&row, "id")?, get_time(&row, "time")?, get(&row, "alias_id")?);
            let dedup = get::<Vec<u8>>(&row, "dedup")?.try_into().map_err(|_| damaged("dedup".to_owned()))?;
            let empty = || Claim { dataset, time, dedup, names: BTreeSet::new() };
            claims.entry(dataset).or_insert_with(empty).names.insert(name);
        }
        let query = tx.query(CONNECTED).bind(ids);
        for row in tx.rows(query).await? {
            beyond.insert(get(&row, "id")?);
        }
        beyond.retain(|id| !called.contains_key(id));
        frontier = beyond;
    }
    if called.is_empty() {
        return Ok(());
    }
    let claims: Vec<Claim> = claims.into_values().collect();
    let (ids, leads): (Vec<i64>, Vec<i64>) = canonical(&claims, &called).into_iter().unzip();
    let query = tx.query(LEAD).bind(ids).bind(leads);
    tx.execute(query).await?;
    Ok(())
}
