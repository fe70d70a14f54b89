//! Publications: dataset, version, materialization and head of each output, with the object they name.

use runstone_core::record::NodeId;
use runstone_core::store::NewMaterialization;
use rusqlite::{OptionalExtension, params};

use super::commit::Batch;
use super::{Outcome, lineage, objects};
use crate::rules;

/// Puts the outputs of an attempt on record, in order. Those of a tainted one move no head.
pub(super) fn outputs(
    batch: &mut Batch<'_>,
    attempt: NodeId,
    outputs: &[NewMaterialization],
    tainted: bool,
) -> Outcome<Vec<NodeId>> {
    let mut nodes = Vec::with_capacity(outputs.len());
    for output in outputs {
        let dataset = dataset(batch, &output.dataset)?;
        let version = version(batch, dataset, output)?;
        let id = batch.counter.next_node();
        batch
            .tx
            .prepare_cached(
                "INSERT INTO materialization (id, version_id, attempt_id, output, subset, file_name, created)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![id.0, version, attempt.0, output.output, output.subset, output.file_name, batch.now.0])?;
        if !tainted {
            move_head(batch, dataset, &output.subset, id)?;
        }
        objects::publish(batch.tx, batch.store, output, batch.now)?;
        nodes.push(id);
    }
    Ok(nodes)
}

fn dataset(batch: &Batch<'_>, name: &str) -> Outcome<i64> {
    let known = batch
        .tx
        .prepare_cached("SELECT id FROM dataset WHERE project_id = ?1 AND name = ?2")?
        .query_row(params![batch.project, name], |row| row.get(0))
        .optional()?;
    if let Some(id) = known {
        return Ok(id);
    }
    batch
        .tx
        .prepare_cached("INSERT INTO dataset (project_id, name) VALUES (?1, ?2)")?
        .execute(params![batch.project, name])?;
    Ok(batch.tx.last_insert_rowid())
}

/// The version with these bytes; the next one where there is none.
fn version(batch: &Batch<'_>, dataset: i64, output: &NewMaterialization) -> Outcome<i64> {
    let known = batch
        .tx
        .prepare_cached("SELECT id FROM version WHERE dataset_id = ?1 AND hash = ?2")?
        .query_row(params![dataset, output.hash.as_bytes()], |row| row.get(0))
        .optional()?;
    if let Some(id) = known {
        return Ok(id);
    }
    batch
        .tx
        .prepare_cached(
            "INSERT INTO version (dataset_id, number, hash, kind, size, files, rows, created)
             VALUES (?1, (SELECT coalesce(max(number), 0) + 1 FROM version WHERE dataset_id = ?1), ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            dataset,
            output.hash.as_bytes(),
            output.kind.as_str(),
            rules::stored("size", output.size)?,
            rules::stored("number of files", output.files)?,
            output.rows.map(|rows| rules::stored("number of rows", rows)).transpose()?,
            batch.now.0,
        ])?;
    let id = batch.tx.last_insert_rowid();
    if let Some(profile) = &output.profile {
        lineage::set_profile(batch.tx, id, profile, batch.now)?;
    }
    Ok(id)
}

fn move_head(batch: &Batch<'_>, dataset: i64, subset: &str, to: NodeId) -> Outcome<()> {
    batch
        .tx
        .prepare_cached(
            "INSERT INTO head (dataset_id, subset, mat_id, rev) VALUES (?1, ?2, ?3, 1)
             ON CONFLICT DO UPDATE SET mat_id = excluded.mat_id, rev = rev + 1",
        )?
        .execute(params![dataset, subset, to.0])?;
    Ok(())
}
