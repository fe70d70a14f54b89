//! Pipelines that schedulers know, and what their files declare.

use std::collections::BTreeMap;

use runstone_core::hash::ContentHash;
use runstone_core::service::record::{DeclaredPipeline, PipelineRecord};
use runstone_core::time::Timestamp;
use sqlx::postgres::{PgBindIterExt, PgRow};

use super::super::session::{Tx, TxError, TxResult};
use super::super::value::{Time, get, get_content_hash, get_time, opt_text, text};
use super::{lock_project, schedules};
use crate::declare::{self, Known, PipelineWrite};

/// What is in a folder.
pub(super) struct Files<'a> {
    pub(super) folder: &'a str,
    pub(super) pipelines: &'a [DeclaredPipeline],
    /// Files with what is wrong with them.
    pub(super) broken: &'a [(String, String)],
}

/// A definition in force.
#[derive(Debug, Clone)]
pub(super) struct InForce {
    pub(super) definition: ContentHash,
    pub(super) path: String,
}

fn record(row: &PgRow) -> Result<PipelineRecord, TxError> {
    Ok(PipelineRecord {
        pipeline: get(row, "name")?,
        definition: get_content_hash(row, "definition")?,
        definition_path: get(row, "definition_path")?,
        active: get(row, "active")?,
        error: get(row, "error")?,
        changed: get_time(row, "changed")?,
    })
}

/// All of the project, by name.
pub(super) async fn list(tx: &mut Tx<'_>, project: i64) -> TxResult<Vec<PipelineRecord>> {
    const SELECT: &str = "SELECT name, definition, definition_path, active, error, changed FROM pipeline \
         WHERE project_id = $1 ORDER BY name";
    let query = tx.query(SELECT).bind(project);
    tx.rows(query).await?.iter().map(record).collect()
}

/// Definition and file of the pipelines that are asked for.
pub(super) async fn in_force(
    tx: &mut Tx<'_>,
    project: i64,
    names: impl IntoIterator<Item = &str>,
) -> TxResult<BTreeMap<String, InForce>> {
    const SELECT: &str =
        "SELECT name, definition, definition_path FROM pipeline WHERE project_id = $1 AND name = ANY($2)";
    let query = tx.query(SELECT).bind(project).bind(names.into_iter().map(text).bind_iter());
    let rows = tx.rows(query).await?;
    rows.iter()
        .map(|row| {
            let found =
                InForce { definition: get_content_hash(row, "definition")?, path: get(row, "definition_path")? };
            Ok((get(row, "name")?, found))
        })
        .collect()
}

async fn known(tx: &mut Tx<'_>, project: i64) -> TxResult<Known> {
    Ok(Known { pipelines: list(tx, project).await?, schedules: schedules::list(tx, project, 0).await? })
}

fn under(folder: &str, mut pipelines: Vec<PipelineRecord>) -> Vec<PipelineRecord> {
    pipelines.retain(|pipeline| declare::is_under(folder, &pipeline.definition_path));
    pipelines
}

/// What is on record under the folder, where that is what the files say.
pub(super) async fn unchanged(
    tx: &mut Tx<'_>,
    project: i64,
    files: &Files<'_>,
) -> TxResult<Option<Vec<PipelineRecord>>> {
    let known = known(tx, project).await?;
    let plan = declare::plan(&known, files.folder, files.pipelines, files.broken);
    let is_so = plan.pipelines.is_empty() && plan.added.is_empty() && plan.changed.is_empty();
    Ok(is_so.then(|| under(files.folder, known.pipelines)))
}

/// Makes what the files say the truth. Where it is so already, as after a lost answer, nothing is written.
pub(super) async fn declare(
    tx: &mut Tx<'_>,
    project: i64,
    files: &Files<'_>,
    now: Timestamp,
) -> TxResult<Vec<PipelineRecord>> {
    let rev = lock_project(tx, project).await?.rev + 1;
    let known = known(tx, project).await?;
    let plan = declare::plan(&known, files.folder, files.pipelines, files.broken);
    put(tx, project, &plan.pipelines, now).await?;
    if !plan.added.is_empty() || !plan.changed.is_empty() {
        schedules::insert(tx, project, &plan.added, now, rev).await?;
        schedules::rewrite(tx, &plan.changed, now, rev).await?;
        schedules::set_rev(tx, project, rev).await?;
    }
    Ok(under(files.folder, list(tx, project).await?))
}

async fn put(tx: &mut Tx<'_>, project: i64, writes: &[PipelineWrite<'_>], now: Timestamp) -> TxResult<()> {
    const PUT: &str = "INSERT INTO pipeline (project_id, name, definition, definition_path, active, error, changed) \
         SELECT $1, w.name, w.definition, w.path, w.active, w.error, $2 \
         FROM unnest($3::text[], $4::bytea[], $5::text[], $6::boolean[], $7::text[]) AS w(name, definition, path, active, error) \
         ON CONFLICT (project_id, name) DO UPDATE SET definition = excluded.definition, \
             definition_path = excluded.definition_path, active = excluded.active, error = excluded.error, \
             changed = excluded.changed";
    if writes.is_empty() {
        return Ok(());
    }
    keep_definitions(tx, writes.iter().filter_map(|write| Some((write.definition, write.text?)))).await?;
    let query = tx
        .query(PUT)
        .bind(project)
        .bind(Time(now))
        .bind(writes.iter().map(|write| text(write.name)).bind_iter())
        .bind(writes.iter().map(|write| write.definition.as_bytes().as_slice()).bind_iter())
        .bind(writes.iter().map(|write| text(write.definition_path)).bind_iter())
        .bind(writes.iter().map(|write| write.active).bind_iter())
        .bind(writes.iter().map(|write| opt_text(write.error)).bind_iter());
    tx.execute(query).await?;
    Ok(())
}

/// Puts definitions on record, in the order of their hashes. The lock of the project is held by then.
pub(super) async fn keep_definitions<'a>(
    tx: &mut Tx<'_>,
    definitions: impl IntoIterator<Item = (ContentHash, &'a str)>,
) -> TxResult<()> {
    const KEEP: &str = "INSERT INTO definition (hash, body) \
         SELECT * FROM unnest($1::bytea[], $2::text[]) AS w(hash, body) \
         WHERE NOT EXISTS (SELECT FROM definition d WHERE d.hash = w.hash) ORDER BY w.hash ON CONFLICT DO NOTHING";
    let definitions: BTreeMap<[u8; 32], &str> =
        definitions.into_iter().map(|(hash, body)| (*hash.as_bytes(), body)).collect();
    if definitions.is_empty() {
        return Ok(());
    }
    let query = tx
        .query(KEEP)
        .bind(definitions.keys().map(<[u8; 32]>::as_slice).bind_iter())
        .bind(definitions.values().map(|body| text(body)).bind_iter());
    tx.execute(query).await?;
    Ok(())
}
