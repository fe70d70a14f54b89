//! Pipelines that schedulers know, and what their files declare.

use runstone_core::service::record::{DeclaredPipeline, PipelineRecord};
use runstone_core::time::Timestamp;
use rusqlite::{Row, Transaction, params};

use super::super::{Outcome, decode, runs};
use super::schedules;
use crate::declare::{self, Known, PipelineWrite, Plan};

fn record(row: &Row<'_>) -> rusqlite::Result<PipelineRecord> {
    Ok(PipelineRecord {
        pipeline: row.get(0)?,
        definition: decode::content_hash(row, 1)?,
        definition_path: row.get(2)?,
        active: row.get(3)?,
        error: row.get(4)?,
        changed: Timestamp(row.get(5)?),
    })
}

pub(super) fn list(tx: &Transaction<'_>, project: i64) -> Outcome<Vec<PipelineRecord>> {
    let mut statement = tx.prepare_cached(
        "SELECT name, definition, definition_path, active, error, changed FROM pipeline WHERE project_id = ?1 ORDER BY name",
    )?;
    let rows = statement.query_map([project], record)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// What was found under a folder.
#[derive(Debug, Clone, Copy)]
pub(super) struct Files<'a> {
    pub(super) folder: &'a str,
    pub(super) pipelines: &'a [DeclaredPipeline],
    pub(super) broken: &'a [(String, String)],
}

impl Files<'_> {
    fn plan<'a>(&'a self, known: &'a Known) -> Plan<'a> {
        declare::plan(known, self.folder, self.pipelines, self.broken)
    }
}

fn known(tx: &Transaction<'_>, project: i64) -> Outcome<Known> {
    Ok(Known { pipelines: list(tx, project)?, schedules: schedules::list(tx, project, 0)? })
}

fn under(tx: &Transaction<'_>, project: i64, folder: &str) -> Outcome<Vec<PipelineRecord>> {
    let mut found = list(tx, project)?;
    found.retain(|pipeline| declare::is_under(folder, &pipeline.definition_path));
    Ok(found)
}

/// What is on record, where that is what the files declare already.
pub(super) fn unchanged(tx: &Transaction<'_>, project: i64, files: Files<'_>) -> Outcome<Option<Vec<PipelineRecord>>> {
    if files.plan(&known(tx, project)?) == Plan::default() {
        under(tx, project, files.folder).map(Some)
    } else {
        Ok(None)
    }
}

pub(super) fn declare(
    tx: &Transaction<'_>,
    project: i64,
    files: Files<'_>,
    now: Timestamp,
) -> Outcome<Vec<PipelineRecord>> {
    let known = known(tx, project)?;
    let plan = files.plan(&known);
    for write in &plan.pipelines {
        put(tx, project, write, now)?;
    }
    if !plan.added.is_empty() || !plan.changed.is_empty() {
        let rev = schedules::next_rev(tx, project)?;
        for (pipeline, schedule) in &plan.added {
            schedules::insert(tx, project, pipeline, schedule, now, rev)?;
        }
        for write in &plan.changed {
            schedules::rewrite(tx, write, now, rev)?;
        }
    }
    under(tx, project, files.folder)
}

fn put(tx: &Transaction<'_>, project: i64, write: &PipelineWrite<'_>, now: Timestamp) -> Outcome<()> {
    if let Some(text) = write.text {
        runs::keep_definition(tx, &write.definition, text)?;
    }
    tx.prepare_cached(
        "INSERT INTO pipeline (project_id, name, definition, definition_path, active, error, changed)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (project_id, name) DO UPDATE SET definition = excluded.definition,
             definition_path = excluded.definition_path, active = excluded.active, error = excluded.error,
             changed = excluded.changed",
    )?
    .execute(params![
        project,
        write.name,
        write.definition.as_bytes(),
        write.definition_path,
        write.active,
        write.error,
        now.0
    ])?;
    Ok(())
}
