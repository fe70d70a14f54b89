//! Puts publications on record: datasets, versions, materializations, heads and the objects they name.
//!
//! The rows of the datasets are locked first, in the order of their ids: version numbers and heads of a dataset change
//! only under that lock.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sqlx::postgres::PgBindIterExt;

use super::super::session::TxError;
use super::super::value::{Time, damaged, get, json, stored, text};
use super::batch::Batch;
use super::write::{Statement, Writing, expect};

/// Ids of datasets by name. They never change once committed.
pub(in super::super) type DatasetIds = HashMap<String, i64>;

/// Objects that are durable by now, also where their bytes were given up before.
macro_rules! blobs {
    () => {
        "named AS ( \
             SELECT * FROM unnest($3::bytea[], $4::text[], $5::bigint[], $6::text[]) AS w(hash, kind, size, role)), \
         stored AS ( \
             INSERT INTO blob AS b (store_marker, hash, kind, size, role, created) \
             SELECT $1, w.hash, w.kind, w.size, w.role, $2 FROM named w ORDER BY w.hash \
             ON CONFLICT (store_marker, hash) DO UPDATE SET state = 'stored', changed = $2, \
                 role = CASE WHEN excluded.role = 'kept' THEN excluded.role ELSE b.role END \
             WHERE b.state = 'evicted' OR (b.role = 'content' AND excluded.role = 'kept')) "
    };
}

const BLOBS: &str = concat!("WITH ", blobs!(), "SELECT");

/// A version whose bytes are new takes the next number of its dataset, in the order of the batch, and the id of its first
/// publication: so nothing has to be asked back. All parts see the tables as they were before.
const PUBLICATIONS: &str = concat!(
    "WITH published AS ( \
         SELECT w.*, v.id AS known, d.versions, min(w.id) OVER (PARTITION BY w.dataset_id, w.hash) AS first \
         FROM unnest($7::bigint[], $8::bigint[], $9::bigint[], $10::text[], $11::text[], $12::text[], $13::bytea[], \
                 $14::text[], $15::bigint[], $16::bigint[], $17::bigint[], $18::text[]) \
             AS w(id, attempt_id, dataset_id, output, subset, file_name, hash, kind, size, files, rows, profile) \
         LEFT JOIN dataset d ON d.id = w.dataset_id \
         LEFT JOIN version v ON v.dataset_id = w.dataset_id AND v.hash = w.hash), \
     fresh AS ( \
         INSERT INTO version (id, dataset_id, number, hash, kind, size, files, rows, created) \
         SELECT id, dataset_id, versions + row_number() OVER (PARTITION BY dataset_id ORDER BY id), \
             hash, kind, size, files, rows, $2 \
         FROM published WHERE known IS NULL AND id = first), \
     described AS ( \
         INSERT INTO profile (version_id, body, created) SELECT id, profile::jsonb, $2 \
         FROM published WHERE known IS NULL AND id = first AND profile IS NOT NULL), \
     counted AS ( \
         UPDATE dataset d SET versions = d.versions + n.fresh \
         FROM (SELECT dataset_id, count(*) AS fresh FROM published WHERE known IS NULL AND id = first \
               GROUP BY dataset_id) n \
         CROSS JOIN LATERAL (SELECT x.ctid AS place FROM dataset x WHERE x.id = n.dataset_id OFFSET 0) x \
         WHERE d.ctid = x.place), \
     placed AS ( \
         INSERT INTO materialization (id, version_id, attempt_id, output, subset, file_name, created) \
         SELECT id, coalesce(known, first), attempt_id, output, subset, file_name, $2 FROM published RETURNING 1), \
     latest AS ( \
         INSERT INTO head (dataset_id, subset, mat_id) \
         SELECT * FROM unnest($19::bigint[], $20::text[], $21::bigint[]) \
         ON CONFLICT (dataset_id, subset) DO UPDATE SET mat_id = excluded.mat_id, rev = head.rev + 1 \
         WHERE head.mat_id < excluded.mat_id), ",
    blobs!(),
    "SELECT count(*) AS placed FROM placed"
);

impl Writing<'_, '_> {
    /// Everything of a batch that datasets and objects are told. `known` gains nothing before the commit: new ids are
    /// returned.
    pub(super) async fn publish(&mut self, batch: &Batch<'_>, known: &DatasetIds) -> Result<DatasetIds, TxError> {
        let names: BTreeSet<&str> = batch.publications.iter().map(|row| row.what.dataset.as_str()).collect();
        let mut new = DatasetIds::new();
        if !names.is_empty() {
            let missing: Vec<&str> = names.iter().copied().filter(|name| !known.contains_key(*name)).collect();
            if !missing.is_empty() {
                new = self.find_datasets(&missing).await?;
            }
            let ids: BTreeMap<&str, i64> = names
                .into_iter()
                .map(|name| match known.get(name).or_else(|| new.get(name)) {
                    Some(id) => Ok((name, *id)),
                    None => Err(damaged(format!("dataset {name:?} cannot be made"))),
                })
                .collect::<Result<_, _>>()?;
            self.lock_datasets(&ids).await?;
            self.publications(batch, &ids).await?;
        } else if !batch.blobs.is_empty() {
            let statement = self.with_blobs(self.tx.query(BLOBS), batch)?;
            self.tx.execute(statement).await?;
        }
        Ok(new)
    }

    /// Ids by name, of datasets that are made where they do not exist.
    async fn find_datasets(&mut self, names: &[&str]) -> Result<DatasetIds, TxError> {
        const FIND: &str = "SELECT d.name, d.id FROM dataset d WHERE d.project_id = $1 AND d.name = ANY($2)";
        const MAKE: &str = "INSERT INTO dataset (project_id, name) \
             SELECT $1, w.name FROM unnest($2::text[]) AS w(name) ORDER BY w.name COLLATE \"C\" ON CONFLICT DO NOTHING";
        let mut found = DatasetIds::new();
        for made in [false, true] {
            let missing: Vec<&str> = names.iter().copied().filter(|name| !found.contains_key(*name)).collect();
            if missing.is_empty() {
                break;
            }
            if made {
                let query = self.tx.query(MAKE).bind(self.project).bind(missing.iter().copied().bind_iter());
                self.tx.execute(query).await?;
            }
            let query = self.tx.query(FIND).bind(self.project).bind(missing.iter().copied().bind_iter());
            for row in self.tx.rows(query).await? {
                found.insert(get(&row, "name")?, get(&row, "id")?);
            }
        }
        Ok(found)
    }

    async fn lock_datasets(&mut self, ids: &BTreeMap<&str, i64>) -> Result<(), TxError> {
        const LOCK: &str = "SELECT d.id FROM dataset d WHERE d.id = ANY($1) ORDER BY d.id FOR NO KEY UPDATE";
        let ids: BTreeSet<i64> = ids.values().copied().collect();
        let query = self.tx.query(LOCK).bind(ids.iter().copied().bind_iter());
        match self.tx.rows(query).await?.len() {
            locked if locked == ids.len() => Ok(()),
            locked => Err(damaged(format!("{locked} datasets of {} are on record", ids.len()))),
        }
    }

    async fn publications(&mut self, batch: &Batch<'_>, ids: &BTreeMap<&str, i64>) -> Result<(), TxError> {
        let rows = &batch.publications;
        let sizes: Vec<i64> = rows.iter().map(|row| stored("size", row.what.size)).collect::<Result<_, _>>()?;
        let files: Vec<i64> =
            rows.iter().map(|row| stored("number of files", row.what.files)).collect::<Result<_, _>>()?;
        let lines: Vec<Option<i64>> = rows
            .iter()
            .map(|row| row.what.rows.map(|rows| stored("number of rows", rows)).transpose())
            .collect::<Result<_, _>>()?;
        let statement = self
            .with_blobs(self.tx.query(PUBLICATIONS), batch)?
            .bind(rows.iter().map(|row| row.id.0).bind_iter())
            .bind(rows.iter().map(|row| row.attempt.0).bind_iter())
            .bind(rows.iter().map(|row| ids[row.what.dataset.as_str()]).bind_iter())
            .bind(rows.iter().map(|row| row.what.output.as_str()).bind_iter())
            .bind(rows.iter().map(|row| row.what.subset.as_str()).bind_iter())
            .bind(rows.iter().map(|row| text(&row.what.file_name)).bind_iter())
            .bind(rows.iter().map(|row| row.what.hash.as_bytes().as_slice()).bind_iter())
            .bind(rows.iter().map(|row| row.what.kind.as_str()).bind_iter())
            .bind(sizes)
            .bind(files)
            .bind(lines)
            .bind(rows.iter().map(|row| row.what.profile.as_ref().map(json)).bind_iter())
            .bind(batch.heads.keys().map(|(dataset, _)| ids[dataset]).bind_iter())
            .bind(batch.heads.keys().map(|(_, subset)| *subset).bind_iter())
            .bind(batch.heads.values().map(|id| id.0).bind_iter());
        expect(rows.len(), self.tx.row(statement).await?.as_ref(), "placed")
    }

    fn with_blobs(&self, statement: Statement, batch: &Batch<'_>) -> Result<Statement, TxError> {
        let rows = &batch.blobs;
        let sizes: Vec<i64> = rows.values().map(|row| stored("size", row.size)).collect::<Result<_, _>>()?;
        Ok(statement
            .bind(self.run.store_marker)
            .bind(Time(self.now))
            .bind(rows.keys().map(|hash| hash.as_bytes().as_slice()).bind_iter())
            .bind(rows.values().map(|row| row.kind.as_str()).bind_iter())
            .bind(sizes)
            .bind(rows.values().map(|row| if row.proof { "kept" } else { "content" }).bind_iter()))
    }
}
